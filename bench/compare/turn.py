"""One turn: a server is started, the load goes on it, and what came out is told."""

from __future__ import annotations

import asyncio
import os
import statistics
from dataclasses import dataclass
from functools import partial

from fitai.bench import validity
from fitai.bench.compare.contenders import Contender, Stores
from fitai.bench.compare.load import FIRST, WARM, Crowd, Echo, Idle
from fitai.bench.fleet import Measured, fleet
from fitai.bench.generator import LAG, Kind
from fitai.bench.pace import LATE
from fitai.bench.plan import Plan
from fitai.bench.validity import Facts
from fitai.bench.watch import Processes
from fitai.gateways.tasks import spawn

SAMPLE_S = 0.1


@dataclass(frozen=True, slots=True)
class Load:
    """What is done: `plan`, and for a crowd how many sets, and whether somebody stalls."""

    plan: Plan
    events: int | None = None
    stalled: bool = False

    def kind(self, contender: Contender) -> Kind:
        """The scenario for a contender."""
        if self.plan.scenario == "idle":
            return partial(Idle, contender.voice)
        if self.events is not None:
            return partial(Crowd, contender.voice, self.events, self.stalled)
        return partial(Echo, contender.voice)


@dataclass(frozen=True, slots=True)
class Turn:
    """What came out.

    acked, delivered   sets per second
    p99_ms             of an ack, from the intended moment
    connection         bytes of the server's memory for each idle connection
    growth             bytes that the server's memory grew by at most
    doubts             why it may say nothing, in sentences
    """

    acked: float
    delivered: float
    p99_ms: float
    connection: float
    growth: float
    doubts: list[str]


async def take(contender: Contender, load: Load, owned: Stores) -> Turn:
    """One contender under a load. Raises Refused, ServerFailed or FleetFailed."""
    plan, measured = load.plan, Measured()
    async with contender.start(plan, owned) as target:
        assert target.pid is not None
        people = await target.people.make(plan.users, plan.devices[0])
        server = Processes(target.pid)
        async with fleet(plan, target.url, people, load.kind(contender)) as generators:
            await generators.ready()
            before = _memory(server)
            watch = Peak(server)
            await generators.go(measured, lambda: None)
            await watch.end()
            after = _memory(server)
    counts, seconds = measured.counts, (1 - WARM) * plan.duration_s
    late = max(1, plan.users - int(plan.users * FIRST)) * plan.devices[0]
    acks = measured.operations.get("set")
    return Turn(
        acked=counts["acked"] / seconds,
        delivered=counts["delivered"] / seconds,
        p99_ms=0.0 if acks is None else acks.total.get_value_at_percentile(99) / 1000,
        connection=(after - before) / late,
        growth=max(0.0, watch.most - before),
        doubts=_doubts(measured),
    )


class Peak:
    """The most memory that a server has until `end`."""

    def __init__(self, server: Processes) -> None:
        self.most = 0.0
        self._server = server
        self._task = spawn("compare.peak", self._watch())

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            self.most = max(self.most, _memory(self._server))
            await asyncio.sleep(SAMPLE_S)


def _memory(server: Processes) -> float:
    sample = server.sample()
    return 0.0 if sample is None else sample["rss"]


def _doubts(measured: Measured) -> list[str]:
    def p99(name: str) -> float | None:
        found = measured.operations.get(name)
        return None if found is None else found.total.get_value_at_percentile(99) / 1000

    facts = Facts(
        measured=sum(measured.counts.values()),
        failures=measured.failures,
        cpu=[statistics.fmean(shares) for _, shares in sorted(measured.cpu.items())],
        lag_ms=p99(LAG) or 0.0,
        late_ms=p99(LATE),
        cores=os.cpu_count() or 1,
        load_before=0.0,
        system=0.0,
    )
    return validity.reasons(facts)
