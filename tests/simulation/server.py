"""The real server, run step by step: hosts, append, database, admission and connections, REST services.

Only time, the network and the database driver's threads are not the real ones. The loop's clock is the
simulation's, so that every timer fires when the simulation moves it and at no other moment; after each step
the server is run until nothing is under way, so that what comes of a step depends on the steps before it.

One node or two share a SQLite file. Their bus is a hint, and the simulation may swallow it.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest.mock import patch

import orjson
import sqlalchemy
from argon2 import PasswordHasher
from engineio.packet import CLOSE
from socketio import packet as sio

from fitai.engine import kinds
from fitai.engine.ops import Record
from fitai.gateways.bus.contract import Message
from fitai.gateways.bus.memory import MemoryBus, MemoryHub
from fitai.gateways.identity import Identity, NotAuthenticated
from fitai.gateways.live.frames import CODECS
from fitai.gateways.live.hosts import Hosts
from fitai.gateways.live.limits import LiveLimits
from fitai.gateways.live.outbox import Outbox
from fitai.gateways.live.server import LiveServer
from fitai.http.auth.authority import Authority
from fitai.http.auth.devices import DeviceService
from fitai.http.auth.door import Door
from fitai.http.auth.passwords import Passwords
from fitai.http.auth.schemas import DeviceIn, Fork, Login, Register
from fitai.http.auth.second_factor import SecondFactorCheck
from fitai.http.auth.sign_in import SignInService
from fitai.http.auth.tokens import AccessTokens
from fitai.http.problems import Problem
from fitai.http.sync.schemas import PullQuery, SnapshotQuery, VoidQuery
from fitai.http.sync.service import SyncService
from fitai.http.sync.snapshot import SnapshotService
from fitai.persistence.append import Append, Appender
from fitai.persistence.database import Database
from fitai.persistence.sealed import Seal
from fitai.sync.wire import Refusal
from tests.keys import ring_of

Json = dict[str, Any]

START = 1_780_000_000_000
YEAR_MS = 365 * 86_400_000
RING = ring_of("a secret for simulations, which is long enough")
EMAIL, PASSWORD = "ada@example.org", "correct horse"
FROM_NOWHERE = SimpleNamespace(remote=None)
LIMITS = LiveLimits(rates=False, connections_per_device=64)


class Killed(Exception):
    """The node died before it answered."""


class Loop(asyncio.SelectorEventLoop):
    """A loop whose time is told."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        super().__init__()
        self._now_ms = now_ms

    def time(self) -> float:
        return self._now_ms() / 1000


class MortalAppender(Appender):
    """Dies with its node before or after a commit, when it is told to (`dies`)."""

    dies: str | None = None

    def __init__(self, db: Database, node: Node) -> None:
        super().__init__(db)
        self._node = node

    async def append(self, append: Append) -> None:
        if self.dies == "before":
            self._node.perish()
        await super().append(append)
        if self.dies == "after":
            self._node.perish()


class DeafBus(MemoryBus):
    """Swallows what is said while `deaf`."""

    deaf = False
    swallowed = 0

    def publish(self, topic: str, message: Message) -> None:
        if self.deaf:
            self.swallowed += 1
        else:
            super().publish(topic, message)


