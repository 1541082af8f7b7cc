"""The server's clock on a device whose own is wrong: what lets all devices of a group begin in one moment.

The device asks `clock {t0}` and is told `{t0, t1}`. It had sent the question before the server read its
clock, and the answer came after that, so each round trip bounds the **offset**, server's clock minus ours:

    ours     sent ────────────────────────── back          t1 - back  ≤  offset  ≤  t1 - sent
    server          ·········· t1 ··········               (t1 is told in whole ms, rounded down)

What all trips say together is the intersection of these spans, and the estimate is its middle. It is never
off by more than half the shortest round trip, however unlike the ways there and back are; and no method that
only sends messages can promise more (F. Cristian, *Probabilistic clock synchronization*, 1989; the
intersection: K. Marzullo, *Maintaining the time in a distributed system*, 1984).

A quartz runs a little fast or slow, so what a trip said counts for less as it ages: its span grows by
`DRIFT` of that time on both sides, as in NTP's clock filter (RFC 5905, section 10: the last eight trips, the
shortest is the best, and a dispersion that grows).

For writers of other clients: measure with a clock that nobody sets (`performance.now()`,
`SystemClock.elapsedRealtime()`, `CLOCK_MONOTONIC`), stamp `back` when the answer arrives and not when it is
handled, ask `BURST` times after every connection one after another, then once in `EVERY_MS`; forget all trips
when the device slept.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

KEPT: Final = 8
BURST: Final = 5
EVERY_MS: Final = 20_000
DRIFT: Final = 100e-6
"""How fast two clocks part at most. Quartzes of phones are good for 20 to 50 parts in a million, each."""


class Trip(NamedTuple):
    """One round trip: when it was sent and came back by our clock, and the server's in between; ms."""

    sent: float
    server: int
    back: float


class Offset(NamedTuple):
    """The server's clock minus ours, ms, and by how much that may be wrong at most."""

    ms: float
    within: float


class ServerClock:
    """What a device knows of the server's clock. Its own is handed in with each question, ms."""

    def __init__(self) -> None:
        self._trips: deque[Trip] = deque(maxlen=KEPT)

    def forget(self) -> None:
        """The own clock may have stood still or been set: nothing that was measured holds any more."""
        self._trips.clear()

    def measured(self, trip: Trip) -> None:
        """A round trip is done. One that contradicts those before proves that a clock was set since."""
        self._trips.append(trip)
        if _is_empty(self._span(trip.back)):
            self._trips.clear()
            self._trips.append(trip)

    def offset(self, now: float) -> Offset | None:
        """The offset as it is known at our time `now`; None before the first trip."""
        if not self._trips:
            return None
        low, high = self._span(now)
        return Offset((low + high) / 2, (high - low) / 2)

    def _span(self, now: float) -> tuple[float, float]:
        low, high = float("-inf"), float("inf")
        for trip in self._trips:
            doubt = DRIFT * (now - trip.back)
            low = max(low, trip.server - trip.back - doubt)
            high = min(high, trip.server + 1 - trip.sent + doubt)
        return low, high


def _is_empty(span: tuple[float, float]) -> bool:
    return span[0] > span[1]
