"""How often what is derived is worked out again while op comes after op: for each user twice a second, and
less often on a node that would spend more than a share of its time on that.

Under load what is derived gives way, and acks do not: a record is noticed some seconds later, once, in place
of five times. Whoever has been quiet is never made to wait.
"""

from __future__ import annotations

EVERY_S = 0.5
AT_LEAST_EVERY_S = 3.0
SHARE = 0.05  # of the loop's time, beyond which it becomes rarer


class Pace:
    """Of all hosts of a node; moments are in seconds by the loop's clock."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def next(self, last: float) -> float:
        """When a user's turn is next, whose last one was at `last`."""
        return max(last + EVERY_S, min(self._free_at, last + AT_LEAST_EVERY_S))

    def spent(self, seconds: float, now: float) -> None:
        """The loop was kept so long, until now."""
        self._free_at = max(self._free_at, now) + seconds / SHARE
