"""Many connect at once: they are let in a few at a time, in line, or told to come again when it is long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fitai.gateways.live.server import AT_ONCE
from tests.gateways.conftest import PATIENCE, Server, Wire

MakeServer = Callable[..., Awaitable[Server]]


class Door:
    """Holds up who comes in, and counts them."""

    def __init__(self, server: Server) -> None:
        self.inside = self.most = 0
        self.open = asyncio.Event()
        self._device_name = server.hosts.device_name
        server.hosts.device_name = self.held  # type: ignore[method-assign]

    async def held(self, user: str, device: int) -> str:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.open.wait()
            return await self._device_name(user, device)
        finally:
            self.inside -= 1

    async def full(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.inside < AT_ONCE:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def knocking(server: Server, count: int) -> AsyncIterator[list[Wire]]:
    """So many people who connect at once; none of them is waited for."""
    wires = []
    for _ in range(count):
        user = await server.user()
        wires.append(Wire(server, user, await server.enrol(user)))
    tasks = [asyncio.ensure_future(wire.connect()) for wire in wires]
    try:
        yield wires
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for wire in wires:
            await wire.close()


async def told(wire: Wire) -> dict[str, object]:
    async with asyncio.timeout(2):
        while not (refused := [packet[1] for packet in wire.packets if packet[0] == "refused"]):
            await asyncio.sleep(0.01)
    return dict(refused[0]["data"])


async def test_a_few_come_in_at_once_and_all_of_them_in_the_end(make_server: MakeServer):
    server = await make_server()
    door = Door(server)
    async with knocking(server, 3 * AT_ONCE) as wires:
        await door.full()
        door.open.set()
        for wire in wires:
            await wire.event("ready")
    assert door.most == AT_ONCE


async def test_who_has_stood_in_line_for_too_long_is_told_to_come_again(make_server: MakeServer):
    server = await make_server(limits={"auth_s": 0.4})
    door = Door(server)
    async with knocking(server, AT_ONCE + 1) as wires:
        await door.full()
        refused = await asyncio.gather(*(told(wire) for wire in wires), return_exceptions=True)
        [(last, why)] = [pair for pair in zip(wires, refused, strict=True) if isinstance(pair[1], dict)]
        assert why == {
            "code": "unavailable",
            "message": "too many connect at once",
            "retry": True,
        }
        await last.gone()  # its time to say who it is is over too
        door.open.set()
        for wire in wires:
            if wire is not last:
                await wire.event("ready")  # late, but the lateness was ours
