"""How fast do the records of a log become workouts again?

**Question.** A host is opened, projections are written anew: the records of whole workouts are folded. How
many a second, beside reading the same ops from their JSON, which is the least that anybody has to do with
them?

**Figure.** Our rate as a part of the reader's (`orjson`). First measured: 0.063 (0.047 … 0.071), on two
busy cores in November 2026. Since sets with a load take the short way through decoding, on quiet ones: 0.077
(0.076 … 0.079).

**Control.** Folded in another order, with some of them twice, the records come to the same digests.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import orjson

from fitai.bench.micro import report, workload
from fitai.bench.micro.report import Figure
from fitai.engine.ops import Record
from fitai.engine.workout import Limits, digest, state
from fitai.sync import log
from fitai.sync.fold import Folded, fold
from fitai.sync.place import Placer
from fitai.sync.wire import WireLimits, decode_push

NOW = workload.START + 4_000 * workload.DAY_MS
OWNER = "owner"


def placed(ops: int, run: int) -> tuple[list[Record], list[bytes]]:
    """The records of so many ops of whole workouts, and the ops' JSON."""
    raw = list(workload.sessions(run, ops))
    folds = {workout: Folded(workout, OWNER) for workout in dict.fromkeys(op["workout"] for op in raw)}
    push = decode_push({"ops": raw}, WireLimits(push_ops=ops, push_bytes=2**31))
    placer = Placer(0, 0, {}, folds, Limits())
    position = placer.position(1)
    placer.place_all(1, push.ops, log.contexts(push.ops, position), NOW, 0)
    return placer.records, [orjson.dumps(op) for op in raw]


def folded(records: Sequence[Record]) -> list[str]:
    """The digests of all workouts, by their ids."""
    by_workout: dict[str, list[Record]] = {}
    for record in records:
        by_workout.setdefault(record.op.workout, []).append(record)
    return [digest(state(fold(w, OWNER, its).workout)) for w, its in sorted(by_workout.items())]


def ours(ops: int) -> Callable[[int], float]:
    def measure(run: int) -> float:
        records, _ = placed(ops, run)
        by_workout: dict[str, list[Record]] = {}
        for record in records:
            by_workout.setdefault(record.op.workout, []).append(record)
        seconds, _ = report.timed(
            lambda: [fold(workout, OWNER, its).workout for workout, its in by_workout.items()]
        )
        check(records, run)
        return ops / seconds

    return measure


def reader(ops: int) -> Callable[[int], float]:
    def measure(run: int) -> float:
        _, bodies = placed(ops, run)
        seconds, read = report.timed(lambda: [orjson.loads(body) for body in bodies])
        assert len(read) == ops, "ops are missing"
        return ops / seconds

    return measure


def check(records: Sequence[Record], seed: int) -> None:
    """Raise AssertionError unless order and doubles change nothing."""
    rng = random.Random(seed)
    other = [*records, *rng.sample(records, len(records) // 4)]
    rng.shuffle(other)
    assert folded(other) == folded(records), "the order of the records changes the state"


def measure(runs: int, ops: int) -> list[Figure]:
    """Both rates, and the one as a part of the other."""
    found = report.interleaved(runs, {"ours": ours(ops), "reader": reader(ops)})
    ratios = [mine / its for mine, its in zip(found["ours"], found["reader"], strict=True)]
    return [
        Figure.of("fold", "op/s", found["ours"]),
        Figure.of("orjson reads the ops", "op/s", found["reader"]),
        Figure.of("fold to reading", "ratio", ratios),
    ]


def main(arguments: Sequence[str]) -> None:
    """Run with the options of the command line."""
    parser = report.parser("fold", "Records to workouts, beside reading their JSON.")
    parser.add_argument("--ops", type=int, default=20_000)
    options = parser.parse_args(arguments)
    question = f"{options.ops} ops of whole workouts: folded, beside read from JSON."
    figures = measure(options.runs, options.ops)
    report.tell("fold", question, figures, report.machine(["orjson", "msgspec"]), options.into)
