"""What each kind of op means to the fold: one small function a kind, and the table `HANDLERS` of them.

A handler gets the op, its stamp and its decoded value, and says by the means of `Folded` what is written,
who is touched or removed, and which event joins the timeline. It decides nothing by itself: the rules are in
the rooms that `fitai.sync.fold` names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from fitai.engine.entities import NO_PLACE, Entry, Key, SetRow, Slot, Workout
from fitai.engine.judgement import EDGE_OF
from fitai.engine.kinds import (
    ConflictChoose,
    Edit,
    ExerciseAdd,
    ExerciseMove,
    Load,
    NoteSet,
    PlannedEntry,
    RestExtend,
    RestStart,
    SetLog,
    WorkoutComplete,
    WorkoutCreate,
    WorkoutMerge,
    set_id,
)
from fitai.engine.machine import ABANDONED, COMPLETED, TABLE
from fitai.engine.ops import Dot, Op, Stamp, saw
from fitai.engine.units import plain
from fitai.sync import registers
from fitai.sync.notes import Version
from fitai.sync.timeline import Event

if TYPE_CHECKING:
    from fitai.sync.fold import Folded

_LOGGED_FIELDS: Final = (
    "slot",
    "reps",
    "load",
    "rpe",
    "rir",
    "duration_ms",
    "distance_m",
    "side",
    "assisted",
    "rest_s",
    "done",
)


# Workout: life.


def _create(folded: Folded, op: Op, stamp: Stamp, value: WorkoutCreate) -> None:
    w = folded.w
    w.known = True
    w.created_at = stamp.te if w.created_at is None else min(w.created_at, stamp.te)
    for field in ("title", "template", "units", "tz"):
        given = getattr(value, field)
        if given is not UNSET:
            folded.write(w, field, given, stamp)
    for planned in value.plan or ():
        _plan(folded, stamp, planned)


def _plan(folded: Folded, stamp: Stamp, planned: PlannedEntry) -> None:
    entry = folded.entry(planned.entry)
    entry.known = True
    folded.touch_entry(entry, stamp)
    folded.write(entry, "exercise", planned.exercise, stamp)
    folded.write(entry, "position", planned.position, stamp)
    if planned.superset is not None:
        folded.write(entry, "superset", planned.superset, stamp)
    if planned.target is not None:
        folded.write(entry, "target", planned.target, stamp)
    for one in planned.sets:
        name = str(one.slot)
        slot = entry.plan.get(name)
        if slot is None:
            slot = entry.plan[name] = Slot(entry.id, one.slot)
        folded.write(slot, f"plan:{name}", one.target, stamp)


def _edge(folded: Folded, op: Op, stamp: Stamp, value: Any) -> bool:
    """False where the edge is illegal in its own context, and so has no effect: one that builds on an op of a
    newer client was not judged by it before."""
    w, line, edge = folded.w, folded.line, EDGE_OF[op.kind]
    stands = edge in TABLE[line.state_seen(w, stamp)]
    if stands:
        reason = getattr(value, "reason", None)
        line.add(w, Event(edge, line.place(stamp), stamp, reason=reason))
    return stands


def _complete(folded: Folded, op: Op, stamp: Stamp, value: WorkoutComplete) -> None:
    if not _edge(folded, op, stamp, value):
        return
    if value.rating is not UNSET:
        folded.write(folded.w, "rating", value.rating, stamp)
    if value.note is not UNSET:
        folded.note(None, value.note, stamp, None)


def _edit_workout(folded: Folded, op: Op, stamp: Stamp, value: Edit) -> None:
    folded.write(folded.w, value.field, value.value, stamp)


def _remove_workout(folded: Folded, op: Op, stamp: Stamp, value: Any) -> None:
    folded.remove(folded.w, stamp)


def _restore_workout(folded: Folded, op: Op, stamp: Stamp, value: Any) -> None:
    """Every op of a person touches the workout, and so restores it."""


def _merge(folded: Folded, op: Op, stamp: Stamp, value: WorkoutMerge) -> None:
    folded.write(folded.w, "merged_into", value.into, stamp)


def _unmerge(folded: Folded, op: Op, stamp: Stamp, value: Any) -> None:
    folded.write(folded.w, "merged_into", None, stamp)


# Exercise entries.


def _add_exercise(folded: Folded, op: Op, stamp: Stamp, value: ExerciseAdd) -> None:
    entry = folded.entry(op.entity)
    entry.known = True
    folded.write(entry, "exercise", value.exercise, stamp)
    folded.write(entry, "position", value.position, stamp)
    if value.superset is not UNSET:
        folded.write(entry, "superset", value.superset, stamp)
    if value.target is not UNSET:
        folded.write(entry, "target", value.target, stamp)
    folded.touch_entry(entry, stamp)


def _edit_exercise(folded: Folded, op: Op, stamp: Stamp, value: Edit) -> None:
    entry = folded.entry(op.entity)
    folded.write(entry, value.field, value.value, stamp)
    folded.touch_entry(entry, stamp)


def _move_exercise(folded: Folded, op: Op, stamp: Stamp, value: ExerciseMove) -> None:
    """Moving is no touch: who moves an exercise does not hold it against a removal."""
    entry = folded.entry(op.entity)
    folded.write(entry, "position", value.position, stamp)
    if value.superset is not UNSET:
        folded.write(entry, "superset", value.superset, stamp)


def _remove_exercise(folded: Folded, op: Op, stamp: Stamp, value: Any) -> None:
    folded.remove(folded.entry(op.entity), stamp)


def _restore_exercise(folded: Folded, op: Op, stamp: Stamp, value: Any) -> None:
    folded.touch_entry(folded.entry(op.entity), stamp)


# Sets.


def _log_set(folded: Folded, op: Op, stamp: Stamp, value: SetLog) -> None:
    w, line = folded.w, folded.line
    row = folded.set(op.entity or set_id(w.id, value.slot if value.slot is not None else ""))
    if registers.knew(w, "ended_at", stamp) and line.state_seen(w, stamp) in (COMPLETED, ABANDONED):
        # Who reopens a workout takes back the typed end that they knew.
        folded.write(w, "ended_at", None, stamp)
    _write_log(folded, row, stamp, value)
    folded.touch_set(row, stamp)
    key = line.place(stamp)
    folded.place_set(row, key)
    _date_set(row, stamp, key, value)
    seconds = _rest_after(w, row, value)
    line.add(w, Event("log", key, stamp, seconds, set_=row.id))


def _write_log(folded: Folded, row: SetRow, stamp: Stamp, value: SetLog) -> None:
    row.known = True
    folded.put(row, value.exercise_entry, stamp)
    folded.write(row, "type", value.type, stamp)
    for field in _LOGGED_FIELDS:
        given = getattr(value, field)
        if given is not UNSET and (given is not None or field != "slot"):
            folded.write(row, field, _plain(given), stamp)


def _date_set(row: SetRow, stamp: Stamp, key: Key, value: SetLog) -> None:
    """A set was done at its first log that has it done; until there is one, when it was first written."""
    done = value.done is not False
    if (done and key < row.done_key) or (row.done_key == NO_PLACE and key <= row.key):
        row.at, row.dot = stamp.te, stamp.dot
    if done:
        row.done_key = min(row.done_key, key)


def _plain(value: Any) -> Any:
    """A decoded value as plain JSON, whole decimals as integers."""
    if type(value) is float:
        return plain(value)
    return value.document() if type(value) is Load else value


def _rest_after(w: Workout, row: SetRow, value: SetLog) -> int:
    """Seconds of rest that a logged set starts, 0 for none: only what is done, in an exercise that is known,
    at the end of a round."""
    entry = w.entries.get(row.exercise_entry)
    if not row.done or entry is None:
        return 0
    seconds = _rest_seconds(row, entry, value)
    return seconds if seconds and _round_complete(w, entry) else 0


def _rest_seconds(row: SetRow, entry: Entry, value: SetLog) -> int:
    """Its own, else its slot's, else its exercise's."""
    if isinstance(value.rest_s, int):
        return value.rest_s
    slot = entry.plan.get(str(row.slot)) if row.slot is not None else None
    for target in (slot.target if slot is not None else None, entry.target):
        if target is not None and isinstance(target.get("rest_s"), int):
            return int(target["rest_s"])
    return 0


def _round_complete(w: Workout, entry: Entry) -> bool:
    """Members of a superset are done in rounds: whether every other member has as many sets done, or all that
    it was planned to do."""
    if entry.superset is None:
        return True
    members = {e.id: e for e in w.visible_entries() if e.superset == entry.superset}
    done = {id_: [0, 0, 0] for id_ in members}
    for row, its in w.visible_sets():
        if row.done and its.id in done:
            done[its.id][_SIDE_INDEX.get(row.side, 0)] += 1
    # A left and a right set are one set of the round, whichever comes first.
    rounds = {id_: both + max(left, right) for id_, (both, left, right) in done.items()}
    here = rounds.get(entry.id, 0)
    return all(
        rounds[id_] >= here or (bool(member.plan) and rounds[id_] >= len(member.plan))
        for id_, member in members.items()
    )


_SIDE_INDEX: Final[Mapping[str | None, int]] = {"left": 1, "right": 2}


def _edit_set(folded: Folded, op: Op, stamp: Stamp, value: Edit) -> None:
    row = folded.set(op.entity)
    field = value.field
    if field == "exercise_entry":
        folded.put(row, value.value, stamp)
    else:
        folded.write(row, field, value.value, stamp)
    folded.touch_set(row, stamp)


def _remove_set(folded: Folded, op: Op, stamp: Stamp, value: Any) -> None:
    folded.remove(folded.set(op.entity), stamp)


def _restore_set(folded: Folded, op: Op, stamp: Stamp, value: Any) -> None:
    folded.touch_set(folded.set(op.entity), stamp)


# Rest, notes, conflicts.


def _start_rest(folded: Folded, op: Op, stamp: Stamp, value: RestStart | RestExtend) -> None:
    line = folded.line
    line.add(folded.w, Event(op.kind, line.place(stamp), stamp, value.seconds))


def _skip_rest(folded: Folded, op: Op, stamp: Stamp, value: Any) -> None:
    folded.line.add(folded.w, Event(op.kind, folded.line.place(stamp), stamp))


def _set_note(folded: Folded, op: Op, stamp: Stamp, value: NoteSet) -> None:
    folded.note(op.entity, value.text, stamp, None if value.parent is None else Dot(*value.parent))
    folded.touch(op.entity, stamp)


def _choose(folded: Folded, op: Op, stamp: Stamp, value: ConflictChoose) -> None:
    named = folded.named(op.entity, value.field, Dot(*value.dot))
    if named is None or not saw(stamp, named.stamp):
        return
    if isinstance(named, Version):
        folded.note(op.entity, named.text, stamp, named.stamp.dot)
    elif value.field == "exercise_entry":
        folded.put(folded.set(op.entity), named.value, stamp)
    else:
        cell = folded.w.holder(op.entity, value.field)
        assert cell is not None, "what it names was found in it"
        folded.write(cell, value.field, named.value, stamp)
    folded.touch(op.entity, stamp)


Handler = Callable[["Folded", Op, Stamp, Any], object]

HANDLERS: Final[dict[str, Handler]] = {
    "workout.create": _create,
    "workout.start": _edge,
    "workout.pause": _edge,
    "workout.resume": _edge,
    "workout.complete": _complete,
    "workout.abandon": _edge,
    "workout.edit": _edit_workout,
    "workout.remove": _remove_workout,
    "workout.restore": _restore_workout,
    "workout.merge": _merge,
    "workout.unmerge": _unmerge,
    "exercise.add": _add_exercise,
    "exercise.edit": _edit_exercise,
    "exercise.move": _move_exercise,
    "exercise.remove": _remove_exercise,
    "exercise.restore": _restore_exercise,
    "set.log": _log_set,
    "set.edit": _edit_set,
    "set.remove": _remove_set,
    "set.restore": _restore_set,
    "rest.start": _start_rest,
    "rest.extend": _start_rest,
    "rest.skip": _skip_rest,
    "note.set": _set_note,
    "conflict.choose": _choose,
}
