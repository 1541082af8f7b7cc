"""Totals of a workout: what was moved, how often, how long. Exact, and cheap enough for every op.

Only sets that are done count, and warm-ups are counted apart: in `warmup_sets` and nowhere else. A left and a
right set of one exercise entry are one set of two halves: together they are 1 in `sets`, while the reps and
the volume of both were done and both add up.

Volume is load times reps in integer micrograms. With assistance the load is help, not weight: such a set adds
reps but no volume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fitai.engine.entities import SetRow, Workout
from fitai.engine.machine import RESTING, WORKING
from fitai.engine.units import from_thousandths

_NO_MUSCLES: Mapping[str, Sequence[str]] = {}


class Tally:
    """Running sums over sets of one exercise or one muscle."""

    __slots__ = ("distance_mm", "duration_ms", "reps", "sets", "volume_ug", "warmup_sets")

    def __init__(self) -> None:
        self.volume_ug = 0
        self.sets = 0
        self.warmup_sets = 0
        self.reps = 0
        self.duration_ms = 0
        self.distance_mm = 0

    def add(self, other: Tally) -> None:
        """Add another tally to this one."""
        for name in Tally.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def document(self) -> dict[str, Any]:
        """{volume_ug, sets, warmup_sets, reps, duration_ms, distance_m}; duration is that of timed sets."""
        return {
            "volume_ug": self.volume_ug,
            "sets": self.sets,
            "warmup_sets": self.warmup_sets,
            "reps": self.reps,
            "duration_ms": self.duration_ms,
            "distance_m": from_thousandths(self.distance_mm),
        }


def totals(w: Workout, muscles: Mapping[str, Sequence[str]] = _NO_MUSCLES) -> dict[str, Any]:
    """The workout's totals as a JSON-able document.

    {volume_ug, sets, warmup_sets, reps, work_ms, rest_ms, duration_ms, distance_m, exercises: {exercise: …},
    muscles: {muscle: …}}. `work_ms` and `rest_ms` are the time spent working and resting up to the last op,
    pauses left out; `duration_ms` goes from start to end (or the last op). Inside `exercises` and `muscles`
    the fields are those of `Tally.document`. `muscles` gives the muscles of an exercise; each gets the
    exercise whole, and an exercise without an entry there counts for none.
    """
    exercises = tally(w)
    whole = Tally()
    by_muscle: dict[str, Tally] = {}
    for exercise, its in exercises.items():
        whole.add(its)
        for muscle in muscles.get(exercise, ()):
            by_muscle.setdefault(muscle, Tally()).add(its)
    spent = times(w)
    return {
        "volume_ug": whole.volume_ug,
        "sets": whole.sets,
        "warmup_sets": whole.warmup_sets,
        "reps": whole.reps,
        "work_ms": spent.work_ms,
        "rest_ms": spent.rest_ms,
        "duration_ms": _duration(w),
        "distance_m": from_thousandths(whole.distance_mm),
        "exercises": {exercise: its.document() for exercise, its in exercises.items()},
        "muscles": {muscle: its.document() for muscle, its in by_muscle.items()},
    }


def tally(w: Workout) -> dict[str, Tally]:
    """The sums of every exercise that has a set done, by exercise."""
    tallies: dict[str, Tally] = {}
    halves: dict[tuple[str, bool], list[int]] = {}
    for row, entry in w.visible_sets():
        if not row.done:
            continue
        its = tallies.get(entry.exercise)
        if its is None:
            its = tallies[entry.exercise] = Tally()
        counted = 1
        if row.side == "left" or row.side == "right":
            counted = _half(halves.setdefault((entry.id, row.type == "warmup"), [0, 0]), row.side)
        _count(its, row, counted)
    return tallies


def _half(sides: list[int], side: str) -> int:
    """1 when this half opens a pair, 0 when it closes one."""
    mine, other = (0, 1) if side == "left" else (1, 0)
    sides[mine] += 1
    return 1 if sides[mine] > sides[other] else 0


def _count(its: Tally, row: SetRow, counted: int) -> None:
    if row.type == "warmup":
        its.warmup_sets += counted
        return
    its.sets += counted
    its.reps += row.reps or 0
    its.volume_ug += volume(row)
    its.duration_ms += row.duration_ms or 0
    its.distance_mm += row.distance_mm or 0


def volume(row: SetRow) -> int:
    """Load times reps of one set in µg; 0 without either and for assisted sets."""
    if row.load_ug is None or row.reps is None or row.assisted:
        return 0
    return row.load_ug * row.reps


def started_at(w: Workout) -> int | None:
    """When the workout began: as a person typed it, else by its first start or set."""
    return w.started_at if w.started_edit is None else w.started_edit


def ended_at(w: Workout) -> int | None:
    """When the workout ended: as a person typed it, else by its completion; None while it goes on."""
    return w.ended_at if w.ended_edit is None else w.ended_edit


class Times(NamedTuple):
    """Time spent working and resting, ms."""

    work_ms: int
    rest_ms: int


def times(w: Workout) -> Times:
    """How the time up to the last op was spent, pauses left out."""
    running = max(0, (w.last_te or 0) - w.since)
    work_ms = w.work_ms + (running if w.state == WORKING else 0)
    rest_ms = w.rest_ms + (running if w.state == RESTING else 0)
    return Times(work_ms, rest_ms)


def _duration(w: Workout) -> int:
    start, end = started_at(w), ended_at(w)
    if start is None:
        return 0
    return max(0, (end if end is not None else w.last_te or start) - start)
