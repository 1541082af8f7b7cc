"""The bounds of groups: what one may hold, how often its members may do what, and how often a code is tried.

Sizes hold always. Rates are lifted with those of the live gateway (`LiveLimits.rates`), and where nothing is
counted (`counts` None).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fitai.engine.groups.judgement import GroupLimits
from fitai.engine.groups.timers import HOST_GRACE_MS
from fitai.gateways.addresses import counted_as
from fitai.gateways.counts import Counts, Storage
from fitai.gateways.live.rates import Bucket
from fitai.sync.wire import Refusal

HOUR_S = 3_600
MINUTE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBounds:
    """Bounds of groups on this node. Rates are per device for ops, per member for messages, per account for
    joins (and new groups), per account and address for codes that open nothing."""

    rules: GroupLimits = field(default_factory=GroupLimits)
    host_grace_ms: int = HOST_GRACE_MS
    rooms_per_connection: int = 16

    ops_per_s: float = 10.0
    ops_burst: int = 50
    chat_per_s: float = 0.5
    chat_burst: int = 5
    joins_per_min: int = 20
    codes_per_hour: int = 10
    address_codes_per_hour: int = 30


class Pace:
    """How much each device and each member of one room may write now. Times are Unix ms given by the
    caller."""

    def __init__(self, bounds: GroupBounds) -> None:
        self._bounds = bounds
        self._ops: dict[int, Bucket] = {}
        self._chat: dict[int, Bucket] = {}

    def ops(self, device: int, now: int) -> Bucket:
        """Of a device's ops."""
        return _bucket(self._ops, device, self._bounds.ops_per_s, self._bounds.ops_burst, now)

    def chat(self, member: int, now: int) -> Bucket:
        """Of a member's messages."""
        return _bucket(self._chat, member, self._bounds.chat_per_s, self._bounds.chat_burst, now)

    def forget(self, now: int) -> None:
        """Let go of those who wrote nothing lately."""
        for buckets in (self._ops, self._chat):
            for who in [who for who, bucket in buckets.items() if bucket.full(now)]:
                del buckets[who]


def _bucket(buckets: dict[int, Bucket], who: int, per_s: float, burst: int, now: int) -> Bucket:
    bucket = buckets.get(who)
    if bucket is None:
        bucket = buckets[who] = Bucket(per_s, burst, now)
    return bucket


class Tries:
    """Counts what people try over all nodes; raises Refusal later where it is too much. Nothing is counted
    without `counts`."""

    def __init__(self, counts: Counts | None, bounds: GroupBounds, now_ms: Callable[[], int]) -> None:
        self._counts = counts
        self._bounds = bounds
        self._now_ms = now_ms

    async def join(self, user: str) -> None:
        """Somebody joins a group, or makes one."""
        await self._count(f"groups/join/{user}", MINUTE_S, self._bounds.joins_per_min)

    async def code(self, user: str | None, address: str) -> None:
        """Somebody tries a code: counted before it is looked at, so that tries at one moment do not all slip
        through."""
        counted: list[str] = []
        try:
            for key, most in self._of_code(user, address):
                await self._count(key, HOUR_S, most)
                counted.append(key)
        except Refusal:
            await self._take_back(counted)
            raise

    async def opened(self, user: str | None, address: str) -> None:
        """It was one: that try is taken back."""
        await self._take_back([key for key, _ in self._of_code(user, address)])

    async def _take_back(self, keys: Iterable[str]) -> None:
        if self._counts is None:
            return

        async def less(storage: Storage) -> None:
            for key in keys:
                await storage.incr(key, HOUR_S, -1)

        await self._counts.ask(less)

    def _of_code(self, user: str | None, address: str) -> list[tuple[str, int]]:
        bounds = self._bounds
        counted = []
        if user is not None:
            counted.append((f"groups/code/user/{user}", bounds.codes_per_hour))
        if address:
            counted.append((f"groups/code/address/{counted_as(address)}", bounds.address_codes_per_hour))
        return counted

    async def _count(self, key: str, within_s: int, most: int) -> None:
        if self._counts is None:
            return

        async def take(storage: Storage) -> float | None:
            """When there is room again, in s by the storage's clock; None: it is taken."""
            if await storage.incr(key, within_s) <= most:
                return None
            await storage.incr(key, within_s, -1)
            return await storage.get_expiry(key)

        again = await self._counts.ask(take)
        if again is not None:
            wait_ms = max(1_000, min(within_s * 1_000, round(again * 1_000) - self._now_ms()))
            raise Refusal("later", "too many tries", retry_after_ms=wait_ms)
