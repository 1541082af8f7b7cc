"""Counters that forget: what rate limits and failed sign-ins are kept in.

    Counts           asks a storage of `limits`, in words of that library
     ├─ MemoryCounts   of this process                            always answers
     └─ RedisCounts    of all nodes (gateways/bus/redis_counts)   memory answers when Redis does not, in time

`Memory` is a storage of ours and not the library's own: its clock is told, what it keeps is bounded, and a
hit costs the same however many keys there are (the library's starts a task that walks over all of them).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from limits.aio.storage import SlidingWindowCounterSupport
from limits.aio.storage import Storage as LimitsStorage
from limits.storage.base import TimestampedSlidingWindow

T = TypeVar("T")

MANY = 100_000  # keys kept; beyond them the one that was not touched for longest gives way


class Storage(Protocol):
    """What is used of a storage. Expiries are whole seconds from the first increment on."""

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add and return the sum; the first one sets when all is forgotten."""

    async def get(self, key: str) -> int:
        """The sum, 0 for none."""

    async def get_expiry(self, key: str) -> float:
        """When a key will be forgotten, in seconds by the storage's clock; now, for one that is not there."""

    async def clear(self, key: str) -> None:
        """Forget a key."""

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Whether there was room in the window; then it is taken."""

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """(count, remaining seconds) of the window before, then of this one (and of the next besides)."""


class Counts(Protocol):
    """Where counters are kept."""

    async def ask(self, question: Callable[[Storage], Awaitable[T]]) -> T:
        """What the storage answers to `question`, which may be put to a second one when a first fails."""


class Memory(LimitsStorage, SlidingWindowCounterSupport, TimestampedSlidingWindow):
    """Counters in this process; `now_ms` is the clock (Unix ms)."""

    STORAGE_SCHEME: list[str] | None = []  # noqa: RUF012 - as the library has it; made by hand, never from a URI

    def __init__(self, now_ms: Callable[[], int], many: int = MANY) -> None:
        super().__init__()
        self._now_ms = now_ms
        self._many = many
        self._kept: OrderedDict[str, tuple[int, float]] = OrderedDict()  # key -> (sum, forgotten at, seconds)

    @property
    def base_exceptions(self) -> type[Exception]:
        """Nothing here fails."""
        return LookupError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return self._add(key, expiry, amount)

    async def get(self, key: str) -> int:
        return self._of(key)[0]

    async def get_expiry(self, key: str) -> float:
        return self._of(key)[1]

    async def check(self) -> bool:
        return True

    async def clear(self, key: str) -> None:
        self._kept.pop(key, None)

    async def reset(self) -> int | None:
        count = len(self._kept)
        self._kept.clear()
        return count

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        before, before_s, now, _ = self._window(key, expiry)
        if int(before * before_s / expiry) + now + amount > limit:
            return False
        self._add(self.sliding_window_keys(key, expiry, self._now_s())[1], 2 * expiry, amount)
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        return self._window(key, expiry)

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        for each in self.sliding_window_keys(key, expiry, self._now_s()):
            self._kept.pop(each, None)

    def _window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        at = self._now_s()
        before, now = (self._of(each)[0] for each in self.sliding_window_keys(key, expiry, at))
        left = expiry - at % expiry
        return before, left, now, left + expiry

    def _of(self, key: str) -> tuple[int, float]:
        at = self._now_s()
        total, until = self._kept.get(key, (0, at))
        return (total, until) if until > at else (0, at)

    def _add(self, key: str, expiry: float, amount: int) -> int:
        total, until = self._of(key)
        self._kept[key] = total + amount, until if total else self._now_s() + expiry
        self._kept.move_to_end(key)
        if len(self._kept) > self._many:
            self._kept.popitem(last=False)
        return total + amount

    def _now_s(self) -> float:
        return self._now_ms() / 1000


class MemoryCounts:
    """Counters of this process."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._memory: Any = Memory(now_ms)  # `limits` types an expiry as a string in one place

    async def ask(self, question: Callable[[Storage], Awaitable[T]]) -> T:
        """What the memory answers."""
        return await question(self._memory)
