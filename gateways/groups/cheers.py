"""Cheers: counted, told with the next tick, and in no log.

Whoever taps fast is counted fast, and told as one number. Cheers for nobody in particular are for all: they
are counted for member 0, whom no group has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal, get_args

from fitai.gateways.live.rates import Bucket
from fitai.sync.wire import Refusal

Kind = Literal["clap", "fire", "flex", "go", "heart", "wow"]
"""What one can cheer with; a closed set, since everybody's screen shows it."""

KINDS: Final = frozenset(get_args(Kind))
EVERYBODY: Final = 0
PER_S: Final = 20
"""Cheers of one member in a second,"""
BURST: Final = 40
"""and at once."""


class Cheers:
    """The cheers of one group on one node, since the last tick. `now`: Unix ms; `rates`: whether it matters
    how fast they come."""

    def __init__(self, rates: bool = True) -> None:
        self._rates = rates
        self._counted: Counter[tuple[int, str]] = Counter()
        self._untold: Counter[tuple[int, str]] = Counter()
        self._buckets: dict[int, Bucket] = {}

    def __bool__(self) -> bool:
        return bool(self._counted)

    @property
    def news(self) -> bool:
        """Some are not told to the other nodes yet."""
        return bool(self._untold)

    def count(self, by: int, to: int | None, kind: str, now: int) -> None:
        """Count a cheer of a member. Raises Refusal later when they cheer too fast."""
        if self._rates:
            self._pace(by, now)
        cheer = (EVERYBODY if to is None else to, kind)
        self._counted[cheer] += 1
        self._untold[cheer] += 1

    def _pace(self, by: int, now: int) -> None:
        bucket = self._buckets.get(by)
        if bucket is None:
            bucket = self._buckets[by] = Bucket(PER_S, BURST, now)
        if not bucket.take(1, now):
            raise Refusal("later", "cheered too fast", retry_after_ms=bucket.wait_ms(now))

    def taken(self) -> dict[int, dict[str, int]]:
        """All since the last time, for the seats of this node: {to: {kind: how many}}."""
        taken: dict[int, dict[str, int]] = {}
        for (to, kind), n in self._counted.items():
            taken.setdefault(to, {})[kind] = n
        self._counted.clear()
        return taken

    def told(self) -> list[tuple[int, str, int]]:
        """Those of this node since the last time, for the other nodes."""
        told = [(to, kind, n) for (to, kind), n in self._untold.items()]
        self._untold.clear()
        return told

    def heard(self, told: Iterable[tuple[int, str, int]]) -> None:
        """Those of another node."""
        for to, kind, n in told:
            if kind in KINDS:
                self._counted[to, kind] += n
