"""New connections, counted by address: on this node, and over all nodes where they share a Redis."""

from __future__ import annotations

from fitai.gateways.addresses import counted_as
from fitai.gateways.counts import Counts
from fitai.gateways.live.rates import Bucket


class Arrivals:
    """At most `per_min` new connections a minute from one address (None: no bound), on this node, and by
    `counts` on all that share them."""

    MANY = 10_000  # addresses remembered before those that are at rest are forgotten

    def __init__(self, per_min: int | None, counts: Counts | None = None) -> None:
        self._per_min = per_min
        self._counts = counts
        self._buckets: dict[str, Bucket] = {}

    async def wait_ms(self, address: str, now: int) -> int:
        """0 and the connection counts, or how long it should wait before it tries again. This node's own
        count is asked first, so that a flood of one address is not passed on."""
        if self._per_min is None:
            return 0
        address = counted_as(address)
        bucket = self._buckets.get(address)
        if bucket is None:
            if len(self._buckets) >= self.MANY:
                self._forget(now)
            bucket = self._buckets[address] = Bucket(self._per_min / 60, self._per_min, now)
        if not bucket.take(1, now):
            return bucket.wait_ms(now)
        if self._counts is None or await self._shared(self._counts, address, self._per_min):
            return 0
        return 60_000 // self._per_min + 1

    @staticmethod
    async def _shared(counts: Counts, address: str, per_min: int) -> bool:
        key = f"arrivals/{address}"
        return await counts.ask(lambda storage: storage.acquire_sliding_window_entry(key, per_min, 60))

    def _forget(self, now: int) -> None:
        self._buckets = {a: bucket for a, bucket in self._buckets.items() if not bucket.full(now)}
