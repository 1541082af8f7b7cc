"""The people of one generator and what they have in common: where they go, the clock, what is counted."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from fitai.bench.growth import Stretch
from fitai.bench.histogram import Recorder
from fitai.bench.ledger import Dot, Ledger
from fitai.bench.lifter import Lifter
from fitai.bench.link import Memory
from fitai.bench.plan import Pass, Person, Plan

SAID = " – "  # between a kind of failure and what was said, among the counts
REMEMBERED = 16_384  # ops whose intended times a member keeps for those that still come


@dataclass(slots=True)
class Totals:
    """What is counted beside the latencies, by name. `failures` make a run invalid; `stretches` are parts of
    the run that are told apart."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    stretches: list[Stretch] = field(default_factory=list)

    def failed(self, kind: str, why: object) -> None:
        """Count a failure, and keep what was said the first times."""
        self.failures[kind] += 1
        if self.failures[kind] <= 3:
            self.counts[f"{kind}{SAID}{why!s:.160}"] += 1


class Crew:
    """What all members of a generator share. `rate` and `seed` are this generator's part of the plan's."""

    def __init__(self, plan: Plan, url: str, people: list[Person], number: int, all_users: int) -> None:
        self.plan = plan
        self.url = url
        self.number = number
        self.rng = random.Random(f"{plan.seed} {number}")
        self.rate = None if plan.rate is None else plan.rate * len(people) / all_users
        self.recorder = Recorder()
        self.totals = Totals()
        self.members = [Member(self, person) for person in people]
        self.clock = time.perf_counter  # uvloop's own clock knows whole milliseconds only
        self.start = 0.0
        self.over = False
        self._http: aiohttp.ClientSession | None = None

    @property
    def http(self) -> aiohttp.ClientSession:
        """The connections for REST, kept open."""
        if self._http is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
            timeout = aiohttp.ClientTimeout(total=30)
            self._http = aiohttp.ClientSession(self.url, connector=connector, timeout=timeout)
        return self._http

    def now_ms(self) -> int:
        """The devices' wall clock."""
        return time.time_ns() // 1_000_000

    def spent(self, operation: str, intended: float) -> None:
        """An operation is done that was intended at a moment of `clock`."""
        self.recorder.record(operation, self.clock() - intended)

    async def close(self) -> None:
        """Everybody goes home."""
        self.over = True
        for member in self.members:
            for device in member.devices:
                device.close()
        if self._http is not None:
            await self._http.close()


class Member:
    """A user: what their devices share. `delivery` names the operation under which it is measured how long
    their ops take to the other devices."""

    def __init__(self, crew: Crew, person: Person) -> None:
        self.crew = crew
        self.person = person
        self.ledger = Ledger()
        self.lifter = Lifter(f"{crew.plan.seed} {person.number}")
        self.memory = Memory()
        self.devices: list[Any] = []  # of fitai.bench.device, which knows this module
        self.delivery = "delivery"
        self._intended: dict[Dot, float] = {}

    def intends(self, dot: Dot, at: float) -> None:
        """An op was meant to be sent at a moment of the clock."""
        self._intended[dot] = at
        if len(self._intended) > REMEMBERED:
            for old in list(self._intended)[: REMEMBERED // 2]:
                del self._intended[old]

    def intended(self, dot: Dot) -> float | None:
        """When the op was meant to be sent."""
        return self._intended.get(dot)

    def header(self, place: int = 0) -> dict[str, str]:
        """The header of requests by the device at a place."""
        return {"Authorization": f"Bearer {self.passes[place].token}"}

    @property
    def passes(self) -> tuple[Pass, ...]:
        """The devices' ways in."""
        return self.person.passes
