"""The control: each acknowledged op exists once, and every device of its user was told of it once, in order.

One ledger a user, one `Seat` a connection. What a connection is told (records in `ops`, acks of its own
pushes) must run on from its position without a hole, and whatever is told of one place of the stream must be
the same op on every connection. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Dot = tuple[int, int]
"""An op's name: its device and that device's counter."""

MANY = 8_192  # places remembered before those that every seat has passed are forgotten


class Ledger:
    """What is known of one user's stream. `failures` counts by kind:

    lost        a place that a connection was never told of, or an acknowledged op that is not there
    doubled     a place that a connection was told of twice
    different   a place at which two connections, or a connection and an ack, were told of different ops
    void        an op of the load that did not stand
    """

    def __init__(self, head: int = 0) -> None:
        self.head = head
        self.told = 0
        self.failures: Counter[str] = Counter()
        self._dots: dict[int, Dot] = {}
        self._places: dict[Dot, int] = {}
        self._seats: set[Seat] = set()

    def at(self, seq: int, dot: Dot) -> None:
        """An op is said to stand at a place."""
        known = self._dots.get(seq)
        if known == dot:
            return
        if known is not None or self._places.get(dot, seq) != seq:
            self.failures["different"] += 1
            return
        self._dots[seq] = dot
        self._places[dot] = seq
        if seq > self.head:
            self.head = seq
            if len(self._dots) > MANY:
                self._forget()

    def whose(self, seq: int) -> int | None:
        """The device of the op at a place, when it is known."""
        dot = self._dots.get(seq)
        return None if dot is None else dot[0]

    def sit(self, device: int, position: int) -> Seat:
        """A connection that begins at a position."""
        seat = Seat(self, device, position)
        self._seats.add(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        """The connection has ended; what it has not been told is not held against it."""
        self._seats.discard(seat)

    @property
    def behind(self) -> int:
        """How many records the present connections together have not been told of."""
        return sum(self.head - seat.position for seat in self._seats)

    def close(self) -> None:
        """The run is over and everything had time to arrive: what is missing now is lost."""
        self.failures["lost"] += self.behind

    def _forget(self) -> None:
        passed = min((seat.position for seat in self._seats), default=self.head) - MANY // 4
        for seq in [seq for seq in self._dots if seq <= passed]:
            del self._places[self._dots.pop(seq)]


class Seat:
    """What one connection was told: everything up to `position`."""

    __slots__ = ("_device", "_ledger", "position")

    def __init__(self, ledger: Ledger, device: int, position: int) -> None:
        self._ledger = ledger
        self._device = device
        self.position = position

    def ops(self, first: int, last: int, records: Sequence[Mapping[str, Any]]) -> list[Dot]:
        """An `ops` event; returns the ops that are new here. Places between `first` and `last` without a
        record must be ops of this device, which it was acknowledged."""
        ledger = self._ledger
        if first > self.position + 1:
            ledger.failures["lost"] += first - self.position - 1
        expected = max(first, self.position + 1)
        fresh = []
        for record in records:
            seq, dot = record["seq"], (record["device"], record["n"])
            if seq < expected:
                ledger.failures["doubled"] += 1
                continue
            self._own(range(expected, seq))
            ledger.at(seq, dot)
            fresh.append(dot)
            expected = seq + 1
        self._own(range(expected, last + 1))
        ledger.told += len(fresh)
        self.position = max(self.position, last)
        return fresh

    def acked(self, results: Iterable[Mapping[str, Any]]) -> None:
        """The results of a push of this connection."""
        for result in results:
            seq, verdict = result["seq"], result["verdict"]
            if (result.get("first") or result)["verdict"] == "void":
                self._ledger.failures["void"] += 1
            self._ledger.at(seq, (self._device, result["n"]))
            if seq > self.position + 1:
                self._ledger.failures["lost"] += seq - self.position - 1
            elif seq <= self.position and verdict != "duplicate":
                self._ledger.failures["doubled"] += 1
            self.position = max(self.position, seq)

    def _own(self, places: Iterable[int]) -> None:
        for seq in places:
            if self._ledger.whose(seq) != self._device:
                self._ledger.failures["lost"] += 1
