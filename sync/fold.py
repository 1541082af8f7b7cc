"""The fold: what a workout is, as a function of the set of its records.

The records say themselves what their authors had seen (`seq`, `base`, `beyond`), so neither the order in
which they are handed over nor how often matters, and no record is ever weighed by its clock: that only
chooses what is *shown* among values that stand beside each other. The parts are in rooms of their own:

    registers.py   fields: what stands, what was replaced        conflict.choose
    existence.py   sets, exercises, workouts: who is there       add, remove, restore
    timeline.py    state, rests, times                           edges, logged sets, rests
    notes.py       texts, merged by lines
    conflicts.py   all that was decided so, as data

Here they are put together; `handlers.py` says for each kind of op what it means to each of them. Records are
folded in the order of `seq`, which no op precedes its causes in; a record that comes twice is passed over.

**What takes effect.** A void record only takes its place. One of a kind or schema that this version does not
know does too, until a version that knows it folds the log again. A deferred one takes effect at once, on a
stub that nobody sees until the op that makes the entity comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from fitai.engine.entities import NO_PLACE, Cell, Entry, Key, Rest, SetRow, Workout, Write
from fitai.engine.judgement import EDGE_OF, Judgement, Limits, judge
from fitai.engine.kinds import BadValue, ConflictChoose, decode_value
from fitai.engine.ops import VOID, Dot, Op, Record, Stamp, Verdict, saw
from fitai.engine.timers import RestDue
from fitai.sync import existence, registers
from fitai.sync.conflicts import Conflicts
from fitai.sync.handlers import HANDLERS
from fitai.sync.notes import Note, Version
from fitai.sync.timeline import SERVER, Timeline

_IN_CONTEXT: Final = frozenset({*EDGE_OF, "conflict.choose"})
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
        "_last_place",
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
        self._last_place: Key = (-(2**63), 0, 0, 0)  # none of a set is beyond it
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
        if op.kind in _IN_CONTEXT:
            return self._judge_in_context(op, stamp, limits)
        return judge(self.w, op, limits)

    def take(self, record: Record) -> None:
        """Fold the next record as the log has it; a known one is passed over."""
        if record.seq <= self.w.seq:
            return
        value = None if record.verdict is VOID else self._read(record)
        self.add(record, value, record.stamp)

    def add(self, record: Record, value: Any, stamp: Stamp) -> None:
        """Fold the next record; its stamp is at hand, and its decoded value, None where it only takes its
        place."""
        w, op, te = self.w, record.op, stamp.te
        w.seq, w.rev = stamp.seq, record.rev
        self.latest[stamp.device] = stamp
        if value is None:
            return
        self._stale = True
        if w.rest is not None:
            self._watch_rest(w.rest, te)
        if stamp.device != SERVER:  # a person has been here
            if self.line.own:
                self.line.yield_to(stamp)
            if op.kind not in _NO_TOUCH:
                existence.touch(w, stamp)
        HANDLERS[op.kind](self, op, stamp, value)
        if w.last_te is None or te > w.last_te:
            w.last_te = te
        if w.rest is not None:
            self.line.pass_time(w)

    # -- for the handlers --------------------------------------------------------------------------

    def write(self, cell: Cell, field: str, value: Any, stamp: Stamp) -> None:
        """Write a register, and keep in mind where several writes came to stand."""
        if registers.write(cell, field, value, stamp):
            self._contested[cell.of, cell.id, field] = cell

    def put(self, row: SetRow, home: str, stamp: Stamp) -> None:
        """Put a set into an exercise entry. One that it leaves may have been held by it alone."""
        left = existence.homes(row)
        entry = self.w.entries.get(home)
        if entry is not None:
            home = entry.id  # the same text, which all its sets share
        self.write(row, "exercise_entry", home, stamp)
        for id_ in left:
            self._settle_if_removed(id_)
        if len(existence.homes(row)) > 1:
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
            first = row.key == NO_PLACE
            row.key = key
            if first:
                self.w.sets[row.id] = self.w.sets.pop(row.id)
            if first and key > self._last_place:
                self._last_place = key
            else:
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

    def _read(self, record: Record) -> Any:
        """The decoded value of a record that has a say; None for one that has not."""
        try:
            value = decode_value(record.op)
        except BadValue:
            return None  # judged void by this version, not by the one that wrote the record
        if value is None:
            self._unknown.append(record.stamp)
        return value

    def _watch_rest(self, rest: Rest, te: int) -> None:
        if rest.remaining_ms is None and te >= rest.ends_at:
            over = RestDue(rest.dot, rest.ends_at)
            if over not in self.rests_over:
                self.rests_over.append(over)

    def _note_of(self, entity: str | None) -> Note:
        return self._notes.get(entity) or self._notes.setdefault(entity, Note())

    def _judge_in_context(self, op: Op, stamp: Stamp, limits: Limits) -> Judgement:
        seen = self.line.state_seen(self.w, stamp) if op.kind in EDGE_OF else None
        judgement = judge(self.w, op, limits, seen)
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

    def _can_choose(self, op: Op, stamp: Stamp, value: ConflictChoose) -> bool:
        named = self.named(op.entity, value.field, Dot(*value.dot))
        return named is not None and saw(stamp, named.stamp)

    def named(self, entity: str | None, field: str, dot: Dot) -> Write | Version | None:
        """What an op wrote to a field or a note."""
        if field == "note":
            note = self._notes.get(entity)
            return None if note is None else note.find(dot)
        cell = self.w.holder(entity, field)
        return None if cell is None else registers.find(cell, field, dot)


def fold(workout: str, owner: str, records: Iterable[Record]) -> Folded:
    """The fold of a set of records of one workout, in whatever order and how often they come."""
    folded = Folded(workout, owner)
    for record in sorted(records, key=lambda record: record.seq):
        folded.take(record)
    folded.rests_over.clear()
    return folded
