"""Groups on a live gateway: people with their devices in a room, over real sockets and a real database."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from fitai.engine.groups.fold import fold
from fitai.engine.groups.group import Group
from fitai.engine.ops import Record
from fitai.gateways.groups.limits import GroupBounds
from fitai.gateways.groups.room import Room
from fitai.gateways.identity import Identity
from fitai.persistence.log import Log
from tests.gateways.conftest import CODES, Server, Wire

OPEN: dict[str, Any] = {"title": "Leg day", "format": {"type": "open"}}
FAR = 2**52

Json = dict[str, Any]


class Seated:
    """A device that is in a room: a wire, and what it was told of the group, held to the order of the
    stream."""

    def __init__(self, wire: Wire, group: str | None = None, code: str | None = None) -> None:
        self.wire = wire
        self.group = group or ""
        self.ready: Json = {}
        self.next_n = 1
        self._ask: Json = {"group": group} if code is None else {"code": code}
        self._since = 0
        self._start = 0

    async def join(self, **more: Any) -> Json:
        """Ask to enter; the answer, whatever it is."""
        asked = await self.wire.emit("group:join", {**self._ask, **more})
        answer: Json = await self.wire.ack(asked)
        self._since = self.wire.packets.index(["ack", asked, answer])
        if answer["ok"]:
            self.ready, self.group = answer, answer["group"]
            self.next_n = answer["next_n"]
            self._start = more["cursor"]["seq"] if answer["resumed"] else answer["head"]
        return answer

    def op(self, kind: str, value: Json | None = None, **more: Any) -> Json:
        """The next op of this device, which has seen all that it was told."""
        op = {
            "n": self.next_n,
            "base": self.position(),
            "kind": kind,
            "value": value or {},
            "at": self.wire.server.clock(),
            **more,
        }
        self.next_n += 1
        return op

    async def push(self, *ops: Json, **more: Any) -> Json:
        answer: Json = await self.wire.call("group:push", {"group": self.group, "ops": list(ops), **more})
        return answer

    async def do(self, kind: str, value: Json | None = None, **more: Any) -> Json:
        """Push one op; its result, which is no refusal."""
        answer = await self.push(self.op(kind, value, **more))
        assert answer["ok"], answer
        result: Json = answer["results"][0]
        return result

    def frames(self) -> list[Json]:
        told = self.wire.packets[self._since :]
        return [p[2] for p in told if p[0] == "event" and p[1] == "group:ops" and p[2]["group"] == self.group]

    def records(self) -> list[Json]:
        return [record for frame in self.frames() for record in frame["records"]]

    def position(self) -> int:
        """The end of the contiguous run of what was told or acknowledged since the last join."""
        at = self._start
        for first, last in self._covered():
            if first <= at + 1:
                at = max(at, last)
        return at

    def _covered(self) -> list[tuple[int, int]]:
        spans = [(frame["from"], frame["to"]) for frame in self.frames()]
        for packet in self.wire.packets[self._since :]:
            if packet[0] == "ack" and packet[2].get("ok"):
                spans += [(r["seq"], r["seq"]) for r in packet[2].get("results", ()) if "first" not in r]
        return sorted(spans)

    def in_order(self) -> None:
        """What left on this connection since the last join was in the order of the stream, and without a
        hole."""
        at = self._start
        for packet in self.wire.packets[self._since :]:
            for first, last in self._spans(packet):
                assert first == at + 1, f"{first} after {at}"
                at = last

    def _spans(self, packet: Any) -> list[tuple[int, int]]:
        if packet[0] == "event" and packet[1] == "group:ops" and packet[2]["group"] == self.group:
            seqs = [record["seq"] for record in packet[2]["records"]]
            assert seqs == sorted(seqs)
            return [(packet[2]["from"], packet[2]["to"])]
        if packet[0] == "ack" and packet[2].get("ok") and "results" in packet[2]:
            fresh = [r["seq"] for r in packet[2]["results"] if r["verdict"] != "duplicate"]
            return [(fresh[0], fresh[-1])] if fresh else []
        return []

    async def told(self, seq: int) -> None:
        await self.wire.until(lambda: self.position() >= seq)


class Scene:
    """One node or several, on one database, and the people on them."""

    def __init__(self, connect: Callable[..., Awaitable[Wire]], *servers: Server) -> None:
        self._connect = connect
        self._names = itertools.count(1)
        self.servers = servers
        self.server = servers[0]

    async def wire(
        self, server: Server | None = None, user: str | None = None, codec: str = "json", **more: Any
    ) -> Wire:
        """A connected device: of a new user, or one more of a known one."""
        server = server or self.server
        user = user or await server.user(f"Athlete {next(self._names)}")
        return await self._connect(server, user, await server.enrol(user), codec=codec, **more)

    async def create(self, host: Wire | None = None, **value: Any) -> Seated:
        """A group, and its host's device in the room."""
        host = host or await self.wire()
        room = await host.server.rooms.create(caller(host), {**OPEN, **value})
        seated = Seated(host, room.id)
        answer = await seated.join()
        assert answer["ok"], answer
        return seated

    def code(self, of: Seated, serial: int = 1) -> str:
        return CODES.code(of.group, serial)

    async def join(
        self, group: Seated, wire: Wire | None = None, server: Server | None = None, **more: Any
    ) -> Seated:
        """Somebody joins by the code, and sits."""
        seated = Seated(wire or await self.wire(server), code=self.code(group))
        answer = await seated.join(**more)
        assert answer["ok"], answer
        return seated

    async def room(self, group: str, server: Server | None = None) -> Room:
        return await (server or self.server).rooms.open(group)

    async def log(self, group: str) -> list[Record]:
        """What the database has of a group."""
        async with self.server.db.read() as session:
            log = Log(session)
            stream = await log.stream_of(group)
            assert stream is not None
            records = await log.read(stream.id, 0, 100_000)
        assert [record.seq for record in records] == list(range(1, stream.head + 1))
        assert stream.projected == stream.head
        return records

    async def folded(self, group: str) -> Group:
        return fold(group, await self.log(group))


def caller(wire: Wire) -> Identity:
    return Identity(wire.user, wire.device, FAR)


def now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
async def scene(server: Server, connect: Callable[..., Awaitable[Wire]]) -> Scene:
    """One node."""
    return Scene(connect, server)


@pytest.fixture
async def nodes(
    make_server: Callable[..., Awaitable[Server]], connect: Callable[..., Awaitable[Wire]]
) -> AsyncIterator[Callable[..., Awaitable[Scene]]]:
    """Make a scene of several nodes that hear each other."""

    async def make(count: int = 2, **options: Any) -> Scene:
        from fitai.gateways.bus.memory import MemoryHub

        hub = options.pop("hub", None) or MemoryHub()
        servers = [await make_server(hub=hub, alone=False, **options) for _ in range(count)]
        return Scene(connect, *servers)

    yield make


@pytest.fixture
async def make_scene(
    make_server: Callable[..., Awaitable[Server]], connect: Callable[..., Awaitable[Wire]]
) -> Callable[..., Awaitable[Scene]]:
    """Make a scene of one node with these bounds of groups."""

    async def make(**bounds: Any) -> Scene:
        return Scene(connect, await make_server(bounds=GroupBounds(**bounds)))

    return make
