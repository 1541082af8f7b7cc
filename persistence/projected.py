"""What the projections hold of one workout, and the rows that this comes to.

Rows are tuples in the order of their table's columns, as the drivers take them: text without what can not be
stored (`clean`), JSON as bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Self

import orjson

from fitai.engine.records import workout_bests
from fitai.engine.units import to_ug
from fitai.engine.workout import Workout, state
from fitai.persistence.models import clean
from fitai.persistence.snapshots import mark

_MOST = 2**63 - 1  # what a column of the database can hold

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Projected:
    """What the projections hold of one workout.

    seq       place in the stream of the workout's last record that is folded here
    document  the engine's state document
    bests     {exercise: its bests in this workout, as JSON}; empty for a removed workout
    due_at    when the server has to act next, Unix ms, or None
    """

    seq: int
    document: Mapping[str, Any]
    bests: Mapping[str, Any]
    due_at: int | None = None

    @classmethod
    def of(cls, workout: Workout, due_at: int | None) -> Self:
        """The projection of a fold."""
        kept = workout.known and not workout.removed
        bests = workout_bests(workout) if kept else {}
        as_json = {exercise: its.to_json() for exercise, its in bests.items()}
        return cls(workout.seq, state(workout), as_json, due_at)

    @property
    def workout(self) -> str:
        """The workout's id."""
        return str(self.document["id"])


def happened_at(document: Mapping[str, Any]) -> int:
    """When it was started, else created, else (nothing of both is known yet) 0. Unix ms."""
    return int(document["started_at"] or document["created_at"] or 0)


def workout_row(stream: int, projected: Projected) -> Row:
    """Its row of `workouts`."""
    document = projected.document
    totals = document["totals"]
    return (
        stream,
        projected.workout,
        document["created"],
        document["removed"],
        document["status"],
        document["phase"],
        _words(document["title"]),
        _words(document["template"]),
        happened_at(document),
        document["created_at"],
        document["started_at"],
        document["ended_at"],
        document["updated_at"],
        document["rev"],
        projected.seq,
        len(document["exercises"]),
        totals["sets"],
        min(totals["volume_ug"], _MOST),
        projected.due_at,
        document.get("merged_into"),
    )


def snapshot_row(stream: int, projected: Projected) -> Row:
    """Its row of `snapshots`."""
    return stream, projected.workout, projected.seq, mark(), orjson.dumps(projected.document)


def bests_rows(stream: int, projected: Projected) -> Iterator[Row]:
    """Its rows of `exercise_bests`, of which two keys that are stored alike are one."""
    at = happened_at(projected.document)
    as_stored = {clean(exercise): bests for exercise, bests in projected.bests.items()}
    for exercise, bests in as_stored.items():
        yield stream, exercise, projected.workout, at, orjson.dumps(bests)


def set_rows(stream: int, projected: Projected) -> Iterator[Row]:
    """Its rows of `sets`, of which two keys that are stored alike are one."""
    rows: dict[str, Row] = {}
    workout, place = projected.workout, count()
    for entry in projected.document["exercises"]:
        its = clean(entry["id"]), clean(entry["exercise"])
        for logged in entry["sets"]:
            name = clean(logged["id"])
            rows[name] = (stream, workout, name, next(place), *its, *_logged(logged))
    yield from rows.values()


def _logged(row: Mapping[str, Any]) -> Row:
    load = row["load"] or _NO_LOAD
    value, unit = load["value"], load["unit"]
    return (
        _words(row["type"]),
        row["done"],
        row["reps"],
        None if unit is None else to_ug(value, unit),
        value,
        unit,
        row["rpe"],
        row["rir"],
        row["duration_ms"],
        row["distance_m"],
        row["side"],
        row["assisted"],
        row["at"],
        *row["dot"],
    )


_NO_LOAD: Mapping[str, Any] = {"value": None, "unit": None}


def _words(value: str | None) -> str | None:
    return None if value is None else clean(value)
