"""The relay: sends jobs that are due to whoever runs them, and puts those that come by the clock.

Every node has one. They need not know of each other: a row that is sent is claimed, and a periodic job has a
key for each of its periods.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from fitai.gateways.jobs import meters
from fitai.persistence.database import Database
from fitai.persistence.jobs import Backlog, JobList, Jobs, Ticket

_log = structlog.get_logger(__name__)

SCAN_S = 5.0  # between looks when nothing is known to be due: what was put unheard waits so long at most
FULL_S = 0.25  # between looks when as much as may be is on its way
SENT_MS = 30_000  # what was sent and not taken for so long is sent anew
WINDOW = 100  # jobs that may be on their way, over all nodes
SEND_S = 1.0  # the longest that the broker may take for one


@dataclass(frozen=True, slots=True)
class Periodic:
    """A job of `kind`, without a payload, once in each period of `every_ms` (counted from 1970)."""

    kind: str
    every_ms: int

    def key(self, now: int) -> str:
        """The key of the period that `now` is in, such as `sweep:2026-11-25T13:00`."""
        begin = now // self.every_ms * self.every_ms
        return f"{self.kind}:{datetime.fromtimestamp(begin / 1000, UTC):%Y-%m-%dT%H:%M}"


class Relay:
    """`send` takes a ticket and raises when the broker has no ear; then `run` gets it."""

    def __init__(
        self,
        db: Database,
        send: Callable[[Ticket], Awaitable[None]],
        run: Callable[[Ticket], None],
        *,
        periodic: Iterable[Periodic],
        now_ms: Callable[[], int],
    ) -> None:
        self._db = db
        self._send = send
        self._run = run
        self._periodic = tuple(periodic)
        self._now_ms = now_ms
        self._put: dict[str, str] = {}
        self.backlog = Backlog(0, None, 0, None)

    async def step(self) -> float:
        """Put and send what is due; returns in how many seconds to look again. Raises Unavailable."""
        now = self._now_ms()
        await self._put_periodic(now)
        async with self._db.read() as session:
            self.backlog = await JobList(session).backlog(now)
        self._measure(now)
        soonest = self.backlog.next
        if soonest is None or soonest > now:
            return SCAN_S if soonest is None else min(SCAN_S, (soonest - now) / 1000)
        async with self._db.write() as session:
            tickets = await Jobs(session).send(now=now, until=now + SENT_MS, window=WINDOW)
        await self._hand_over(tickets)
        return 0.0 if tickets else FULL_S

    async def _put_periodic(self, now: int) -> None:
        for each in self._periodic:
            key = each.key(now)
            if self._put.get(each.kind) != key:
                async with self._db.write() as session:
                    await Jobs(session).put(each.kind, {}, now=now, key=key)
                self._put[each.kind] = key

    async def _hand_over(self, tickets: Iterable[Ticket]) -> None:
        heard = True
        for ticket in tickets:
            if heard:
                try:
                    async with asyncio.timeout(SEND_S):
                        await self._send(ticket)
                except Exception as error:
                    heard = False
                    _log.warning("broker_away", why=f"{type(error).__name__}: {error}")
            if not heard:
                meters.UNSENT.inc()
                self._run(ticket)

    def _measure(self, now: int) -> None:
        oldest = self.backlog.oldest
        meters.WAITING.set(self.backlog.waiting)
        meters.OLDEST_SECONDS.set(0 if oldest is None else max(0, now - oldest) / 1000)
        meters.DEAD.set(self.backlog.dead)
