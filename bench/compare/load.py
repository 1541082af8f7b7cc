"""What the servers are put under: sets that are acknowledged and told to the others, connections that say
nothing, and a client that stops reading.

Whatever was acknowledged must have come to each of the others once, here as in the load suite: a server that
drops under load does not win by it.
"""

from __future__ import annotations

import asyncio
from functools import partial

from fitai.bench import pace
from fitai.bench.compare.voices import Count, Voice
from fitai.bench.crew import Crew, Member
from fitai.bench.pace import Done
from fitai.bench.scenarios.base import AT_ONCE, DRAIN_S, Scenario, gather

WARM = 0.2  # part of the duration that is not counted: compilers, caches and windows fill
BATCH = 50  # ops in a push of a crowd
FIRST = 0.1  # part of the idle connections that comes before memory is looked at


class Echo(Scenario):
    """Each member's first device logs sets, all others listen.

    Counts `acked` (sets) and `delivered` (sets, once a listener) within the counted part of the duration;
    the latency of an ack is the operation `set`.
    """

    def __init__(self, voice: type[Voice], crew: Crew) -> None:
        super().__init__(crew)
        self._voice = voice
        self._from, self._until = float("inf"), float("inf")
        self._due = 0  # deliveries that acknowledged sets have promised
        self._told = 0

    async def prepare(self) -> None:
        await self._connect(self.crew.members)

    async def run(self) -> None:
        seconds = self.crew.plan.duration_s
        self._from, self._until = self.crew.start + WARM * seconds, self.crew.start + seconds
        await pace.keep(self.crew, self.work, self.crew.start, seconds)

    def work(self, member: Member, intended: float, done: Done) -> None:
        first: Voice = member.devices[0]
        if member.lifter.tired:
            self._works += 1
            first.say(member.lifter.begin(self.crew.now_ms()), self._answered)
        self._works += 1
        act = member.lifter.log_set(self.crew.now_ms())
        first.say([act], partial(self._acked, member, 1, intended, done))

    async def finish(self) -> None:
        await self.settle()
        failures = self.crew.totals.failures
        failures["not answered"] += self._works
        failures["lost"] += max(0, self._due - self._told)
        failures["doubled"] += max(0, self._told - self._due)
        for kind in ("not answered", "lost", "doubled"):
            failures[kind] or failures.pop(kind)

    async def settle(self, within_s: float | None = None) -> None:
        until = self.crew.clock() + (within_s or DRAIN_S)
        while (self._works or self._told < self._due) and self.crew.clock() < until:
            await asyncio.sleep(0.02)

    async def _connect(self, members: list[Member]) -> None:
        voices = []
        for member in members:
            count = Count()
            voices += [self._voice(member, way, count, self._heard) for way in member.passes]
        await gather([voice.connect for voice in voices], AT_ONCE)

    def _answered(self, stands: bool) -> None:
        self._works -= 1
        if not stands:
            self.crew.totals.failures["void"] += 1

    def _acked(self, member: Member, sets: int, intended: float, done: Done, stands: bool) -> None:
        crew = self.crew
        self._answered(stands)
        self._due += sets * (len(member.devices) - 1)
        if self._from <= crew.clock() < self._until:
            crew.totals.counts["acked"] += sets
        if intended >= self._from:
            crew.spent("set", intended)
        done()

    def _heard(self, sets: int) -> None:
        self._told += sets
        if self._from <= self.crew.clock() < self._until:
            self.crew.totals.counts["delivered"] += sets


class Idle(Echo):
    """A tenth of the connections are there at the start, the others come, and nobody says anything."""

    async def prepare(self) -> None:
        members = self.crew.members
        self._late = max(1, int(len(members) * FIRST))
        await self._connect(members[: self._late])

    async def run(self) -> None:
        await self._connect(self.crew.members[self._late :])
        self.crew.totals.counts["came"] += len(self.crew.members) - self._late
        await asyncio.sleep(self.crew.plan.duration_s)


class Crowd(Echo):
    """At least so many sets, in pushes of many as fast as the window allows, to one listener; with `stalled`
    the last device of each member connects and then reads nothing."""

    def __init__(self, voice: type[Voice], events: int, stalled: bool, crew: Crew) -> None:
        super().__init__(voice, crew)
        self._events = self._left = events
        self._stalled = stalled
        self._sleepers: list[Voice] = []

    async def prepare(self) -> None:
        await super().prepare()
        for member in self.crew.members:
            last: Voice = member.devices.pop()
            if self._stalled:
                last.sleep()
                self._sleepers.append(last)
            else:
                last.close()

    async def run(self) -> None:
        crew = self.crew
        self._from = crew.start
        until = crew.start + crew.plan.duration_s
        for member in crew.members:
            for _ in range(crew.plan.window or 1):
                self._next(member)
        while (self._left > 0 or self._works) and crew.clock() < until:
            await asyncio.sleep(0.02)
        if self._left > 0:
            crew.totals.failures["not sent"] += self._left

    def work(self, member: Member, intended: float, done: Done) -> None:
        acts = member.lifter.offline(BATCH, self.crew.now_ms())
        sets = sum(act.kind == "set.log" for act in acts)
        self._left -= sets
        self._works += 1
        member.devices[0].say(acts, partial(self._acked, member, sets, intended, done))

    async def finish(self) -> None:
        await super().finish()
        for sleeper in self._sleepers:
            if not await sleeper.missed(self._events):
                self.crew.totals.failures["never stalled"] += 1
            sleeper.close()

    def _next(self, member: Member) -> None:
        if self._left > 0:
            self.work(member, self.crew.clock(), partial(self._next, member))
