"""Half of the fleet loses its network and comes back."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from fitai.bench.crew import Member
from fitai.bench.device import Device
from fitai.bench.link import NotConnected
from fitai.bench.pace import Done
from fitai.bench.scenarios.base import Scenario
from fitai.gateways.tasks import spawn

AWAY = (1 / 3, 2 / 3)  # parts of the run between which they are away
RETURN_S = 2.0  # they come back spread over at most this long


class Reconnect(Scenario):
    """Users log sets all the time; every user's second device is cut off after a third of the run and returns
    with its cursor after two thirds.

    `resume` is the time from the intended return to `ready`, `caught up` the time until it has everything
    that it missed. The control: exactly the tail, nothing of what it had, no hole.
    """

    name: ClassVar[str] = "reconnect"
    question: ClassVar[str] = (
        "Half the fleet drops and returns with cursors: how long until it has exactly the rest?"
    )
    main: ClassVar[str] = "caught up"

    async def run(self) -> None:
        gone = [device for member in self.crew.members for device in member.devices[1::2]]
        away = spawn("bench.away", self._away(gone))
        await super().run()
        await away

    def work(self, member: Member, intended: float, done: Done) -> None:
        self.log_set(member, "set", intended, done)

    async def _away(self, devices: list[Device]) -> None:
        crew, duration = self.crew, self.crew.plan.duration_s
        await asyncio.sleep(max(0.0, crew.start + AWAY[0] * duration - crew.clock()))
        for device in devices:
            device.cut()
        crew.totals.counts["cut off"] += len(devices)
        back = crew.start + AWAY[1] * duration
        spread = min(RETURN_S, duration / 6) / max(1, len(devices))
        await asyncio.gather(
            *(self._return(device, back + place * spread) for place, device in enumerate(devices))
        )

    async def _return(self, device: Device, intended: float) -> None:
        await asyncio.sleep(max(0.0, intended - self.crew.clock()))
        try:
            await device.connect(resume=True, intended=intended)
        except NotConnected:
            pass  # counted
