"""Minutes at half of what two nodes bear: does memory grow, is anything left open?

**Question.** People come, train with two devices on two nodes for a while, and go; others come. After the
warm-up, when hosts are forgotten as fast as they are opened, do the nodes still grow?

**Load.** First as much as goes: everybody logs the next set when the last one is acknowledged. Half of the
ops per second that came to is the rate of the soak, spread over the same people.

**Figures.** Each node's memory that it shares with nobody, its open files, and what it tells of itself
(`/metrics`), every 5 s. Asked: the slope of memory after the warm-up, by least squares over all samples, is
at most 1 MiB a minute; and of files, connections, hosts and tasks there are in the last third of the time
that is left no more than in the first, but for a tenth.

**Control.** Every op that was written is in the log, once.

    python -m tests.chaos.soak [--minutes 5]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiohttp
import psutil  # type: ignore[import-untyped]
from sqlalchemy import func, select

from fitai.bench.micro import report
from fitai.bench.micro.report import Figure
from fitai.persistence.database import Database
from fitai.persistence.models import RecordRow
from tests.chaos.roamer import Roamer
from tests.chaos.stack import Node, Stack, template
from tests.system.conftest import people

PEOPLE = 40  # at once
STAY_S = 30.0  # on average
PROBE_S = 20.0  # of full load, to learn the capacity
SAMPLE_S = 5.0
WARM_UP = 0.4  # of the time: a host is forgotten a minute after its person has gone
SLOPE_MIB = 1.0  # a minute, at most
KEPT = ("files", "connections", "hosts", "tasks")  # what may leak; the rest comes and goes
GROWTH = 1.1  # of what is open: the last third of the time to the first, after the warm-up
SETS = 30  # in a workout, of which the later ones are corrections
MIB = 1024 * 1024


@dataclass
class Samples:
    """What one node was seen to hold, over time (s)."""

    at: list[float] = field(default_factory=list)
    uss: list[float] = field(default_factory=list)  # MiB
    counts: dict[str, list[float]] = field(default_factory=dict)

    def since(self, first: float) -> Samples:
        """The samples from a moment on."""
        late = [i for i, at in enumerate(self.at) if at >= first]
        counts = {name: [values[i] for i in late] for name, values in self.counts.items()}
        return Samples([self.at[i] for i in late], [self.uss[i] for i in late], counts)

    @property
    def slope(self) -> float:
        """MiB per minute."""
        return statistics.linear_regression([at / 60 for at in self.at], self.uss).slope

    @property
    def growing(self) -> list[str]:
        """What there is more and more of."""
        third = len(self.at) // 3
        ends = {name: (values[:third], values[-third:]) for name, values in self.counts.items()}
        return [
            f"{name}: {statistics.mean(first):.0f}, later {statistics.mean(last):.0f}"
            for name, (first, last) in ends.items()
            if name in KEPT and statistics.mean(last) > GROWTH * statistics.mean(first) + 1
        ]


class Visitor:
    """Somebody with two devices, one on each node, who trains until they are sent home."""

    def __init__(self, roamers: Sequence[Roamer], random: Random) -> None:
        self.roamers = roamers
        self.written = 0
        self._random = random
        self._workout, self._entry, self._sets = str(uuid.uuid4()), str(uuid.uuid4()), list[str]()

    async def trains(self, until: float, rest_s: float | None) -> None:
        """Log until `until` (loop time), with rests between; without any, as fast as acks come."""
        loop = asyncio.get_running_loop()
        living = [loop.create_task(roamer.live()) for roamer in self.roamers]
        try:
            while loop.time() < until:
                await self._acts(self._random.choice(self.roamers))
                if rest_s is None:
                    while any(each.outbox for each in self.roamers):
                        await asyncio.sleep(0.002)
                else:
                    await asyncio.sleep(self._random.random() * 2 * rest_s)
            while any(each.outbox for each in self.roamers):
                await asyncio.sleep(0.05)
        finally:
            for task in living:
                task.cancel()
            await asyncio.gather(*living, return_exceptions=True)

    async def _acts(self, roamer: Roamer) -> None:
        if self.written == 0:
            await self._writes(roamer, "workout.create", {"title": "Legs"})
            await self._writes(roamer, "workout.start", {})
            await self._writes(roamer, "exercise.add", {"exercise": "squat", "position": "a"}, self._entry)
        if len(self._sets) < SETS:
            self._sets.append(str(uuid.uuid4()))
            value = {"exercise_entry": self._entry, "type": "working", "reps": self._random.randint(1, 12)}
            await self._writes(roamer, "set.log", value, self._sets[-1])
        else:
            value = {"field": "reps", "value": self._random.randint(1, 12)}
            await self._writes(roamer, "set.edit", value, self._random.choice(self._sets))

    async def _writes(
        self, roamer: Roamer, kind: str, value: dict[str, object], entity: str | None = None
    ) -> None:
        self.written += 1
        await roamer.does(kind, self._workout, value, entity)


class Gym:
    """A stack of two nodes, and the people who come and go."""

    def __init__(self, stack: Stack, http: aiohttp.ClientSession) -> None:
        self.stack = stack
        self.random = Random(1)
        self.written = 0
        self.wrong: list[str] = []
        self._http = http

    async def visited(self, seconds: float, rest_s: float | None, stay_s: float) -> float:
        """Keep the place full for so long; returns ops per second."""
        loop = asyncio.get_running_loop()
        began, before = loop.time(), self.written
        await asyncio.gather(*(self._place(began + seconds, rest_s, stay_s) for _ in range(PEOPLE)))
        return (self.written - before) / (loop.time() - began)

    async def _place(self, end: float, rest_s: float | None, stay_s: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < end:
            ((user, ids),) = await people(self.stack.database_url, 1, devices=2)
            visitor = Visitor([self._roamer(user, id, place) for place, id in enumerate(ids)], self.random)
            leaves = loop.time() + stay_s * self.random.uniform(0.5, 1.5)
            await visitor.trains(min(end, leaves), rest_s)
            self.written += visitor.written

    def _roamer(self, user: str, id: int, place: int) -> Roamer:
        node = self.stack.nodes[place]
        return Roamer(
            user,
            id,
            http=self._http,
            ways=[(place, lambda: node.url)],
            token=lambda: node.tokens.issue(user, id),
            codec=("json", "msgpack")[place],
            random=self.random,
            wrong=self.wrong.append,
        )

    async def watch(self, seconds: float) -> list[Samples]:
        """Sample both nodes for so long."""
        found = [Samples() for _ in self.stack.nodes]
        began = time.monotonic()
        while (at := time.monotonic() - began) < seconds:
            for node, samples in zip(self.stack.nodes, found, strict=True):
                await self._sample(node, samples, at)
            await asyncio.sleep(SAMPLE_S)
        return found

    async def _sample(self, node: Node, samples: Samples, at: float) -> None:
        process = psutil.Process(node.pid)
        samples.at.append(at)
        samples.uss.append(process.memory_full_info().uss / MIB)
        told = {"files": process.num_fds(), **await self._metrics(node)}
        for name, value in told.items():
            samples.counts.setdefault(name, []).append(value)

    async def _metrics(self, node: Node) -> dict[str, float]:
        """The gauges that a node tells of itself."""
        async with self._http.get(f"{node.url}/metrics", headers=TOLD_TO) as response:
            assert response.status == 200
            lines = [line.rpartition(" ") for line in (await response.text()).splitlines()]
        return {name.removeprefix("fitai_"): float(value) for name, _, value in lines if name in GAUGES}


TOKEN = "a-token-for-the-soak-that-is-long-enough"
TOLD_TO = {"Authorization": f"Bearer {TOKEN}"}
GAUGES = ("fitai_connections", "fitai_hosts", "fitai_tasks", "fitai_queue_bytes", "fitai_database_pool_out")


async def soak(minutes: float, probe_s: float = PROBE_S) -> tuple[list[Figure], list[str]]:
    """The figures, and what is wrong."""
    async with (
        template() as data,
        Stack(data, nodes=2, FITAI_LIMITS="off", FITAI_METRICS_TOKEN=TOKEN) as stack,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        gym = Gym(stack, http)
        capacity = await gym.visited(probe_s, None, probe_s)
        print(f"capacity {capacity:.0f} ops/s", flush=True)
        watching = asyncio.ensure_future(gym.watch(minutes * 60))
        rate = await gym.visited(minutes * 60, 2 * PEOPLE / capacity, STAY_S)
        samples = await watching
        wrong = [*gym.wrong, *(line for node in stack.nodes for line in node.errors())]
        if (stored := await _stored(stack)) != gym.written:
            wrong.append(f"{gym.written} ops were written, the logs have {stored}")
    late = [one.since(minutes * 60 * WARM_UP) for one in samples]
    for number, one in enumerate(late):
        wrong += [f"node {number}: {growing}" for growing in one.growing]
        if one.slope > SLOPE_MIB:
            wrong.append(f"node {number}: memory grows by {one.slope:.2f} MiB a minute")
    return _figures(capacity, rate, late), wrong


async def _stored(stack: Stack) -> int:
    """Records by devices."""
    db = Database.open(stack.database_url)
    try:
        async with db.read() as session:
            query = select(func.count()).select_from(RecordRow).where(RecordRow.device > 0)
            return int((await session.execute(query)).scalar_one())
    finally:
        await db.close()


def _figures(capacity: float, rate: float, nodes: Sequence[Samples]) -> list[Figure]:
    figures = [Figure.of("capacity", "op/s", [capacity]), Figure.of("soak", "op/s", [rate])]
    for number, one in enumerate(nodes):
        name = f"node {number}"
        figures.append(Figure.of(f"{name}: memory", "MiB", one.uss))
        figures.append(Figure.of(f"{name}: growth of memory", "MiB/min", [one.slope], f"≤ {SLOPE_MIB:g}"))
        figures += [Figure.of(f"{name}: {what}", "count", values) for what, values in one.counts.items()]
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.chaos.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--into", type=Path, help="a folder for the table, as Markdown and JSON")
    options = parser.parse_args(arguments)
    figures, wrong = asyncio.run(soak(options.minutes))
    question = f"Two nodes for {options.minutes:g} minutes at half of what they bear: do they grow?"
    facts = report.machine(["aiohttp", "uvloop", "asyncpg"])
    report.tell("soak", question, figures, facts, options.into)
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
