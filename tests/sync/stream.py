"""One user's log as a server keeps it, without a database: the op log rules and the real placer.

A test hands over what a device says and what that device had seen; the stream gives it its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fitai.engine.ops import Record
from fitai.engine.workout import Limits
from fitai.sync import log
from fitai.sync.clock import VectorClock
from fitai.sync.fold import Folded, fold
from fitai.sync.log import Context, Position
from fitai.sync.place import Placer
from fitai.sync.wire import WireLimits, decode_op

OWNER = "owner"
LATE = 4_000_000_000_000  # everything is received in 2096, so that no clock of a test is held back


class _Folds(dict[str, Folded]):
    def __missing__(self, workout: str) -> Folded:
        return self.setdefault(workout, fold(workout, OWNER, []))


class Stream:
    """Ops in, records out; `folds` are those that the placer goes on with."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.folds: dict[str, Folded] = _Folds()
        self._placer = Placer(0, LATE, {}, self.folds, limits or Limits())

    @property
    def records(self) -> list[Record]:
        """All that was placed, in seq order."""
        return self._placer.records

    @property
    def head(self) -> int:
        return self._placer.head

    def holds(self, clock: Mapping[int, int], but: int | None = None) -> bool:
        """Whether the log has all that a full clock names; what the device `but` wrote is not asked for."""
        return all(n < self._placer.position(device).next_n for device, n in clock.items() if device != but)

    def append(self, device: int, raw: dict[str, Any]) -> Record:
        """Place one op as it came; a full clock is compressed as a host does it."""
        op, _ = decode_op(raw, WireLimits())
        position = self._placer.position(device)
        assert op.n == position.next_n, f"op {op.n} of device {device}, where {position.next_n} is next"
        named = None if op.clock is None else self._name(device, op.clock, position)
        assert op.base is None or op.base <= self.head, f"base {op.base} is beyond the head {self.head}"
        return self._placer.place(device, op, log.context(op, position, named), LATE, 0)

    def _name(self, device: int, clock: Mapping[int, int], position: Position) -> Context:
        assert self.holds(clock, device), f"the log does not have all of {dict(clock)}"
        seen = VectorClock(clock) | (position.beyond or {})
        tail = [(record.seq, record.dot) for record in self.records[position.base :]]
        return log.compress(seen, device, position.base, tail)
