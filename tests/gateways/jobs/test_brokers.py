"""What both brokers promise, and what Redis alone can do to a stream."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager

import pytest
from redis import Redis

from fitai.gateways.jobs import brokers as module
from fitai.gateways.jobs.brokers import GROUP, MemoryBroker, open_broker
from tests.redis_servers import RedisCluster, RedisServer, debian_redis


@asynccontextmanager
async def opened(url, prefix=None):
    broker = open_broker(url, prefix=prefix or uuid.uuid4().hex, node=uuid.uuid4().hex[:8], at_a_time=4)

    async def job(n: int) -> None:
        pass

    broker.register_task(job, task_name="job")
    await broker.startup()
    try:
        yield broker
    finally:
        await broker.shutdown()


async def say(broker, n):
    await broker.find_task("job").kiq(n)


async def hear(broker, count):
    """What so many messages say."""
    heard = []
    listening = broker.listen()
    try:
        async with asyncio.timeout(15):
            async for message in listening:
                heard.append(broker.formatter.loads(message).args[0])
                if len(heard) == count:
                    return heard
    finally:
        await listening.aclose()


@pytest.fixture(params=["memory", "redis"])
def url(request):
    return None if request.param == "memory" else request.getfixturevalue("redis_url")


async def test_what_is_sent_is_heard_once_in_order_also_what_was_sent_before(url):
    async with opened(url) as broker:
        for n in range(3):
            await say(broker, n)
        heard = asyncio.create_task(hear(broker, 5))
        await asyncio.sleep(0.05)
        for n in range(3, 5):
            await say(broker, n)
        assert await heard == [0, 1, 2, 3, 4]


async def test_nodes_share_what_is_sent(redis_url):
    prefix = uuid.uuid4().hex
    async with opened(redis_url, prefix) as one, opened(redis_url, prefix) as other:
        heard = [asyncio.create_task(hear(each, 3)) for each in (one, other)]
        for n in range(40):
            await say(one, n)
        both = await asyncio.gather(*heard)
        assert not set(both[0]) & set(both[1])


async def test_installations_on_one_redis_hear_nothing_of_each_other(redis_url):
    async with opened(redis_url) as one, opened(redis_url) as other:
        await say(other, 1)
        await say(one, 2)
        assert await hear(one, 1) == [2]


async def test_the_stream_is_bounded_and_those_who_left_are_forgotten(redis_url, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 100)
    monkeypatch.setattr(module, "CONSUMER_IDLE_MS", 0)
    prefix = uuid.uuid4().hex
    stream = f"{prefix}:{module.STREAM}"
    with Redis.from_url(redis_url) as redis:
        async with opened(redis_url, prefix) as broker:
            for n in range(500):
                await say(broker, n)
            assert 100 <= redis.xlen(stream) < 300  # it is cut by whole nodes of a hundred
            await hear(broker, 1)
            assert len(redis.xinfo_consumers(stream, GROUP)) == 1
        assert redis.xinfo_consumers(stream, GROUP) == []
        redis.xgroup_createconsumer(stream, GROUP, "died-long-ago")
        await asyncio.sleep(0.01)
        async with opened(redis_url, prefix):
            names = [consumer["name"] for consumer in redis.xinfo_consumers(stream, GROUP)]
            assert b"died-long-ago" not in names


async def test_a_message_that_is_none_of_ours_is_no_end(redis_url):
    prefix = uuid.uuid4().hex
    async with opened(redis_url, prefix) as broker:
        with Redis.from_url(redis_url) as redis:
            redis.xadd(f"{prefix}:{module.STREAM}", {"strange": "fields"})
        await say(broker, 1)
        assert await hear(broker, 1) == [1]


async def test_a_cluster_carries_them_too():
    debian_redis()
    cluster = RedisCluster()
    cluster.start()
    try:
        async with opened(cluster.url) as broker:
            for n in range(3):
                await say(broker, n)
            assert await hear(broker, 3) == [0, 1, 2]
    finally:
        cluster.remove()


async def test_a_master_that_a_sentinel_names_carries_them_too():
    binary = debian_redis()
    master = RedisServer(binary=binary).start()
    sentinel = RedisServer(
        binary=binary, sentinel=f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
    ).start()
    try:
        async with opened(f"redis+sentinel://127.0.0.1:{sentinel.port}/main") as broker:
            await say(broker, 1)
            assert await hear(broker, 1) == [1]
    finally:
        for server in (sentinel, master):
            server.remove()


def test_without_redis_it_is_the_memory_of_this_process():
    assert isinstance(open_broker(None, prefix="p", node="n", at_a_time=1), MemoryBroker)
