"""Groups of more and more people who train at one moment: what does it cost to see each other?"""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

from fitai.bench import pace, profiles, schedule
from fitai.bench.crew import Member
from fitai.bench.device import Device
from fitai.bench.gathering import Gathering, Participant
from fitai.bench.growth import Stretch
from fitai.bench.link import Memory
from fitai.bench.pace import Done
from fitai.bench.scenarios.base import AT_ONCE, Scenario, gather

SHOWN_S = 8.0  # that a heart rate is shown at least, which no newer one follows
SETTLED_S = 0.5  # between the last that joined and the start: ticks of presence are told


class Group(Scenario):
    """10, then 50, then 500 people race in one group, an equal part of the run each.

    Each logs a set every 10 to 30 s, tells a heart rate every second, and cheers now and then. `tick to 50,
    set` is the time from the moment at which a set was to be sent, over its commit, to its arrival in the
    tick of a receiver, for 50 receivers at most; `…, oldest` the same for the oldest change in each tick,
    for all. The control: in the end each has been shown exactly what was sent, ranks and cheers too, and was
    told each record of the group once, in order.

    All people are in one generator, which knows what each of them sent. It stays cheap since it reads once
    what many are told.
    """

    name: ClassVar[str] = "group"
    question: ClassVar[str] = (
        "People train in one group and see each other live: how late, and does it grow with their number?"
    )
    main: ClassVar[str] = "tick"
    devices: ClassVar[tuple[int, ...]] = (1,)
    sizes: ClassVar[tuple[int, ...]] = (10, 50, 500)
    users: ClassVar[int] = 500
    foreign: ClassVar[int] = 5
    duration_s: ClassVar[float] = 60.0
    together: ClassVar[bool] = True

    _now: Gathering | None = None

    async def prepare(self) -> None:
        """The first group gathers."""
        memory = Memory()
        self._everyone = self.crew.members
        for member in self._everyone:
            member.memory = memory
        self._now = await self._gather(self.crew.plan.sizes[0])

    async def run(self) -> None:
        crew, sizes = self.crew, self.crew.plan.sizes
        seconds = crew.plan.duration_s / len(sizes)
        for size in sizes:
            now = self._now = self._now or await self._gather(size)
            crew.totals.stretches.append(await self._measure(now, seconds))
            await self.settle(SHOWN_S)
            now.check()
            await now.end()
            self._now = None

    async def _gather(self, size: int) -> Gathering:
        """People connect, begin their workouts, and join."""
        crew = self.crew
        crew.members = self._everyone[:size]
        new = [Device(member, member.passes[0]) for member in crew.members if not member.devices]
        await gather([device.connect for device in new], AT_ONCE)
        for member in crew.members:
            self.begin(member)
        await self.settle()
        made = Gathering(crew, size)
        await made.join(await made.create())
        await asyncio.sleep(SETTLED_S)
        await made.start()
        return made

    async def _measure(self, now: Gathering, seconds: float) -> Stretch:
        crew = self.crew
        start, began, before = crew.clock(), time.time(), now.received
        now.counts.clear()
        people = dict(zip(map(id, crew.members), now.participants, strict=True))
        numbers = [one.no for one in now.participants]
        users = len(crew.members)

        def logs(member: Member, intended: float, done: Done) -> None:
            people[id(member)].log_set(intended, done)

        def beats(member: Member, intended: float, done: Done) -> None:
            people[id(member)].beat(intended)

        def cheers(member: Member, intended: float, done: Done) -> None:
            one: Participant = people[id(member)]
            to = crew.rng.choice(numbers) if crew.rng.random() < profiles.CHEERS_FOR_ONE else None
            one.cheer(crew.rng.choice(profiles.CHEERS), to)

        hearts = schedule.by_gaps(lambda _: 1.0, seconds, users, crew.rng)
        calls = schedule.by_gaps(profiles.cheer_gap, seconds, users, crew.rng)
        await asyncio.gather(
            pace.keep(crew, logs, start, seconds, profiles.race_gap),
            pace.on_schedule(crew, beats, hearts, start, seconds),
            pace.on_schedule(crew, cheers, calls, start, seconds),
        )
        counts = {**now.counts, "bytes": now.received - before}
        return Stretch(users, began, time.time(), now.joined_s, counts)

    def _unsettled(self) -> bool:
        return super()._unsettled() or (self._now is not None and self._now.unsettled)
