"""Is it up, is it ready: for people, for supervisors, for load balancers.

    /health         a summary for people; always 200 while the process answers at all
    /health/live    the process answers: restart it if not
    /health/ready   every part that a request needs answers: send it traffic if so, else 503

Ready means that *delivery works*: the database answers and a probe sent over the bus came back. Checks
run together, each bounded in time, and their answer is kept for a moment, so that nobody can use these
open routes to keep the database busy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import structlog
from aiohttp import web

from fitai.http.frame import Routes, Schema
from fitai.http.problems import NotReady

_log = structlog.get_logger(__name__)

CHECK_S = 2.0  # the longest that a part may take to answer
KEPT_S = 0.5  # how long an answer is good for

Check = Callable[[], Awaitable[None]]
"""Returns when the part answers, raises when it does not."""

Answer = Literal["ok", "down"]


class Summary(Schema):
    """How the server is: `degraded` when some part does not answer."""

    status: Literal["ok", "degraded"]
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

    @property
    def uptime_s(self) -> int:
        """Whole seconds since the start."""
        return int(self._clock() - self._started)

    async def answers(self) -> dict[str, Answer]:
        """What each part answers, at most `KEPT_S` old."""
        async with self._one_at_a_time:
            if self._clock() - self._known_at > KEPT_S:
                found = await asyncio.gather(*(_ask(name, check) for name, check in self._checks.items()))
                self._known = dict(zip(self._checks, found, strict=True))
                self._known_at = self._clock()
            return self._known


async def _ask(name: str, check: Check) -> Answer:
    try:
        async with asyncio.timeout(CHECK_S):
            await check()
    except Exception as error:
        _log.warning("check_failed", check=name, error=f"{type(error).__name__}: {error}")
        return "down"
    return "ok"


HEALTH: web.AppKey[Health] = web.AppKey("fitai_health", Health)

routes = Routes("health")


@routes.get("/health", response=Summary)
async def health(request: web.Request) -> Summary:
    """Sum up how the server is."""
    health = request.app[HEALTH]
    answers = await health.answers()
    return Summary(
        status="ok" if set(answers.values()) <= {"ok"} else "degraded",
        version=health.version,
        uptime_s=health.uptime_s,
        database=answers["database"],
        bus=answers["bus"],
    )


@routes.get("/health/live", response=Liveness)
async def health_live(request: web.Request) -> Liveness:
    """Tell that the process answers."""
    return Liveness(status="ok")


@routes.get("/health/ready", response=Readiness, errors=("unavailable",))
async def health_ready(request: web.Request) -> Readiness:
    """Tell whether requests can be served.

    Ready means that the database answers and that a probe sent over the bus came back. Otherwise 503
    `unavailable` with `checks`: which part answers and which does not.
    """
    answers = await request.app[HEALTH].answers()
    if set(answers.values()) != {"ok"}:
        raise NotReady(answers)
    return Readiness(status="ok", checks=answers)
