"""What follows a commit, derived and never in the log: insights, ends of rests, deadlines, projections.

All of it runs in its host's turn, after the acks and the `ops` of a batch have left, on committed state. A
failure here costs nobody an op: what was not told is told later, and what is told twice counts once (by
the insight's id, by the rest's dot).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import structlog

from fitai.engine import insights as derive
from fitai.engine.insights import Insight
from fitai.engine.ops import Dot
from fitai.engine.records import Bests, merge, workout_bests
from fitai.engine.timers import Timers, timers
from fitai.engine.totals import ended_at, started_at
from fitai.gateways.live.frames import Frame
from fitai.gateways.live.jobs import ThenJob
from fitai.gateways.live.pace import AT_LEAST_EVERY_S
from fitai.gateways.tasks import spawn
from fitai.persistence.histories import Asked
from fitai.persistence.projections import Projected
from fitai.sync.fold import fold

if TYPE_CHECKING:
    from fitai.engine.entities import Workout
    from fitai.gateways.live.connection import Connection
    from fitai.gateways.live.host import Host
    from fitai.gateways.live.hosts import Hosts

_log = structlog.get_logger(__name__)

FLUSH_AFTER_S = 0.5  # projections follow the log by this, and at once when somebody reads them,
FLUSH_EVERY_S = 5.0  # but while op comes after op only so often,
FEW = 4  # unless more workouts than this have changed, which are held in memory until then,
SOON_MS = 10 * 60_000  # or one has a deadline so near, the end of a rest mostly
FLUSHED = 50  # workouts projected in one transaction
KNOWN_RECORDS = 2_000  # of a workout, beyond which what a device knew of it is not worked out
GREETED = 20  # workouts changed since a cursor whose insights are told again


@dataclass(slots=True)
class Told:
    """What was derived from one workout and told: its insights, the history they were judged against
    (that of workouts before `since`, but of those `beside` it, whose folds are at hand), the workouts that
    may be the same one (None: not looked for yet), and the rest whose end was announced."""

    insights: dict[str, Insight] = field(default_factory=dict)
    history: dict[str, Bests] = field(default_factory=dict)
    beside: set[str] = field(default_factory=set)
    merged: tuple[Sequence[tuple[str, int]], Mapping[str, Bests]] | None = (
        None  # both together, of which folds
    )
    since: int | None = None
    twins: Sequence[str] | None = None
    rest: Dot | None = None

    def forget(self) -> None:
        """The history is to be asked for again."""
        self.history, self.merged = {}, None


class Following:
    """The derived side of one host."""

    def __init__(self, host: Host, hosts: Hosts) -> None:
        self._host = host
        self._hosts = hosts
        self._told: dict[str, Told] = {}
        self._bests: dict[str, tuple[int, Mapping[str, Bests]]] = {}
        self._follow_timer: asyncio.TimerHandle | None = None
        self._followed_at = -AT_LEAST_EVERY_S
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flushed_at = -FLUSH_EVERY_S
        self._writing: asyncio.Task[None] | None = None
        self._failures = 0
        self._unwritten: set[str] = set()  # what changed and is not known to be projected
        self._unfollowed: set[str] = set()  # what waits until this is not swamped any more
        self._ungreeted: list[tuple[Connection, int]] = []
        self.dirty: set[str] = set()

    @property
    def busy(self) -> bool:
        """Something is not projected yet."""
        return bool(self.dirty) or (self._writing is not None and not self._writing.done())

    def changed(self, name: str) -> None:
        """The workout has records that its projections do not hold yet."""
        self.dirty.add(name)
        self._unwritten.add(name)
        self.flush_soon()

    def forget(self, name: str) -> None:
        """The workout's fold was let go of; what was told of it may be told again."""
        self._told.pop(name, None)
        self._bests.pop(name, None)

    def regrouped(self, names: Iterable[str]) -> None:
        """Other workouts than before are shown in these: what they are compared with has changed."""
        for name in names:
            if name in self._told:
                self._told[name].twins = None
                self._told[name].forget()

    def close(self) -> None:
        """No more of this."""
        for timer in (self._follow_timer, self._flush_timer):
            if timer is not None:
                timer.cancel()
        self._hosts.timers.drop(self._host)

    # -- insights ----------------------------------------------------------------------------------

    async def follow(self, names: Iterable[str]) -> None:
        """After a commit: new insights to everyone, deadlines to the node's timers. At once after a quiet
        moment; while op comes after op, together with what comes until its time (see `pace`)."""
        self._unfollowed.update(names)
        if self._follow_timer is not None:
            return
        loop = asyncio.get_running_loop()
        at = self._hosts.pace.next(self._followed_at)
        if at > loop.time():
            self._follow_timer = loop.call_at(at, self._follow_now)
        else:
            await self._follow()

    def _follow_now(self) -> None:
        self._follow_timer = None
        self._host.enqueue(ThenJob(self._follow))

    async def _follow(self) -> None:
        """Tell what is new of the workouts that have changed. What is judged against history waits while most
        of that is still to be projected."""
        if self._swamped or not self._unfollowed:
            return
        names, self._unfollowed = self._unfollowed, set()
        try:
            await self._learn(sorted(names))
        except Exception as error:
            _log.warning("insights_postponed", user=self._host.user, workouts=len(names), exc_info=error)
            return
        began = time.perf_counter()
        for name in names:
            try:
                before = self._told[name].insights if name in self._told else {}
                told = self._derive(name)
                for insight in derive.changes(before, told.insights):
                    self._host.broadcast(Frame("insight", insight))
                self._tell_ended_rests(name)
                self.arm(name)
            except Exception as error:
                _log.warning("insights_postponed", user=self._host.user, workout=name, exc_info=error)
        self._followed_at = asyncio.get_running_loop().time()
        self._hosts.pace.spent(time.perf_counter() - began, self._followed_at)

    async def _learn(self, names: Sequence[str]) -> None:
        """Have the folds of workouts, and the history that each is judged against: the person's earlier
        workouts, by the projections or, where these do not hold them yet, by their folds. Many workouts at
        once cost one reading, not one each."""
        await self._host.load(*self._host.merged.family(names))
        roots = [name for name in names if self._host.merged.root(name) == name]
        lacking = [name for name in roots if self._lacks(name)]
        if not lacking:
            return
        if self._must_write(lacking):
            await self.flush()
            await self.written()
        asked = [self._ask(name) for name in lacking]
        found = await self._hosts.histories(self._host.stream, asked)
        for name, one, history in zip(lacking, asked, found, strict=True):
            told = self._told[name]
            told.merged = None
            told.history |= {exercise: history.get(exercise, _NO_HISTORY) for exercise in one.exercises}
            told.twins = await self._twins(name, lacking)

    def _lacks(self, name: str) -> bool:
        """Whether the history of some exercise of a workout is not known here, or not any more."""
        workout = self._host.merged.view(name)
        told = self._told.setdefault(name, Told())
        since = started_at(workout)
        if told.since != since:
            told.since, told.twins = since, None
            told.forget()
        if not told.beside <= self._host.folds.keys():
            told.forget()
        return told.twins is None or bool(_exercises(workout) - told.history.keys())

    def _must_write(self, names: Sequence[str]) -> bool:
        """Whether the projections are to hold everything before they are asked about these workouts: there is
        no fold to look at instead, or twins are looked for among all that there is."""
        twins = any(self._unwritten - {name} for name in names if self._host.merged.view(name).template)
        return twins or not self._unwritten <= self._host.folds.keys()

    def _ask(self, name: str) -> Asked:
        """The question for what is lacking. The answer is to leave out what is looked at beside it."""
        workout, told = self._host.merged.view(name), self._told[name]
        family = (name, *workout.merged)
        beside = (self._unwritten & self._host.folds.keys()).difference(family)
        if beside != told.beside:
            told.beside = beside
            told.forget()
        return Asked((*family, *beside), told.since, _exercises(workout) - told.history.keys())

    def _derive(self, name: str) -> Told:
        """A workout's insights now, by what was learnt. One that is merged says nothing for itself: what it
        holds is shown, and told of, elsewhere."""
        told = self._told.setdefault(name, Told())
        if self._host.merged.root(name) != name:
            told.insights = {}
        else:
            twins, history = told.twins or (), self._history(name)
            told.insights = derive.insights(self._host.merged.view(name), history, twins=twins)
        return told

    def _history(self, name: str) -> Mapping[str, Bests]:
        """What was done before a workout: by the projections, and by the folds beside it."""
        told = self._told[name]
        here = (2**63 - 1 if told.since is None else told.since, name)
        folds = self._host.folds
        earlier = [(other, folds[other].rev) for other in sorted(told.beside) if self._place(other) < here]
        if not earlier:
            return told.history
        if told.merged is None or told.merged[0] != earlier:
            beside = [self._bests_of(other) for other, _ in earlier]
            history = {
                exercise: merge(history, *(bests[exercise] for bests in beside if exercise in bests))
                for exercise, history in told.history.items()
            }
            told.merged = earlier, history
        return told.merged[1]

    def _place(self, name: str) -> tuple[int, str]:
        """A workout's place among the person's, as the projections have it."""
        workout = self._host.folds[name].workout
        return started_at(workout) or workout.created_at or 0, name

    def _bests_of(self, name: str) -> Mapping[str, Bests]:
        workout = self._host.folds[name].workout
        rev, bests = self._bests.get(name, (0, {}))
        if rev != workout.rev:
            bests = workout_bests(workout) if workout.known and not workout.removed else {}
            self._bests[name] = workout.rev, bests
        return bests

    async def _twins(self, name: str, asked: Sequence[str]) -> Sequence[str]:
        """The workouts of its template that were going on at the same time, on another device maybe. The one
        that is looked at later says so, and of those `asked` for together the one that began later."""
        workout = self._host.merged.view(name)
        since = started_at(workout)
        if workout.template is None or since is None:
            return []
        until = ended_at(workout) or workout.last_te or since
        found = await self._hosts.overlapping(self._host.stream, workout.template, since, until)
        others = {name, *workout.merged}
        others |= {other for other in asked if self._place(other) > self._place(name)}
        return [other for other in found if other not in others and self._host.merged.root(other) == other]

    async def greet(self, connection: Connection, after: int) -> None:
        """Tell a new connection what is derived from the open workouts and from those that changed since
        its cursor: all of it may be told again, none of it may be missed."""
        if self._swamped:
            self._ungreeted.append((connection, after))
            return
        await self._follow()  # what waits to be told is for everybody, not only for the one who came
        host = self._host
        changed = set(self._unwritten)
        if after < host.head:
            changed |= set(await self._hosts.changed_workouts(host.stream, after, GREETED))
        names = sorted(changed | set(await self._hosts.open_workouts(host.stream)))
        await self._learn(names)
        for name in names:
            now = self._derive(name).insights
            known = await self._known_at(name, after) if name in changed else {}
            gone = [insight for insight in derive.changes(known, now) if insight.get("withdrawn")]
            for insight in [*now.values(), *gone]:
                connection.send(Frame("insight", insight))
            self._greet_rest(connection, name)

    async def _make_up(self) -> None:
        """Tell what had to wait."""
        ungreeted, self._ungreeted = self._ungreeted, []
        for connection, after in ungreeted:
            self._host.greet(connection, after)
        await self._follow()

    @property
    def _swamped(self) -> bool:
        """So much is to be projected that it takes several turns: all of it after an upgrade, mostly."""
        return len(self.dirty) > FLUSHED

    async def _known_at(self, name: str, seq: int) -> dict[str, Insight]:
        """The insights that a device which had the stream up to `seq` may have been told of a workout.
        One of very many records is not folded again for each device that comes back."""
        if self._host.folds[name].workout.rev > KNOWN_RECORDS:
            return {}
        records = await self._hosts.log.workout_records(self._host.stream, name)
        then = fold(name, self._host.user, (record for record in records if record.seq <= seq))
        return derive.insights(then.workout, self._history(name))

    # -- rests and deadlines -----------------------------------------------------------------------

    def announce_rest(self, name: str) -> None:
        """Say that a rest is over when it is, once from here."""
        rest = self._timers(name).rest
        if rest is not None and rest.at <= self._host.now_ms():
            self._tell_rest(name, rest.dot, rest.at)
        self.arm(name)

    def _tell_ended_rests(self, name: str) -> None:
        """Tell of rests whose deadline passed just before an op came that went on without them."""
        folded = self._host.folds[name]
        for rest in folded.rests_over:
            self._tell_rest(name, rest.dot, rest.at)
        folded.rests_over.clear()

    def _tell_rest(self, name: str, dot: Dot, at: int) -> None:
        told = self._told.setdefault(name, Told())
        if told.rest != dot:
            told.rest = dot
            self.changed(name)
            workout = self._host.folds[name].workout
            self._host.broadcast(Frame("insight", derive.rest_over(workout, dot, at)))

    def _greet_rest(self, connection: Connection, name: str) -> None:
        """Tell of a rest that ended while the device was away, unless the workout has gone on since."""
        rest = self._timers(name).rest
        if rest is not None and self._told[name].rest == rest.dot:
            workout = self._host.folds[name].workout
            connection.send(Frame("insight", derive.rest_over(workout, rest.dot, rest.at)))
        self.arm(name)

    def arm(self, name: str) -> None:
        """Tell the node's timers when this workout next needs a look."""
        due = self._due(name)
        self._hosts.timers.set(self._host, name, due)
        if due is not None and due - self._host.now_ms() < SOON_MS:
            self.flush_soon(prompt=True)  # should this node die, another one is to know of it

    def _due(self, name: str) -> int | None:
        """The next server deadline of a workout, Unix ms."""
        clock = self._timers(name)
        told = self._told[name].rest if name in self._told else None
        rest = clock.rest.at if clock.rest is not None and clock.rest.dot != told else None
        moments = (clock.idle_at, clock.finish_at, rest)
        return min((moment for moment in moments if moment is not None), default=None)

    def _timers(self, name: str) -> Timers:
        limits = self._host.limits
        workout = self._host.folds[name].workout
        return timers(workout, self._host.last_receipt(name), limits.idle_pause_ms, limits.idle_finish_ms)

    # -- projections -------------------------------------------------------------------------------

    def flush_soon(self, *, prompt: bool = False) -> None:
        """Bring the projections up to the log in a moment, if they are behind."""
        if not self.dirty:
            return
        loop = asyncio.get_running_loop()
        at = loop.time() + FLUSH_AFTER_S
        if len(self.dirty) <= FEW and not prompt:
            at = max(at, self._flushed_at + FLUSH_EVERY_S)
        if self._flush_timer is not None:
            if self._flush_timer.when() <= at:
                return
            self._flush_timer.cancel()
        self._flush_timer = loop.call_at(at, self._flush_now)

    def _flush_now(self) -> None:
        self._flush_timer = None
        self._flushed_at = asyncio.get_running_loop().time()
        self._host.enqueue(ThenJob(self._flush_in_turns))

    async def _flush_in_turns(self) -> None:
        """Flush a part, and the rest after what has come meanwhile: all that a user has may be stale."""
        try:
            if await self._flush_part():
                self._host.enqueue(ThenJob(self._flush_in_turns))
        finally:
            self.flush_soon()  # in case that nothing else goes on with it

    async def flush(self) -> None:
        """Take what the projections of the changed workouts will be, and begin to write it.

        Writing does not keep the host's turn: a slow disk delays lists, not acks or the end of a rest.
        """
        while await self._flush_part():
            pass

    async def _flush_part(self) -> bool:
        """Flush at most FLUSHED workouts; whether there are more to go on with at once."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        names, head, failures = sorted(islice(self.dirty, FLUSHED)), self._host.head, self._failures
        if not names:
            return False
        rows = await self._take(names)
        upto = 0 if self.dirty else head
        self._writing = spawn("live.project", self._write(self._writing, names, rows, upto, failures))
        if self.dirty:
            await self.written()  # there are many: hold only a part of them in memory
        if not self._swamped and (self._unfollowed or self._ungreeted):
            self._host.enqueue(ThenJob(self._make_up))
        return bool(self.dirty) and failures == self._failures  # what failed is tried again in a moment

    async def written(self) -> None:
        """Return when all that was taken so far is written, or could not be."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def _take(self, names: list[str]) -> list[Projected]:
        passing = [name for name in names if name not in self._host.folds]
        await self._host.load(*names)
        rows = [Projected.of(self._host.folds[name].workout, self._due(name)) for name in names]
        for name in passing:
            self._host.folds.pop(name, None)
        self.dirty.difference_update(names)
        return rows

    async def _write(
        self,
        before: asyncio.Task[None] | None,
        names: list[str],
        rows: list[Projected],
        upto: int,
        failures: int,
    ) -> None:
        """Write in the order in which was taken. The watermark moves only when nothing that was taken
        before is missing: what could not be written is taken again."""
        if before is not None:
            await asyncio.wait([before])
        try:
            held = upto if failures == self._failures else 0
            host = self._host
            await self._hosts.projector.project(host.stream, host.epoch, rows, held)
        except Exception as error:
            _log.warning("projection_postponed", user=self._host.user, exc_info=error)
            self._failures += 1
            self.dirty.update(names)
            self.flush_soon()
            return
        self._unwritten -= set(names) - self.dirty
        for name, told in self._told.items():
            if any(other != name and other not in told.beside for other in names):
                told.forget()


_NO_HISTORY = Bests()


def _exercises(workout: Workout) -> set[str]:
    return {entry.exercise for entry in workout.entries.values() if entry.known}
