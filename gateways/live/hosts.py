"""The hosts of one node, and all that they share: database, append, projections, bus, deadlines, limits."""

from __future__ import annotations

import asyncio
import itertools
import random
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import structlog

from fitai.engine.ops import Dot, Record
from fitai.engine.records import Bests
from fitai.gateways.bus.contract import Bus
from fitai.gateways.live.allowance import DAY_MS
from fitai.gateways.live.histories import Histories
from fitai.gateways.live.host import Host
from fitai.gateways.live.jobs import Key, KeyReuse
from fitai.gateways.live.limits import LiveLimits
from fitai.gateways.live.nodes import Nodes
from fitai.gateways.live.revocations import Revocations
from fitai.gateways.live.timers import TimerWheel
from fitai.gateways.live.watching import Watching
from fitai.gateways.live.worker import Worker
from fitai.gateways.meters import HostCounts
from fitai.gateways.tasks import spawn
from fitai.gateways.together import Together
from fitai.persistence.append import Appender, Companion
from fitai.persistence.database import Database, Unavailable
from fitai.persistence.devices import Devices
from fitai.persistence.histories import Asked, lay
from fitai.persistence.idempotency import Idempotency
from fitai.persistence.leases import Leases
from fitai.persistence.log import Log, Place
from fitai.persistence.opening import read_opening
from fitai.persistence.projections import Projector, deadlines
from fitai.persistence.workouts import Workouts
from fitai.sync.log import Position

_log = structlog.get_logger(__name__)

IDLE_MS = 60_000  # a host with nothing to do is kept this long
LOOK_GAP_S = 0.2  # the shortest time between two looks at the heads
ANEW = 200  # users told anew at once after this node was away,
ANEW_S = 0.02  # and the pause before the next ones
RENEW_S = 30.0  # how often projections are searched for what an older version of the fold wrote


class UnknownUser(Exception):
    """There is no such user, or no longer."""


class Beside(Protocol):
    """What else of this node works on streams, and has to know of the other nodes."""

    def workers(self) -> Iterable[Worker[Any]]:
        """Those whose streams are looked at beside the users'."""

    def lost(self, node: str) -> None:
        """Another node is no more."""

    def anew(self) -> None:
        """This node may have missed anything that another one told."""


