"""What a full vector clock says in positions of the log, found by asking the log for a few places.

A clock costs the same in a log of any length: of each other device only the last record that the clock had
seen and the first that it had not decide what it covers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fitai.engine.ops import Dot
from fitai.sync import log
from fitai.sync.clock import VectorClock
from fitai.sync.log import Context, Position

if TYPE_CHECKING:
    from fitai.gateways.live.hosts import LogReader


class Contexts:
    """Names contexts in one stream that stands at `head`, its devices at `positions`."""

    def __init__(self, reader: LogReader, stream: int, head: int, positions: Mapping[int, Position]) -> None:
        self._reader = reader
        self._stream = stream
        self._head = head
        self._positions = positions

    async def name(self, device: int, clock: Mapping[int, int]) -> Context:
        """The context of a device's op that came with a clock; raises Refusal later {missing}."""
        start = self._positions.get(device, Position())
        seen = VectorClock(clock) | (start.beyond or {})
        here = VectorClock({author: position.next_n - 1 for author, position in self._positions.items()})
        log.require(seen, device, here)
        return log.compress(seen, device, start.base, await self._landmarks(device, seen, start.base))

    async def _landmarks(self, own: int, clock: Mapping[int, int], start: int) -> list[tuple[int, Dot]]:
        """(seq, dot) of the records after `start` that decide what a clock of the device `own` covers: of
        each other device the last that it had seen and the first that it had not, and the end of what lies
        before all of the latter."""
        others = {d: p.next_n - 1 for d, p in self._positions.items() if d != own}
        seen = {d: min(n, clock.get(d, 0)) for d, n in others.items()}
        unseen, places = await self._edges(seen, others)
        if any(places[dot] <= start for dot in unseen):
            # The base before had seen more than the clock tells.
            firsts = await self._reader.firsts(self._stream, start)
            seen = {d: max(n, firsts.get(d, others[d] + 1) - 1) for d, n in seen.items()}
            unseen, places = await self._edges(seen, others)
        end = min((places[dot] - 1 for dot in unseen), default=self._head)
        found = [(seq, dot) for dot, seq in places.items() if seq > start]
        return sorted([*found, (end, Dot(own, 0))] if end > start else found)

    async def _edges(
        self, seen: Mapping[int, int], others: Mapping[int, int]
    ) -> tuple[set[Dot], dict[Dot, int]]:
        """The first dots that were not seen, and the seqs of these and of the last that were."""
        unseen = {Dot(d, n + 1) for d, n in seen.items() if n < others[d]}
        asked = [*unseen, *(Dot(d, n) for d, n in seen.items() if n)]
        return unseen, await self._reader.places(self._stream, asked)
