"""What others see of a member: a pure projection of their progress, by the one choice that they made.

    everything   all of it
    progress     (the default) no loads, and nothing that is made of loads but the rank
    presence     that they are there

It is the same for every reader, so it is made and encoded once. A member sees their own workout in their own
stream; of themselves a tick tells what the others are told.

By body weight, *everything* lets others work that out: volume is there, and its relation to it.
"""

from __future__ import annotations

from typing import Any

from fitai.engine.groups.board import Row
from fitai.engine.groups.group import Member
from fitai.engine.groups.measure import Progress

View = dict[str, Any]
"""The fields of one member in a tick; what is not there is not said."""


def shown(
    member: Member,
    *,
    here: bool,
    progress: Progress | None = None,
    row: Row | None = None,
    telemetry: View | None = None,
) -> View:
    """What everybody is told of a member: {here, left, status, phase, …}, see ARCHITECTURE.md (Groups).

    `here`: connected now. `row` is theirs on the board; `telemetry`, their newest.
    """
    view: View = {"here": here, "left": member.gone is not None}
    if member.share == "presence" or progress is None:
        return _said(view)
    view |= {
        "status": progress.status,
        "phase": progress.phase,
        "exercise": progress.exercise,
        "sets": progress.sets or None,
        "reps": progress.reps or None,
        "distance_mm": progress.distance_mm or None,
        "duration_ms": progress.duration_ms or None,
        "rest_ends_at": progress.rest_ends_at,
    }
    everything = member.share == "everything"
    if row is not None:
        view["rank"] = row.rank
        if everything or not row.measure.of_loads:
            view |= {"amount": row.measure.amount, "time_ms": row.measure.time_ms}
    if everything:
        view |= {"volume_ug": progress.volume_ug or None, "last": progress.last, **(telemetry or {})}
    return _said(view)


def _said(view: View) -> View:
    """Without what is nothing: null and false are worth no byte."""
    return {field: value for field, value in view.items() if value is not None and value is not False}
