"""Everybody comes at once, and stays."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from fitai.bench.device import Device
from fitai.bench.link import NotConnected
from fitai.bench.pace import LATE
from fitai.bench.scenarios.base import Scenario, gather
from fitai.gateways.tasks import spawn

FEW = 5


class Connect(Scenario):
    """All devices connect in the first half of the run and then say nothing.

    `connect` is the time from the intended moment over handshake and authentication to `ready`. With a rate
    so many come per second; with a window each generator keeps so many handshakes on the way; with neither
    they come spread over the first half. What the server's memory grew by, over the connections, is told
    beside it.
    """

    name: ClassVar[str] = "connect"
    question: ClassVar[str] = (
        "A storm of connections, then silence: how long to `ready`, how much memory for each?"
    )
    main: ClassVar[str] = "connect"
    devices: ClassVar[tuple[int, ...]] = (1,)
    users: ClassVar[int] = 1_000

    async def prepare(self) -> None:
        """A few come and go, so that what the server makes once is not counted as theirs; then nobody is
        there."""
        few = [Device(member, member.passes[0]) for member in self.crew.members[:FEW]]
        await gather([device.connect for device in few], FEW)
        for device in few:
            device.close()
            device.member.devices.remove(device)

    async def run(self) -> None:
        crew = self.crew
        coming = [(member, way) for member in crew.members for way in member.passes]
        crew.rng.shuffle(coming)
        gap = 1 / crew.rate if crew.rate is not None else crew.plan.duration_s / 2 / len(coming)
        turns = asyncio.Semaphore(crew.plan.window or len(coming))
        tasks = []
        for place, (member, way) in enumerate(coming):
            intended = crew.start + place * gap
            if crew.plan.window is None:
                await asyncio.sleep(max(0.0, intended - crew.clock()))
                crew.recorder.record(LATE, crew.clock() - intended)
            await turns.acquire()
            if crew.plan.window is not None:
                intended = crew.clock()
            tasks.append(spawn("bench.connect", self._connect(Device(member, way), intended, turns)))
        await asyncio.gather(*tasks)
        await asyncio.sleep(max(0.0, crew.start + crew.plan.duration_s - crew.clock()))

    async def _connect(self, device: Device, intended: float, turns: asyncio.Semaphore) -> None:
        try:
            await device.connect(intended=intended)
            self.crew.totals.counts["connected"] += 1
        except NotConnected:
            pass  # counted
        finally:
            turns.release()