class Inline:
    """Takes the place of the queue and of the thread behind each SQLite connection: a statement runs on the
    loop's next turn, in the order in which it was asked. While another connection writes, it waits."""

    def __init__(self, **_: Any) -> None:
        self.daemon = True

    def start(self) -> None:
        """There is no thread."""

    def put_nowait(self, asked: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, function = asked
        if future is None:
            function()
        else:
            future.get_loop().call_soon(self._run, future, function)

    def _run(self, future: asyncio.Future[Any], function: Callable[[], Any]) -> None:
        if future.done():
            return
        try:
            future.set_result(function())
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                future.get_loop().call_soon(self._run, future, function)
            else:
                future.set_exception(error)
        except Exception as error:
            future.set_exception(error)


class Socket:
    """As much of an Engine.IO socket as the gateway touches."""

    def __init__(self) -> None:
        self.queue = Outbox(LIMITS.queue_bytes)

    def next(self) -> Any:
        """The next packet that waits; no burst is too long for this writer."""
        self.queue._taken = 0
        return self.queue.get_nowait()

    async def cut(self) -> None:
        """The simulation ends its lines itself."""


class Node:
    """One process of the server, on a database that it shares."""

    def __init__(self, url: str, hub: MemoryHub, now_ms: Callable[[], int]) -> None:
        self.db = Database.open(url)
        for engine in self.db._engines:
            sqlalchemy.event.listen(engine.sync_engine, "connect", _hurry)
        self.bus = DeafBus(hub)
        self.appender = MortalAppender(self.db, self)
        self.hosts = Hosts(self.db, self.appender, self.bus, limits=LIMITS, now_ms=now_ms, alone=False)
        self.tokens = AccessTokens(RING, now_ms, life_ms=100 * YEAR_MS)
        self.authority = Authority(self.tokens, self.db, now_ms)
        self.live = LiveServer(self.hosts, self.authority, limits=LIMITS, now_ms=now_ms)
        self.sync = SyncService(self.db, self.hosts, now_ms)
        self.snapshots = SnapshotService(self.db, self.hosts)
        self.passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        door = Door(self.bus, self.tokens, now_ms)
        factor = SecondFactorCheck(Seal("a secret for simulations, which is long enough", "totp"))
        self.sign_ins = SignInService(self.db, self.passwords, door, factor, now_ms)
        self.devices = DeviceService(self.db, door, now_ms)
        self.dead = asyncio.Event()
        self.lines: list[Line] = []

    def perish(self) -> NoReturn:
        """The power goes off, here and now: whoever asked never hears."""
        self.dead.set()
        raise asyncio.CancelledError

    def unplug(self) -> None:
        """From now on nothing begins here."""
        for line in self.lines:
            line.open = False
        for host in self.hosts._hosts.values():
            host.close()

    async def end(self) -> None:
        """What is left of a process that was killed: nothing, and no word to anybody."""
        assert self.appender._task is not None
        self.appender._task.cancel()
        await asyncio.gather(self.appender._task, return_exceptions=True)
        await self.bus.close()
        self.passwords.close()
        await self.db.close()


def _hurry(connection: Any, _: Any) -> None:
    """No power fails here that a disk would have to survive; who has to wait says so at once."""
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA busy_timeout = 0")


class Line:
    """One Socket.IO connection of a device to a node: frames in, frames out."""

    def __init__(self, server: Server, node: Node, sid: str) -> None:
        self.open = True
        self._server = server
        self._node = node
        self._sid = sid
        self._codec = CODECS["json"]
        self._socket = Socket()
        node.live.eio.sockets[sid] = self._socket
        node.lines.append(self)
        server.run(node.live._handle_eio_connect(sid, {"aiohttp.request": FROM_NOWHERE}))

    def connect(self, token: str, cursor: Json | None) -> None:
        self._send(sio.CONNECT, {"token": token, "cursor": cursor}, None)

    def ask(self, event: str, payload: Json, ack: int) -> None:
        self._send(sio.EVENT, [event, payload], ack)

    def _send(self, kind: int, data: Any, ack: int | None) -> None:
        if self.open:
            frame = self._codec.packet(kind, data, ack).data
            self._server.run(self._node.live._handle_eio_message(self._sid, frame), self._node)

    def taken(self) -> Iterator[tuple[str, Any, int | None]]:
        """What the server has sent since: (event, payload, ack id). `error` for a refused CONNECT."""
        while not self._socket.queue.empty():
            sent = self._socket.next()
            if sent is None or sent.packet_type == CLOSE:
                self.hang_up()
                return
            packet = self._codec.decode(sent.data)
            if packet.packet_type == sio.ACK:
                yield "ack", packet.data[0], packet.id
            elif packet.packet_type == sio.CONNECT_ERROR:
                yield "error", packet.data["data"], None
            elif packet.packet_type == sio.EVENT:
                yield packet.data[0], packet.data[1], None

    def hang_up(self) -> None:
        if self.open:
            self.open = False
            self._node.lines.remove(self)
            self._server.run(self._node.live._handle_eio_disconnect(self._sid, "gone"))
            del self._node.live.eio.sockets[self._sid]


class Server:
    """One person's account on nodes that come and go; see the module's first lines.

    old_kinds  kinds of op that the server's version does not know yet
    """

    def __init__(self, template: Path, folder: Path, nodes: int) -> None:
        self._inline = patch.multiple("aiosqlite.core", SimpleQueue=Inline, Thread=Inline)
        self._inline.start()
        self.now = START
        self.loop = Loop(lambda: self.now)
        self._path = folder / "server.db"
        self._copy = folder / "backup.db"
        shutil.copy(template, self._path)
        self._hub = MemoryHub()
        self._sids = 0
        self.old_kinds: frozenset[str] = frozenset()
        self.nodes: list[Node] = []
        self._start(nodes)
        session = self.run(
            self.nodes[0].sign_ins.register(Register(email=EMAIL, password=PASSWORD, device=_device(None)))
        )
        self.user = session.user.id

    def close(self) -> None:
        self._end(*self.nodes)
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self._inline.stop()

    def _start(self, count: int) -> Node:
        """New processes; the last one."""

        async def start() -> None:
            for _ in range(count):
                node = Node(f"sqlite:///{self._path}", self._hub, lambda: self.now)
                await node.appender.start()
                self.nodes.append(node)
            await self._rest()

        self.loop.run_until_complete(start())
        return self.nodes[-1]

    def _end(self, *nodes: Node) -> None:
        async def end() -> None:
            for node in nodes:
                node.unplug()
            for node in nodes:
                await node.end()
                self.nodes.remove(node)
            await self._rest()

        self.loop.run_until_complete(end())

    # -- running -------------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, Any], node: Node | None = None) -> Any:
        """Do something and all that follows from it; raises Killed when its node dies over it."""
        with self._old():
            return self.loop.run_until_complete(self._run(work, node))

    async def _run(self, work: Coroutine[Any, Any, Any], node: Node | None) -> Any:
        task = asyncio.get_running_loop().create_task(work, name="step")
        waiting: set[asyncio.Task[Any]] = {task}
        death = (
            None if node is None else asyncio.get_running_loop().create_task(node.dead.wait(), name="death")
        )
        if death is not None:
            waiting.add(death)
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if death is not None:
            death.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._rest()
        if node is not None and node.dead.is_set():
            raise Killed
        return task.result()

    async def _rest(self) -> None:
        """Until nothing is under way but what waits for time to pass."""
        quiet = 0
        while quiet < 3:
            parked = {node.appender._task for node in self.nodes}
            busy = asyncio.all_tasks() - parked - {asyncio.current_task()}
            if busy:
                quiet = 0
                await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
            else:
                quiet += 1
                await asyncio.sleep(0)

    @contextmanager
    def _old(self) -> Iterator[None]:
        """While it runs, a server of an older version does not know some kinds."""
        known: dict[str, Any] = kinds.KINDS  # type: ignore[assignment]
        hidden = {name: known.pop(name) for name in self.old_kinds}
        try:
            yield
        finally:
            known.update(hidden)

    def pass_time(self, ms: int) -> None:
        """Time passes on every node, and their deadlines are met."""
        self.now += ms
        self.run(asyncio.sleep(0))  # the loop's own timers
        for node in list(self.nodes):
            self.run(node.hosts.look())
            self.run(node.hosts.timers.scan())
            self.run(_fire(node))

    # -- what devices do -----------------------------------------------------------------------------

    def sign_in(self, install: str) -> tuple[int, str]:
        """(device number, access token) of an installation."""
        body = Login(email=EMAIL, password=PASSWORD, device=_device(install))
        session = self.run(self.nodes[0].sign_ins.login(body))
        return session.device.id, session.access_token

    def line(self, node: Node, token: str, cursor: Json | None) -> Line:
        """A new connection to a node."""
        self._sids += 1
        line = Line(self, node, f"sid{self._sids}")
        line.connect(token, cursor)
        return line

    def rest(self, node: Node, token: str, what: str, **query: Any) -> Json:
        """A request over REST, answered as the client's transport would hand it over."""
        try:
            answer: Json = self.run(self._request(node, token, what, query), node)
        except Refusal as refusal:
            return refusal.answer()
        except NotAuthenticated as error:
            return {"ok": False, "code": error.code, "message": error.message}
        except Problem as problem:
            return {"ok": False, "code": problem.code}
        return json(answer)

    async def _request(self, node: Node, token: str, what: str, query: Json) -> Any:
        caller = await node.authority.authenticate(token)
        match what:
            case "push":
                return await node.sync.push(caller, json(query))
            case "pull":
                return await node.sync.pull(caller, PullQuery(**query))
            case "snapshot":
                return await node.snapshots.page(caller, SnapshotQuery(**query))
            case "void":
                return await node.sync.void(caller, VoidQuery(**query))
            case "fork":
                forked = await node.devices.fork(caller, Fork(**query))
                return {"device": forked.device.id, "access_token": forked.access_token}
        raise AssertionError(what)

    # -- what befalls a server ---------------------------------------------------------------------------

    def kill(self, node: Node) -> Node:
        """kill -9, and a new process in its place."""
        self._end(node)
        return self._start(1)

    def revoke(self, device: int) -> None:
        """A person signs a device out from elsewhere."""

        with suppress(Problem):  # it is signed out already
            self.run(self.nodes[0].devices.revoke(Identity(self.user, 1, 0), device))

    def back_up(self) -> None:
        """Copy the database while it is in use."""
        _copy(self._path, self._copy)

    @property
    def backed_up(self) -> bool:
        return self._copy.exists()

    def restore(self, epoch: str) -> None:
        """All nodes stop, the copy takes the place of the database, every stream begins a new epoch."""
        count = len(self.nodes)
        self._end(*self.nodes)
        for path in self._path.parent.glob(f"{self._path.name}*"):
            path.unlink()
        _copy(self._copy, self._path)
        with closing(_sqlite(self._path)) as connection, connection:
            connection.execute("UPDATE streams SET epoch = ?", (epoch,))
        self._start(count)

    # -- what a test looks at ----------------------------------------------------------------------------

    def log(self) -> list[Record]:
        """The whole log, as it is committed."""

        async def read() -> list[Record]:
            node = self.nodes[0]
            host = await node.hosts.open(self.user)
            await host.catch_up()
            return await node.hosts.log.read(host.stream, 0, 1_000_000)

        records: list[Record] = self.run(read())
        return records

    @property
    def head(self) -> int:
        """The seq of the last record in the log."""
        with closing(_sqlite(self._path)) as connection:
            return int(connection.execute("SELECT max(head) FROM streams").fetchone()[0])

    def voids(self) -> list[Json]:
        """What was refused, by the pages that a person gets."""
        node, token = self.nodes[0], self.nodes[0].tokens.issue(self.user, 1)
        found: list[Json] = []
        after: str | None = None
        while True:
            page = self.rest(node, token, "void", after=after, limit=20)
            found += page["records"]
            after = page["next"]
            if after is None:
                return found

    def tags(self) -> list[str]:
        """The tags of the ops in the log, in order, without waking a node for it."""
        with closing(_sqlite(self._path)) as connection:
            rows = connection.execute("SELECT body FROM records ORDER BY seq").fetchall()
        return [tag for (body,) in rows if (tag := orjson.loads(body).get("tag")) is not None]

    def states(self, names: list[str]) -> dict[str, Json | None]:
        """The committed states of workouts, as a node tells them."""

        async def read() -> dict[str, Json | None]:
            host = await self.nodes[-1].hosts.open(self.user)
            await host.catch_up()
            found = {name: await host.state(name) for name in names}
            return {name: None if at is None else at.document for name, at in found.items()}

        states: dict[str, Json | None] = self.run(read())
        return states


async def _fire(node: Node) -> None:
    node.hosts.timers._fire()


def json(value: Any) -> Any:
    """What is left of a value after it went over a wire."""
    return orjson.loads(orjson.dumps(value))


def _device(install: str | None) -> DeviceIn:
    return DeviceIn(name="phone", platform="test", install_id=install)


def _sqlite(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path)


def _copy(source: Path, target: Path) -> None:
    with closing(_sqlite(source)) as old, closing(_sqlite(target)) as new:
        old.backup(new)
