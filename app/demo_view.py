"""What a run of records comes to, computed from the records alone: the demo's own opinion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fitai.engine.insights import insights
from fitai.engine.ops import Record, Verdict
from fitai.engine.records import workout_bests
from fitai.engine.workout import Workout
from fitai.sync.fold import fold
from fitai.sync.wire import WireLimits, decode_op

Json = dict[str, Any]

_SERVERS_OWN = ("seq", "rev", "device", "te", "verdict", "code", "detail")


def folded(user: str, workout: str, log: Sequence[Json]) -> Workout:
    """The workout as whoever has these records (as the wire has them) sees it."""
    return fold(workout, user, (_record(one) for one in log if one["workout"] == workout)).workout


def records_due(user: str, before: str, today: str, log: Sequence[Json]) -> dict[str, Json]:
    """The record insights that today's workout owes, by id, against the one before it."""
    said = insights(folded(user, today, log), workout_bests(folded(user, before, log)))
    return {id_: one for id_, one in said.items() if one["kind"] == "record"}


def _record(one: Json) -> Record:
    op, _ = decode_op({key: value for key, value in one.items() if key not in _SERVERS_OWN}, WireLimits())
    return Record(
        op=op,
        seq=one["seq"],
        rev=one["rev"],
        device=one["device"],
        base=op.base or 0,
        beyond=None,
        te=one["te"],
        rt=one["te"],
        verdict=Verdict(one["verdict"]),
        code=one.get("code"),
        detail=one.get("detail"),
    )
