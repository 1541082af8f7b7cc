"""What a workout is made of while it is folded: the workout, its exercise entries, its sets, its rest.

These are the mutable cells that engine/fold.py writes and everything else reads. An op may name an entity
that no op has made yet (a late target). It is then written to a **stub**: an entity with `known = False` that
nobody sees, whose writes wait in `pending`. When the target appears, what waited is written over the first
values, as if it had come right after; so nothing has to be tried again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from fitai.engine.kinds import Load
from fitai.engine.machine import PLANNED
from fitai.engine.ops import Dot
from fitai.engine.units import plain, thousandths, to_ug


class Slot(NamedTuple):
    """One planned set: its slot as typed, and the app's own target or None."""

    slot: int | str
    target: dict[str, Any] | None


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

    def copy(self) -> Rest:
        """An independent equal."""
        twin = Rest(self.dot, self.started_at, self.seconds)
        twin.ends_at, twin.remaining_ms = self.ends_at, self.remaining_ms
        return twin


class Entry:
    """An exercise entry: one exercise at its place in one workout, with its planned slots by name."""

    __slots__ = ("exercise", "id", "known", "pending", "plan", "position", "removed", "superset", "target")

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.known = False
        self.removed = False
        self.exercise = ""
        self.position = ""
        self.superset: int | str | None = None
        self.target: dict[str, Any] | None = None
        self.plan: dict[str, Slot] = {}
        self.pending: dict[str, Any] = {}

    def write(self, field: str, value: Any) -> None:
        """Set one register; kept for later while the entry is a stub."""
        if self.known:
            setattr(self, field, value)
        else:
            self.pending[field] = value

    def settle(self) -> None:
        """Write what waited for the entry over its first values."""
        pending, self.pending = self.pending, {}
        for field, value in pending.items():
            setattr(self, field, value)

    def copy(self) -> Entry:
        """An independent equal."""
        twin = Entry(self.id)
        for name in Entry.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.plan, twin.pending = dict(self.plan), dict(self.pending)
        return twin


class SetRow:
    """A set: the registers of its fields as typed, and beside load and distance their exact integers.

    at   effective time of the set.log that made it done (or first wrote it); dot, that op
    load_ug, distance_mm  None where nothing was typed
    """

    __slots__ = (
        "assisted",
        "at",
        "distance_m",
        "distance_mm",
        "done",
        "dot",
        "duration_ms",
        "exercise_entry",
        "id",
        "known",
        "load",
        "load_ug",
        "pending",
        "removed",
        "reps",
        "rest_s",
        "rir",
        "rpe",
        "side",
        "slot",
        "type",
    )

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.known = False
        self.removed = False
        self.exercise_entry = ""
        self.slot: int | str | None = None
        self.type = "working"
        self.reps: int | None = None
        self.load: dict[str, Any] | None = None
        self.load_ug: int | None = None
        self.rpe: int | float | None = None
        self.rir: int | float | None = None
        self.duration_ms: int | None = None
        self.distance_m: int | float | None = None
        self.distance_mm: int | None = None
        self.side: str | None = None
        self.assisted: bool | None = None
        self.rest_s: int | None = None
        self.done = True
        self.at = 0
        self.dot = Dot(0, 0)
        self.pending: dict[str, Any] = {}

    def write(self, field: str, value: Any) -> None:
        """Set one register to a decoded value; kept for later while the set is a stub."""
        if not self.known:
            self.pending[field] = value
        elif field == "load":
            self._write_load(value)
        elif field == "distance_m":
            self.distance_mm = None if value is None else thousandths(value)
            self.distance_m = None if value is None else plain(value)
        elif field in ("rpe", "rir"):
            setattr(self, field, None if value is None else plain(value))
        else:
            setattr(self, field, value)

    def _write_load(self, load: Load | None) -> None:
        self.load = None if load is None else load.document()
        self.load_ug = None if load is None else to_ug(load.value, load.unit)

    def settle(self) -> None:
        """Write what waited for the set over its first values."""
        pending, self.pending = self.pending, {}
        for field, value in pending.items():
            self.write(field, value)

    def copy(self) -> SetRow:
        """An independent equal."""
        twin = SetRow(self.id)
        for name in SetRow.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.pending = dict(self.pending)
        return twin


class Workout:
    """The fold of one workout's records in log order: written by `apply`, read by everything else.

    Times are Unix ms. `last_te` is the latest effective time folded so far: the workout's clock, which never
    goes back even where late ops do. `started_edit` and `ended_edit` are what a person typed over the times
    that the edges gave. `work_ms`, `rest_ms` and `paused_ms` hold up to `since`, the last change of `state`.
    """

    __slots__ = (
        "created",
        "created_at",
        "edited",
        "ended_at",
        "ended_edit",
        "entries",
        "id",
        "last_te",
        "merged_into",
        "note",
        "notes",
        "owner",
        "paused_ms",
        "rating",
        "reason",
        "removed",
        "rest",
        "rest_ms",
        "rev",
        "seq",
        "sets",
        "since",
        "started_at",
        "started_edit",
        "state",
        "template",
        "title",
        "tz",
        "units",
        "work_ms",
    )

    def __init__(self, id: str, owner: str) -> None:
        self.id = id
        self.owner = owner
        self.seq = 0
        self.rev = 0
        self.created = False
        self.removed = False
        self.merged_into: str | None = None
        self.state = PLANNED
        self.title: str | None = None
        self.template: str | None = None
        self.units: str | None = None
        self.tz: str | None = None
        self.created_at: int | None = None
        self.started_at: int | None = None
        self.started_edit: int | None = None
        self.ended_at: int | None = None
        self.ended_edit: int | None = None
        self.last_te: int | None = None
        self.rating: int | None = None
        self.reason: str | None = None
        self.note: str | None = None
        self.rest: Rest | None = None
        self.entries: dict[str, Entry] = {}
        self.sets: dict[str, SetRow] = {}
        self.notes: dict[str, str] = {}
        # Fields that were edited before the workout was created: they win over what create says.
        self.edited: set[str] = set()
        self.since = 0
        self.work_ms = 0
        self.rest_ms = 0
        self.paused_ms = 0

    def copy(self) -> Workout:
        """An independent equal, to try ops on that may not get their place in the log."""
        twin = Workout(self.id, self.owner)
        for name in Workout.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.rest = self.rest.copy() if self.rest is not None else None
        twin.entries = {key: entry.copy() for key, entry in self.entries.items()}
        twin.sets = {key: row.copy() for key, row in self.sets.items()}
        twin.notes, twin.edited = dict(self.notes), set(self.edited)
        return twin

    def visible_entries(self) -> list[Entry]:
        """The exercise entries that are there, by (position bytewise, id)."""
        there = [entry for entry in self.entries.values() if entry.known and not entry.removed]
        return sorted(there, key=lambda entry: (entry.position, entry.id))

    def visible_sets(self) -> Iterator[tuple[SetRow, Entry]]:
        """The sets that are there, each with its entry, in log order of their set.log."""
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
