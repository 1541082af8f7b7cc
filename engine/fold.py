"""Folding: one record changes one workout, in log order, and never raises.

The record's verdict is already decided. A void one and one of an unknown kind only move `seq` and `rev`;
every other takes effect, a deferred one on a stub (engine/entities.py). Edges that the state does not have
any more do nothing.

**Time.** The only clock is the effective time `te` of the records. Ops of a device that was away arrive with
an old `te`; the workout's own clock `last_te` is the latest seen and never goes back, so no time is counted
twice.

**Rest.** A rest has a deadline and ends by it without an op: the first op dated at or after the deadline
finds it over. A pause freezes what is left, `resume` dates the deadline anew. A rest whose deadline has
passed on the workout's clock before its op is folded is not begun at all.

**Supersets.** Members of a superset are done in rounds. A set logged for one member starts a rest only when
every other member has as many sets done, or has done all that it was planned to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import UNSET, UnsetType

from fitai.engine.entities import Entry, Rest, SetRow, Slot, Workout
from fitai.engine.kinds import (
    BadValue,
    Edit,
    ExerciseAdd,
    ExerciseMove,
    NoteSet,
    PlannedEntry,
    RestExtend,
    RestStart,
    SetLog,
    WorkoutComplete,
    WorkoutCreate,
    WorkoutMerge,
    decode_value,
    known,
    set_id,
)
from fitai.engine.machine import ABANDONED, COMPLETED, PAUSED_RESTING, PAUSED_WORKING, RESTING, TABLE, WORKING
from fitai.engine.ops import Record, Verdict

_LOGGED_FIELDS: Final = (
    "reps",
    "load",
    "rpe",
    "rir",
    "duration_ms",
    "distance_m",
    "side",
    "assisted",
    "rest_s",
)
_ENDED: Final = frozenset({COMPLETED, ABANDONED})


def apply(w: Workout, record: Record) -> None:
    """Fold one record, in `seq` order, into `w`."""
    w.seq = record.seq
    w.rev = record.rev
    op = record.op
    if record.verdict == Verdict.VOID or not known(op):
        return
    try:
        value = decode_value(op)
    except BadValue:
        return  # judged void by this version, not by the one that wrote the record
    te = record.te
    rest = w.rest
    if rest is not None and rest.remaining_ms is None and te >= rest.ends_at:
        _end_rest(w, rest.ends_at)
    now = te if w.last_te is None or te > w.last_te else w.last_te
    _HANDLERS[op.kind](w, record, value, now)
    w.last_te = now


# The machine and its times.


def _count_time(w: Workout, now: int) -> None:
    """Give the time since the last change of state to where it was spent."""
    spent = now - w.since
    if spent <= 0:
        return
    if w.state == WORKING:
        w.work_ms += spent
    elif w.state == RESTING:
        w.rest_ms += spent
    elif w.state in (PAUSED_WORKING, PAUSED_RESTING):
        w.paused_ms += spent
    w.since = now


def _move(w: Workout, trigger: str, now: int) -> bool:
    """Fire a trigger at `now`; False, and nothing changed, where the state has no such edge."""
    nxt = TABLE[w.state].get(trigger)
    if nxt is None:
        return False
    _count_time(w, now)
    w.state = nxt
    if now > w.since:
        w.since = now
    return True


def _end_rest(w: Workout, at: int) -> None:
    w.rest = None
    _move(w, "rest_end", at)


def _begin_rest(w: Workout, record: Record, seconds: int, now: int) -> None:
    rest = Rest(record.dot, record.te, seconds)
    over_already = w.last_te is not None and rest.ends_at <= w.last_te
    if not over_already and _move(w, "rest", now):
        w.rest = rest


# Workout: life.


def _create(w: Workout, record: Record, value: WorkoutCreate, now: int) -> None:
    if not w.created:
        w.created = True
        w.created_at = record.te
    else:
        w.edited.clear()
    for field in ("title", "template", "units", "tz"):
        given = getattr(value, field)
        if given is not UNSET and field not in w.edited:
            setattr(w, field, given)
    for planned in value.plan or ():
        _plan(w, planned)


def _plan(w: Workout, planned: PlannedEntry) -> None:
    entry = w.entries.get(planned.entry) or w.entries.setdefault(planned.entry, Entry(planned.entry))
    entry.known = True
    entry.exercise, entry.position, entry.superset = planned.exercise, planned.position, planned.superset
    if planned.target is not None:
        entry.target = planned.target
    for one in planned.sets:
        entry.plan[str(one.slot)] = Slot(one.slot, one.target)
    entry.settle()


def _start(w: Workout, record: Record, value: Any, now: int) -> None:
    if _move(w, "start", now) and w.started_at is None:
        w.started_at = record.te


def _pause(w: Workout, record: Record, value: Any, now: int) -> None:
    if _move(w, "pause", now):
        w.reason = value.reason
        if w.rest is not None:
            w.rest.remaining_ms = w.rest.ends_at - now


def _resume(w: Workout, record: Record, value: Any, now: int) -> None:
    if _move(w, "resume", now):
        w.reason = None
        if w.rest is not None and w.rest.remaining_ms is not None:
            w.rest.ends_at = now + w.rest.remaining_ms
            w.rest.remaining_ms = None


def _complete(w: Workout, record: Record, value: WorkoutComplete, now: int) -> None:
    if _end(w, "complete", value.reason, now):
        if value.rating is not UNSET:
            w.rating = value.rating
        if value.note is not UNSET:
            w.note = value.note


def _abandon(w: Workout, record: Record, value: Any, now: int) -> None:
    _end(w, "abandon", value.reason, now)


def _end(w: Workout, trigger: str, reason: str | None, now: int) -> bool:
    if not _move(w, trigger, now):
        return False
    w.rest = None
    w.reason = reason
    w.ended_at = now  # not before what was folded already: no workout ends before its last set
    return True


def _edit_workout(w: Workout, record: Record, value: Edit, now: int) -> None:
    if value.field == "started_at":
        w.started_edit = value.value
    elif value.field == "ended_at":
        w.ended_edit = value.value
    else:
        setattr(w, value.field, value.value)
        if not w.created:
            w.edited.add(value.field)


def _remove_workout(w: Workout, record: Record, value: Any, now: int) -> None:
    w.removed = True


def _restore_workout(w: Workout, record: Record, value: Any, now: int) -> None:
    w.removed = False


def _merge(w: Workout, record: Record, value: WorkoutMerge, now: int) -> None:
    w.merged_into = value.into


def _unmerge(w: Workout, record: Record, value: Any, now: int) -> None:
    w.merged_into = None


# Exercise entries.


def _entry(w: Workout, record: Record) -> Entry:
    """The entry that the op names, a stub where no op has made it yet."""
    id_ = record.op.entity or ""
    entry = w.entries.get(id_)
    if entry is None:
        entry = w.entries[id_] = Entry(id_)
    return entry


def _add_exercise(w: Workout, record: Record, value: ExerciseAdd, now: int) -> None:
    entry = _entry(w, record)
    if entry.known:
        entry.removed = False  # added again
    entry.known = True
    entry.exercise, entry.position = value.exercise, value.position
    if not isinstance(value.superset, UnsetType):
        entry.superset = value.superset
    if not isinstance(value.target, UnsetType):
        entry.target = value.target
    entry.settle()


def _edit_exercise(w: Workout, record: Record, value: Edit, now: int) -> None:
    _entry(w, record).write(value.field, value.value)


def _move_exercise(w: Workout, record: Record, value: ExerciseMove, now: int) -> None:
    entry = _entry(w, record)
    entry.write("position", value.position)
    if value.superset is not UNSET:
        entry.write("superset", value.superset)


def _remove_exercise(w: Workout, record: Record, value: Any, now: int) -> None:
    _entry(w, record).removed = True


def _restore_exercise(w: Workout, record: Record, value: Any, now: int) -> None:
    _entry(w, record).removed = False


# Sets.


def _set(w: Workout, id_: str) -> SetRow:
    row = w.sets.get(id_)
    if row is None:
        row = w.sets[id_] = SetRow(id_)
    return row


def _log_set(w: Workout, record: Record, value: SetLog, now: int) -> None:
    id_ = record.op.entity or set_id(w.id, value.slot if value.slot is not None else "")
    row = _set(w, id_)
    _write_log(w, row, record, value)
    entry = w.entries.get(row.exercise_entry)
    if entry is not None and entry.known:
        entry.removed = False  # nobody's set vanishes with an exercise that was taken out meanwhile
    _go_on(w, record, now)
    if row.done and entry is not None:
        seconds = _rest_after(row, entry, value)
        if seconds and _round_complete(w, entry):
            _begin_rest(w, record, seconds, now)


def _write_log(w: Workout, row: SetRow, record: Record, value: SetLog) -> None:
    """Write the fields that the op gives. The first log makes a set known, at its place in log order."""
    first = not row.known
    was_done = row.done and not first
    if first:
        row.known = True
        w.sets[row.id] = w.sets.pop(row.id)
    else:
        row.removed = False  # logged again
    row.exercise_entry = value.exercise_entry
    row.type = value.type
    if value.slot is not None:
        row.slot = value.slot
    for field in _LOGGED_FIELDS:
        given = getattr(value, field)
        if given is not UNSET:
            row.write(field, given)
    if value.done is not UNSET:
        row.done = value.done
    if first or not was_done:
        row.at, row.dot = record.te, record.dot
    if first:
        row.settle()


def _go_on(w: Workout, record: Record, now: int) -> None:
    """A set was logged: start, end the rest, resume or open again, whatever the state needs."""
    if w.state in _ENDED:
        w.ended_at = w.ended_edit = None
    w.rest = None
    w.reason = None
    _move(w, "log", now)
    if w.started_at is None:
        w.started_at = record.te


def _rest_after(row: SetRow, entry: Entry, value: SetLog) -> int:
    """Seconds of rest after this set: its own, else its slot's, else its exercise's; 0 for none."""
    if isinstance(value.rest_s, int):
        return value.rest_s
    slot = entry.plan.get(str(row.slot)) if row.slot is not None else None
    for target in (slot.target if slot is not None else None, entry.target):
        if target is not None and isinstance(target.get("rest_s"), int):
            return int(target["rest_s"])
    return 0


def _round_complete(w: Workout, entry: Entry) -> bool:
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


def _edit_set(w: Workout, record: Record, value: Edit, now: int) -> None:
    _set(w, record.op.entity or "").write(value.field, value.value)


def _remove_set(w: Workout, record: Record, value: Any, now: int) -> None:
    _set(w, record.op.entity or "").removed = True


def _restore_set(w: Workout, record: Record, value: Any, now: int) -> None:
    _set(w, record.op.entity or "").removed = False


# Rest, notes, conflicts.


def _start_rest(w: Workout, record: Record, value: RestStart, now: int) -> None:
    _begin_rest(w, record, value.seconds, now)


def _extend_rest(w: Workout, record: Record, value: RestExtend, now: int) -> None:
    rest = w.rest
    if rest is None:
        return
    rest.seconds = max(0, rest.seconds + value.seconds)
    if rest.remaining_ms is None:
        rest.ends_at += value.seconds * 1000
        over = rest.ends_at <= now
    else:
        rest.remaining_ms += value.seconds * 1000
        over = rest.remaining_ms <= 0
    if over:
        _end_rest(w, now)


def _skip_rest(w: Workout, record: Record, value: Any, now: int) -> None:
    if w.rest is not None:
        _end_rest(w, now)


def _note(w: Workout, record: Record, value: NoteSet, now: int) -> None:
    if record.op.entity is None:
        w.note = value.text
    else:
        w.notes[record.op.entity] = value.text


def _choose(w: Workout, record: Record, value: Any, now: int) -> None:
    """In log order the last write is the only value: there is nothing to choose between."""


_HANDLERS: Final[Mapping[str, Callable[[Workout, Record, Any, int], None]]] = {
    "workout.create": _create,
    "workout.start": _start,
    "workout.pause": _pause,
    "workout.resume": _resume,
    "workout.complete": _complete,
    "workout.abandon": _abandon,
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
    "rest.extend": _extend_rest,
    "rest.skip": _skip_rest,
    "note.set": _note,
    "conflict.choose": _choose,
}
