"""Insights: what can be said about a workout now. Derived, never in the log, told at least once.

Every insight has an id made from what it is about, so that a device that hears it twice has it once, a better
record replaces the one before it, and one that no longer holds is taken back with `withdrawn: true`.

    record     UUIDv5(workout, "record:{exercise}:{type}")
               {exercise, type, value, unit, previous, set, load?}
    totals     UUIDv5(workout, "totals")                     {totals}, see engine/totals.py
    rest_over  UUIDv5(workout, "rest:{device}:{n}")          {dot: [device, n], at}
    hint       UUIDv5(workout, "hint:idle")                  {hint: "idle", status}
               UUIDv5(workout, "hint:same:{other}")          {hint: "same_workout", other}: it may be the same
                                                             as that one, started on another device

all with {id, workout, kind}. Values are in the unit that was typed (kg or lb, at most 3 decimal places;
volumes are load times reps in it), durations in ms, distances in m; comparisons were made on exact integers
before.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from fitai.engine.entities import Workout
from fitai.engine.machine import STATUS
from fitai.engine.ops import Dot
from fitai.engine.records import Bests, RecordHit, records, workout_bests
from fitai.engine.totals import totals
from fitai.engine.units import from_thousandths, from_ug

Insight = dict[str, Any]

_NO_MUSCLES: Final[Mapping[str, Sequence[str]]] = {}


@lru_cache(maxsize=16_384)
def insight_id(workout: str, about: str) -> str:
    """The id of an insight: UUIDv5(workout, about)."""
    return str(uuid.uuid5(uuid.UUID(workout), about))


def insights(
    w: Workout,
    history: Mapping[str, Bests],
    *,
    twins: Sequence[str] = (),
    formula: str = "epley",
    muscles: Mapping[str, Sequence[str]] = _NO_MUSCLES,
) -> dict[str, Insight]:
    """All that can be said about `w` now, by id: records against `history`, totals, hints.

    `history` holds the merged bests of the owner's earlier workouts by exercise; what is missing there has
    no history. `twins` are workouts of the same template at the same time. A workout that is removed or not
    created yet has nothing to say, which takes back what it said.
    """
    if w.removed or not w.known:
        return {}
    said = [_totals(w, muscles), *_records(w, history, formula), *_hints(w, twins)]
    return {insight["id"]: insight for insight in said}


def changes(before: Mapping[str, Insight], after: Mapping[str, Insight]) -> list[Insight]:
    """What a device that knows `before` must hear to know `after`: new and changed ones, then withdrawals."""
    told = [insight for id_, insight in after.items() if before.get(id_) != insight]
    gone = [
        {"id": id_, "workout": insight["workout"], "kind": insight["kind"], "withdrawn": True}
        for id_, insight in before.items()
        if id_ not in after
    ]
    return told + gone


def rest_over(w: Workout, dot: Dot, at: int | None = None) -> Insight:
    """The rest begun by op `dot` is over at its deadline `at` (Unix ms; default: the running rest's)."""
    if at is None and w.rest is not None and w.rest.dot == dot:
        at = w.rest.ends_at
    about = f"rest:{dot[0]}:{dot[1]}"
    return _insight(w, "rest_over", about, {"dot": list(dot), "at": at if at is not None else w.last_te})


def _insight(w: Workout, kind: str, about: str, said: Mapping[str, Any]) -> Insight:
    return {"id": insight_id(w.id, about), "workout": w.id, "kind": kind, **said}


def _totals(w: Workout, muscles: Mapping[str, Sequence[str]]) -> Insight:
    return _insight(w, "totals", "totals", {"totals": totals(w, muscles)})


def _records(w: Workout, history: Mapping[str, Bests], formula: str) -> list[Insight]:
    return [
        _insight(w, "record", f"record:{exercise}:{hit.type}", {"exercise": exercise, **_hit(hit)})
        for exercise, bests in workout_bests(w, formula).items()
        for hit in records(bests, history.get(exercise))
    ]


def _hit(hit: RecordHit) -> dict[str, Any]:
    unit, value, previous = _shown(hit)
    said: Insight = {"type": hit.type, "value": value, "unit": unit, "previous": previous, "set": hit.set}
    if hit.load_ug:
        typed = hit.unit or "kg"
        said["load"] = {"value": from_ug(hit.load_ug, typed), "unit": typed}
    return said


def _shown(hit: RecordHit) -> tuple[str, int | float, int | float]:
    """(unit, value, previous) as a person reads them."""
    if hit.type == "reps":
        return "reps", hit.value, hit.previous
    if hit.type == "duration":
        return "ms", hit.value, hit.previous
    if hit.type == "distance":
        return "m", from_thousandths(hit.value), from_thousandths(hit.previous)
    unit = hit.unit or "kg"
    return unit, from_ug(hit.value, unit), from_ug(hit.previous, unit)


def _hints(w: Workout, twins: Sequence[str]) -> list[Insight]:
    """The server acted because nobody did, and its owner may well be back; two devices may have begun one
    workout."""
    hints = [
        _insight(w, "hint", f"hint:same:{other}", {"hint": "same_workout", "other": other}) for other in twins
    ]
    if w.reason == "idle":
        hints.append(_insight(w, "hint", "hint:idle", {"hint": "idle", "status": STATUS[w.state]}))
    return hints
