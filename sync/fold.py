"""The fold: what a workout is, as a function of the set of its records.

The records say themselves what their authors had seen (`seq`, `base`, `beyond`), so neither the order in
which they are handed over nor how often matters, and no record is ever weighed by its clock: that only
chooses what is *shown* among values that stand beside each other. The parts are in rooms of their own:

    registers.py   fields: what stands, what was replaced        conflict.choose
    existence.py   sets, exercises, workouts: who is there       add, remove, restore
    timeline.py    state, rests, times                           edges, logged sets, rests
    notes.py       texts, merged by lines
    conflicts.py   all that was decided so, as data

Here they are put together: `HANDLERS` says for each kind of op what it means to each of them. Records are
folded in the order of `seq`, which no op precedes its causes in; a record that comes twice is passed over.

**What takes effect.** A void record only takes its place. One of a kind or schema that this version does not
know does too, until a version that knows it folds the log again. A deferred one takes effect at once, on a
stub that nobody sees until the op that makes the entity comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import UNSET

from fitai.engine.entities import NO_PLACE, Cell, Entry, Key, Rest, SetRow, Slot, Workout, Write
from fitai.engine.judgement import EDGE_OF, Judgement, Limits, judge
from fitai.engine.kinds import (
    BadValue,
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
    decode_value,
    known,
    set_id,
)
from fitai.engine.machine import ABANDONED, COMPLETED, TABLE
from fitai.engine.ops import APPLIED, VOID, Dot, Op, Record, Stamp, Verdict, saw
from fitai.engine.timers import RestDue
from fitai.engine.units import plain
from fitai.sync import existence, registers
from fitai.sync.conflicts import Conflicts
from fitai.sync.notes import Note, Version
from fitai.sync.timeline import SERVER, Event, Timeline

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
_NO_TOUCH: Final = frozenset({"workout.remove", "workout.merge", "workout.unmerge"})


class Folded:
    """The fold of one workout; see the module's first lines.

    w           its cells, in which what is derived may not be up to date: `workout` settles them
    line        its timeline
    latest      per device the stamp of its newest record here
    rests_over  rests of which a record showed that they had ended by their deadline: nobody may have been
                told of those yet
    """

    __slots__ = (
        "_contested",
        "_notes",
        "_removed",
        "_sets_in_order",
        "_stale",
        "_strays",
        "_unknown",
        "latest",
        "line",
        "rests_over",
        "w",
    )

    def __init__(self, workout: str, owner: str) -> None:
        self.line = Timeline()
        conflicts = Conflicts(self.line)
        self.w = Workout(workout, owner, conflicts)
        self.latest: dict[int, Stamp] = {}
        self.rests_over: list[RestDue] = []
        self._notes = conflicts.notes
        self._contested = conflicts.contested
        self._removed = conflicts.removed
        self._unknown: list[Stamp] = []  # records of kinds and schemas of newer clients
        # Touches of what is neither a set nor an exercise yet.
        self._strays: dict[str, list[Stamp]] = {}
        self._sets_in_order = True
        self._stale = False

    @property
    def workout(self) -> Workout:
        """The workout as all records so far make it."""
        if self._stale:
            self._settle()
        return self.w

    @property
    def rev(self) -> int:
        """The number of its records."""
        return self.w.rev

    def judge(self, op: Op, stamp: Stamp, limits: Limits) -> Judgement:
        """What becomes of an op that is to be the next record; reads only."""
        seen = self.line.state_seen(self.w, stamp) if op.kind in EDGE_OF else None
        judgement = judge(self.w, op, limits, seen)
        if judgement.verdict is APPLIED and op.kind != "conflict.choose":
            return judgement
        wrong = judgement.code == "illegal_edge"
        if op.kind == "conflict.choose" and judgement.value is not None:
            wrong = not self._can_choose(op, stamp, judgement.value)
            if wrong:
                detail = {"field": "dot", "reason": "names no value of this field that its author had seen"}
                judgement = Judgement(VOID, "bad_value", detail)
        # What builds on an op that this version does not understand must not be called wrong by it.
        if wrong and any(saw(stamp, one) for one in self._unknown):
            return Judgement(Verdict.DEFERRED)
        return judgement

    def take(self, record: Record, value: Any = None, stamp: Stamp | None = None) -> None:
        """Fold the next record; a known one is passed over. `value` is the op's, if it is decoded yet, and
        `stamp` the record's, if it is at hand."""
        w, op = self.w, record.op
        if record.seq <= w.seq:
            return
        if stamp is None:
            stamp = record.stamp
        w.seq = record.seq
        w.rev = record.rev
        self.latest[stamp.device] = stamp
        if record.verdict is VOID:
            return
        if value is None:
            value = self._read(record)
            if value is None:
                return
        self._stale = True
        te = stamp.te
        if w.rest is not None:
            self._watch_rest(w.rest, te)
        if stamp.device != SERVER:
            self._heard(op, stamp)
        HANDLERS[op.kind](self, op, stamp, value)
        if w.last_te is None or te > w.last_te:
            w.last_te = te
        if w.rest is not None:
            self.line.pass_time(w)

    # -- for the handlers --------------------------------------------------------------------------

    def write(self, cell: Cell, field: str, value: Any, stamp: Stamp) -> None:
        """Write a register, and keep in mind where several writes stand."""
        if registers.write(cell, field, value, stamp):
            if type(cell.by[field]) is list:
                self._contested[cell.of, cell.id, field] = cell
            else:
                del self._contested[cell.of, cell.id, field]

    def put(self, row: SetRow, home: str, stamp: Stamp) -> None:
        """Put a set into an exercise entry. One that it leaves may have been held by it alone."""
        left = existence.homes(row)
        self.write(row, "exercise_entry", home, stamp)
        for id_ in left:
            self._settle_if_removed(id_)
        if type(row.by["exercise_entry"]) is list:
            existence.settle_home(self.w, row)

    def note(self, entity: str | None, text: str | None, stamp: Stamp, parent: Dot | None) -> None:
        """Write a version of a note."""
        self._note_of(entity).write(Version(stamp, text, parent))
        shown = self._note_of(entity).shown().text
        if entity is not None:
            self.w.notes[entity] = shown
        cell = self.w.cell(entity)
        if cell is not None:
            cell.note = shown

    def touch_set(self, row: SetRow, stamp: Stamp) -> None:
        """Somebody did something with a set; that may bring its exercise back."""
        existence.touch(row, stamp)
        if self._removed:
            for home in existence.homes(row):
                self._settle_if_removed(home)

    def touch(self, entity: str | None, stamp: Stamp) -> None:
        """Somebody did something with a set or an exercise entry, whichever it is; None is the workout, which
        every op touches."""
        if entity in self.w.sets:
            self.touch_set(self.w.sets[entity], stamp)
        elif entity in self.w.entries:
            self.touch_entry(self.w.entries[entity], stamp)
        elif entity is not None:
            self._strays.setdefault(entity, []).append(stamp)

    def touch_entry(self, entry: Entry, stamp: Stamp) -> None:
        """Somebody did something with an exercise entry."""
        existence.touch(entry, stamp)
        self.settle_entry(entry)

    def remove(self, cell: Cell, stamp: Stamp) -> None:
        """Somebody took something away."""
        existence.remove(cell, stamp)
        self._removed[cell.of, cell.id] = cell
        if isinstance(cell, Entry):
            self.settle_entry(cell)
            return
        existence.settle(cell)
        if isinstance(cell, SetRow):
            for home in existence.homes(cell):
                self._settle_if_removed(home)

    def settle_entry(self, entry: Entry) -> None:
        """An entry may have come or gone, and with it the place of sets that stand in several."""
        existence.settle_entry(self.w, entry)
        for (_, id_, field), cell in self._contested.items():
            if field == "exercise_entry" and isinstance(cell, SetRow):
                existence.settle_home(self.w, self.w.sets[id_])

    def entry(self, id_: str | None) -> Entry:
        """The exercise entry of this id, a stub where no op has made it yet."""
        entry = self.w.entries.get(id_ or "")
        if entry is None:
            entry = self.w.entries[id_ or ""] = Entry(id_ or "")
            self._gather_strays(entry)
        return entry

    def set(self, id_: str | None) -> SetRow:
        """The set of this id, a stub where no op has made it yet."""
        row = self.w.sets.get(id_ or "")
        if row is None:
            row = self.w.sets[id_ or ""] = SetRow(id_ or "")
            self._gather_strays(row)
        return row

    def place_set(self, row: SetRow, key: Key) -> None:
        """Sets are shown in the order of their first log."""
        if key < row.key:
            if row.key == NO_PLACE:
                self.w.sets[row.id] = self.w.sets.pop(row.id)
            row.key = key
            self._sets_in_order = False

    def _settle_if_removed(self, id_: str) -> None:
        entry = self.w.entries.get(id_)
        if entry is not None and entry.removes:
            self.settle_entry(entry)

    def _gather_strays(self, cell: Cell) -> None:
        for stamp in self._strays.pop(cell.id, ()):
            existence.touch(cell, stamp)
        cell.note = self.w.notes.get(cell.id)

    # -- inside ------------------------------------------------------------------------------------

    def _settle(self) -> None:
        self._stale = False
        w = self.w
        self.line.settle(w)
        if not self._sets_in_order:
            w.sets = dict(sorted(w.sets.items(), key=lambda item: item[1].key))
            self._sets_in_order = True
        self.rests_over = [rest for rest in self.rests_over if w.rest is None or w.rest.dot != rest.dot]

    def _heard(self, op: Op, stamp: Stamp) -> None:
        """A person has been here."""
        if self.line.own:
            self.line.yield_to(stamp)
        if op.kind not in _NO_TOUCH:
            existence.touch(self.w, stamp)

    def _read(self, record: Record) -> Any:
        """The decoded value of a record that has a say; None for one that has not."""
        if not known(record.op):
            self._unknown.append(record.stamp)
            return None
        try:
            return decode_value(record.op)
        except BadValue:
            return None  # judged void by this version, not by the one that wrote the record

    def _watch_rest(self, rest: Rest, te: int) -> None:
        if rest.remaining_ms is None and te >= rest.ends_at:
            over = RestDue(rest.dot, rest.ends_at)
            if over not in self.rests_over:
                self.rests_over.append(over)

    def _note_of(self, entity: str | None) -> Note:
        return self._notes.get(entity) or self._notes.setdefault(entity, Note())

    def _can_choose(self, op: Op, stamp: Stamp, value: ConflictChoose) -> bool:
        named = self.named(op.entity, value.field, Dot(*value.dot))
        return named is not None and saw(stamp, named.stamp)

    def named(self, entity: str | None, field: str, dot: Dot) -> Write | Version | None:
        """What an op wrote to a field or a note."""
        if field == "note":
            note = self._notes.get(entity)
            return None if note is None else note.find(dot)
        cell = self.w.cell(entity)
        return None if cell is None else registers.find(cell, field, dot)


def fold(workout: str, owner: str, records: Iterable[Record]) -> Folded:
    """The fold of a set of records of one workout, in whatever order and how often they come."""
    folded = Folded(workout, owner)
    for record in sorted(records, key=lambda record: record.seq):
        folded.take(record)
    folded.rests_over.clear()
    return folded


# Workout: life.


def _create(folded: Folded, op: Op, stamp: Stamp, value: WorkoutCreate) -> None:
    w = folded.w
    w.created = True
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
        entry.plan.setdefault(str(one.slot), Slot(one.slot, None))
        folded.write(entry, f"plan:{one.slot}", one.target, stamp)


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
        folded.write(row, field, _plain(value.value), stamp)
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
        cell = folded.w.cell(op.entity)
        assert cell is not None, "what it names was found in it"
        folded.write(cell, value.field, named.value, stamp)
    folded.touch(op.entity, stamp)


Handler = Callable[[Folded, Op, Stamp, Any], object]

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
