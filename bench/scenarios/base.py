"""What all scenarios have: everybody connects, works are done at a pace, everything arrives, the control is
read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar

from fitai.bench import pace
from fitai.bench.crew import Crew, Member
from fitai.bench.device import Device
from fitai.bench.pace import Done
from fitai.gateways.tasks import spawn

AT_ONCE = 50  # handshakes in flight while a crew gets ready
DRAIN_S = 15.0  # after the last send: what is not answered and told then is counted as lost


class Scenario:
    """A load. A subclass says what one `work` is, or runs as it likes; `main` names the operation that
    counts.

    devices, users, duration_s, window   what is asked when the caller does not say
    sizes                                of the groups that are made one after another, participants
    together                             all people are in one generator
    foreign                              users on a server that is not the run's own, where each is an account
                                         that stays
    """

    name: ClassVar[str]
    question: ClassVar[str]
    main: ClassVar[str] = "set"
    devices: ClassVar[tuple[int, ...]] = (2,)
    users: ClassVar[int] = 100
    foreign: ClassVar[int] = 10
    duration_s: ClassVar[float] = 30.0
    window: ClassVar[int | None] = None
    sizes: ClassVar[tuple[int, ...]] = ()
    together: ClassVar[bool] = False

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self._works = 0  # that wait for answers

    async def prepare(self) -> None:
        """Before the start, not measured: all devices connect, each user begins a workout on the first."""
        await self.connect_all()
        for member in self.crew.members:
            self.begin(member)
        await self.settle()

    async def run(self) -> None:
        """From the start to the end of the duration."""
        await pace.keep(self.crew, self.work, self.crew.start, self.crew.plan.duration_s)

    def work(self, member: Member, intended: float, done: Done) -> None:
        """Begin one work of a member and return; `done` is called when it is done."""
        raise NotImplementedError

    async def finish(self) -> None:
        """Wait until everything has arrived, and take what the control found into the totals."""
        await self.settle()
        totals = self.crew.totals
        if self._works:
            totals.failures["not answered"] += self._works
        for member in self.crew.members:
            waiting = sum(device.waiting for device in member.devices)
            if waiting:
                totals.failures["not answered"] += waiting
            member.ledger.close()
            totals.failures.update({kind: n for kind, n in member.ledger.failures.items() if n})
            totals.counts["checked"] += member.ledger.told

    # -- what scenarios are made of ----------------------------------------------------------------------

    async def connect_all(self) -> None:
        """Connect each device of each member that is not made yet."""
        ways = [(member, way) for member in self.crew.members for way in member.passes[len(member.devices) :]]
        devices = [Device(member, way) for member, way in ways]
        await gather([device.connect for device in devices], AT_ONCE)

    def begin(self, member: Member, place: int = 0) -> None:
        """The member begins the next workout on the device at a place."""
        crew = self.crew
        member.devices[place].push(member.lifter.begin(crew.now_ms()), "begin", crew.clock())

    def log_set(self, member: Member, operation: str, intended: float, done: Done, place: int = 0) -> None:
        """The member logs a set on the device at a place, in a new workout if the last one is done."""
        if member.lifter.tired:
            self.begin(member, place)
        act = member.lifter.log_set(self.crew.now_ms())
        member.devices[place].push([act], operation, intended, done)

    async def settle(self, within_s: float | None = None) -> None:
        """Wait until all works are done, all pushes settled and all present devices told of everything;
        bounded."""
        until = self.crew.clock() + (within_s or DRAIN_S)
        while self._unsettled() and self.crew.clock() < until:
            await asyncio.sleep(0.02)

    def _unsettled(self) -> bool:
        return self._works > 0 or any(
            member.ledger.behind or any(device.waiting for device in member.devices)
            for member in self.crew.members
        )

    def spawned(self, work: Coroutine[Any, Any, None], done: Done) -> None:
        """Do a work that waits for answers; whatever it fails with is counted."""

        async def whole() -> None:
            try:
                await work
            except Exception as error:
                self.crew.totals.failed(f"failed: {type(error).__name__}", error)
                await asyncio.sleep(0.1)  # a server that refuses everything is not asked in a tight loop
            finally:
                self._works -= 1
                done()

        self._works += 1
        spawn("bench.work", whole())


async def gather(works: list[Callable[[], Awaitable[None]]], at_once: int) -> None:
    """Do all, so many at once; the first failure ends it."""
    turns = asyncio.Semaphore(at_once)

    async def one(work: Callable[[], Awaitable[None]]) -> None:
        async with turns:
            await work()

    await asyncio.gather(*(one(work) for work in works))
