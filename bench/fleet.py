"""The generators' parent: starts them together, merges what they tell, ends them whatever happens."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from fitai.bench import generator
from fitai.bench.generator import Done, Failed, Go, Kind, Ready, Share, Tick, Told
from fitai.bench.growth import Stretch
from fitai.bench.histogram import Operation
from fitai.bench.plan import Person, Plan, shares
from fitai.bench.scenarios import SCENARIOS

READY_S = 300.0
AFTER_S = 90.0  # beyond the duration: a drain, and a machine that is busy
LEAD_S = 0.3  # between the word and the common start: all have heard it by then
GO_HOME_S = 10.0


class FleetFailed(Exception):
    """A generator could not go on; the message says why."""


@dataclass(slots=True)
class Measured:
    """What all generators told, merged.

    operations   by name; those that begin with `generator ` are the generators' own
    timeline     by name, for each interval that is over: (number, summary)
    cpu          by generator, for each interval: parts of a core
    stretches    parts of the run that are told apart
    """

    operations: dict[str, Operation] = field(default_factory=dict)
    timeline: dict[str, list[tuple[int, dict[str, float]]]] = field(default_factory=dict)
    cpu: dict[int, list[float]] = field(default_factory=dict)
    stretches: list[Stretch] = field(default_factory=list)
    began: float = 0.0
    _counts: dict[int, Counter[str]] = field(default_factory=dict)
    _failures: dict[int, Counter[str]] = field(default_factory=dict)
    _ticks: dict[int, int] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """All counts of all generators."""
        return sum(self._counts.values(), Counter())

    @property
    def failures(self) -> Counter[str]:
        """All failures of all generators."""
        return sum(self._failures.values(), Counter())

    def tick(self, tick: Tick, generators: int) -> None:
        """Merge an interval of a generator; intervals that all have told are settled."""
        for name, encoded in tick.histograms.items():
            self.operations.setdefault(name, Operation()).add(tick.interval, encoded)
        self.cpu.setdefault(tick.generator, []).append(tick.cpu)
        self.count(tick.generator, tick.counts, tick.failures)
        self._ticks[tick.generator] = tick.interval
        if len(self._ticks) == generators:
            self._settle(min(self._ticks.values()))

    def count(self, number: int, counts: object, failures: object) -> None:
        """Take over what a generator has counted so far."""
        self._counts[number] = Counter(counts)  # type: ignore[call-overload]
        self._failures[number] = Counter(failures)  # type: ignore[call-overload]

    def settle(self) -> None:
        """No more ticks come."""
        self._settle(2**62)

    def _settle(self, before: int) -> None:
        for name, operation in self.operations.items():
            self.timeline.setdefault(name, []).extend(operation.settle(before))


class Fleet:
    """The generators of one run; made by `fleet`."""

    def __init__(self, plan: Plan, pipes: dict[int, Connection]) -> None:
        self.done = False
        self._plan = plan
        self._pipes = pipes
        self._told: asyncio.Queue[Told] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        for number, pipe in pipes.items():
            loop.add_reader(pipe.fileno(), self._read, number, pipe)

    async def ready(self) -> None:
        """Wait until everybody is connected; raises FleetFailed."""
        await self._until(Ready, READY_S, lambda _: None)

    async def go(self, measured: Measured, show: Callable[[], None]) -> None:
        """Start all at one moment and merge what they tell until all are done; raises FleetFailed."""
        measured.began = time.time() + LEAD_S
        for pipe in self._pipes.values():
            pipe.send(Go(measured.began))

        def take(told: Told) -> None:
            if isinstance(told, Tick):
                measured.tick(told, len(self._pipes))
                show()
            elif isinstance(told, Done):
                measured.count(told.generator, told.totals.counts, told.totals.failures)
                measured.stretches += told.totals.stretches

        await self._until(Done, self._plan.duration_s + AFTER_S, take)
        measured.settle()
        self.done = True

    async def _until(self, kind: type[Told], within_s: float, take: Callable[[Told], None]) -> None:
        """Take what is told until each generator has told one of a kind."""
        waiting = set(self._pipes)
        try:
            async with asyncio.timeout(within_s):
                while waiting:
                    told = await self._told.get()
                    if isinstance(told, Failed):
                        raise FleetFailed(f"Generator {told.generator} failed: {told.why}")
                    take(told)
                    if isinstance(told, kind):
                        waiting.discard(told.generator)
        except TimeoutError:
            raise FleetFailed(f"Generators {sorted(waiting)} did not answer in {within_s:g} s.") from None

    def _read(self, number: int, pipe: Connection) -> None:
        try:
            while pipe.poll():
                self._told.put_nowait(pipe.recv())
        except EOFError:
            asyncio.get_running_loop().remove_reader(pipe.fileno())
            self._told.put_nowait(Failed(number, "its process ended"))


@asynccontextmanager
async def fleet(
    plan: Plan, url: str, people: Sequence[Person], kind: Kind | None = None
) -> AsyncIterator[Fleet]:
    """Start the generators, each in a process of its own, with a share of the people each. The load is the
    scenario that the plan names, unless another `kind` is given."""
    spawning = multiprocessing.get_context("spawn")
    pipes: dict[int, Connection] = {}
    processes: list[BaseProcess] = []
    try:
        for number, its in enumerate(shares(people, plan.generators)):
            ours, theirs = spawning.Pipe()
            share = Share(plan, url, number, its, len(people), kind or SCENARIOS[plan.scenario])
            process: BaseProcess = spawning.Process(target=generator.run, args=(theirs, share), daemon=True)
            process.start()
            theirs.close()
            pipes[number] = ours
            processes.append(process)
        made = Fleet(plan, pipes)
        yield made
        if made.done:
            for pipe in pipes.values():
                pipe.send(None)
            await asyncio.to_thread(_wait, processes)
    finally:
        loop = asyncio.get_running_loop()
        for pipe in pipes.values():
            loop.remove_reader(pipe.fileno())
            pipe.close()
        for process in processes:
            process.terminate()
            process.join(GO_HOME_S)


def _wait(processes: Sequence[BaseProcess]) -> None:
    until = time.monotonic() + GO_HOME_S
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
