"""The state document of a workout and its digest: what clients, REST and projections see of the fold."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import orjson

from fitai.engine.entities import Entry, Rest, SetRow, Workout
from fitai.engine.kinds import set_id
from fitai.engine.machine import PHASE, STATUS
from fitai.engine.totals import ended_at, started_at, totals

# Where it is in the log, what became of an op, and which group it is of, as REST adds that.
_NOT_STATE: Final = frozenset({"seq", "rev", "verdict", "group"})


def state(w: Workout) -> dict[str, Any]:
    """The folded state as a JSON-able document; times in Unix ms, loads and distances as typed.

    {id, rev, created, removed, merged_into?, merged?, status, phase, title, template, units, tz, created_at,
    started_at, ended_at, updated_at, rating, reason, note, rest, exercises, removed_entities, totals, flags,
    alternatives}. `rest` is null or {dot, started_at, seconds, ends_at, remaining_ms?}: while paused
    `ends_at` is null and `remaining_ms` says what is left. `exercises` are those that are there, by
    (position, id), each with its plan and its sets in the order in which they were done; one that a merged
    workout brought says which by `workout`. `status` and `phase` hold at `updated_at`; a rest past its
    `ends_at` is over. `flags` and `alternatives` are those of `fitai.sync.conflicts`.
    """
    document = {
        "id": w.id,
        "rev": w.rev,
        "created": w.known,
        "removed": w.removed,
        "status": STATUS[w.state],
        "phase": PHASE[w.state],
        "title": w.title,
        "template": w.template,
        "units": w.units,
        "tz": w.tz,
        "created_at": w.created_at,
        "started_at": started_at(w),
        "ended_at": ended_at(w),
        "updated_at": w.last_te,
        "rating": w.rating,
        "reason": w.reason,
        "note": w.note,
        "rest": _rest(w.rest),
        "exercises": _exercises(w),
        "removed_entities": _removed_entities(w),
        "totals": totals(w),
        "flags": w.conflicts.flags(w),
        "alternatives": w.conflicts.alternatives(w),
    }
    if w.merged_into is not None:
        document["merged_into"] = w.merged_into
    if w.merged:
        document["merged"] = list(w.merged)
    return document


def digest(document: dict[str, Any]) -> str:
    """64 hex digits over the canonical JSON of a state document, without its place in the log and what REST
    adds to it."""
    kept = {key: value for key, value in document.items() if key not in _NOT_STATE}
    return hashlib.sha256(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _rest(rest: Rest | None) -> dict[str, Any] | None:
    if rest is None:
        return None
    document: dict[str, Any] = {
        "dot": list(rest.dot),
        "started_at": rest.started_at,
        "seconds": rest.seconds,
        "ends_at": rest.ends_at if rest.remaining_ms is None else None,
    }
    if rest.remaining_ms is not None:
        document["remaining_ms"] = rest.remaining_ms
    return document


def _exercises(w: Workout) -> list[dict[str, Any]]:
    sets: dict[tuple[str | None, str], list[dict[str, Any]]] = {}
    for row, entry in w.visible_sets():
        sets.setdefault((entry.workout, entry.id), []).append(_set(row))
    return [_exercise(w, entry, sets.get((entry.workout, entry.id), [])) for entry in w.visible_entries()]


def _exercise(w: Workout, entry: Entry, sets: list[dict[str, Any]]) -> dict[str, Any]:
    document = {
        "id": entry.id,
        "exercise": entry.exercise,
        "position": entry.position,
        "superset": entry.superset,
        "target": entry.target,
        "note": entry.note,
        "plan": [
            {"slot": slot.slot, "set": set_id(entry.workout or w.id, slot.slot), "target": slot.target}
            for slot in entry.plan.values()
        ],
        "sets": sets,
    }
    if entry.workout is not None:
        document["workout"] = entry.workout
    return document


def _set(row: SetRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "slot": row.slot,
        "type": row.type,
        "reps": row.reps,
        "load": row.load,
        "rpe": row.rpe,
        "rir": row.rir,
        "duration_ms": row.duration_ms,
        "distance_m": row.distance_m,
        "side": row.side,
        "assisted": bool(row.assisted),
        "rest_s": row.rest_s,
        "done": row.done,
        "note": row.note,
        "at": row.at,
        "dot": list(row.dot),
    }


def _removed_entities(w: Workout) -> list[dict[str, str]]:
    entries = [(entry.id, "exercise") for entry in w.entries.values() if entry.known and entry.removed]
    sets = [(row.id, "set") for row in w.sets.values() if row.known and row.removed]
    return [{"id": id_, "kind": kind} for id_, kind in sorted(entries + sets)]
