"""What a workout is made of while it is folded: the workout, its exercise entries, its sets, its rest.

These are the mutable cells that the fold (`fitai.sync.fold`) writes and everything else reads. Each cell
shows one value per field, as plain attributes; beside them lies the causal side, which only the fold
understands:

    …_by     for each field, what stands in its register; see `Held`
    past     what was replaced lately, in all fields, the newest last; None before anything was
    live     each device's newest touch that no remove had seen; while there is one, the entity is there
    removes  the removes that no touch had seen

`Workout.notes` has the notes by what they are about, also of what nobody has made yet.

An op may name an entity that no op has made yet (a late target). It is then written to a **stub**: an entity
with `known = False` that nobody sees until the op that makes it comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, Protocol

from msgspec import Struct

from fitai.engine.machine import PLANNED
from fitai.engine.ops import Dot, Stamp
from fitai.engine.units import thousandths, to_ug

Key = tuple[int, int, int, int]
"""A place on a workout's timeline, see `fitai.sync.timeline`."""

NO_PLACE: Final[Key] = (2**63, 0, 0, 0)


class Write(Struct, frozen=True, gc=False):
    """A value and who wrote it."""

    stamp: Stamp
    value: Any


class Replaced(Write, frozen=True, gc=False):
    """A write of a field that a later one has replaced."""

    field: str


class Rest:
    """A rest that is running or, while paused, frozen.

    dot           the op that started it, rest.start or set.log; its name for ever
    started_at    effective time of that op, Unix ms
    seconds       its whole length, extensions included
    ends_at       deadline, Unix ms; while frozen the one it had
    remaining_ms  what is left while frozen, else None
    """

    __slots__ = ("dot", "ends_at", "remaining_ms", "seconds", "started_at")

    def __init__(self, dot: Dot, started_at: int, seconds: int) -> None:
        self.dot = dot
        self.started_at = started_at
        self.seconds = seconds
        self.ends_at = started_at + seconds * 1000
        self.remaining_ms: int | None = None


Document = dict[str, Any]


class Conflicts(Protocol):
    """What of a workout was decided without a person, in the shapes of the state document. Most who read a
    workout do not ask for it, so it is worked out when somebody does."""

    def alternatives(self, w: Workout) -> list[Document]:
        """Where several values stand beside each other."""

    def flags(self, w: Workout) -> list[Document]:
        """What else was decided."""


Held = Stamp | tuple[Write, ...] | None
"""What stands in a register: nothing, the stamp of its only write, or all writes that stand beside each
other."""

Live = Stamp | dict[int, Stamp] | None
"""The touches of one entity: none, the only one, or those of several devices by device."""

Registers = Mapping[str, tuple[str, str]]
"""field → the names of the attributes that have what stands in its register, and what is shown of it."""


def _registers(*fields: str, **shown: str) -> Registers:
    return {field: (f"{field}_by", shown.get(field, field)) for field in (*fields, *shown)}


class Cell:
    """What workout, entry and set have in common; see the module's first lines."""

    # Slots lie in memory in the order of their names, after those of the base class. So what most ops look at
    # is here, and the two attributes of a register have names that follow each other.
    __slots__ = ("id", "known", "live", "note", "past", "removed", "removes")

    of: ClassVar[str]
    registers: Registers

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.known = False  # an op has made it
        self.removed = False
        self.note: str | None = None
        self.past: list[Replaced] | None = None
        self.live: Live = None
        self.removes: tuple[Stamp, ...] = ()


class Slot(Cell):
    """One planned set of an exercise entry: its slot as typed, and the app's own target or None.

    The target is a register of the entry, `plan:<slot>`; so `id` is the entry's.
    """

    __slots__ = ("registers", "slot", "target", "target_by")

    of = "exercise"

    def __init__(self, entry: str, slot: int | str) -> None:
        super().__init__(entry)
        self.slot = slot
        self.target: dict[str, Any] | None = None
        self.target_by = None
        self.registers = {f"plan:{slot}": ("target_by", "target")}


