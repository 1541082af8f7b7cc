"""What the measurements write: ops as a device makes them, from a seed, so that every run can be made again.

`map_writes` is the workload on which merge libraries are compared: replicas that write numbers to the keys
of one map, half of the keys shared. A key is here the register of one field of a set. `sessions` is what a
phone holds after weeks in a basement: whole workouts, each set with its load and its effort.

The order of an op's fields is the client's to choose; this one compressed best of some hundreds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgpack

Op = dict[str, Any]

START = 1_764_000_000_000
SETS = 500  # in one workout: the server's own limit
BATCH = 500  # ops in one push: the server's own limit
SESSION = 28  # ops of one workout of `sessions`
DAY_MS = 86_400_000
EXERCISES = ("bench-press", "squat", "deadlift", "row", "overhead-press", "dip", "curl", "pull-up")


class Ids:
    """UUIDs of version 7 from a seed: their first part is a time, as the clients' are."""

    def __init__(self, seed: object) -> None:
        self._random = random.Random(f"ids {seed}")

    def new(self, at: int) -> str:
        """An id made at `at` (Unix ms)."""
        bits = self._random.getrandbits
        return str(UUID(int=at << 80 | 7 << 76 | bits(12) << 64 | 2 << 62 | bits(62)))


@dataclass(frozen=True, slots=True)
class MapWrites:
    """`prepared` makes the sets (device 1); `written` are the replicas' ops, devices 2, 3, …; `keys` is how
    many registers they write, `values` what was written to each (workout, set)."""

    workouts: Sequence[str]
    prepared: Sequence[Op]
    written: Sequence[Sequence[Op]]
    values: dict[tuple[str, str], set[int]]

    @property
    def keys(self) -> int:
        return len(self.values)


def map_writes(seed: int, ops: int, replicas: int = 3) -> MapWrites:
    """Each replica writes `ops` keys once, in an order of its own; the first half of them are everybody's."""
    ids = Ids(f"map {seed}")
    keys = ops // 2 + replicas * (ops - ops // 2)
    prepared, places = _prepared(ids, keys)
    values: dict[tuple[str, str], set[int]] = {place: set() for place in places}
    written = []
    for replica in range(replicas):
        rng = random.Random(f"map {seed} {replica}")
        first = ops // 2 + replica * (ops - ops // 2)
        own = places[: ops // 2] + places[first : first + ops - ops // 2]
        rng.shuffle(own)
        at = START + DAY_MS
        its = []
        for n, (workout, set_id) in enumerate(own, 1):
            at += rng.randrange(1_000, 90_000)
            reps = rng.randrange(1, 30)
            values[workout, set_id].add(reps)
            its.append(
                _op(n, at, len(prepared), "set.edit", workout, {"field": "reps", "value": reps}, set_id)
            )
        written.append(its)
    return MapWrites(list(dict.fromkeys(workout for workout, _ in places)), prepared, written, values)


def _prepared(ids: Ids, sets: int) -> tuple[list[Op], list[tuple[str, str]]]:
    """Ops that log so many sets, as many in a workout as one may hold, and where each set is."""
    out: list[Op] = []
    places: list[tuple[str, str]] = []

    def add(kind: str, workout: str, value: Op, entity: str | None = None) -> None:
        n = len(out) + 1
        out.append(_op(n, START + n, 0, kind, workout, value, entity))

    while len(places) < sets:
        workout, entry = ids.new(START), ids.new(START)
        add("workout.create", workout, {"title": "Map"})
        add("exercise.add", workout, {"exercise": "squat", "position": "a0"}, entry)
        for _ in range(min(SETS, sets - len(places))):
            set_id = ids.new(START)
            places.append((workout, set_id))
            add("set.log", workout, {"exercise_entry": entry, "type": "working", "reps": 5}, set_id)
    return out, places


def sessions(
    seed: object, count: int, *, first: int = 1, base: int = 0, start: int = START, every: int = 2 * DAY_MS
) -> Iterator[Op]:
    """`count` ops of workouts from `start` (Unix ms), one `every` so many ms: `SESSION` ops each, for five
    exercises with four sets."""
    rng = random.Random(f"sessions {seed}")
    ids = Ids(f"sessions {seed}")
    n, day = first, start
    while True:
        for one in _session(rng, ids, day):
            if n == first + count:
                return
            kind, at, workout, value, entity = one
            yield _op(n, at, base, kind, workout, value, entity)
            n += 1
        day += every


def _session(
    rng: random.Random, ids: Ids, day: int
) -> Iterator[tuple[str, int, str, dict[str, Any], str | None]]:
    at = day + rng.randrange(DAY_MS // 4)
    workout = ids.new(at)
    yield "workout.create", at, workout, {"title": "Push day", "tz": "Europe/Berlin"}, None
    yield "workout.start", at + 2_000, workout, {}, None
    for place, exercise in enumerate(rng.sample(EXERCISES, 5)):
        entry = ids.new(at)
        yield "exercise.add", at, workout, {"exercise": exercise, "position": f"a{place}"}, entry
        for _ in range(4):
            at += rng.randrange(45_000, 180_000)
            value = {
                "exercise_entry": entry,
                "type": "working",
                "load": {"unit": "kg", "value": rng.choice((60, 62.5, 70, 82.5, 100))},
                "rpe": rng.choice((7, 7.5, 8, 8.5, 9)),
                "reps": rng.randrange(3, 13),
            }
            yield "set.log", at, workout, value, ids.new(at)
    yield "workout.complete", at + 60_000, workout, {"rating": rng.randrange(5, 11)}, None


def _op(n: int, at: int, base: int, kind: str, workout: str, value: dict[str, Any], entity: str | None) -> Op:
    named = {} if entity is None else {"entity": entity}
    return {"at": at, "workout": workout, "base": base, "n": n, **named, "value": value, "kind": kind}


def pushes(ops: Sequence[Op], size: int = BATCH) -> list[bytes]:
    """The ops as the bodies of pushes, msgpack, of at most `size` ops each."""
    return [msgpack.packb({"ops": list(ops[start : start + size])}) for start in range(0, len(ops), size)]
