"""How often a route may be called: by one account, and from one address.

Every route is of a class, and each class has a rate of an account (`Rates`). An address has `people` times
that, since many people may share one. A route without a class is not counted.

    default     what apps do all the time
    auth        signing in and what is like it: each try costs a password's hash
    mail        what sends a mail to somebody
    heavy       what costs the server a second of work, such as an export

Counted in a sliding window by `limits`. The caller is told by the headers of
draft-ietf-httpapi-ratelimit-headers-06, which are the ones that clients know: `RateLimit-Limit`,
`RateLimit-Remaining` and `RateLimit-Reset` (seconds), of whichever count has least left; and 429 `later` with
`Retry-After`. What was refused is not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from aiohttp import web

from fitai.gateways.addresses import counted_as
from fitai.gateways.counts import Counts, Storage
from fitai.http.boundary import EXTRA
from fitai.http.problems import Problem
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute

CLASSES = ("default", "auth", "mail", "heavy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Calls of one account, by class of route; `people` accounts' worth of them may come from one address."""

    default_per_minute: int = 1_200
    auth_per_minute: int = 20
    mail_per_hour: int = 10
    heavy_per_minute: int = 20
    people: int = 10

    def of(self, kind: str, people: int = 1) -> RateLimitItem:
        """The rate of a class, for so many accounts together."""
        if kind == "mail":
            return RateLimitItemPerHour(self.mail_per_hour * people)
        amounts = {
            "default": self.default_per_minute,
            "auth": self.auth_per_minute,
            "heavy": self.heavy_per_minute,
        }
        return RateLimitItemPerMinute(amounts[kind] * people)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left of a rate: `remaining` calls, all of `limit` again after `reset_s`, and after `wait_s`
    there is room for one."""

    limit: int
    remaining: int
    reset_s: int
    wait_s: int


class Limiter:
    """Counts calls, and refuses those that are too many with Problem `later`."""

    def __init__(self, counts: Counts, rates: Rates) -> None:
        self._counts = counts
        self._accounts = {kind: rates.of(kind) for kind in CLASSES}
        self._addresses = {kind: rates.of(kind, rates.people) for kind in CLASSES}

    async def from_address(self, request: web.Request, kind: str) -> None:
        """Count a call from the caller's address. A socket of this machine's file system has none."""
        if request.remote:
            await self._admit(request, self._addresses[kind], kind, "address", counted_as(request.remote))

    async def by_account(self, request: web.Request, kind: str, account: str) -> None:
        """Count a call of an account: a user's id, or whatever else is to have a count of its own, such as
        the (hashed) address of a mail that is asked for."""
        await self._admit(request, self._accounts[kind], kind, "account", account)

    async def _admit(self, request: web.Request, item: RateLimitItem, *who: str) -> None:
        key, expiry = item.key_for(*who), item.get_expiry()

        async def hit(storage: Storage) -> tuple[bool, Standing]:
            taken = await storage.acquire_sliding_window_entry(key, item.amount, expiry)
            return taken, standing(item.amount, expiry, *await storage.get_sliding_window(key, expiry))

        taken, now = await self._counts.ask(hit)
        told = request[EXTRA]
        if not taken or now.remaining < int(told.get("RateLimit-Remaining", now.limit + 1)):
            told["RateLimit-Limit"] = str(now.limit)
            told["RateLimit-Remaining"] = str(now.remaining)
            told["RateLimit-Reset"] = str(now.reset_s)
        if not taken:
            wait_s = max(1, now.wait_s)
            raise Problem(
                "later",
                "Too many requests of this kind.",
                extra={"retry_after_ms": wait_s * 1000},
                headers={"Retry-After": str(wait_s)},
            )


def standing(limit: int, window_s: int, before: int, before_s: float, now: int, now_s: float) -> Standing:
    """What a sliding window comes to: the count of the window before weighs as much as of it the last
    `window_s` seconds still hold, which are `before_s` of them."""
    used = int(before * before_s / window_s) + now
    turn_s = max(now_s - window_s, 0.0) or before_s  # until this window becomes the one before
    if used < limit:
        return Standing(limit, limit - used, math.ceil(turn_s), 0)
    if now < limit:  # there is room as soon as the window before weighs little enough
        wait_s = before_s - (limit - now) * window_s / before
    else:
        wait_s = turn_s + window_s * (1 - limit / now)
    return Standing(limit, 0, math.ceil(turn_s), math.floor(wait_s) + 1)