class Entry(Cell):
    """An exercise entry: one exercise at its place in one workout, with its planned slots by name.

    workout  the id of the workout that it came from, in a view of merged workouts; else None
    """

    registers = _registers("exercise", "position", "superset", "target")
    __slots__ = (
        "exercise",
        "exercise_by",
        "plan",
        "position",
        "position_by",
        "superset",
        "superset_by",
        "target",
        "target_by",
        "workout",
    )

    of = "exercise"

    def __init__(self, id_: str) -> None:
        super().__init__(id_)
        self.exercise = ""
        self.position = ""
        self.superset: int | str | None = None
        self.target: dict[str, Any] | None = None
        self.plan: dict[str, Slot] = {}
        self.workout: str | None = None
        self.exercise_by = self.position_by = self.superset_by = self.target_by = None


class SetRow(Cell):
    """A set: its fields as typed, and beside load and distance their exact integers.

    at   effective time of the first set.log that had it done (or first wrote it); dot, that op
    key  the place of its first set.log on the timeline: sets are shown in this order
    load_ug, distance_mm  None where nothing was typed
    """

    registers = _registers(
        "assisted",
        "distance_m",
        "done",
        "duration_ms",
        "exercise_entry",
        "load",
        "reps",
        "rest_s",
        "rir",
        "rpe",
        "side",
        "slot",
        "type",
    )
    __slots__ = (
        "_distance_m",
        "_load",
        "assisted",
        "assisted_by",
        "at",
        "distance_m_by",
        "distance_mm",
        "done",
        "done_by",
        "done_key",
        "dot",
        "duration_ms",
        "duration_ms_by",
        "exercise_entry",
        "exercise_entry_by",
        "key",
        "load_by",
        "load_ug",
        "reps",
        "reps_by",
        "rest_s",
        "rest_s_by",
        "rir",
        "rir_by",
        "rpe",
        "rpe_by",
        "side",
        "side_by",
        "slot",
        "slot_by",
        "type",
        "type_by",
    )

    of = "set"

    def __init__(self, id_: str) -> None:
        super().__init__(id_)
        self.exercise_entry = ""
        self.slot: int | str | None = None
        self.type = "working"
        self.reps: int | None = None
        self._load: dict[str, Any] | None = None
        self.load_ug: int | None = None
        self.rpe: int | float | None = None
        self.rir: int | float | None = None
        self.duration_ms: int | None = None
        self._distance_m: int | float | None = None
        self.distance_mm: int | None = None
        self.side: str | None = None
        self.assisted: bool | None = None
        self.rest_s: int | None = None
        self.done = True
        self.at = 0
        self.dot = Dot(0, 0)
        self.key = NO_PLACE
        self.done_key = NO_PLACE
        self.assisted_by = self.distance_m_by = self.done_by = self.duration_ms_by = None
        self.exercise_entry_by = self.load_by = self.reps_by = self.rest_s_by = None
        self.rir_by = self.rpe_by = self.side_by = self.slot_by = self.type_by = None

    @property
    def load(self) -> dict[str, Any] | None:
        return self._load

    @load.setter
    def load(self, load: dict[str, Any] | None) -> None:
        self._load = load
        self.load_ug = None if load is None else to_ug(load["value"], load["unit"])

    @property
    def distance_m(self) -> int | float | None:
        return self._distance_m

    @distance_m.setter
    def distance_m(self, metres: float | None) -> None:
        self._distance_m = metres
        self.distance_mm = None if metres is None else thousandths(metres)


