"""A group over two nodes with a real Redis between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fitai.gateways.bus.memory import MemoryHub
from fitai.gateways.bus.redis import RedisBus
from tests.gateways.conftest import PATIENCE, Server, Wire
from tests.gateways.groups.conftest import Scene
from tests.gateways.groups.test_stage_nodes import QUICK, crew
from tests.gateways.groups.training import agree
from tests.redis_servers import RedisServer


async def test_two_nodes_over_redis_converge_also_when_it_is_restarted(
    make_server: Callable[..., Awaitable[Server]],
    connect: Callable[..., Awaitable[Wire]],
    redis_server: RedisServer,
) -> None:
    def bus(_: MemoryHub) -> RedisBus:
        return RedisBus(redis_server.url, secret=b"a secret of the test")

    servers = [await make_server(alone=False, bus_class=bus, limits=QUICK) for _ in range(2)]
    for server in servers:
        await server.bus.start()
    scene = Scene(connect, *servers)
    people = await crew(scene)
    for reps, one in enumerate(people, 3):
        await one.log(reps)
    await agree(scene, people, {1, 2, 3, 4})
    redis_server.restart()
    for one in people:
        await one.log(10)
    await agree(scene, people, {1, 2, 3, 4})
    async with asyncio.timeout(PATIENCE):
        while not all(await asyncio.gather(*(server.bus.probe(1) for server in servers))):
            await asyncio.sleep(0.05)
    await people[3].seat.do("member.share", {"share": "everything"})
    await people[0].sees(4, volume_ug=16 * 50 * 10**9)
    await people[3].wire.call("telemetry", {"workout": people[3].workout, "hr": 140})
    await people[0].sees(4, hr=140)
