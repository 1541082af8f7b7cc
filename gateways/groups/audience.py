"""Who is told what in a room: its seats, and how each hears a record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fitai.engine.groups import telling
from fitai.engine.ops import Record
from fitai.gateways.groups.seat import GroupOpsFrame, Seat
from fitai.gateways.live.jobs import Sender

if TYPE_CHECKING:
    from fitai.gateways.groups.room import Room
    from fitai.gateways.live.connection import Connection


class Audience:
    """The seats of one room, by their connection."""

    def __init__(self, room: Room) -> None:
        self.seats: dict[Connection, Seat] = {}
        self._room = room
        self._hidden: dict[int, set[int]] = {}

    def hidden(self, member: int) -> set[int]:
        """Members of whom one of the two does not want to hear the other."""
        return self._hidden.get(member, set())

    def hide(self, pairs: Iterable[tuple[int, int]]) -> None:
        """These pairs of members do not want to hear each other, and no others."""
        hidden: dict[int, set[int]] = {}
        for one, other in pairs:
            hidden.setdefault(one, set()).add(other)
            hidden.setdefault(other, set()).add(one)
        before, self._hidden = self._hidden, hidden
        for no in {*before, *hidden}:
            if before.get(no) != hidden.get(no):
                self._room.stage.hide(no)

    def see_out(self) -> None:
        """Who is no member any more has no seat."""
        for seat in list(self.seats.values()):
            if not self._room.group.members[seat.member].here:
                seat.leave()

    def deliver(self, records: Sequence[Record], origin: Sender | None) -> None:
        """Tell seats of new records: all the same, unless it depends on who hears them."""
        seats = [seat for seat in self.seats.values() if seat is not origin]
        if not seats:
            return
        alike = [telling.heard_by_all(self._room.group, record, self._hidden) for record in records]
        differs = None in alike
        frames: dict[Sequence[str], GroupOpsFrame] = {}
        by_all = tuple(how or telling.WHOLE for how in alike)
        for seat in seats:
            how = self._heard(seat, records, alike) if differs else by_all
            frame = frames.get(how)
            if frame is None:
                frame = frames[how] = self._frame(records, how)
            seat.offer(frame)

    def _heard(self, seat: Seat, records: Sequence[Record], alike: Sequence[str | None]) -> Sequence[str]:
        """How a seat hears these, of which `alike` says how all do."""
        g, hidden = self._room.group, self.hidden(seat.member)
        to = g.members[seat.member]
        return tuple(
            telling.heard(g, record, to, hidden) if how is None else how
            for how, record in zip(alike, records, strict=True)
        )

    def _frame(self, records: Sequence[Record], how: Sequence[str]) -> GroupOpsFrame:
        g = self._room.group
        told = [telling.told(g, record, heard) for record, heard in zip(records, how, strict=True)]
        wire = [record for record in told if record is not None]
        return GroupOpsFrame(self._room.id, self._room.epoch, records[0].seq, records[-1].seq, wire)
