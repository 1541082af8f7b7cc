"""One user with very many devices: fan-out."""

from __future__ import annotations

from typing import ClassVar

from fitai.bench import pace
from fitai.bench.crew import Member
from fitai.bench.device import Device
from fitai.bench.pace import Done
from fitai.bench.scenarios.base import AT_ONCE, Scenario, gather


class Rooms(Scenario):
    """Each user's first device logs sets while 10, then 50, then 200 devices listen, a third of the run each.

    `set, 50 devices` is the time to the acknowledgement, `delivery to 50` the time to each of the others.
    """

    name: ClassVar[str] = "rooms"
    question: ClassVar[str] = "One user with many devices: how long until all of them have a set?"
    main: ClassVar[str] = "delivery"
    devices: ClassVar[tuple[int, ...]] = (10, 50, 200)
    users: ClassVar[int] = 1
    foreign: ClassVar[int] = 1
    window: ClassVar[int | None] = 4

    _size = 0

    async def prepare(self) -> None:
        await self._grow(self.crew.plan.devices[0])
        for member in self.crew.members:
            self.begin(member)
        await self.settle()

    async def run(self) -> None:
        sizes = self.crew.plan.devices
        start, seconds = self.crew.start, self.crew.plan.duration_s / len(sizes)
        for size in sizes:
            await self._grow(size)
            await pace.keep(self.crew, self.work, max(start, self.crew.clock()), seconds)
            await self.settle()
            start = self.crew.clock()

    def work(self, member: Member, intended: float, done: Done) -> None:
        self.log_set(member, f"set, {self._size} devices", intended, done)

    async def _grow(self, size: int) -> None:
        self._size = size
        new = []
        for member in self.crew.members:
            member.delivery = f"delivery to {size}"
            new += [Device(member, way) for way in member.passes[len(member.devices) : size]]
        await gather([device.connect for device in new], AT_ONCE)
