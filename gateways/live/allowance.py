"""How many ops the devices of one user may write: each by its own bucket, all of them by the day's.

What is pushed here is asked for before it is placed. What comes by other nodes, or is written over REST, is
in the log already and is charged afterwards, so that a device gains nothing from being on two nodes.
"""

from __future__ import annotations

from fitai.gateways.live.limits import LiveLimits
from fitai.gateways.live.rates import Bucket

DAY_MS = 86_400_000


class Allowance:
    """The buckets of one user on this node. Times are Unix ms given by the caller."""

    def __init__(self, limits: LiveLimits, now: int) -> None:
        self._limits = limits
        self._devices: dict[int, Bucket] = {}
        self._day = Bucket(limits.ops_per_day / 86_400, limits.ops_per_day, now)

    def written_today(self, ops: int, now: int) -> None:
        """So many ops of this user came in during the last day."""
        self._day.charge(ops, now)

    def take(self, device: int, wanted: int, now: int) -> int:
        """How many of `wanted` ops the device may write now; they count as written."""
        if not self._limits.rates:
            return wanted
        bucket = self._bucket(device, now)
        got = bucket.take(wanted, now)
        today = self._day.take(got, now)
        bucket.give_back(got - today)
        return today

    def charge(self, device: int, ops: int, now: int) -> None:
        """The device has written so many ops without asking here."""
        if self._limits.rates:
            self._bucket(device, now).charge(ops, now)
            self._day.charge(ops, now)

    def wait_ms(self, device: int, now: int) -> int:
        """Milliseconds until the device may write again."""
        return max(self._bucket(device, now).wait_ms(now), self._day.wait_ms(now))

    def _bucket(self, device: int, now: int) -> Bucket:
        bucket = self._devices.get(device)
        if bucket is None:
            limits = self._limits
            bucket = self._devices[device] = Bucket(limits.ops_per_s, limits.ops_burst, now)
        return bucket
