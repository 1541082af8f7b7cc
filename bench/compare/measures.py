"""What is measured, of whom, and what must come out as a ratio of two of them in one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fitai.bench.compare.contenders import (
    BARE,
    NODE,
    NODE_REDIS,
    PSIO,
    PSIO_REDIS,
    SCALED,
    SQLITE,
    WORKERS,
)
from fitai.bench.compare.turn import Load, Turn
from fitai.bench.plan import Plan

KIB, MIB = 1024.0, 1024.0**2

STALLED, AWAKE = "FitAI, SQLite, one client stalled", "FitAI, SQLite, none stalled"
CAP_MIB = 1.0  # FITAI_LIMIT_QUEUE_BYTES as it comes

Found = Mapping[str, Mapping[str, Sequence[float]]]
"""By measure and contender: a value for each run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of it.

    seconds       of each load, a fifth of them to get warm
    rooms         of 50, and `pairs` of two; each has one who logs sets
    window        sets on the way from each
    connections   that are idle
    events        that go the way of a client that has stalled
    generators    processes of the client
    """

    seconds: float = 5.0
    pairs: int = 50
    rooms: int = 4
    members: int = 50
    window: int = 4
    connections: int = 5_000
    events: int = 50_000
    generators: int = 1


@dataclass(frozen=True, slots=True)
class Task:
    """A line of a measure: who takes the turn under which load."""

    contender: str
    load: Load


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of several contenders, who take their turns at it in every run."""

    name: str
    what: str
    unit: str
    tasks: Callable[[Size, Found], Mapping[str, Task]]
    read: Callable[[Turn], float]


def _plan(scenario: str, size: Size, users: int, devices: int, **more: float | int) -> Plan:
    asked = {"duration_s": size.seconds, "generators": size.generators, **more}
    return Plan(scenario=scenario, users=users, devices=(devices,), **asked)  # type: ignore[arg-type]


def _all(names: Sequence[str], load: Load) -> dict[str, Task]:
    return {name: Task(name, load) for name in names}


def _pairs(size: Size, _: Found) -> dict[str, Task]:
    everybody = (SQLITE, SCALED, WORKERS, PSIO, PSIO_REDIS, NODE, NODE_REDIS, BARE)
    return _all(everybody, Load(_plan("pairs", size, size.pairs, 2, window=size.window)))


def _rooms(size: Size, _: Found) -> dict[str, Task]:
    names = (SCALED, PSIO, PSIO_REDIS, NODE, NODE_REDIS, BARE)
    return _all(names, Load(_plan("rooms", size, size.rooms, size.members, window=size.window)))


def _idle(size: Size, _: Found) -> dict[str, Task]:
    return _all((SQLITE, PSIO, NODE), Load(_plan("idle", size, size.connections, 1, duration_s=3.0)))


def _ack(size: Size, found: Found) -> dict[str, Task]:
    half = statistics.median(found["pairs"][SQLITE]) / 2
    return _all((SQLITE, PSIO), Load(_plan("ack", size, size.pairs, 2, rate=half)))


def _stalled(size: Size, _: Found) -> dict[str, Task]:
    plan = _plan("stalled", size, 1, 3, window=2, duration_s=300.0, generators=1)
    return {
        STALLED: Task(SQLITE, Load(plan, size.events, stalled=True)),
        AWAKE: Task(SQLITE, Load(plan, size.events)),
    }


MEASURES = {
    one.name: one
    for one in (
        Measure("pairs", "acked sets in pairs", "sets/s", _pairs, lambda turn: turn.acked),
        Measure("rooms", "deliveries in rooms", "sets/s", _rooms, lambda turn: turn.delivered),
        Measure("idle", "memory for an idle connection", "KiB", _idle, lambda turn: turn.connection / KIB),
        Measure(
            "ack", "p99 of an ack at half of FitAI's capacity on SQLite", "ms", _ack, lambda turn: turn.p99_ms
        ),
        Measure("stalled", "growth of memory at most", "MiB", _stalled, lambda turn: turn.growth / MIB),
    )
}
NEEDS = {"ack": "pairs"}
"""A measure that takes its load from another one's figures."""


@dataclass(frozen=True, slots=True)
class Row:
    """Something asked: ours to theirs, or ours minus theirs, in one run. `least` and `aim` are lower bounds,
    upper ones where less is better (`less`); None where it is only told."""

    ours: str
    against: str
    measure: str
    mine: str
    its: str
    least: float | None
    aim: float | None = None
    less: bool = False
    minus: bool = False

    def values(self, found: Found) -> list[float]:
        """What came out, run by run; none when one of the two was not measured."""
        measured = found.get(self.measure, {})
        both = zip(measured.get(self.mine, ()), measured.get(self.its, ()), strict=False)
        return [mine - its if self.minus else mine / its for mine, its in both if self.minus or its]

    def reached(self, value: float) -> str:
        """How a value stands to what was asked."""
        if self.least is None:
            return "–"
        for bound, word in ((self.aim, "aim"), (self.least, "yes")):
            if bound is not None and (value <= bound if self.less else value >= bound):
                return word
        return "no"


ROWS = (
    Row(
        "acked sets/s, pairs, SQLite",
        "python-socketio as shipped (not durable)",
        "pairs",
        SQLITE,
        PSIO,
        1.0,
        2.0,
    ),
    Row(
        "acked sets/s, pairs, PostgreSQL + Redis",
        "python-socketio + Redis manager (not durable)",
        "pairs",
        SCALED,
        PSIO_REDIS,
        8.0,
        15.0,
    ),
    Row("same", "Node + Redis adapter (not durable)", "pairs", SCALED, NODE_REDIS, 0.5, 1.0),
    Row(
        "deliveries/s, rooms of 50, PostgreSQL + Redis",
        "Node + Redis adapter",
        "rooms",
        SCALED,
        NODE_REDIS,
        0.8,
        1.3,
    ),
    Row(
        "KB per idle, authenticated, subscribed connection at 5,000",
        "Node",
        "idle",
        SQLITE,
        NODE,
        1.0,
        0.7,
        less=True,
    ),
    Row(
        "p99 of ack at half of own capacity",
        "python-socketio as shipped at the same rate",
        "ack",
        SQLITE,
        PSIO,
        1.0,
        0.5,
        less=True,
    ),
    Row(
        "acked sets/s, 2 worker processes",
        "1 process, client on the same 2 cores",
        "pairs",
        WORKERS,
        SCALED,
        None,
    ),
    Row(
        "RSS growth by one stalled client during 50,000 events, with it minus without",
        "–",
        "stalled",
        STALLED,
        AWAKE,
        CAP_MIB + 1,
        less=True,
        minus=True,
    ),
)
