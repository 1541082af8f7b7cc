"""Is it up, is it ready: for people, for supervisors, for load balancers.

    /health         a summary for people; always 200 while the process answers at all
    /health/live    the process answers: restart it if not
    /health/ready   every part that a request needs answers: send it traffic if so, else 503

Ready means that *delivery works*: the database commits and a probe sent over the bus came back. Checks
run together, each bounded in time, and their answer is kept for a moment, so that nobody can use these
open routes to keep the database busy. A server that was asked to end is not ready from that moment on,
while it still serves everybody who comes: so load balancers turn away before anything is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import structlog
from aiohttp import web

from fitai.gateways.tasks import spawn
from fitai.http.frame import Routes, Schema
from fitai.http.problems import NotReady

_log = structlog.get_logger(__name__)

CHECK_S = 2.0  # the longest that a part may take to answer
KEPT_S = 0.5  # how long an answer is good for

Check = Callable[[], Awaitable[None]]
"""Returns when the part answers, raises when it does not."""

Answer = Literal["ok", "down", "draining"]


class Summary(Schema):
    """How the server is: `degraded` when some part does not answer, `draining` when it is about to end."""

    status: Literal["ok", "degraded", "draining"]
    version: str
    uptime_s: int
    database: Answer
    bus: Answer


class Liveness(Schema):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Schema):
    """Every part answers."""

    status: Literal["ok"]
    checks: dict[str, Answer]


class Health:
    """Runs the checks, named `database` and `bus`."""

    def __init__(
        self, version: str, checks: Mapping[str, Check], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.version = version
        self._checks = dict(checks)
        self._clock = clock
        self._started = clock()
        self._known: dict[str, Answer] = {}
        self._known_at = float("-inf")
        self._one_at_a_time = asyncio.Lock()
        self._asked: dict[str, asyncio.Task[str | None]] = {}
        self.draining = False

    @property
    def uptime_s(self) -> int:
        """Whole seconds since the start."""
        return int(self._clock() - self._started)

    async def answers(self) -> dict[str, Answer]:
        """What each part answers, at most `KEPT_S` old."""
        async with self._one_at_a_time:
            if self._clock() - self._known_at > KEPT_S:
                found = await asyncio.gather(*map(self._ask, self._checks))
                self._known = dict(zip(self._checks, found, strict=True))
                self._known_at = self._clock()
            return self._known

    async def _ask(self, name: str) -> Answer:
        """A question that is still open when its time is up is left open, and no other one asked until it has
        an answer: to call it off could itself take long, and questions must not pile up in a database that
        stands still."""
        task = self._asked.pop(name, None) or spawn(f"health.{name}", _failure(self._checks[name]))
        done, _ = await asyncio.wait([task], timeout=CHECK_S)
        if not done:
            self._asked[name] = task
        failure = task.result() if done else f"no answer in {CHECK_S:g} s"
        if failure is not None:
            _log.warning("check_failed", check=name, error=failure)
        return "ok" if failure is None else "down"

    async def close(self) -> None:
        """Call off what is still asked."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)


async def _failure(check: Check) -> str | None:
    """What is wrong by this check; None when nothing is."""
    try:
        await check()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


HEALTH: web.AppKey[Health] = web.AppKey("fitai_health", Health)

routes = Routes("health")


@routes.get("/health", response=Summary, limit=None)
async def health(request: web.Request) -> Summary:
    """Sum up how the server is."""
    health = request.app[HEALTH]
    answers = await health.answers()
    well = set(answers.values()) <= {"ok"}
    return Summary(
        status="draining" if health.draining else "ok" if well else "degraded",
        version=health.version,
        uptime_s=health.uptime_s,
        database=answers["database"],
        bus=answers["bus"],
    )


@routes.get("/health/live", response=Liveness, limit=None)
async def health_live(request: web.Request) -> Liveness:
    """Tell that the process answers."""
    return Liveness(status="ok")


@routes.get("/health/ready", response=Readiness, errors=("unavailable",), limit=None)
async def health_ready(request: web.Request) -> Readiness:
    """Tell whether requests can be served.

    Ready means that the database commits and that a probe sent over the bus came back. Otherwise, and from
    the moment when the server was asked to end, 503 `unavailable` with `checks`: which part answers and which
    does not.
    """
    health = request.app[HEALTH]
    if health.draining:
        raise NotReady({"node": "draining"})
    answers = await health.answers()
    if set(answers.values()) != {"ok"}:
        raise NotReady(answers)
    return Readiness(status="ok", checks=answers)
