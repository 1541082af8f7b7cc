"""A generator: a process with a part of the people, on an event loop of its own.

    parent                         generator
      Share          ──────▶         connects its people
             ◀──────  Ready
      Go(at)         ──────▶         waits until that moment of the wall clock, then does the works
             ◀──────  Tick …         each interval: encoded histograms, counts, how the generator itself was
             ◀──────  Done           what was counted and what the control found
      None           ──────▶         goes home

It also watches itself: how late its loop is, how much of a core it takes. A generator that is late measures
itself and not the server, and the run says so.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection

from fitai.bench.crew import Crew, Totals
from fitai.bench.plan import Person, Plan
from fitai.bench.scenarios.base import Scenario
from fitai.gateways.tasks import spawn

LAG = "generator lag"
BEAT_S = 0.02

Kind = Callable[[Crew], Scenario]
"""What makes a crew's scenario; it goes to another process by its name."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a generator is given: its number, its people, the plan of the whole run, and the load."""

    plan: Plan
    url: str
    number: int
    people: list[Person]
    users: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Ready:
    """Everybody is connected."""

    generator: int


@dataclass(frozen=True, slots=True)
class Go:
    """Begin at this moment of the wall clock (Unix seconds)."""

    at: float


@dataclass(frozen=True, slots=True)
class Tick:
    """What was measured in one interval. `cpu` is the part of a core that the generator took, `counts` are
    all counts so far."""

    generator: int
    interval: int
    cpu: float
    histograms: Mapping[str, bytes]
    counts: Mapping[str, int]
    failures: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Done:
    """The run is over, everything had time to arrive, the control was read."""

    generator: int
    totals: Totals


@dataclass(frozen=True, slots=True)
class Failed:
    """The generator could not go on."""

    generator: int
    why: str


Told = Ready | Tick | Done | Failed


def run(pipe: Connection, share: Share) -> None:
    """The process: what multiprocessing starts."""
    import uvloop

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal; the parent ends the run
    raise_file_limit()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(pipe, share))
    except (EOFError, BrokenPipeError):
        pass  # the parent is gone
    except Exception as error:
        traceback.print_exc()
        pipe.send(Failed(share.number, f"{type(error).__name__}: {error}"))


async def _run(pipe: Connection, share: Share) -> None:
    crew = Crew(share.plan, share.url, share.people, share.number, share.users)
    scenario = share.kind(crew)
    try:
        await scenario.prepare()
        pipe.send(Ready(share.number))
        go: Go = await asyncio.to_thread(pipe.recv)
        crew.recorder.take()
        crew.start = crew.clock() + go.at - time.time()
        await asyncio.sleep(max(0.0, crew.start - crew.clock()))
        await _measured(pipe, crew, scenario)
        pipe.send(Done(crew.number, crew.totals))
        await asyncio.to_thread(pipe.recv)
    finally:
        await crew.close()


async def _measured(pipe: Connection, crew: Crew, scenario: Scenario) -> None:
    watch = [spawn("bench.beat", _beat(crew)), spawn("bench.ticks", _ticks(pipe, crew))]
    try:
        await scenario.run()
        await scenario.finish()
    finally:
        for task in watch:
            task.cancel()
        await asyncio.gather(*watch, return_exceptions=True)


async def _beat(crew: Crew) -> None:
    """Measure how late the loop wakes up who asked to be."""
    while True:
        due = crew.clock() + BEAT_S
        await asyncio.sleep(BEAT_S)
        crew.recorder.record(LAG, max(0.0, crew.clock() - due))


async def _ticks(pipe: Connection, crew: Crew) -> None:
    length = crew.plan.interval_s
    last, used = crew.clock(), time.process_time()
    interval = 0

    def tick() -> None:
        nonlocal last, used
        now, cpu = crew.clock(), time.process_time()
        share = (cpu - used) / max(1e-9, now - last)
        last, used = now, cpu
        counts, failures = dict(crew.totals.counts), dict(crew.totals.failures)
        pipe.send(Tick(crew.number, interval, share, crew.recorder.take(), counts, failures))

    try:
        while True:
            await asyncio.sleep(max(0.0, crew.start + (interval + 1) * length - crew.clock()))
            tick()
            interval = max(interval + 1, int((crew.clock() - crew.start) / length))
    finally:
        tick()


def raise_file_limit() -> None:
    """Every connection is a file; take as many as the system grants, for this process and those that it
    starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
