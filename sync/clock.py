"""Vector clocks: what had a device seen when it wrote, and which of two writes saw the other.

A **dot** is the name of an op: the device that wrote it and that device's counter. A device numbers its ops
1, 2, … without a gap, so whoever has seen op 7 of a device has seen 1 to 6 as well, and all that one can
have seen of a stream is one number per device: `{device: n}`. That is a vector clock. A device that is not
in it has n = 0, so a clock with zeros and the same one without them are one value.

Two clocks are ordered when one has seen all that the other has (`a >= b`, a *descends* from b). Otherwise
each knows something that the other does not, and they are *concurrent* (`a // b`). There is no third case
and no time of day in it: a phone whose date is ten years off has the same clock as any other.

**Why the log hardly ever stores one.** A clock grows with the number of devices, and systems that carry it
in every op soon cut it down. Here the server puts all accepted ops into one order, and a device applies that
order from its start: what it has seen of others is a *prefix* of the stream. One number, `base`, names this
prefix, and with it the counter of every device in it. Add the device's own earlier ops, and the vector clock
is complete. Two conditions carry this, and conflicts are overlooked or invented as soon as one is broken
(tests/sync/test_causality.py):

- `base` is the end of the *contiguous* run that was applied. The place of an own op that was acknowledged
  over a hole is not one: below it lie records that nobody here has seen.
- the context of an op includes that of its device's previous op. Whoever wrote has not forgotten.

**When a prefix is not enough.** A phone can hear of a watch's set directly, before the server has put it
anywhere; a copy of a device goes on from the ops of the one that it was copied from. Such an op had seen
something that lies beyond its base. It says so by its whole clock, and `log.compress` turns that into the
longest prefix which it covers and at most one entry per device *beyond* it. Nothing is rounded, neither up
(that would hide a conflict, and with it somebody's value) nor down (that would invent one).

**Why nothing is pruned.** To drop the entry of a device "not heard of for long" is to forget what was seen
of it: values that a write had replaced come back beside it. Here nothing is won by that. As soon as the base
reaches what an entry names, the entry says nothing that the base does not, and `log.shorten` takes it away
without loss. So a retired device costs later ops nothing, and one that comes back after two years is still
merged exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fitai.engine.ops import Dot


class VectorClock(Mapping[int, int]):
    """{device: n}, each meaning that device's ops 1..n. A value: it never changes, and it can be a key.

    `a >= b`, `a.descends(b)`   a has seen all that b has; `a > b`: and more
    `a // b`, `a.concurrent(b)` neither has seen all of the other
    `a | b`, `a.merge(b)`       what both together have seen
    `a[device]`                 0 for a device of which nothing was seen; such a one is not `in` the clock
    """

    __slots__ = ("_entries",)

    def __init__(self, entries: Mapping[int, int] | Iterable[tuple[int, int]] = ()) -> None:
        """Raises ValueError for a negative counter."""
        self._entries = {device: n for device, n in dict(entries).items() if n}
        if any(n < 0 for n in self._entries.values()):
            raise ValueError("a counter is not negative")

    def __getitem__(self, device: int) -> int:
        return self._entries.get(device, 0)

    def __contains__(self, device: object) -> bool:
        return device in self._entries

    def __iter__(self) -> Iterator[int]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __hash__(self) -> int:
        return hash(frozenset(self._entries.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VectorClock) and self._entries == other._entries

    def __repr__(self) -> str:
        return f"VectorClock({self._entries})"

    # -- order ---------------------------------------------------------------------------------------

    def seen(self, dot: Dot) -> bool:
        """Whether this op is among those that were seen."""
        return dot.n <= self[dot.device]

    def descends(self, other: VectorClock) -> bool:
        """Whether all that `other` has seen was seen here too; every clock descends from itself."""
        return all(n <= self[device] for device, n in other._entries.items())

    def concurrent(self, other: VectorClock) -> bool:
        """Whether each has seen something that the other has not."""
        return not self.descends(other) and not other.descends(self)

    def __ge__(self, other: VectorClock) -> bool:
        return self.descends(other)

    def __le__(self, other: VectorClock) -> bool:
        return other.descends(self)

    def __gt__(self, other: VectorClock) -> bool:
        return self != other and self.descends(other)

    def __lt__(self, other: VectorClock) -> bool:
        return other > self

    def __floordiv__(self, other: VectorClock) -> bool:
        return self.concurrent(other)

    # -- growth --------------------------------------------------------------------------------------

    def merge(self, other: Mapping[int, int]) -> VectorClock:
        """The least clock that descends from both."""
        merged = dict(self._entries)
        for device, n in other.items():
            merged[device] = max(n, self[device])
        return VectorClock(merged)

    def __or__(self, other: Mapping[int, int]) -> VectorClock:
        return self.merge(other)

    def tick(self, device: int) -> VectorClock:
        """The clock after the next op of this device."""
        return VectorClock({**self._entries, device: self[device] + 1})
