"""New connections, counted by address: on this node, and over all nodes where they share a Redis."""

from __future__ import annotations

from typing import Protocol

from fitai.gateways.live.rates import Bucket


class SharedRate(Protocol):
    """A count that all nodes keep together."""

    async def take(self, key: str) -> bool:
        """False when `key` has had its share. True as well when that can not be found out soon."""


class Arrivals:
    """At most `per_min` new connections a minute from one address (None: no bound)."""

    MANY = 10_000  # addresses remembered before those that are at rest are forgotten

    def __init__(self, per_min: int | None, shared: SharedRate | None = None) -> None:
        self._per_min = per_min
        self._shared = shared
        self._buckets: dict[str, Bucket] = {}

    async def wait_ms(self, address: str, now: int) -> int:
        """0 and the connection counts, or how long it should wait before it tries again. This node's own
        count is asked first, so that a flood of one address is not passed on."""
        if self._per_min is None:
            return 0
        bucket = self._buckets.get(address)
        if bucket is None:
            if len(self._buckets) >= self.MANY:
                self._forget(now)
            bucket = self._buckets[address] = Bucket(self._per_min / 60, self._per_min, now)
        if not bucket.take(1, now):
            return bucket.wait_ms(now)
        if self._shared is None or await self._shared.take(address):
            return 0
        return 60_000 // self._per_min + 1

    def _forget(self, now: int) -> None:
        self._buckets = {a: bucket for a, bucket in self._buckets.items() if not bucket.full(now)}
