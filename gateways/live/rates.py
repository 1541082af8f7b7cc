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