class Workout(Cell):
    """One workout as its records make it: written by the fold, read by everything else.

    Times are Unix ms. `last_te` is the latest effective time of a record: the workout's clock, which never
    goes back even where late ops do. `started_edit` and `ended_edit` are what a person typed over the times
    that the edges gave. `work_ms`, `rest_ms` and `paused_ms` hold up to `since`, the last change of `state`.
    `conflicts` tells what was decided in it. `merged` are the workouts that a view holds besides its own.
    """

    __slots__ = (
        "conflicts",
        "created_at",
        "ended_at",
        "ended_at_by",
        "ended_edit",
        "entries",
        "last_te",
        "merged",
        "merged_into",
        "merged_into_by",
        "notes",
        "owner",
        "paused_ms",
        "rating",
        "rating_by",
        "reason",
        "rest",
        "rest_ms",
        "rev",
        "seq",
        "sets",
        "since",
        "started_at",
        "started_at_by",
        "started_edit",
        "state",
        "template",
        "template_by",
        "title",
        "title_by",
        "tz",
        "tz_by",
        "units",
        "units_by",
        "work_ms",
    )

    of = "workout"
    # What a person types over what the timeline tells is shown apart from it.
    registers = _registers(
        "merged_into",
        "rating",
        "template",
        "title",
        "tz",
        "units",
        ended_at="ended_edit",
        started_at="started_edit",
    )

    def __init__(self, id: str, owner: str, conflicts: Conflicts) -> None:
        super().__init__(id)
        self.owner = owner
        self.conflicts = conflicts
        self.seq = 0
        self.rev = 0
        self.merged_into: str | None = None
        self.merged: list[str] = []
        self.title: str | None = None
        self.template: str | None = None
        self.units: str | None = None
        self.tz: str | None = None
        self.created_at: int | None = None
        self.started_edit: int | None = None
        self.ended_edit: int | None = None
        self.last_te: int | None = None
        self.rating: int | None = None
        self.entries: dict[str, Entry] = {}
        self.sets: dict[str, SetRow] = {}
        self.notes: dict[str, str | None] = {}
        self.ended_at_by = self.merged_into_by = self.rating_by = self.started_at_by = None
        self.template_by = self.title_by = self.tz_by = self.units_by = None
        self.begin()

    def begin(self) -> None:
        """Make all that the timeline tells as it is before its first event."""
        self.state = PLANNED
        self.started_at: int | None = None
        self.ended_at: int | None = None
        self.reason: str | None = None
        self.rest: Rest | None = None
        self.since = 0
        self.work_ms = 0
        self.rest_ms = 0
        self.paused_ms = 0

    def visible_entries(self) -> list[Entry]:
        """The exercise entries that are there, by (position bytewise, id)."""
        there = [entry for entry in self.entries.values() if entry.known and not entry.removed]
        return sorted(there, key=lambda entry: (entry.position, entry.id))

    def visible_sets(self) -> Iterator[tuple[SetRow, Entry]]:
        """The sets that are there, each with its entry, in the order of their first set.log."""
        entries = self.entries
        for row in self.sets.values():
            if row.known and not row.removed:
                entry = entries.get(row.exercise_entry)
                if entry is not None and entry.known and not entry.removed:
                    yield row, entry

    def knows(self, entity: str) -> bool:
        """Whether an op has made this exercise entry or set."""
        entry = self.entries.get(entity)
        if entry is not None and entry.known:
            return True
        row = self.sets.get(entity)
        return row is not None and row.known

    def cell(self, entity: str | None) -> Cell | None:
        """The set or exercise entry of this id, stub or not; the workout itself for None."""
        if entity is None:
            return self
        return self.sets.get(entity) or self.entries.get(entity)

    def holder(self, entity: str | None, field: str) -> Cell | None:
        """The cell that has the register of a field of the set, exercise entry or workout of this id; None
        where there is no such thing or no such field."""
        cell = self.cell(entity)
        if isinstance(cell, Entry) and field.startswith("plan:"):
            cell = cell.plan.get(field.removeprefix("plan:"))
        return cell if cell is not None and field in cell.registers else None
