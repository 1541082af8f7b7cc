"""A live gateway on loopback over a real database, and the devices that talk to it."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import msgpack
import orjson
import pytest
from aiohttp import web

from fitai.gateways.bus.contract import Hook, Listener, Message, Unsubscribe
from fitai.gateways.bus.memory import MemoryBus, MemoryHub
from fitai.gateways.counts import Counts
from fitai.gateways.groups.codes import Codes
from fitai.gateways.groups.limits import GroupBounds
from fitai.gateways.groups.moderation import Moderation, Unmoderated
from fitai.gateways.groups.rooms import Rooms
from fitai.gateways.live.hosts import Hosts
from fitai.gateways.live.limits import LiveLimits
from fitai.gateways.live.server import LiveServer
from fitai.http.auth.authority import Authority
from fitai.http.auth.tokens import AccessTokens
from fitai.persistence.append import Appender
from fitai.persistence.database import Database
from fitai.persistence.devices import Devices
from fitai.persistence.users import Users
from tests.keys import ring_of

RING = ring_of("a-secret-for-tests-that-is-long-enough")
CODES = Codes("a-secret-for-tests-that-is-long-enough")
PATIENCE = 15.0  # seconds that anything may take before a test fails

TEST_LIMITS = LiveLimits(presence_grace_s=0.3, bye_s=0.5, connects_per_min=1_000_000)


class Clock:
    """The server's clock: the real one, plus what a test adds."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


class CutBus(MemoryBus):
    """A bus that can be away: then nothing comes and nothing goes, and nobody is told."""

    def __init__(self, hub: MemoryHub) -> None:
        super().__init__(hub)
        self.away = False
        self._hooks: list[Callable[[], None]] = []

    def publish(self, topic: str, message: Message) -> None:
        if not self.away:
            super().publish(topic, message)

    def subscribe(self, topic: str, listener: Listener, ready: Hook | None = None) -> Unsubscribe:
        def hear(message: Message) -> None:
            if not self.away:
                listener(message)

        return super().subscribe(topic, hear, ready)

    def on_reconnect(self, listener: Hook) -> Unsubscribe:
        self._hooks.append(listener)
        return lambda: self._hooks.remove(listener) if listener in self._hooks else None

    def cut(self) -> None:
        self.away = True

    def rejoin(self) -> None:
        self.away = False
        for hook in self._hooks:
            hook()


@dataclass
class Server:
    """One node. `stop` and `start` again on the same database is a restart."""

    db: Database
    limits: LiveLimits = TEST_LIMITS
    polling: bool = True
    hub: MemoryHub = field(default_factory=MemoryHub)
    clock: Clock = field(default_factory=Clock)
    alone: bool = True
    bus_class: type[MemoryBus] = MemoryBus
    port: int = 0
    bounds: GroupBounds = field(default_factory=GroupBounds)
    counts: Counts | None = None
    moderation: Moderation = field(default_factory=Unmoderated)

    async def start(self) -> Server:
        self.bus = self.bus_class(self.hub)
        self.appender = Appender(self.db)
        self.hosts = Hosts(
            self.db, self.appender, self.bus, limits=self.limits, now_ms=self.clock, alone=self.alone
        )
        self.rooms = Rooms(self.hosts, CODES, self.moderation, self.counts, self.bounds)
        self.tokens = AccessTokens(RING, self.clock)
        self.live = LiveServer(
            self.hosts,
            Authority(self.tokens, self.db, self.clock),
            limits=self.limits,
            now_ms=self.clock,
            polling=self.polling,
            rooms=self.rooms,
        )
        app = web.Application()
        self.live.attach(app)
        await self.appender.start()
        await self.hosts.start()
        await self.rooms.start()
        self.runner = web.AppRunner(app, shutdown_timeout=0.5)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        await self.live.drain(0, 1.0)
        await self.runner.cleanup()
        await self.rooms.close()
        await self.hosts.close()
        await self.appender.close()
        await self.bus.close()

    async def user(self, name: str | None = None) -> str:
        async with self.db.write() as session:
            row = await Users(session).create(
                email=f"{uuid.uuid4().hex}@example.org",
                password_hash="x",
                display_name=name,
                now=self.clock(),
            )
        return row.id

    async def enrol(self, user: str, name: str = "phone") -> int:
        async with self.db.write() as session:
            enrolment = await Devices(session).enrol(
                user, name=name, platform="test", install_id=None, now=self.clock(), limit=32
            )
        return enrolment.device.id