class LogReader:
    """The log's questions, each in a session of its own, but for those about whole workouts."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._together = Together("live.load", self._workouts_records)

    async def read(self, stream: int, after: int, limit: int) -> list[Record]:
        async with self._db.read() as session:
            return await Log(session).read(stream, after, limit)

    async def tail(self, stream: int, epoch: str, after: int, limit: int) -> list[Record] | None:
        """Records after a position, None when the log that it is a position of began anew or is gone."""
        async with self._db.read() as session:
            log = Log(session)
            row = await log.stream(stream)
            return await log.read(stream, after, limit) if row is not None and row.epoch == epoch else None

    async def workout_records(self, stream: int, workout: str) -> list[Record]:
        async with self._db.read() as session:
            return await Log(session).workout_records(stream, workout)

    async def workouts_records(self, stream: int, workouts: Sequence[str]) -> dict[str, list[Record]]:
        """All records of each of these workouts, asked for together with what other hosts need."""
        records = await self._together([(stream, workout) for workout in workouts])
        return dict(zip(workouts, records, strict=True))

    async def _workouts_records(self, asked: Sequence[Sequence[Place]]) -> list[list[list[Record]]]:
        places = [place for its in asked for place in its]
        async with self._db.read() as session:
            records = iter(await Log(session).workouts_records(places))
        return [[next(records) for _ in its] for its in asked]

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
        self._histories = Histories(db)
        self.bus = bus
        self.limits = limits
        self.now_ms = now_ms
        self.alone = alone
        self.node = uuid.uuid4().hex
        self.words = itertools.count()
        self.dice = random.Random(self.node)
        self.log = LogReader(db)
        self.timers = TimerWheel(self)
        self.watching = Watching(self)
        self.lost_races = 0  # batches that were placed again since another node was faster
        self.gaps_healed = 0  # readings of the log that brought what no hint had brought
        self.beside: Beside | None = None
        self._hosts: dict[str, Host] = {}
        self._ended: list[Host] = []  # forgotten, and maybe still at work
        self._opening: dict[str, asyncio.Future[Host | UnknownUser | Unavailable]] = {}
        self._nodes: Nodes | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.revocations = Revocations(self)
        self._look = asyncio.Event()
        self._stale = False  # what is known of other nodes may be
        self._renewer: asyncio.Task[None] | None = None
        self._layer: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def start(self) -> None:
        """Begin to watch deadlines, to forget idle hosts, and to renew what an older version projected."""
        self.timers.start()
        if not self.alone:
            self._nodes = Nodes(self)
            self._nodes.start()
        self.revocations.start()
        self._watcher = spawn("live.watch", self._watch())
        self._renewer = spawn("live.renew", self._renew())

    async def close(self) -> None:
        """Bring every projection up to its log, then forget all hosts."""
        self._closing.set()
        self._look.set()
        await self.timers.close()
        await self.revocations.close()
        if self._nodes is not None:
            await self._nodes.close()
        if self._watcher is not None:
            await self._watcher
        if self._renewer is not None:
            await self._renewer
        await asyncio.gather(*(host.flush() for host in self._hosts.values()), return_exceptions=True)
        for host in self._hosts.values():
            await host.quiet()
            host.close()
        self._hosts.clear()
        for host in self._ended:
            await host.quiet()
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
            opening = self._opening[user] = spawn("live.open", self._open(user))
        opened = await asyncio.shield(opening)
        if not isinstance(opened, Host):
            raise opened
        return opened

    def counts(self) -> HostCounts:
        """What is measured of the hosts."""
        return HostCounts(len(self._hosts), self.lost_races, self.gaps_healed)

    def loaded(self, user: str) -> Host | None:
        """The user's host if this node has one."""
        return self._hosts.get(user)

    async def _open(self, user: str) -> Host | UnknownUser | Unavailable:
        """The host, or why there is none: that is for whoever asked to tell, and no failure of this task."""
        try:
            # What another node commits from here on is looked for as soon as the host hears of others.
            since = self.now_ms() - DAY_MS if self.limits.rates else None
            async with self.db.read() as session:
                opening = await read_opening(session, user, since)
            if opening is None:
                raise UnknownUser(user)
            host = Host(self, user, opening.stream.id, opening.stream.epoch)
            try:
                await host.open(opening)
            except BaseException:
                host.close()
                raise
            self._hosts[user] = host
            self.watching.opened(user, host.epoch, host.head)
            return host
        except (UnknownUser, Unavailable) as error:
            return error
        finally:
            del self._opening[user]

    # -- other nodes -------------------------------------------------------------------------------

    async def look(self) -> None:
        """Compare what this node believes with the database, in case that a hint was lost: the heads and
        epochs of its streams, and of those that are followed here. A host whose log is another one now (it
        was restored, or lost its end with a database), or whose user is gone, is forgotten."""
        looked = {worker.stream: (worker, worker.head) for worker in self._workers()}
        streams = {*looked, *self.watching.streams()}
        if streams:
            async with self.db.read() as session:
                standings = await Log(session).standings(streams)
            for stream, (worker, head) in looked.items():
                epoch, there = standings.get(stream, ("", 0))
                if epoch != worker.epoch or there < head:
                    worker.begun_anew()
                else:
                    worker.heard_of(there)
            self.watching.looked(standings)

    def _workers(self) -> Iterable[Worker[Any]]:
        return [*self._hosts.values(), *(() if self.beside is None else self.beside.workers())]

    def look_soon(self) -> None:
        """Something is not as this node believes: look at once."""
        self._look.set()

    def heard(self, node: str) -> None:
        """Another node has told something."""
        if self._nodes is not None:
            self._nodes.heard(node, asyncio.get_running_loop().time())

    def lost(self, node: str) -> None:
        """Another node is no more."""
        for host in self._hosts.values():
            host.presence.lost(node)
        if self.beside is not None:
            self.beside.lost(node)

    def anew(self) -> None:
        """This node may have missed anything: look at the log at once, then tell and ask who is there."""
        self._stale = True
        self._look.set()

    async def lease(self, name: str, life_ms: int) -> bool:
        """Whether this node is the one that does something for all, until `life_ms` from now."""
        now = self.now_ms()
        return await self.db.transact(
            lambda session: Leases(session).take(name, self.node, now=now, life_ms=life_ms)
        )

    async def _watch(self) -> None:
        while not self._closing.is_set():
            self._look.clear()
            try:
                await self.look()
            except Unavailable:
                _log.warning("heads_not_compared")
            except Exception:
                _log.exception("heads_not_compared")
            if self._stale:
                await self._tell_anew()
            self._forget_idle()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), LOOK_GAP_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), self.limits.look_s - LOOK_GAP_S)

    async def _tell_anew(self) -> None:
        """Bring presence up to date with the other nodes, of some users after the other."""
        self._stale = False
        if self.beside is not None:
            self.beside.anew()
        for index, host in enumerate([host for host in self._hosts.values() if host.presence.busy]):
            if index % ANEW == ANEW - 1:
                await asyncio.sleep(ANEW_S)
            host.presence.tell()
            host.presence.ask()

    def forget(self, host: Host) -> None:
        """End a host whose log is another one now."""
        if self._hosts.get(host.user) is host:
            _log.warning("host_forgotten", user=host.user, stream=host.stream, epoch=host.epoch)
            del self._hosts[host.user]
            host.end()
            self.watching.closed(host.user)
            self._ended = [*(ended for ended in self._ended if not ended.idle), host]

    def _forget_idle(self) -> None:
        limit = self.now_ms() - IDLE_MS
        for user, host in list(self._hosts.items()):
            if host.idle and host.used_at < limit:
                host.close()
                del self._hosts[user]
                self.watching.closed(user)

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
            return await Devices(session).name(user, device) or ""

    async def open_workouts(self, stream: int) -> Sequence[str]:
        """The stream's workouts that are not over, by the projections."""
        async with self.db.read() as session:
            return await Workouts(session).open_ids(stream)

    async def changed_workouts(self, stream: int, after: int, limit: int) -> Sequence[str]:
        """The workouts that changed last, of those with records past a position."""
        async with self.db.read() as session:
            return await Workouts(session).changed_after(stream, after, limit)

    async def overlapping(self, stream: int, template: str, since: int, until: int) -> Sequence[str]:
        """Workouts of a template that were going on between two moments (Unix ms), by the projections."""
        async with self.db.read() as session:
            return await Workouts(session).overlapping(stream, template, since, until)

    async def histories(self, stream: int, asked: Sequence[Asked]) -> Sequence[dict[str, Bests]]:
        """For each of these workouts, per exercise the bests of all workouts that began before it. What made
        it long is shortened for the next time, in the background, one stream after another."""
        found, far = await self._histories.before(stream, asked)
        if far and (self._layer is None or self._layer.done()):
            self._layer = spawn("live.marks", self._lay(stream, far))
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

    async def lagging(self, limit: int, until: int | None) -> Sequence[str]:
        """Users whose projections are behind their log; with `until` only those that have been left alone
        since that moment, Unix ms."""
        return await self.projector.lagging(limit, until)

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
