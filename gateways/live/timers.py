"""The node's clock for deadlines that live in workouts: ends of rests, idle pauses, late completions.

The hosts on this node say when each of their workouts next needs a look; deadlines of workouts that no
host holds (after a restart, after another node's death) are found by looking at the projections' `due_at`
every few seconds. Of several nodes one does that for all, under a lease, and only for what is overdue:
whoever holds the workout was to have met it. A deadline that is met twice does no harm: what is due is judged
again, on the log.
"""

from __future__ import annotations

import asyncio
import heapq
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from fitai.gateways import meters
from fitai.gateways.tasks import spawn
from fitai.persistence.database import Unavailable

if TYPE_CHECKING:
    from fitai.gateways.live.hosts import Hosts
    from fitai.gateways.live.worker import Worker

_log = structlog.get_logger(__name__)

SCAN_S = 5.0  # how often the projections are searched for deadlines nobody here knows of
SCAN_LIMIT = 500
LAGGING_MS = 60_000  # how often all streams are searched for one whose projections are behind
LEASE_MS = 15_000  # how long a node that is no more keeps the others from scanning
SPARE = 1_000  # deadlines that do not hold any more and are kept
OVERDUE_MS = 3_000  # what was not met so long after it was due, nobody holds


class TimerWheel:
    """Calls `host.tick(workout)` at each deadline; never early."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._due: dict[tuple[str, str], tuple[int, Worker[Any]]] = {}
        self._heap: list[tuple[int, str, str]] = []
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._lagging_at = 0  # when streams that are behind were last searched for, Unix ms

    def start(self) -> None:
        """Begin to watch."""
        self._tasks = [spawn("live.timers", self._run()), spawn("live.timers.scan", self._scan())]

    async def close(self) -> None:
        """Stop watching; deadlines are found again by the next scan of any node. A scan that is under way
        comes to its end: a question to the database is not left without its asker."""
        self._closing.set()
        self._changed.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def set(self, host: Worker[Any], workout: str, due: int | None) -> None:
        """The workout next needs a look at `due` (Unix ms), or none."""
        key = (host.owner, workout)
        if due is None:
            self._due.pop(key, None)
            return
        known = self._due.get(key)
        self._due[key] = (due, host)
        if known is None or known[0] != due:
            heapq.heappush(self._heap, (due, *key))
            if self._heap[0][0] == due:
                self._changed.set()
            if len(self._heap) > 2 * len(self._due) + SPARE:
                self._heap = [(due, *key) for key, (due, _) in self._due.items()]
                heapq.heapify(self._heap)

    def drop(self, host: Worker[Any]) -> None:
        """The host goes; its deadlines are in the projections."""
        for key in [key for key, (_, held) in self._due.items() if held is host]:
            del self._due[key]

    def wake(self) -> None:
        """Look at the clock again: it may have been set."""
        self._changed.set()

    async def _run(self) -> None:
        while not self._closing.is_set():
            self._changed.clear()
            pause = self._fire()
            try:
                await asyncio.wait_for(self._changed.wait(), pause)
            except TimeoutError:
                continue

    def _fire(self) -> float | None:
        """Tick what is due; returns seconds to the next deadline, None when there is none."""
        now = self._hosts.now_ms()
        while self._heap:
            due, user, workout = self._heap[0]
            held = self._due.get((user, workout))
            if held is None or held[0] != due:
                heapq.heappop(self._heap)
                continue
            if due > now:
                return (due - now) / 1000
            heapq.heappop(self._heap)
            del self._due[user, workout]
            meters.TIMERS_LATE_SECONDS.observe((now - due) / 1000)
            held[1].tick(workout)
        return None

    async def _scan(self) -> None:
        while not self._closing.is_set():
            try:
                await self.scan()
            except Unavailable:
                _log.warning("timer_scan_postponed")
            except Exception:
                _log.exception("timer_scan_failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), SCAN_S)

    async def scan(self) -> None:
        """Open a host for every deadline that is due before the next scan: on one of several nodes, and for
        what has been due for a while."""
        hosts, now = self._hosts, self._hosts.now_ms()
        if hosts.alone:
            due_until, left_alone = now + int(SCAN_S * 1000), None
        elif await hosts.lease("timers", LEASE_MS):
            due_until = left_alone = now - OVERDUE_MS
        else:
            return
        for user, workout, due in await hosts.due(due_until, SCAN_LIMIT):
            if (user, workout) not in self._due:
                host = await hosts.open(user)
                self.set(host, workout, due)
        if not 0 <= now - self._lagging_at < LAGGING_MS:
            self._lagging_at = now
            for user in await hosts.lagging(SCAN_LIMIT, left_alone):
                await hosts.open(user)
