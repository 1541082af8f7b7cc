"""Token buckets: how much of something a device, a connection or a user may do."""

from __future__ import annotations


class Bucket:
    """Holds `burst` tokens, refilled at `per_s`. Times are Unix ms given by the caller."""

    __slots__ = ("_at", "_burst", "_per_ms", "_tokens")

    def __init__(self, per_s: float, burst: float, now: int) -> None:
        self._per_ms = per_s / 1000
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = now

    def take(self, wanted: int, now: int) -> int:
        """Take up to `wanted` tokens; returns how many there were."""
        self._refill(now)
        got = max(0, min(wanted, int(self._tokens)))
        self._tokens -= got
        return got

    def charge(self, tokens: int, now: int) -> None:
        """Take tokens for what was done without asking; what was not there is owed, at most a burst."""
        self._refill(now)
        self._tokens = max(-self._burst, self._tokens - tokens)

    def give_back(self, tokens: int) -> None:
        """Return tokens of work that was refused or came to nothing."""
        self._tokens = min(self._burst, self._tokens + tokens)

    def wait_ms(self, now: int, wanted: int = 1) -> int:
        """Milliseconds until `wanted` tokens are there; at least 1 when they are not."""
        self._refill(now)
        missing = min(wanted, self._burst) - self._tokens
        return max(1, int(missing / self._per_ms) + 1) if missing > 0 else 0

    def full(self, now: int) -> bool:
        """Nothing was taken lately."""
        self._refill(now)
        return self._tokens >= self._burst

    def _refill(self, now: int) -> None:
        if now > self._at:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_ms)
        self._at = max(self._at, now)


class Arrivals:
    """New connections by address, at most `per_min` a minute each (None: no bound)."""

    MANY = 10_000  # addresses remembered before those that are at rest are forgotten

    def __init__(self, per_min: int | None) -> None:
        self._per_min = per_min
        self._buckets: dict[str, Bucket] = {}

    def wait_ms(self, address: str, now: int) -> int:
        """0 and the connection counts, or how long it should wait before it tries again."""
        if self._per_min is None:
            return 0
        bucket = self._buckets.get(address)
        if bucket is None:
            if len(self._buckets) >= self.MANY:
                self._forget(now)
            bucket = self._buckets[address] = Bucket(self._per_min / 60, self._per_min, now)
        return 0 if bucket.take(1, now) else bucket.wait_ms(now)

    def _forget(self, now: int) -> None:
        self._buckets = {a: bucket for a, bucket in self._buckets.items() if not bucket.full(now)}
