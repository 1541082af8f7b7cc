"""A gym's evening: everything that people's devices do, by the hour."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from fitai.bench import pace, profiles, schedule
from fitai.bench.crew import Member
from fitai.bench.link import NotConnected
from fitai.bench.pace import Done
from fitai.bench.profiles import Hour
from fitai.bench.scenarios.base import Scenario

AWAY_S = (0.5, 3.0)


class Mixed(Scenario):
    """The hours of an evening, each a sixth of the run, with a burst at each full hour.

    Mostly sets; besides heart rates, looks at a workout and at the list, and devices that lose their network
    for a moment. A rate is that of the busiest hour; without one it is what so many users do in it.
    """

    name: ClassVar[str] = "mixed"
    question: ClassVar[str] = (
        "A gym's evening, its hours pressed into the run: does everything stay quick at the peak?"
    )
    users: ClassVar[int] = 200
    duration_s: ClassVar[float] = 60.0
    hours: ClassVar[Sequence[Hour]] = profiles.EVENING

    async def run(self) -> None:
        crew, duration = self.crew, self.crew.plan.duration_s
        if crew.plan.window is not None:
            await super().run()
            return
        rate = crew.rate or natural_rate(len(crew.members))
        dues = schedule.evening(self.hours, rate, duration, len(crew.members), crew.rng)
        await pace.on_schedule(crew, self.work, dues, crew.start, duration)

    def work(self, member: Member, intended: float, done: Done) -> None:
        what = schedule.weighted(profiles.EVENING_MIX, self.crew.rng)
        if what == "set":
            self.log_set(member, "set", intended, done)
        elif what == "heart":
            heart = {"workout": member.lifter.workout, "hr": self.crew.rng.randint(90, 180)}
            member.devices[-1].tell("telemetry", heart)
            done()
        elif what == "look":
            self._look(member, intended, done)
        elif what == "list":
            self.spawned(self._list(member, intended), done)
        else:
            self.spawned(self._away(member), done)

    def _look(self, member: Member, intended: float, done: Done) -> None:
        def answered(answer: dict[str, object]) -> None:
            if not answer["ok"]:
                self.crew.totals.failures[f"refused: {answer['code']}"] += 1
            self.crew.spent("look", intended)
            done()

        if member.devices[0].online:
            member.devices[0].ask("workout:get", {"workout": member.lifter.workout}, answered)
        else:
            done()

    async def _list(self, member: Member, intended: float) -> None:
        async with self.crew.http.get("/workouts", headers=member.header()) as response:
            response.raise_for_status()
            await response.read()
        self.crew.spent("list", intended)

    async def _away(self, member: Member) -> None:
        device = member.devices[-1]
        if not device.online:
            return  # away already
        device.cut()
        await asyncio.sleep(self.crew.rng.uniform(*AWAY_S))
        if self.crew.over:
            return
        try:
            await device.connect(resume=True)
        except NotConnected:
            pass  # counted


class Soak(Mixed):
    """The same things at one pace for as long as you like: what grows that should not?"""

    name: ClassVar[str] = "soak"
    question: ClassVar[str] = "The same load for a long time: does memory grow, do answers get slower?"
    duration_s: ClassVar[float] = 3_600.0
    hours: ClassVar[Sequence[Hour]] = (Hour("all the time", 1.0, 0.0),)


def natural_rate(users: int) -> float:
    """Works per second when each user does a set as often as people do, and the rest in its proportion."""
    sets = dict(profiles.EVENING_MIX)["set"] / sum(weight for _, weight in profiles.EVENING_MIX)
    return users / (sum(profiles.SET_GAP_S) / 2) / sets
