"""The hosts of one node, and all that they share: database, append, projections, bus, deadlines, limits."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import structlog

from fitai.engine.ops import Dot, Record
from fitai.engine.records import Bests
from fitai.gateways.bus.contract import Bus
from fitai.gateways.live.host import Host
from fitai.gateways.live.jobs import Key, KeyReuse
from fitai.gateways.live.limits import LiveLimits
from fitai.gateways.live.timers import TimerWheel
from fitai.gateways.tasks import spawn
from fitai.persistence.append import Appender, Companion
from fitai.persistence.database import Database, Unavailable
from fitai.persistence.devices import Devices
from fitai.persistence.histories import Asked, Histories, lay
from fitai.persistence.idempotency import Idempotency
from fitai.persistence.log import Log, StreamRow
from fitai.persistence.projections import Projector, deadlines
from fitai.persistence.workouts import Merge, Workouts
from fitai.sync.log import Position

_log = structlog.get_logger(__name__)

IDLE_MS = 60_000  # a host with nothing to do is kept this long
SWEEP_S = 10.0
RENEW_S = 30.0  # how often projections are searched for what an older version of the fold wrote


class UnknownUser(Exception):
    """There is no such user, or no longer."""


class LogReader:
    """The log's questions, each in a session of its own."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def read(self, stream: int, after: int, limit: int) -> list[Record]:
        async with self._db.read() as session:
            return await Log(session).read(stream, after, limit)

    async def workout_records(self, stream: int, workout: str) -> list[Record]:
        async with self._db.read() as session:
            return await Log(session).workout_records(stream, workout)

    async def workouts_records(self, stream: int, workouts: Sequence[str]) -> dict[str, list[Record]]:
        async with self._db.read() as session:
            return await Log(session).workouts_records(stream, workouts)

    async def find(self, stream: int, device: int, first: int, last: int) -> list[Record]:
        async with self._db.read() as session:
            return await Log(session).find(stream, device, first, last)

    async def firsts(self, stream: int, after: int) -> dict[int, int]:
        async with self._db.read() as session:
            return await Log(session).firsts(stream, after)

    async def position(self, stream: int, device: int) -> Position:
        async with self._db.read() as session:
            return await Log(session).device_position(stream, device)

    async def places(self, stream: int, dots: Iterable[Dot]) -> dict[Dot, int]:
        async with self._db.read() as session:
            return await Log(session).places(stream, dots)

    async def standing(self, stream: int) -> tuple[StreamRow, dict[int, Position]]:
        """The stream's row and its devices' positions, from one picture of the data."""
        async with self._db.read() as session:
            log = Log(session)
            row = await log.stream(stream)
            if row is None:
                raise UnknownUser
            return row, await log.device_positions(stream)


