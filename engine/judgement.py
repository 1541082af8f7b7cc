"""Judging an op: can it stand, must it wait for what it names, or is it void?

An op is judged once and the verdict is kept in its record. Only the edges of the machine are judged by a
state, the one that their author had seen; a broken limit and a bad value are void in every state; everything
else stands. What an op names is looked for in the whole log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec import Struct

from fitai.engine.entities import Workout
from fitai.engine.kinds import (
    BadValue,
    NoteSet,
    SetLog,
    WorkoutComplete,
    WorkoutCreate,
    decode_value,
    set_id,
)
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


class Judgement(Struct, frozen=True, gc=False):
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
        return Judgement(VOID, "limit", {"limit": "ops", "max": limits.ops})
    kind = op.kind
    try:
        value = decode_value(op)
        if value is None:
            return Judgement(Verdict.DEFERRED)
        rule = _RULES.get(kind)
        waits = rule is not None and rule(w, op, value, limits)
        if kind in EDGE_OF:
            after(seen or w.state, EDGE_OF[kind])  # what its author had seen is known, whatever is to come
        if waits or not (w.known or kind == "workout.create"):
            return Judgement(Verdict.DEFERRED, None, None, value)
    except BadValue as bad:
        return Judgement(VOID, bad.code, bad.detail)
    except _LimitReached as reached:
        return Judgement(VOID, "limit", reached.detail)
    except IllegalEdge as illegal:
        return Judgement(VOID, "illegal_edge", illegal.detail)
    return Judgement(APPLIED, None, None, value)


# The rules of the kinds: each tells whether the op must wait, since nobody has made yet what it names, and
# raises where a limit is reached.


def _plan(w: Workout, op: Op, value: WorkoutCreate, limits: Limits) -> bool:
    if not value.plan:
        return False
    entries = w.entries.keys() | {entry.entry for entry in value.plan}
    if len(entries) > limits.exercises:
        raise _LimitReached("exercises", limits.exercises)
    slots = {name for entry in w.entries.values() for name in entry.plan}
    slots.update(str(planned.slot) for entry in value.plan for planned in entry.sets)
    if len(slots) > limits.sets:
        raise _LimitReached("sets", limits.sets)
    return False


def _add_entry(w: Workout, op: Op, value: Any, limits: Limits) -> bool:
    if op.entity not in w.entries and len(w.entries) >= limits.exercises:
        raise _LimitReached("exercises", limits.exercises)
    return False


def _entry(w: Workout, op: Op, value: Any, limits: Limits) -> bool:
    _add_entry(w, op, value, limits)
    return not _entry_known(w, op.entity or "")


def _log_set(w: Workout, op: Op, value: SetLog, limits: Limits) -> bool:
    id_ = op.entity
    if id_ is None and value.slot is not None:
        id_ = set_id(w.id, value.slot)
    _room_for_set(w, id_, limits)
    return not _entry_known(w, value.exercise_entry)


def _set(w: Workout, op: Op, value: Any, limits: Limits) -> bool:
    row = w.sets.get(op.entity or "")
    if row is None:
        _room_for_set(w, op.entity, limits)
        return True
    moves = op.kind == "set.edit" and value.field == "exercise_entry"
    return not row.known or (moves and not _entry_known(w, value.value))


def _complete(w: Workout, op: Op, value: WorkoutComplete, limits: Limits) -> bool:
    _room_for_text(value.note, limits)
    return False


def _note(w: Workout, op: Op, value: NoteSet, limits: Limits) -> bool:
    _room_for_text(value.text, limits)
    if op.entity is not None and op.entity not in w.notes:
        most = limits.exercises + limits.sets
        if len(w.notes) >= most:
            raise _LimitReached("notes", most)
    return _either(w, op, value, limits)


def _either(w: Workout, op: Op, value: Any, limits: Limits) -> bool:
    return op.entity is not None and not w.knows(op.entity)


def _entry_known(w: Workout, id_: str) -> bool:
    entry = w.entries.get(id_)
    return entry is not None and entry.known


def _room_for_set(w: Workout, id_: str | None, limits: Limits) -> None:
    if len(w.sets) >= limits.sets and id_ not in w.sets:
        raise _LimitReached("sets", limits.sets)


def _room_for_text(text: Any, limits: Limits) -> None:
    if isinstance(text, str) and len(text.encode()) > limits.text:
        raise _LimitReached("text", limits.text)


_Rule = Callable[[Workout, Op, Any, Limits], bool]

_RULES: Final[Mapping[str, _Rule]] = {
    "workout.create": _plan,
    "workout.complete": _complete,
    "note.set": _note,
    "conflict.choose": _either,
    "exercise.add": _add_entry,
    "exercise.edit": _entry,
    "exercise.move": _entry,
    "exercise.remove": _entry,
    "exercise.restore": _entry,
    "set.log": _log_set,
    "set.edit": _set,
    "set.remove": _set,
    "set.restore": _set,
}
