"""What a run of records comes to, computed from the records alone: the demo's own opinion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fitai.engine.insights import insights
from fitai.engine.records import workout_bests
from fitai.engine.workout import Workout
from fitai.sync.fold import fold
from fitai.sync.wire import decode_record

Json = dict[str, Any]


def folded(user: str, workout: str, log: Sequence[Json]) -> Workout:
    """The workout as whoever has these records (as the wire has them) sees it."""
    return fold(workout, user, (decode_record(one) for one in log if one["workout"] == workout)).workout


def records_due(user: str, before: str, today: str, log: Sequence[Json]) -> dict[str, Json]:
    """The record insights that today's workout owes, by id, against the one before it."""
    said = insights(folded(user, today, log), workout_bests(folded(user, before, log)))
    return {id_: one for id_, one in said.items() if one["kind"] == "record"}
