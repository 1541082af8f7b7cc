"""Personal records: the best of each kind that a person ever did in an exercise, and when one is beaten.

The rules, as people expect them:

- Only sets that are done count; warm-ups never do.
- The first ever log is a baseline, not a record: something must have been there to beat. Where an exercise
  has a history, that is what earlier workouts hold; where it has none, its first set in this workout is the
  baseline for the rest of it. A workout's volume has only whole earlier workouts to be compared with.
- A tie is no record.
- All is compared in micrograms, so kg and lb are one.
- With assistance the load is help: less of it is the record (`assist`), and there is no estimated 1RM, no
  heaviest load and no volume.
- A left and a right set of one exercise entry are one set: one baseline, and their volumes add up.
- Most reps at a load is a record only where that exact load was logged before, and only when it is more than
  ever at that load or any heavier one: 12 at 60 kg is nothing new to someone who did 12 at 70.
- Longest time is for sets that are held, not repeated: how long ten reps took is no achievement.

Everything is computed from the sets as they are now, so that an edit or a removal takes its record back by
itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, Self

from fitai.engine.entities import SetRow, Workout
from fitai.engine.formulas import FORMULAS, Formula

# In the order in which records are told. `reps` is kept per load, the others are one best each.
RECORD_TYPES: Final = (
    "load",
    "e1rm",
    "reps",
    "set_volume",
    "duration",
    "distance",
    "workout_volume",
    "assist",
)


class Best(NamedTuple):
    """One best: µg for loads and volumes, ms, mm, or a count of reps.

    set   the set that did it; None for a whole workout
    at    when, Unix ms
    unit  the unit in which its load was typed, for showing it; None without a load
    """

    value: int
    set: str | None
    at: int
    unit: str | None = None


class RecordHit(NamedTuple):
    """A record broken in a workout; `value` and `previous` in the units of `Best`.

    load_ug  the load at which most reps were done (negative: help); None for every other type
    """

    type: str
    value: int
    previous: int
    set: str | None
    unit: str | None
    load_ug: int | None = None


class Bests:
    """The best of each record type in one exercise, of one workout or of many merged.

    best        {type: Best}, every type but `reps`
    reps        {load in µg: Best}; the load is 0 for body weight alone and negative for help
    first       what the first set of a single workout did: its baseline where there is no history
    first_reps  the same per load
    """

    __slots__ = ("best", "first", "first_reps", "reps")

    def __init__(self) -> None:
        self.best: dict[str, Best] = {}
        self.reps: dict[int, Best] = {}
        self.first: dict[str, Best] = {}
        self.first_reps: dict[int, Best] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bests) and self.best == other.best and self.reps == other.reps

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Bests({self.best}, reps={self.reps})"

    def to_json(self) -> dict[str, Any]:
        """{best: {type: [value, set, at, unit]}, reps: {load: [value, set, at, unit]}}, without baselines."""
        return {
            "best": {type_: list(best) for type_, best in self.best.items()},
            "reps": {str(load): list(best) for load, best in self.reps.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. Types unknown to this version are dropped: they can be rebuilt."""
        bests = cls()
        bests.absorb(document)
        return bests

    def absorb(self, document: Mapping[str, Any]) -> None:
        """Merge in what `to_json` made of another. Of very many most beat nothing, and are only looked at."""
        for type_, best in document["best"].items():
            held = self.best.get(type_)
            if held is None:
                if type_ in RECORD_TYPES:
                    self.best[type_] = Best(*best)
            elif best[0] == held.value or _exceeds(type_, best[0], held.value):
                self.best[type_] = _better(type_, held, Best(*best))
        for key, best in document["reps"].items():
            held = self.reps.get(load := int(key))
            if held is None:
                self.reps[load] = Best(*best)
            elif best[0] >= held.value:
                self.reps[load] = _better("reps", held, Best(*best))


def workout_bests(w: Workout, formula: str = "epley") -> dict[str, Bests]:
    """The bests of one workout by exercise. `formula` is one of formulas.FORMULAS; KeyError otherwise."""
    estimate = FORMULAS[formula]
    collectors: dict[str, _Collector] = {}
    for row, entry in w.visible_sets():
        if not row.done or row.type == "warmup":
            continue
        collector = collectors.get(entry.exercise)
        if collector is None:
            collector = collectors[entry.exercise] = _Collector(estimate)
        collector.add(row)
    return {exercise: collector.finish() for exercise, collector in collectors.items()}


def merge(*bests: Bests) -> Bests:
    """The best of all; in any order and any grouping the same. Of equals the earlier one stands."""
    merged = Bests()
    for one in bests:
        for type_, best in one.best.items():
            held = merged.best.get(type_)
            merged.best[type_] = best if held is None else _better(type_, held, best)
        for load, best in one.reps.items():
            held = merged.reps.get(load)
            merged.reps[load] = best if held is None else _better("reps", held, best)
    return merged


def records(bests: Bests, history: Bests | None) -> list[RecordHit]:
    """The records that one workout's `bests` break, at most one of each type, in the order of RECORD_TYPES.

    `history` is the merge of every earlier workout's bests in the exercise, None or empty without any.
    """
    earlier = history if history is not None else _NONE
    hits = []
    for type_ in RECORD_TYPES:
        hit = _most_reps(bests, earlier) if type_ == "reps" else _beaten(type_, bests, earlier)
        if hit is not None:
            hits.append(hit)
    return hits


_NONE: Final = Bests()


