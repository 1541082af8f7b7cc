"""New connections by address, on one node and over all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fitai.gateways.bus.redis_counts import RedisCounts
from fitai.gateways.counts import MemoryCounts
from fitai.gateways.live.arrivals import Arrivals
from tests.redis_servers import RedisCluster, RedisServer, debian_redis


async def test_addresses_do_not_share_their_arrivals_and_resting_ones_are_forgotten() -> None:
    arrivals = Arrivals(per_min=2)
    arrivals.MANY = 2
    assert [await arrivals.wait_ms("a", 0) for _ in range(2)] == [0, 0]
    assert await arrivals.wait_ms("a", 0) > 0
    assert await arrivals.wait_ms("b", 0) == 0
    assert await arrivals.wait_ms("c", 60_000) == 0
    assert set(arrivals._buckets) == {"c"}
    assert await Arrivals(None).wait_ms("a", 0) == 0


async def test_a_customer_has_one_share_however_many_addresses_there_are() -> None:
    arrivals = Arrivals(per_min=2)
    mine = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"]
    assert [await arrivals.wait_ms(address, 0) == 0 for address in mine] == [True, True, False]
    assert await arrivals.wait_ms("2001:db8:0:1::1", 0) == 0


@asynccontextmanager
async def nodes(
    url: str, per_min: int, *prefixes: str, within_s: float = 5.0
) -> AsyncIterator[list[Arrivals]]:
    shared = [
        RedisCounts(url, prefix=prefix, alone=MemoryCounts(lambda: 0), within_s=within_s, rest_s=0.3)
        for prefix in prefixes
    ]
    yield [Arrivals(per_min, counts) for counts in shared]
    for counts in shared:
        await counts.close()


async def allowed(node: Arrivals, address: str, tries: int) -> int:
    waits = await asyncio.gather(*(node.wait_ms(address, 0) for _ in range(tries)))
    assert all(wait > 0 for wait in waits if wait)
    return waits.count(0)


async def test_an_address_has_its_share_on_all_nodes_together(redis_server: RedisServer) -> None:
    async with nodes(redis_server.url, 10, "one", "one", "other") as (here, there, elsewhere):
        assert await allowed(here, "a", 6) == 6
        assert await allowed(there, "a", 6) == 4
        assert await allowed(there, "b", 6) == 6
        assert await allowed(elsewhere, "a", 6) == 6


async def test_a_silent_redis_keeps_nobody_waiting_and_each_node_counts_for_itself(
    redis_server: RedisServer,
) -> None:
    async with nodes(redis_server.url, 20, "one", "one", within_s=0.25) as (here, there):
        redis_server.freeze()
        assert await asyncio.wait_for(allowed(here, "a", 30), 30) == 20
        assert await asyncio.wait_for(allowed(there, "a", 30), 30) == 20
        redis_server.thaw()
        for n in range(100):
            assert await allowed(here, f"b{n}", 20) == 20
            if await allowed(there, f"b{n}", 5) == 0:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("they never counted together again")


async def test_a_redis_that_is_away_allows_what_the_node_itself_does(redis_server: RedisServer) -> None:
    redis_server.stop()
    async with nodes(redis_server.url, 10, "one") as (here,):
        assert await allowed(here, "a", 20) == 10


async def test_in_a_cluster() -> None:
    cluster = RedisCluster().start()
    try:
        async with nodes(cluster.url, 10, "one", "one") as (here, there):
            for n in range(5):
                assert await allowed(here, f"a{n}", 6) == 6
                assert await allowed(there, f"a{n}", 6) == 4
    finally:
        cluster.remove()


async def test_with_sentinels() -> None:
    binary = debian_redis()
    master = RedisServer(binary=binary).start()
    about = f"sentinel monitor main 127.0.0.1 {master.port} 1"
    sentinel = RedisServer(binary=binary, sentinel=about).start()
    try:
        async with nodes(f"redis+sentinel://127.0.0.1:{sentinel.port}/main", 10, "one", "one") as (
            here,
            there,
        ):
            assert await allowed(here, "a", 6) == 6
            assert await allowed(there, "a", 6) == 4
    finally:
        sentinel.remove()
        master.remove()
