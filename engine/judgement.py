"""Judging an op: can it stand, must it wait for what it names, or is it void?

An op is judged once and the verdict is kept in its record. Only the edges of the machine are judged by a
state, the one that their author had seen; a broken limit and a bad value are void in every state; everything
else stands. What an op names is looked for in the whole log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from fitai.engine.entities import Workout
from fitai.engine.kinds import BadValue, Edit, SetLog, WorkoutCreate, decode_value, known, set_id
from fitai.engine.machine import IllegalEdge, after
from fitai.engine.ops import APPLIED, VOID, Op, Verdict

EDGE_OF: Final[Mapping[str, str]] = {
    "workout.start": "start",
    "workout.pause": "pause",
    "workout.resume": "resume",
    "workout.complete": "complete",
    "workout.abandon": "abandon",
}


@dataclass(frozen=True)
class Limits:
    """What one workout may hold. What is removed or still waited for counts: memory stays bounded.

    exercises  exercise entries
    sets       sets, and apart from them planned slots
    text       bytes of a note in UTF-8
    ops        ops of all kinds, those that were refused too
    """

    exercises: int = 100
    sets: int = 500
    text: int = 8192
    ops: int = 20_000


class Judgement(NamedTuple):
    """applied, deferred or void; `code` and `detail` only with void (see the protocol's verdicts). `value` is
    the op's decoded value, None where it has none that can be read."""

    verdict: Verdict
    code: str | None = None
    detail: dict[str, Any] | None = None
    value: Any = None


DEFAULT_LIMITS: Final = Limits()


class _LimitReached(Exception):
    def __init__(self, limit: str, most: int) -> None:
        super().__init__(limit)
        self.detail = {"limit": limit, "max": most}


def judge(w: Workout, op: Op, limits: Limits = DEFAULT_LIMITS, seen: str | None = None) -> Judgement:
    """What becomes of `op` on the workout before it; reads only, raises nothing.

    `seen` is the machine's state as the op's author had seen it, for an edge; by default that of `w`.
    void codes: bad_value {field, reason}, limit {limit, max}, illegal_edge {from, trigger}.
    """
    if w.rev >= limits.ops:
        return Judgement(Verdict.VOID, "limit", {"limit": "ops", "max": limits.ops})
    if not known(op):
        return Judgement(Verdict.DEFERRED)
    kind = op.kind
    try:
        value = decode_value(op)
        room, waits = _RULES.get(kind, _NO_RULES)
        if room is not None:
            room(w, op, value, limits)
        if kind in EDGE_OF:
            after(seen or w.state, EDGE_OF[kind])  # what its author had seen is known, whatever is to come
        if (not w.created and kind != "workout.create") or (waits is not None and waits(w, op, value)):
            return Judgement(Verdict.DEFERRED, None, None, value)
    except BadValue as bad:
        return Judgement(VOID, bad.code, bad.detail)
    except _LimitReached as reached:
        return Judgement(VOID, "limit", reached.detail)
    except IllegalEdge as illegal:
        return Judgement(VOID, "illegal_edge", illegal.detail)
    return Judgement(APPLIED, None, None, value)


# Whether an op names an entity that no op has made yet.


def _log_waits(w: Workout, op: Op, value: SetLog) -> bool:
    return not _entry_known(w, value.exercise_entry)


def _set_waits(w: Workout, op: Op, value: Any) -> bool:
    row = w.sets.get(op.entity or "")
    return row is None or not row.known


def _set_edit_waits(w: Workout, op: Op, value: Edit) -> bool:
    row = w.sets.get(op.entity or "")
    if row is None or not row.known:
        return True
    return value.field == "exercise_entry" and not _entry_known(w, value.value)


def _entry_waits(w: Workout, op: Op, value: Any) -> bool:
    return not _entry_known(w, op.entity or "")


def _either_waits(w: Workout, op: Op, value: Any) -> bool:
    return op.entity is not None and not w.knows(op.entity)


def _entry_known(w: Workout, id_: str) -> bool:
    entry = w.entries.get(id_)
    return entry is not None and entry.known


def _room_for_entry(w: Workout, op: Op, value: Any, limits: Limits) -> None:
    if op.entity not in w.entries and len(w.entries) >= limits.exercises:
        raise _LimitReached("exercises", limits.exercises)


def _room_for_set(w: Workout, op: Op, value: SetLog | Edit, limits: Limits) -> None:
    if op.entity in w.sets or len(w.sets) < limits.sets:
        return
    slot = value.slot if isinstance(value, SetLog) else None
    id_ = op.entity if op.entity is not None or slot is None else set_id(w.id, slot)
    if id_ not in w.sets:
        raise _LimitReached("sets", limits.sets)


def _room_for_plan(w: Workout, op: Op, value: WorkoutCreate, limits: Limits) -> None:
    if not value.plan:
        return
    entries = w.entries.keys() | {entry.entry for entry in value.plan}
    if len(entries) > limits.exercises:
        raise _LimitReached("exercises", limits.exercises)
    slots = {name for entry in w.entries.values() for name in entry.plan}
    slots.update(str(planned.slot) for entry in value.plan for planned in entry.sets)
    if len(slots) > limits.sets:
        raise _LimitReached("sets", limits.sets)


def _room_for_note(w: Workout, op: Op, value: Any, limits: Limits) -> None:
    text = value.text if op.kind == "note.set" else value.note
    if isinstance(text, str) and len(text.encode()) > limits.text:
        raise _LimitReached("text", limits.text)
    if op.kind == "note.set" and op.entity is not None and op.entity not in w.notes:
        most = limits.exercises + limits.sets
        if len(w.notes) >= most:
            raise _LimitReached("notes", most)


_Room = Callable[[Workout, Op, Any, Limits], None]
_Waits = Callable[[Workout, Op, Any], bool]

_NO_RULES: Final = (None, None)
_RULES: Final[Mapping[str, tuple[_Room | None, _Waits | None]]] = {
    "workout.create": (_room_for_plan, None),
    "workout.complete": (_room_for_note, None),
    "note.set": (_room_for_note, _either_waits),
    "conflict.choose": (None, _either_waits),
    "exercise.add": (_room_for_entry, None),
    "exercise.edit": (_room_for_entry, _entry_waits),
    "exercise.move": (_room_for_entry, _entry_waits),
    "exercise.remove": (_room_for_entry, _entry_waits),
    "exercise.restore": (_room_for_entry, _entry_waits),
    "set.log": (_room_for_set, _log_waits),
    "set.edit": (_room_for_set, _set_edit_waits),
    "set.remove": (_room_for_set, _set_waits),
    "set.restore": (_room_for_set, _set_waits),
}