class Wire:
    """A client that speaks Socket.IO by hand, so that a test sees every packet in the order it came."""

    def __init__(self, server: Server, user: str, device: int, codec: str = "json") -> None:
        self.server = server
        self.user = user
        self.device = device
        self.codec = codec
        self.packets: list[Any] = []  # ["event", name, payload] | ["ack", id, payload] | [kind, data]
        self.next_n = 1
        self.base = 0
        self._ids = itertools.count(1)
        self._news = asyncio.Condition()

    async def connect(self, cursor: Any = None, token: str | None = None) -> dict[str, Any]:
        """Connect, authenticate; returns the payload of `ready`."""
        self.http = aiohttp.ClientSession()
        url = f"http://127.0.0.1:{self.server.port}/socket.io/?EIO=4&transport=websocket&codec={self.codec}"
        self.ws = await self.http.ws_connect(url, max_msg_size=0)
        self.packets = []
        self._reader = asyncio.get_running_loop().create_task(self._read())
        auth: dict[str, Any] = {"token": token or self.server.tokens.issue(self.user, self.device)}
        if cursor is not None:
            auth["cursor"] = cursor
        await self.send(0, auth)
        ready = await self.event("ready")
        self.next_n = ready["next_n"]
        return ready

    async def close(self) -> None:
        await self.ws.close()
        await self.http.close()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def send(self, kind: int, data: Any = None, id: int | None = None) -> None:
        if self.codec == "msgpack":
            packet = {"type": kind, "nsp": "/live", "data": data}
            await self.ws.send_bytes(msgpack.packb(packet if id is None else {**packet, "id": id}))
            return
        text = f"4{kind}/live,{'' if id is None else id}"
        await self.ws.send_str(text + ("" if data is None else orjson.dumps(data).decode()))

    async def emit(self, event: str, payload: Any) -> int:
        """Send an event; returns the id that its ack will have."""
        id = next(self._ids)
        await self.send(2, [event, payload], id)
        return id

    async def call(self, event: str, payload: Any) -> Any:
        """Send an event and wait for its ack."""
        return await self.ack(await self.emit(event, payload))

    def op(
        self, kind: str, workout: str, value: Any = None, entity: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """The next op of this device."""
        op = {
            "n": self.next_n,
            "base": self.base,
            "kind": kind,
            "workout": workout,
            "value": value or {},
            "at": self.server.clock(),
            **more,
        }
        if entity is not None:
            op["entity"] = entity
        self.next_n += 1
        return op

    async def push(self, *ops: dict[str, Any]) -> Any:
        return await self.call("push", {"ops": list(ops)})

    async def ack(self, id: int) -> Any:
        return await self._wait(lambda p: p[0] == "ack" and p[1] == id)

    async def event(self, name: str, such: Callable[[Any], bool] = lambda _: True) -> Any:
        """Wait for (or find) an event of this name."""
        return await self._wait(lambda p: p[0] == "event" and p[1] == name and such(p[2]))

    async def told(self, seq: int) -> None:
        """Wait until `ops` and own acks reach up to `seq`."""
        await self.until(lambda: self.position() >= seq)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(holds), PATIENCE)
            except TimeoutError:
                for task in asyncio.all_tasks():  # what the server waits for, in the report of the failure
                    task.print_stack()
                raise

    async def gone(self) -> None:
        """Wait until the server has closed the transport."""
        await asyncio.wait_for(asyncio.shield(self._reader), PATIENCE)

    def events(self, name: str) -> list[Any]:
        return [p[2] for p in self.packets if p[0] == "event" and p[1] == name]

    def records(self) -> list[dict[str, Any]]:
        return [record for frame in self.events("ops") for record in frame["records"]]

    def position(self) -> int:
        seqs = [r["seq"] for r in self.records()]
        acked = [
            r["seq"]
            for p in self.packets
            if p[0] == "ack" and p[2].get("ok")
            for r in p[2].get("results", [])
        ]
        return max([0, *seqs, *acked])

    async def _wait(self, such: Callable[[list[Any]], bool]) -> Any:
        found: list[Any] = []

        def there() -> bool:
            found[:] = [p for p in self.packets if such(p)]
            return bool(found)

        await self.until(there)
        return found[0][-1]

    async def _read(self) -> None:
        async for message in self.ws:
            packet = self._decode(message)
            if packet is not None:
                async with self._news:
                    self.packets.append(packet)
                    self._news.notify_all()
            elif message.data == "2":
                await self.ws.send_str("3")

    def _decode(self, message: aiohttp.WSMessage) -> list[Any] | None:
        if message.type is aiohttp.WSMsgType.BINARY:
            packet = msgpack.unpackb(message.data)
            return _packet(packet["type"], packet.get("id"), packet.get("data"))
        text = message.data
        if not text.startswith("4"):
            return None
        rest = text[2:].removeprefix("/live,")
        digits = "".join(itertools.takewhile(str.isdigit, rest))
        body = rest[len(digits) :]
        return _packet(int(text[1]), int(digits) if digits else None, orjson.loads(body) if body else None)


def _packet(kind: int, id: int | None, data: Any) -> list[Any]:
    if kind == 2:
        return ["event", data[0], data[1]]
    if kind == 3:
        return ["ack", id, data[0]]
    return [{0: "connect", 1: "disconnect", 4: "refused"}[kind], data]


@pytest.fixture
async def make_server(db: Database) -> AsyncIterator[Callable[..., Awaitable[Server]]]:
    """Start a node on this test's database; all are stopped at the end."""
    servers: list[Server] = []

    async def make(**options: Any) -> Server:
        limits = replace(TEST_LIMITS, **options.pop("limits", {}))
        server = await Server(db, limits=limits, **options).start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        await server.stop()


@pytest.fixture
async def server(make_server: Callable[..., Awaitable[Server]]) -> Server:
    """One node."""
    return await make_server()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[Wire]]]:
    """Connect a device of a user; all are closed at the end."""
    wires: list[Wire] = []

    async def open(
        server: Server, user: str, device: int, *, codec: str = "json", cursor: Any = None
    ) -> Wire:
        wire = Wire(server, user, device, codec)
        wires.append(wire)
        await wire.connect(cursor)
        return wire

    yield open
    for wire in wires:
        await wire.close()


def new_id() -> str:
    """A client's UUID."""
    return str(uuid.uuid4())
