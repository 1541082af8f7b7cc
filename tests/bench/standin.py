"""A server that is not ours and does what it is told: it stalls, says things twice, keeps things to itself.

It speaks enough of the protocol for the generator's devices: pushes are acknowledged at once and told to the
user's other connections. A token is `user:device`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiohttp import WSMsgType, web

from fitai.bench import wire
from fitai.bench.plan import Pass, Person

CODEC = wire.Json()


S = TypeVar("S", bound="StandIn")


class StandIn:
    """`stall` (seconds) is taken once, by the push after `healthy` ones; `double` and `lose` are numbers of
    records (1, 2, …) that are told twice or never; `refuse` is a push that is refused once with `later`."""

    def __init__(
        self, *, stall: float = 0.0, healthy: int = 0, double: int = 0, lose: int = 0, refuse: int = 0
    ) -> None:
        self.stall = stall
        self.healthy = healthy
        self.double = double
        self.lose = lose
        self.refuse = refuse
        self.pushes = 0
        self.heads: defaultdict[str, int] = defaultdict(int)
        self.here: defaultdict[str, list[web.WebSocketResponse]] = defaultdict(list)
        self.url = ""

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [web.get("/socket.io/", self.serve)]

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str('0{"sid":"x","pingInterval":25000,"pingTimeout":20000,"upgrades":[]}')
        user, device = "", 0
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            packet = CODEC.read(message.data.encode())
            if packet.kind == wire.CONNECT:
                user, _, number = packet.data["token"].partition(":")
                device = int(number)
                await self._accept(socket, user, device)
            elif packet.kind == wire.EVENT:
                await self.event(socket, user, device, packet)
        self.here[user].remove(socket)
        return socket

    async def _accept(self, socket: web.WebSocketResponse, user: str, device: int) -> None:
        self.here[user].append(socket)
        await self.send(socket, wire.CONNECT, {"sid": "x"})
        ready = {"epoch": "e", "head": self.heads[user], "next_n": 1, "resumed": False, "device": device}
        await self.send(socket, wire.EVENT, ["ready", ready])

    async def event(self, socket: web.WebSocketResponse, user: str, device: int, packet: wire.Packet) -> None:
        """Answer an event."""
        if packet.data[0] == "push":
            await self._push(socket, user, device, packet)

    async def _push(self, socket: web.WebSocketResponse, user: str, device: int, packet: wire.Packet) -> None:
        self.pushes += 1
        if self.stall and self.pushes == self.healthy + 1:
            await asyncio.sleep(self.stall)
        if self.pushes == self.refuse:
            await self.send(
                socket, wire.ACK, [{"ok": False, "code": "later", "retry_after_ms": 20}], packet.ack
            )
            return
        results, records = [], []
        for op in packet.data[1]["ops"]:
            self.heads[user] += 1
            placed = {"n": op["n"], "seq": self.heads[user], "verdict": "applied"}
            results.append(placed)
            records.append({**op, **placed, "device": device})
        await self.send(
            socket, wire.ACK, [{"ok": True, "results": results, "head": self.heads[user]}], packet.ack
        )
        for other in self.here[user]:
            if other is not socket:
                await self._tell(other, records)

    async def _tell(self, socket: web.WebSocketResponse, records: list[dict[str, Any]]) -> None:
        first, last = records[0]["seq"], records[-1]["seq"]
        if first <= self.lose <= last:
            return
        payload = {"epoch": "e", "from": first, "to": last, "records": records}
        for _ in range(2 if first <= self.double <= last else 1):
            await self.send(socket, wire.EVENT, ["ops", payload])

    async def send(self, socket: web.WebSocketResponse, kind: int, data: Any, ack: int | None = None) -> None:
        """Send a packet."""
        await socket.send_str(CODEC.write(kind, data, ack).decode())


@asynccontextmanager
async def standing_in(**does: Any) -> AsyncIterator[StandIn]:
    """A stand-in that listens."""
    async with listening(StandIn(**does)) as server:
        yield server


@asynccontextmanager
async def listening(server: S) -> AsyncIterator[S]:
    """Have a stand-in listen."""
    app = web.Application()
    app.add_routes(server.routes())
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{site.port}"
    try:
        yield server
    finally:
        await runner.cleanup()


def people(count: int, devices: int = 2) -> list[Person]:
    """People as the stand-in knows them."""
    return [
        Person(number, f"u{number}", tuple(Pass(at, f"u{number}:{at}") for at in range(1, devices + 1)))
        for number in range(count)
    ]
