"""What of each member is shown now: kept, and worked out again only where something changed.

    workout changed    ─▶ progress of one ─▶ measure changed? ─▶ board ─▶ those whose row changed
    came, went, heart rate ────────────────────────────────────────────▶ view of one
    clock, format, share, role ─▶ progress of those concerned, as above

So a tick costs what changed, and the ranks of a class are worked out only when somebody's amount moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from math import isfinite
from typing import Any, Final

from fitai.engine.entities import Workout
from fitai.engine.groups import sharing
from fitai.engine.groups.board import Row, board
from fitai.engine.groups.group import Group, Member
from fitai.engine.groups.measure import Body, Measure, Progress, on_board, progress
from fitai.engine.groups.ticks import Fields
from fitai.engine.ops import VOID, Record

TELEMETRY_MS: Final = 10_000
"""How long a measurement is shown that no newer one follows."""

MEASURED: Final = ("hr", "cadence")
"""What of telemetry a group is told, as whole numbers; the rest is for one's own devices."""

_ALL: Final = frozenset(
    {
        "group.create",
        "group.edit",
        "group.start",
        "group.resume",
        "group.hold",
        "group.pause",
        "group.finish",
        "group.cancel",
    }
)
"""What may move the clock, or change what counts: everybody's progress is another one then."""

_NOBODY: Final = frozenset(
    {"chat.say", "chat.hide", "chat.release", "device.enrol", "group.invite", "group.next"}
)

_UNSEEN: Final = frozenset({"kicked", "banned", "erased"})


def concerned(g: Group, records: Iterable[Record]) -> Set[int]:
    """The members of whom these records may have changed what is shown; `g` holds them."""
    members: set[int] = set()
    for record in records:
        kind = record.op.kind
        if record.verdict is VOID or kind in _NOBODY:
            continue
        if kind in _ALL:
            return g.members.keys()
        author, about = g.member_of(record.device), record.op.value.get("member")
        members |= {no for no in (author and author.no, about) if isinstance(no, int)}
    return members


class Scene:
    """The views of one group's members. `workout_of` gives a member's workout as the log has it now,
    `body_of` what they tell of their body, `is_here` whether they are connected."""

    def __init__(
        self,
        workout_of: Callable[[int], Workout | None],
        body_of: Callable[[int], Body],
        is_here: Callable[[int], bool],
    ) -> None:
        self._workout_of = workout_of
        self._body_of = body_of
        self._is_here = is_here
        self._progress: dict[int, Progress] = {}
        self._measures: dict[int, Measure] = {}  # of those on the board
        self._rows: dict[int, Row] = {}
        self._telemetry: dict[int, dict[str, int]] = {}
        self._measured_at: dict[int, int] = {}  # the oldest first
        self._moved: set[int] = set()  # whose progress is to be worked out,
        self._touched: set[int] = set()  # and whose view

    @property
    def stale(self) -> bool:
        """Something is to be worked out."""
        return bool(self._moved or self._touched)

    # -- what changes ------------------------------------------------------------------------------

    def moved(self, members: Iterable[int]) -> None:
        """The workouts of these have changed, or their bodies, what counts, or what they show."""
        self._moved.update(members)

    def touched(self, members: Iterable[int]) -> None:
        """These came or went."""
        self._touched.update(members)

    def measured(self, member: Member, payload: Mapping[str, Any], now: int) -> bool:
        """The newest measurement of a member; whether anything comes of it: they show everything."""
        if member.share != "everything" or member.gone is not None:
            return False
        shown = {name: round(payload[name]) for name in MEASURED if _is_number(payload.get(name))}
        if not shown:
            return False
        self._measured_at.pop(member.no, None)
        self._measured_at[member.no] = now
        if self._telemetry.get(member.no) == shown:
            return False
        self._telemetry[member.no] = shown
        self._touched.add(member.no)
        return True

    def pass_time(self, now: int) -> None:
        """Forget measurements that nothing newer follows."""
        for member, at in list(self._measured_at.items()):
            if 0 <= now - at < TELEMETRY_MS:
                break
            del self._measured_at[member], self._telemetry[member]
            self._touched.add(member)

    def due_at(self) -> int | None:
        """When `pass_time` has something to do."""
        return next((at + TELEMETRY_MS for at in self._measured_at.values()), None)

    # -- what is shown -----------------------------------------------------------------------------

    def refresh(self, g: Group) -> dict[int, Fields]:
        """The views, whole, of those who may have changed since the last time."""
        touched, self._touched = self._touched, set()
        moved, self._moved = self._moved, set()
        touched |= moved
        if self._move(g, moved):
            before, self._rows = self._rows, board(self._measures)
            touched |= {no for no, row in self._rows.items() if before.get(no) != row}
            touched |= before.keys() - self._rows.keys()
        return {no: self._view(g.members[no]) for no in touched if no in g.members}

    def _move(self, g: Group, members: Iterable[int]) -> bool:
        """Work out the progress of these; whether somebody's place on the board may be another one now."""
        ranks = False
        for no in members:
            member = g.members.get(no)
            if member is None:
                continue
            now = self._progress[no] = progress(g, member, self._workout_of(no), self._body_of(no))
            measure = now.measure if on_board(g, member) else None
            if self._measures.get(no) != measure:
                ranks = True
                if measure is None:
                    del self._measures[no]
                else:
                    self._measures[no] = measure
        return ranks

    def _view(self, member: Member) -> Fields:
        no = member.no
        if member.gone in _UNSEEN:
            return sharing.shown(member, here=False)
        return sharing.shown(
            member,
            here=member.here and self._is_here(no),
            progress=self._progress.get(no),
            row=self._rows.get(no),
            telemetry=self._telemetry.get(no),
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