def _beaten(type_: str, bests: Bests, history: Bests) -> RecordHit | None:
    best = bests.best.get(type_)
    previous = history.best.get(type_) or bests.first.get(type_)
    if best is None or previous is None or not _exceeds(type_, best.value, previous.value):
        return None
    return RecordHit(type_, best.value, previous.value, best.set, best.unit)


def _most_reps(bests: Bests, history: Bests) -> RecordHit | None:
    """Of several loads the heaviest: reps at it say most."""
    earlier = history.reps or bests.first_reps
    for load in sorted(bests.reps, reverse=True):
        best = bests.reps[load]
        previous = earlier.get(load)
        if previous is None:
            continue
        if best.value > max(_most_from(earlier, load), _most_from(bests.reps, load + 1)):
            return RecordHit("reps", best.value, previous.value, best.set, best.unit, load)
    return None


def _most_from(reps: Mapping[int, Best], load: int) -> int:
    """The most reps at `load` or heavier."""
    return max((best.value for at, best in reps.items() if at >= load), default=0)


def _exceeds(type_: str, value: int, than: int) -> bool:
    return value < than if type_ == "assist" else value > than


def _better(type_: str, a: Best, b: Best) -> Best:
    if a.value != b.value:
        return a if _exceeds(type_, a.value, b.value) else b
    return min(a, b, key=lambda best: (best.at, best.set or "", best.unit or ""))


_Found = tuple[int, SetRow, str | None]


class _Collector:
    """Gathers one exercise's bests over the sets of one workout, in log order.

    A **unit** is what counts as one set: a set, or the two halves of a left/right pair. The first unit is the
    baseline, whole, so that the second half of the very first pair is no record over the first half. Bests
    are looked for as plain tuples, which is several times faster than making a `Best` at each improvement.
    """

    __slots__ = ("best", "estimate", "first", "first_unit", "halves", "last", "units", "volumes")

    def __init__(self, estimate: Formula) -> None:
        self.estimate = estimate
        # By record type; most reps by the load they were done at.
        self.best: dict[str | int, _Found] = {}
        self.first: dict[str | int, _Found] = {}
        self.first_unit: dict[str | int, int] = {}
        self.units = 0
        self.halves: dict[str, tuple[list[int], list[int]]] = {}
        self.volumes: dict[int, int] = {}
        self.last: SetRow | None = None

    def add(self, row: SetRow) -> None:
        """Take one set that counts."""
        unit = self._unit(row)
        typed = row.load["unit"] if row.load is not None else None
        if row.reps:
            self._add_repeated(row, row.reps, unit, typed)
        elif row.reps is None:
            if row.load_ug and not row.assisted:
                self._note("load", row.load_ug, row, unit, typed)
            if row.duration_ms:
                self._note("duration", row.duration_ms, row, unit, None)
        if row.distance_mm:
            self._note("distance", row.distance_mm, row, unit, None)

    def finish(self) -> Bests:
        """The bests, with the workout's volume in them."""
        bests = Bests()
        for key, found in self.best.items():
            opening = self.first[key]
            best = _best(found)
            first = best if opening is found else _best(opening)
            if isinstance(key, int):
                bests.reps[key], bests.first_reps[key] = best, first
            else:
                bests.best[key], bests.first[key] = best, first
        if self.last is not None:
            unit = self.last.load["unit"] if self.last.load is not None else None
            bests.best["workout_volume"] = Best(sum(self.volumes.values()), None, self.last.at, unit)
        return bests

    def _add_repeated(self, row: SetRow, reps: int, unit: int, typed: str | None) -> None:
        load = row.load_ug
        if row.assisted:
            if load is not None:
                self._note("assist", load, row, unit, typed)
                self._note(-load, reps, row, unit, typed)
            return
        self._note(load or 0, reps, row, unit, typed)
        if not load:
            return
        self._note("load", load, row, unit, typed)
        estimated = self.estimate(load, reps)
        if estimated is not None:
            self._note("e1rm", estimated, row, unit, typed)
        volume = self.volumes[unit] = self.volumes.get(unit, 0) + load * reps
        self._note("set_volume", volume, row, unit, typed)
        self.last = row

    def _unit(self, row: SetRow) -> int:
        """The number of the set that this row is or belongs to: the k-th left pairs with the k-th right."""
        if row.side not in ("left", "right"):
            self.units += 1
            return self.units
        left, right = self.halves.setdefault(row.exercise_entry, ([], []))
        mine, other = (left, right) if row.side == "left" else (right, left)
        if len(mine) < len(other):
            unit = other[len(mine)]
        else:
            self.units += 1
            unit = self.units
        mine.append(unit)
        return unit

    def _note(self, key: str | int, value: int, row: SetRow, unit: int, typed: str | None) -> None:
        held = self.best.get(key)
        if held is None:
            self.first_unit[key] = unit
        elif not (value < held[0] if key == "assist" else value > held[0]):
            return
        found = self.best[key] = (value, row, typed)
        if self.first_unit[key] == unit:
            self.first[key] = found


def _best(found: _Found) -> Best:
    row = found[1]
    return Best(found[0], row.id, row.at, found[2])


def bests_of(workouts: Iterable[Mapping[str, Bests]]) -> dict[str, Bests]:
    """Many workouts' bests merged by exercise: the history that a next workout is compared with."""
    gathered: dict[str, list[Bests]] = {}
    for workout in workouts:
        for exercise, bests in workout.items():
            gathered.setdefault(exercise, []).append(bests)
    return {exercise: merge(*bests) for exercise, bests in gathered.items()}
