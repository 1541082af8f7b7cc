"""A node's pulse: how late the event loop is, and how long a message takes over the bus."""

from __future__ import annotations

import asyncio

from fitai.gateways.bus.contract import Bus
from fitai.gateways.meters import LOOP_LAG_SECONDS, probe
from fitai.gateways.tasks import spawn

LOOP_EVERY_S = 0.25
PROBE_EVERY_S = 5.0
PROBE_S = 2.0  # the longest that a probe is waited for


class Pulse:
    """Measures the event loop and the bus for as long as it runs."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to measure."""
        self._tasks = [spawn("pulse.loop", self._watch_loop()), spawn("pulse.bus", self._watch_bus())]

    async def close(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch_loop(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + LOOP_EVERY_S
            await asyncio.sleep(LOOP_EVERY_S)
            LOOP_LAG_SECONDS.observe(max(0.0, clock() - due))

    async def _watch_bus(self) -> None:
        while True:
            await probe(self._bus, PROBE_S)
            await asyncio.sleep(PROBE_EVERY_S)
