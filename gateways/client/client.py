"""The client, put together: performs what the core wants, and brings back what came of it.

    client = await Client.open("phone.db", url="https://…", now_ms=now_ms)
    await client.register(email, password, name="phone", platform="ios")
    await client.log("workout.start", workout, {})        # durable at once, with or without a network
    await client.sync()                                   # or `connect`, to stay in touch
    document = await client.state(workout)

All that touches the file runs in one thread of its own, one step after another: an event goes into the core,
and what is to be saved is saved before anything is sent. When that fails, the core is made anew from the
file and the connection is given up; nothing is sent that is not written down.
"""

from __future__ import annotations

import asyncio
import hashlib
import random as chance
import sqlite3
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import orjson
import structlog

from fitai.engine import workout as engine
from fitai.engine.kinds import stamp
from fitai.gateways.client import messages as m
from fitai.gateways.client import view
from fitai.gateways.client.account import Account, Denied, Http, Offline
from fitai.gateways.client.core import Core, Patience
from fitai.gateways.client.ledger import Held
from fitai.gateways.client.messages import Command, Event, Json
from fitai.gateways.client.store import Store, connect
from fitai.gateways.client.transport import Hear, Transport
from fitai.gateways.client.transport_rest import RestTransport
from fitai.gateways.client.transport_socket import Listener, Listening, SocketTransport
from fitai.gateways.tasks import spawn
from fitai.sync.fold import Folded
from fitai.sync.wire import WireLimits, decode_op

_log = structlog.get_logger(__name__)

T = TypeVar("T")

Carrier = Literal["socket", "rest"]


class Stopped(Exception):
    """The client does not try any more; `code` says why (`revoked`, `signed_out`, `protocol`, …)."""

    def __init__(self, code: str) -> None:
        super().__init__(f"stopped: {code}")
        self.code = code


class OtherUser(Exception):
    """This file is another person's: their ops must not be sent under this name."""