class Hosts:
    """Opens and forgets hosts; see fitai.gateways.live.host."""

    def __init__(
        self,
        db: Database,
        appender: Appender,
        bus: Bus,
        *,
        limits: LiveLimits,
        now_ms: Callable[[], int],
        alone: bool = True,
    ) -> None:
        self.db = db
        self.appender = appender
        self.projector = Projector(db)
        self.bus = bus
        self.limits = limits
        self.now_ms = now_ms
        self.alone = alone
        self.node = uuid.uuid4().hex
        self.log = LogReader(db)
        self.timers = TimerWheel(self)
        self._hosts: dict[str, Host] = {}
        self._opening: dict[str, asyncio.Future[Host]] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._renewer: asyncio.Task[None] | None = None
        self._layer: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def start(self) -> None:
        """Begin to watch deadlines, to forget idle hosts, and to renew what an older version projected."""
        self.timers.start()
        self._sweeper = spawn("live.sweep", self._sweep())
        self._renewer = spawn("live.renew", self._renew())

    async def close(self) -> None:
        """Bring every projection up to its log, then forget all hosts."""
        self._closing.set()
        await self.timers.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        if self._renewer is not None:
            await self._renewer
        await asyncio.gather(*(host.flush() for host in self._hosts.values()), return_exceptions=True)
        for host in self._hosts.values():
            await host.quiet()
            host.close()
        self._hosts.clear()
        if self._layer is not None:
            await self._layer

    async def open(self, user: str) -> Host:
        """The user's host; raises UnknownUser, Unavailable."""
        host = self._hosts.get(user)
        if host is not None:
            host.used_at = self.now_ms()
            return host
        opening = self._opening.get(user)
        if opening is None:
            opening = self._opening[user] = spawn("live.open", self._open(user), awaited=True)
        return await asyncio.shield(opening)

    def loaded(self, user: str) -> Host | None:
        """The user's host if this node has one."""
        return self._hosts.get(user)

    async def _open(self, user: str) -> Host:
        try:
            async with self.db.read() as session:
                row = await Log(session).stream_of(user)
            if row is None:
                raise UnknownUser(user)
            host = Host(self, user, row.id, row.epoch)
            await host.open()
            self._hosts[user] = host
            return host
        finally:
            del self._opening[user]

    async def look(self) -> None:
        """Compare the hosts' heads with the log: the last hint of a commit elsewhere may have been lost."""
        hosts = {host.stream: host for host in self._hosts.values()}
        async with self.db.read() as session:
            heads = await Log(session).heads(hosts)
        for stream, head in heads.items():
            hosts[stream].heard_of(head)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.look()
            except Exception:
                _log.warning("heads_not_compared", exc_info=True)
            limit = self.now_ms() - IDLE_MS
            for user, host in list(self._hosts.items()):
                if host.idle and host.used_at < limit:
                    host.close()
                    del self._hosts[user]

    async def _renew(self) -> None:
        """Write anew what an older version of the fold projected, and see later whether there is more: nodes
        of the release before may still be writing. On closing, a chunk that is under way comes to its end."""
        due = deadlines(self.limits.idle_pause_ms, self.limits.idle_finish_ms)
        while not self._closing.is_set():
            try:
                place = await self.projector.renew(due)
                while place is not None and not self._closing.is_set():
                    place = await self.projector.renew(due, place)
            except Unavailable:
                _log.warning("renewal_postponed")
            except Exception:
                _log.exception("renewal_failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), RENEW_S)

    # -- what hosts and timers read ----------------------------------------------------------------

    async def device_name(self, user: str, device: int) -> str:
        """What the person calls a device."""
        async with self.db.read() as session:
            found = await Devices(session).get(user, device)
        return "" if found is None else found.name

    async def open_workouts(self, stream: int) -> Sequence[str]:
        """The stream's workouts that are not over, by the projections."""
        async with self.db.read() as session:
            return await Workouts(session).open_ids(stream)

    async def changed_workouts(self, stream: int, after: int, limit: int) -> Sequence[str]:
        """The workouts that changed last, of those with records past a position."""
        async with self.db.read() as session:
            return await Workouts(session).changed_after(stream, after, limit)

    async def merges(self, stream: int) -> Sequence[Merge]:
        """The stream's merged workouts, by the projections."""
        async with self.db.read() as session:
            return await Workouts(session).merges(stream)

    async def overlapping(self, stream: int, template: str, since: int, until: int) -> Sequence[str]:
        """Workouts of a template that were going on between two moments (Unix ms), by the projections."""
        async with self.db.read() as session:
            return await Workouts(session).overlapping(stream, template, since, until)

    async def histories(self, stream: int, asked: Sequence[Asked]) -> Sequence[dict[str, Bests]]:
        """For each of these workouts, per exercise the bests of all workouts that began before it. What made
        it long is shortened for the next time, in the background, one stream after another."""
        async with self.db.read() as session:
            histories = Histories(session, stream)
            found = await histories.before(asked)
        if histories.far and (self._layer is None or self._layer.done()):
            self._layer = spawn("live.marks", self._lay(stream, histories.far))
        return found

    async def _lay(self, stream: int, far: Mapping[str, tuple[int, str]]) -> None:
        """Lay marks on the ways to these places. On closing, those under way are laid, and no more."""
        try:
            for exercise, place in far.items():
                while not self._closing.is_set() and await lay(self.db, stream, exercise, place):
                    pass
        except Unavailable:
            _log.warning("marks_postponed")

    async def due(self, until: int, limit: int) -> Sequence[tuple[str, str, int]]:
        """(user, workout, due) of the server deadlines up to a moment (Unix ms), by the projections."""
        async with self.db.read() as session:
            return await Workouts(session).due(until, limit)

    async def lagging(self, limit: int) -> Sequence[str]:
        """Users whose projections are behind their log."""
        return await self.projector.lagging(limit)

    async def key_used(self, user: str, key: Key) -> bool:
        """Whether the same request used this Idempotency-Key before; raises KeyReuse for another one."""
        async with self.db.read() as session:
            stored = await Idempotency(session).find(user, key.key)
        if stored is not None and stored.request != key.request:
            raise KeyReuse(key.key)
        return stored is not None

    def companion(self, user: str, key: Key) -> Companion:
        """The row that makes a key used, written with the ops that it stands for."""
        return Idempotency.companion(user, key.key, key.request, self.now_ms())
