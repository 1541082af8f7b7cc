"""Who has been told which tick: one payload for all who stand at the same place.

A **tick** is what changed since the one before. All readers get the same one, encoded once a codec. Whoever
reads slowly is told several combined, as soon as there is room; readers that fell behind at the same place
share even that. Only those who block somebody, or are blocked, get an encoding of their own, in which the
other one never was.

    reader   told 7 ─┐        ticks  8  9  10          two readers at 7: one frame of 8, 9 and 10
    reader   told 7 ─┤
    reader   told 9 ─┴▶                                one at 9: the frame of 10
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from fitai.engine.groups import ticks
from fitai.engine.groups.ticks import Cheers, Fields, View
from fitai.gateways.live.frames import Frame

EVENT: Final = "group:tick"
KEPT: Final = 240
"""Ticks that are kept for slow readers, a minute at four a second; who takes none for so long is cut off."""

_NOTHING: Final[frozenset[int]] = frozenset()

T = TypeVar("T")


class Reader(Hashable, Protocol):
    """Whoever is told ticks: a seat's connection."""

    @property
    def ready(self) -> bool:
        """What was sent before has left, but for a little."""

    def send(self, frame: Frame) -> None:
        """Queue an event."""

    def slow(self) -> None:
        """It takes nothing for too long: close it, it comes back and begins with a whole view."""


class Tick(NamedTuple):
    """What changed, and the cheers meanwhile."""

    members: View
    cheers: Cheers


class Ticker:
    """The ticks of one group on one node."""

    def __init__(self, group: str) -> None:
        self.view: dict[int, Fields] = {}
        """All that has been told, whole: what a reader has who was told every tick."""
        self._group = group
        self._ticks: deque[Tick] = deque()
        self._last = 0  # the number of the newest tick
        self._told: dict[Reader, int] = {}
        self._hidden: dict[Reader, frozenset[int]] = {}  # of those few from whom somebody is hidden

    # -- readers -----------------------------------------------------------------------------------

    def begin(self, reader: Reader, hidden: frozenset[int] = _NOTHING) -> dict[str, Fields]:
        """The view that a reader begins with, as the wire has it; from now on it is told ticks. `hidden`:
        members whom it is told nothing of."""
        self._told[reader] = self._last
        self._hide(reader, hidden)
        return _wire(_without(self.view, hidden))

    def end(self, reader: Reader) -> None:
        """No more ticks for this one."""
        self._told.pop(reader, None)
        self._hidden.pop(reader, None)

    def hide(self, reader: Reader, hidden: frozenset[int], at: int) -> None:
        """Other members than before are hidden from a reader: take those away from it, show it the others."""
        before = self._hidden.get(reader, _NOTHING)
        if hidden == before or reader not in self._told:
            return
        tick = self._since(self._told[reader])
        gone = {no: dict.fromkeys(fields) for no in hidden - before if (fields := self._ever(no, tick))}
        shown = {no: self.view[no] for no in before - hidden if no in self.view}
        members = ticks.combine(_without(tick.members, before | hidden), gone | shown)
        self._hide(reader, hidden)
        self._told[reader] = self._last
        self._send(reader, self._frame(Tick(members, _without(tick.cheers, hidden)), at))

    @property
    def behind(self) -> bool:
        """Some reader has not been told everything."""
        return any(told < self._last for told in self._told.values())

    # -- ticks -------------------------------------------------------------------------------------

    def tick(self, now: View, cheers: Cheers, at: int) -> None:
        """The members in `now` are so from now on, whole (one without fields is not there any more); tell
        every reader that has room, of this and of what it was not told yet. `at`: Unix ms."""
        members = ticks.changes({no: self.view[no] for no in now if no in self.view}, now)
        for no, fields in now.items():
            if fields:
                self.view[no] = fields
            else:
                self.view.pop(no, None)
        if members or cheers:
            self._last += 1
            self._ticks.append(Tick(members, cheers))
        self._deliver(at)

    def _deliver(self, at: int) -> None:
        frames: dict[tuple[int, frozenset[int]], Frame | None] = {}
        for reader, told in list(self._told.items()):
            if told == self._last:
                continue
            if self._last - told > KEPT:
                self.end(reader)
                reader.slow()
            elif reader.ready:
                place = (told, self._hidden.get(reader, _NOTHING) if self._hidden else _NOTHING)
                if place not in frames:
                    frames[place] = self._frame(self._visible(*place), at)
                self._told[reader] = self._last
                self._send(reader, frames[place])
        self._trim()

    def _trim(self) -> None:
        """Forget the ticks that every reader was told."""
        oldest = min(self._told.values(), default=self._last)
        while self._ticks and self._last - len(self._ticks) < oldest:
            self._ticks.popleft()

    def _visible(self, told: int, hidden: frozenset[int]) -> Tick:
        tick = self._since(told)
        return Tick(_without(tick.members, hidden), _without(tick.cheers, hidden))

    def _since(self, told: int) -> Tick:
        """All ticks after one, as one."""
        missed = list(self._ticks)[len(self._ticks) - (self._last - told) :]
        if not missed:
            return Tick({}, {})
        tick = missed[0]
        for after in missed[1:]:
            members = ticks.combine(tick.members, after.members)
            tick = Tick(members, ticks.cheered(tick.cheers, after.cheers))
        return tick

    def _ever(self, no: int, tick: Tick) -> set[str]:
        """The fields that a reader may have of a member: those shown now, and those taken away since."""
        return {*self.view.get(no, ()), *tick.members.get(no, ())}

    def _hide(self, reader: Reader, hidden: frozenset[int]) -> None:
        if hidden:
            self._hidden[reader] = hidden
        else:
            self._hidden.pop(reader, None)

    def _frame(self, tick: Tick, at: int) -> Frame | None:
        """The event, None where there is nothing to tell."""
        if not tick.members and not tick.cheers:
            return None
        payload: dict[str, Any] = {"group": self._group, "at": at, "members": _wire(tick.members)}
        if tick.cheers:
            payload["cheers"] = {str(no): counts for no, counts in tick.cheers.items()}
        return Frame(EVENT, payload)

    def _send(self, reader: Reader, frame: Frame | None) -> None:
        if frame is not None:
            reader.send(frame)


def _without(members: Mapping[int, T], hidden: frozenset[int]) -> Mapping[int, T]:
    return {no: of for no, of in members.items() if no not in hidden} if hidden else members


def _wire(members: View) -> dict[str, Fields]:
    """By the number as a string: in JSON all keys are."""
    return {str(no): fields for no, fields in members.items()}
