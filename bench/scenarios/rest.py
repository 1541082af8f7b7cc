"""People who look at their log and correct it, over REST."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, ClassVar

from fitai.bench import profiles, schedule
from fitai.bench.crew import Member
from fitai.bench.pace import Done
from fitai.bench.scenarios.base import Scenario
from fitai.gateways.live.limits import LiveLimits

FULL = LiveLimits().sets_per_workout  # sets that one workout may have


class Rest(Scenario):
    """Reads and writes by a table: lists, a workout, the log's last page, devices, and sets that are added.

    Writes carry `If-Match`, one of a user at a time. The user's socket is told of each, which the ledger
    holds; in the end every workout must have as many sets as writes were answered.
    """

    name: ClassVar[str] = "rest"
    question: ClassVar[str] = "A mix of reads and writes over REST: how long does each take?"
    main: ClassVar[str] = "PUT set"
    devices: ClassVar[tuple[int, ...]] = (1,)
    users: ClassVar[int] = 20
    foreign: ClassVar[int] = 5
    window: ClassVar[int | None] = 1

    async def prepare(self) -> None:
        await self.connect_all()
        self._books = {id(member): Book(member) for member in self.crew.members}
        await asyncio.gather(*(book.begin() for book in self._books.values()))
        self.crew.totals.counts.clear()

    def work(self, member: Member, intended: float, done: Done) -> None:
        what = schedule.weighted(profiles.REST_MIX, self.crew.rng)
        self.spawned(self._do(what, member, intended), done)

    async def _do(self, what: str, member: Member, intended: float) -> None:
        book = self._books[id(member)]
        if what == "set":
            await book.write(intended)
            return
        after = max(0, member.ledger.head - 100)
        path = {
            "list": "/workouts",
            "workout": f"/workouts/{book.workout}",
            "pull": f"/sync/pull?after={after}",
            "devices": "/auth/devices",
        }[what]
        async with self.crew.http.get(path, headers=member.header()) as response:
            response.raise_for_status()
            await response.read()
        self.crew.spent(f"GET {what}", intended)

    async def finish(self) -> None:
        await self.settle()
        for book in self._books.values():
            await book.check()
        await super().finish()


class Book:
    """A member's workouts as written over REST."""

    def __init__(self, member: Member) -> None:
        self.workout = ""
        self._member = member
        self._etag = ""
        self._turn = asyncio.Lock()
        self._written: Counter[str] = Counter()

    async def begin(self) -> None:
        """Make a workout with one exercise and start it."""
        made = await self._send("POST", "/workouts", {"title": "Push day"})
        self.workout = made["id"]
        await self._send("PUT", f"/workouts/{self.workout}/exercise/0", {"exercise": "squat"}, match=True)
        await self._send("POST", f"/workouts/{self.workout}/start", {}, match=True)

    async def write(self, intended: float) -> None:
        """Add a set; the writes of one member wait for each other, which counts as their time."""
        crew, member = self._member.crew, self._member
        async with self._turn:
            if self._written[self.workout] >= FULL:
                await self.begin()
            if member.lifter.tired:
                member.lifter.begin(crew.now_ms())
            value = member.lifter.log_set(crew.now_ms()).value
            del value["exercise_entry"]  # the exercise of the workout here, which has one
            place = self._written[self.workout]
            await self._send("PUT", f"/workouts/{self.workout}/set/{place}", value, match=True)
            self._written[self.workout] += 1
        crew.spent("PUT set", intended)

    async def check(self) -> None:
        """Each workout has a set for each write that was answered."""
        for workout, written in self._written.items():
            async with self._member.crew.http.get(
                f"/workouts/{workout}", headers=self._member.header()
            ) as response:
                response.raise_for_status()
                document = await response.json()
            there = sum(len(exercise["sets"]) for exercise in document["exercises"])
            if there != written:
                kind = "lost" if there < written else "doubled"
                self._member.ledger.failures[kind] += abs(there - written)

    async def _send(self, method: str, path: str, body: Any, *, match: bool = False) -> Any:
        headers = {**self._member.header(), **({"If-Match": self._etag} if match else {})}
        async with self._member.crew.http.request(method, path, json=body, headers=headers) as response:
            response.raise_for_status()
            self._etag = response.headers.get("ETag", self._etag)
            return await response.json()