class Client:
    """One device of a person, on one file. Made by `open`; see the module's first lines."""

    def __init__(
        self,
        store: Store,
        thread: ThreadPoolExecutor,
        url: str,
        now_ms: Callable[[], int],
        *,
        transport: Carrier,
        codec: str,
        random: Callable[[], float],
        patience: Patience,
        snapshot_over: int,
        listener: Listener,
    ) -> None:
        self.codec = codec
        self._store = store
        self._thread = thread
        self.now_ms = now_ms
        self._carrier: Carrier = transport
        self._random = random
        self._patience = patience
        self._snapshot_over = snapshot_over
        self._listeners = [listener]
        self._http = Http(url)
        self._account = Account(self._http)
        self._meta: Json = store.meta()
        self._core = self._make_core()
        self._turn = asyncio.Lock()
        self._events: asyncio.Queue[tuple[Transport | None, Event]] = asyncio.Queue()
        self._news = asyncio.Event()
        self._line: Transport | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._pump = spawn("client.pump", self._take_all())

    @classmethod
    async def open(
        cls,
        path: Path | str,
        *,
        url: str,
        now_ms: Callable[[], int],
        transport: Carrier = "socket",
        codec: str = "json",
        random: Callable[[], float] = chance.random,
        patience: Patience | None = None,
        snapshot_over: int = 2_000,
        listener: Listener | None = None,
        opened: Callable[[Path | str], sqlite3.Connection] = connect,
    ) -> Client:
        """Open the file at `path`, or make it. Nothing is sent before `connect` or `sync`.

        `now_ms` is the device's clock, Unix ms; `codec` json or msgpack (socket only); a first sync of more
        than `snapshot_over` records begins with a snapshot. Raises sqlite3.Error when the file is in use or
        is no such file.

        `listener(event, payload)` hears, in the loop, what an app may want to show:

            records    {records}: in the log and in the file now, own and foreign ones, in `seq` order; once
                       more when an own one, whose `te` was an estimate, is known exactly
            online     {head, resumed}: there is a connection
            offline    {}: it is gone, by `disconnect` or by itself
            pushed     the answer to a push
            ops, bye, insight, telemetry, presence, group:ops, group:tick    as the protocol has them
        """
        thread = ThreadPoolExecutor(1, "fitai-client")
        loop = asyncio.get_running_loop()
        try:
            store = await loop.run_in_executor(thread, Store, path, opened)
        except BaseException:
            thread.shutdown()
            raise
        return cls(
            store,
            thread,
            url,
            now_ms,
            transport=transport,
            codec=codec,
            random=random,
            patience=patience or Patience(),
            snapshot_over=snapshot_over,
            listener=listener or (lambda _event, _payload: None),
        )

    async def close(self) -> None:
        """Hang up and close the file. What waits is sent the next time."""
        if self._closed:
            return
        self._closed = True
        with suppress(sqlite3.Error):
            await self._take(m.Left())
        self._drop_line()
        self._pump.cancel()
        for task in self._running:
            task.cancel()
        await asyncio.gather(self._pump, *self._running, *self._closing, return_exceptions=True)
        await self._http.close()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)
        self._thread.shutdown()

    # -- who we are ----------------------------------------------------------------------------------

    @property
    def held(self) -> Held:
        """Where we stand; to be looked at only."""
        return self._core.held

    @property
    def device(self) -> int | None:
        """Our number at the server; None before the first sign-in."""
        return self._core.held.device

    @property
    def user(self) -> str | None:
        """Whose file this is; None before the first sign-in."""
        return self._core.held.user

    @property
    def token(self) -> str | None:
        """The newest access token, for the other calls of REST; None before the first sign-in."""
        token = self._meta.get("access_token")
        return None if token is None else str(token)

    async def register(
        self, email: str, password: str, *, name: str, platform: str, display_name: str | None = None
    ) -> None:
        """A new user on this device; raises Denied or Offline."""
        device = await self._described(name, platform)
        await self._signed(await self._account.register(email, password, device, display_name))

    async def login(self, email: str, password: str, *, name: str, platform: str) -> None:
        """A known user on this device; what waits in the outbox is sent under the new sign-in. Raises Denied,
        Offline, or OtherUser (and then nothing has changed)."""
        device = await self._described(name, platform)
        await self._signed(await self._account.login(email, password, device))

    async def adopt(
        self, user: str, device: int, access_token: str, refresh_token: str | None = None
    ) -> None:
        """Use a sign-in that was made elsewhere. Raises OtherUser."""
        if self.user not in (None, user):
            raise OtherUser(f"this file belongs to {self.user}")
        tokens = {"access_token": access_token, "refresh_token": refresh_token}
        await self._take(m.Signed(user, device), tokens)

    async def _signed(self, session: Json) -> None:
        tokens = (session["access_token"], session["refresh_token"])
        await self.adopt(session["user"]["id"], session["device"]["id"], *tokens)

    async def _described(self, name: str, platform: str) -> Json:
        return {"name": name, "platform": platform, "install_id": await self._lasting("install_id")}

    async def _lasting(self, name: str) -> str:
        """A random id that is written down before it is first used."""
        if self._meta.get(name) is None:
            await self._remember({name: str(uuid.uuid4())})
        return str(self._meta[name])

    # -- what the person does --------------------------------------------------------------------------

    async def log(
        self, kind: str, workout: str, value: Json, entity: str | None = None, *, at: int | None = None
    ) -> Json:
        """Write an op; when this returns it will survive anything but the loss of the file.

        `at` (Unix ms) is for what happened earlier. Returns the op as it will be sent. Raises Refusal for
        what no server could read.
        """
        op: Json = {"kind": kind, "workout": workout, "value": value, **stamp(kind)}
        op["at"] = self.now_ms() if at is None else at
        if entity is not None:
            op["entity"] = entity
        decode_op({"n": 1, "base": 0, **op}, WireLimits())
        async with self._turn:
            written, commands = await self._step(lambda core: core.write(op))
            self._perform_all(commands)
        self._changed()
        return written

    async def state(self, workout: str) -> Json | None:
        """The workout's state document: what is confirmed and, on top, what waits. None if unknown."""
        return await self._in_thread(lambda: self._state(workout.lower()))

    async def workouts(self) -> list[str]:
        """The ids of all workouts, the last changed first."""
        return await self._in_thread(self._store.workouts)

    async def digest(self, workout: str | None = None) -> str:
        """The digest of a workout's state, equal to the server's after sync; without one, of all of them."""
        return await self._in_thread(lambda: self._digest(workout))

    async def refused(self) -> list[Json]:
        """Own ops that were refused: {device, n, seq?, code, detail, op}."""
        return [_refused(void) for void in await self._in_thread(self._store.void)]

    async def export_refused(self, path: Path | str) -> int:
        """Write them to a file, one JSON object a line; returns how many."""
        refused = await self.refused()
        lines = b"".join(orjson.dumps(one) + b"\n" for one in refused)
        await self._in_thread(lambda: Path(path).write_bytes(lines))
        return len(refused)

    async def records(self, after: int = 0, limit: int = 1_000) -> list[Json]:
        """The confirmed log after a seq, as the wire has it."""
        rows = await self._in_thread(lambda: self._store.log(after, limit))
        return [row.body for row in rows if row.seq <= self.held.cursor]

    def _state(self, workout: str) -> Json | None:
        held = self._core.held
        if held.page is not None:
            kept = self._store.state(workout)
            if kept is not None:
                return kept  # the log has not come as far yet
        return view.document(workout, self._store.aliasing(), self._fold)

    def _fold(self, workout: str) -> Folded:
        rows, waiting = self._store.of(workout), self._store.outbox(workout)
        return view.folded(workout, self._core.held, rows, waiting, self.now_ms)

    def _digest(self, workout: str | None) -> str:
        if workout is not None:
            return engine.digest(self._state(workout.lower()) or {})
        names = sorted(self._store.workouts())
        digests = {name: engine.digest(self._state(name) or {}) for name in names}
        return hashlib.sha256(orjson.dumps(digests)).hexdigest()

    # -- being in touch ----------------------------------------------------------------------------------

    @property
    def online(self) -> bool:
        """Whether there is a connection now."""
        return self._core.online

    @property
    def settled(self) -> bool:
        """Whether all is sent, and all that the server had is here."""
        return self._core.settled

    @property
    def stopped(self) -> str | None:
        """Why the client does not try any more, or None."""
        return self._core.stopped

    async def connect(self) -> None:
        """Get in touch and stay so, through whatever happens, until `disconnect`.

        Called again, when the network is known to be back, it cuts the wait for the next attempt short.
        """
        await self._take(m.Asked())

    async def disconnect(self) -> None:
        """Hang up."""
        await self._take(m.Left())

    async def sync(self, within_s: float = 60.0) -> None:
        """Send and fetch everything, trying again until it is done; afterwards as connected as before.

        Raises Stopped when it can not be done, TimeoutError when it was not done in time.
        """
        before = self._core.wanted
        await self.connect()
        try:
            await self.until(lambda: self.settled, within_s)
        finally:
            if not before:
                await self.disconnect()

    async def until(self, holds: Callable[[], bool], within_s: float = 60.0) -> None:
        """Wait until something holds: of the client, or of what its listener heard.

        It is looked at between steps only: what holds is written down, and the listener has heard of it.
        Raises TimeoutError, or Stopped when the client has stopped and it does not hold.
        """
        async with asyncio.timeout(within_s):
            while True:
                async with self._turn:
                    if holds():
                        return
                if self.stopped is not None:
                    raise Stopped(self.stopped)
                await self._news.wait()

    async def ask(self, event: str, payload: Json) -> Json:
        """An event of the socket that is no part of sync, such as workout:get; raises Offline."""
        if not isinstance(self._line, SocketTransport):
            raise Offline("there is no socket")
        return await self._line.ask(event, payload)

    def send(self, event: str, payload: Json, answered: Listening | None = None) -> None:
        """The same without waiting; `answered` hears the answer in the order of the connection, or nothing
        when that is lost. Without a connection nothing is sent."""
        if self.online and isinstance(self._line, SocketTransport):
            self._start(self._line.send(event, payload, answered))

    def listen(self, listener: Listener) -> Callable[[], None]:
        """One more who hears what `open`'s listener hears; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # -- steps ---------------------------------------------------------------------------------------------

    async def _take_all(self) -> None:
        while True:
            line, event = await self._events.get()
            if line is not None and line is not self._line:
                continue  # from a connection that is gone
            try:
                await self._take(event)
            except Exception as error:
                _log.warning("client_step_failed", step=type(event).__name__, exc_info=error)

    async def _take(self, event: Event, meta: Json | None = None) -> None:
        """One event: decide, save (and `meta` with it), then perform."""
        async with self._turn:
            online = self.online
            _, commands = await self._step(lambda core: (None, core.handle(event)), meta)
            self._perform_all(commands)
            self._tell_of(event)
            if online and not self.online:
                self._tell("offline", {})
        self._changed()

    def _tell_of(self, event: Event) -> None:
        match event:
            case m.Connected(head=head, resumed=resumed):
                self._tell("online", {"head": head, "resumed": resumed})
            case m.Told(epoch, first, to, records):
                self._tell("ops", {"epoch": epoch, "from": first, "to": to, "records": records})
            case m.Pushed(answer):
                self._tell("pushed", answer)
            case m.SaidBye(code, reconnect, after_ms):
                self._tell("bye", {"code": code, "reconnect": reconnect, "after_ms": after_ms})

    def _tell(self, event: str, payload: Json) -> None:
        for listener in list(self._listeners):
            try:
                listener(event, payload)
            except Exception as error:  # the app's own; sync goes on without it
                _log.error("client_listener_failed", told=event, exc_info=error)
        self._changed()

    async def _step(
        self, act: Callable[[Core], tuple[T, list[Command]]], meta: Json | None = None
    ) -> tuple[T, list[Command]]:
        wanted = self._core.wanted
        try:
            return await self._in_thread(lambda: self._saved(act, meta or {}))
        except BaseException:
            # What the core believes may not be in the file: begin from what is.
            self._drop_line()
            self._core = await self._in_thread(self._make_core)
            if wanted:
                self._wake(self._patience.base_ms)
                self._core.resume()
            raise

    def _saved(self, act: Callable[[Core], tuple[T, list[Command]]], meta: Json) -> tuple[T, list[Command]]:
        result, commands = act(self._core)
        first = commands[0] if commands else None
        save = first if isinstance(first, m.Save) else m.Save()
        save.meta = {**save.meta, **meta}
        if save:
            self._store.save(save)
        self._meta.update(meta)
        return result, commands

    def _make_core(self) -> Core:
        return Core(
            self._store.held(),
            self._store,
            now_ms=self.now_ms,
            random=self._random,
            patience=self._patience,
            snapshot_over=self._snapshot_over,
        )

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _remember(self, meta: Json) -> None:
        await self._in_thread(lambda: self._store.remember(meta))
        self._meta.update(meta)

    # -- performing ----------------------------------------------------------------------------------------

    def _perform_all(self, commands: list[Command]) -> None:
        for command in commands:
            if not isinstance(command, m.Save):
                self._perform(command)
            elif command.rows:  # it is done, and so it may be told
                self._tell("records", {"records": [row.body for row in command.rows]})

    def _perform(self, command: Command) -> None:
        line = self._line
        match command:
            case m.Connect(cursor):
                self._drop_line()
                line = self._line = self._make_line()
                self._start(line.open(str(self._meta.get("access_token")), cursor))
            case m.Disconnect():
                self._drop_line()
            case m.Push(ops, epoch) if line is not None:
                self._start(line.push(ops, epoch))
            case m.Pull(after, limit) if line is not None:
                self._start(line.pull(after, limit))
            case m.TakePage(at, after):
                self._start(self._take_page(at, after))
            case m.Fork(fork_at):
                self._start(self._fork(fork_at))
            case m.Renew(in_place):
                self._start(self._renew(in_place))
            case m.Wake(after_ms):
                self._wake(after_ms)
            case _:
                raise AssertionError(f"nothing can be done about {command}")

    def _make_line(self) -> Transport:
        line: Transport

        def hear(event: Event) -> None:
            self._events.put_nowait((line, event))

        line = self._transport(hear)
        return line

    def _transport(self, hear: Hear) -> Transport:
        if self._carrier == "rest":
            return RestTransport(self._http, hear, self.now_ms)
        return SocketTransport(self._http, hear, self.now_ms, self.codec, self._tell)

    def _drop_line(self) -> None:
        line, self._line = self._line, None
        if self._alarm is not None:
            self._alarm.cancel()
        if line is not None:
            self._keep(line.close(), self._closing)

    def _wake(self, after_ms: int) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(after_ms / 1000, self._events.put_nowait, (None, m.Woke()))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._keep(work, self._running)

    def _keep(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        task = spawn("client.request", work)
        among.add(task)
        task.add_done_callback(among.discard)

    async def _take_page(self, at: int | None, after: Any) -> None:
        token = str(self._meta.get("access_token"))
        try:
            answer = await self._http.call("GET", "/sync/snapshot", token=token, at=at, after=after)
        except Denied as denied:
            answer = {**denied.problem, "ok": False, "code": denied.code}
        except Offline:
            answer = {"ok": False, "code": "unavailable"}
        self._events.put_nowait((None, m.Paged({"ok": True, **answer})))

    async def _fork(self, fork_at: int) -> None:
        """Ask with an install id that is kept until it worked, so that a second try is the same fork."""
        install_id = await self._lasting("fork_install_id")
        try:
            session = await self._account.fork(str(self._meta["access_token"]), fork_at, install_id)
        except Denied as denied:
            if denied.code == "already_exists":  # kept from a fork at another place, and of no use for this
                await self._remember({"fork_install_id": None})
            _log.warning("client_fork_failed", error=str(denied))
            self._events.put_nowait((None, m.Forked(None, fork_at, denied.code)))
            return
        except Offline as offline:
            _log.warning("client_fork_failed", error=str(offline))
            self._events.put_nowait((None, m.Forked(None, fork_at)))
            return
        mine = {"install_id": install_id, "fork_install_id": None}
        tokens = {"access_token": session["access_token"], "refresh_token": session["refresh_token"]}
        await self._take(m.Forked(session["device"]["id"], fork_at), {**tokens, **mine})

    async def _renew(self, in_place: bool) -> None:
        token = self._meta.get("refresh_token")
        if token is None:
            self._events.put_nowait((None, m.Renewed(ok=False, over=True)))
            return
        try:
            session = await self._account.refresh(token)
        except Denied as denied:
            event = m.Renewed(ok=False, over=400 <= denied.status < 429)
            self._events.put_nowait((None, event))
        except Offline:
            self._events.put_nowait((None, m.Renewed(ok=False)))
        else:
            tokens = {"access_token": session["access_token"], "refresh_token": session["refresh_token"]}
            await self._take(m.Renewed(ok=True), tokens)
            if in_place and self._line is not None:
                await self._line.renew(session["access_token"])

    def _changed(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _refused(void: m.Void) -> Json:
    out = {"device": void.device, "n": void.n, "code": void.code, "detail": void.detail, "op": void.op}
    return out if void.seq is None else {**out, "seq": void.seq}
