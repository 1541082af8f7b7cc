"""The stage of a room: what is derived of a group, live, and never in a log.

Who is here, how far each is, who is ahead, cheers and telemetry: folded into one `group:tick` per node and
group, at most four a second, with only what changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fitai.engine.groups.ticks import View
from fitai.engine.ops import Record

if TYPE_CHECKING:
    from fitai.gateways.groups.room import Room
    from fitai.gateways.groups.seat import Seat


class Stage:
    """The derived side of one room on this node."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def joined(self, seat: Seat) -> None:
        """A connection took its seat: from now on it is told ticks."""

    def left(self, seat: Seat) -> None:
        """A connection's seat is empty."""

    def changed(self, records: Sequence[Record]) -> None:
        """These records are in the group's log, by whomever; `room.group` holds them."""

    def view(self, seat: Seat) -> View:
        """All that a member is shown now, whole; ticks go on from it."""
        return {}

    def cheer(self, seat: Seat, to: int | None, kind: str) -> None:
        """Count a cheer; it is told with the next tick."""

    def telemetry(self, member: int, payload: Mapping[str, Any]) -> None:
        """The newest measurements of a member."""

    def present(self) -> Mapping[int, int]:
        """Since when each member is connected, on any node, Unix ms."""
        return {}

    def heard(self, message: Mapping[str, Any]) -> None:
        """Another node's stage of this room says something (kind `live`)."""

    def lost(self, node: str) -> None:
        """Another node is no more."""

    def anew(self) -> None:
        """This node may have missed anything."""

    def hide(self, member: int) -> None:
        """Others than before are hidden from a member."""

    def tick(self) -> None:
        """The clock moved the machine, or a deadline of the group has come."""

    @property
    def busy(self) -> bool:
        """Somebody is connected here, or something is still to be told."""
        return False

    def close(self) -> None:
        """No more of this."""
