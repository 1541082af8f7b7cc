"""Is it up, is it ready, is it well: for supervisors, for load balancers, for people.

    /health/live    the process answers: restart it if not
    /health/ready   every part that a request needs answers: send it traffic if so, else 503
    /health         how all of it is; always 200 while the process answers at all

Ready means that *delivery works*: the database commits and a probe sent over the bus came back. Checks
run together, each bounded in time, and their answer is kept for a moment, so that nobody can use these
open routes to keep the database busy. A server that was asked to end is not ready from that moment on,
while it still serves everybody who comes: so load balancers turn away before anything is refused.

Well means more: the schema is the one that this version needs, the disk has room, the outbox is not behind.
None of these keeps a server from answering, and taking all of them out of a balancer would help nobody.

**Who sees what.** Everybody sees one word a part, which is what a status page shows. Numbers (latencies, the
schema's revision, bytes, jobs) tell a stranger how large the installation is and when it is weak: they are
for who shows the operators' token (`FITAI_METRICS_TOKEN`, as for `/metrics`). Names, addresses and what an
error says are told to nobody here; they are in the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, NamedTuple

import structlog
from aiohttp import web

from fitai.gateways.tasks import spawn
from fitai.http import metrics
from fitai.http.frame import Routes, Schema
from fitai.http.problems import NotReady

_log = structlog.get_logger(__name__)

CHECK_S = 2.0  # the longest that a part may take to answer
KEPT_S = 0.5  # how long an answer is good for,
LOOKED_S = 5.0  # and how long what is found by looking at what no request needs
MEASURED_S = 0.5  # the longest that a question for the meters waits for it

Check = Callable[[], Awaitable[None]]
"""Returns when the part answers, raises when it does not."""

Answer = Literal["ok", "degraded", "down", "draining"]

Numbers = Mapping[str, int | float | str | None]


class Found(NamedTuple):
    """How a part is, and the numbers that say so."""

    well: bool
    numbers: Numbers


Look = Callable[[], Awaitable[Found]]
"""How a part is that no request needs; raises when that can not be found out."""


class Summary(Schema):
    """How the server is: `degraded` when some part does not answer or is not well, `draining` when it is
    about to end.

    `database` and `bus` answer, or are `down`; `migrations` (the schema), `disk` (room in the data folder)
    and `queue` (the outbox of jobs) are well, or `degraded`. `details` are for operators.
    """

    status: Answer
    version: str
    uptime_s: int
    database: Answer
    bus: Answer
    migrations: Answer
    disk: Answer
    queue: Answer
    details: dict[str, dict[str, int | float | str | None]] | None = None


class Liveness(Schema):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Schema):
    """Every part answers."""

    status: Literal["ok"]
    checks: dict[str, Answer]


class Health:
    """Runs the checks, named `database` and `bus`, and looks at what is not needed to be ready (`looks`). Who
    shows `token` is an operator; without one nobody is."""

    def __init__(
        self,
        version: str,
        checks: Mapping[str, Check],
        looks: Mapping[str, Look] | None = None,
        *,
        token: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.version = version
        self.token = token
        self._checks = {name: _checked(check) for name, check in checks.items()}
        self._looks = dict(looks or {})
        self._clock = clock
        self._started = clock()
        self._needed = _Kept(KEPT_S)
        self._others = _Kept(LOOKED_S)
        self._asked: dict[str, asyncio.Task[Found | str]] = {}
        self._measuring: asyncio.Task[Any] | None = None
        self.draining = False

    @property
    def uptime_s(self) -> int:
        """Whole seconds since the start."""
        return int(self._clock() - self._started)

    async def answers(self) -> dict[str, Answer]:
        """What each part that a request needs answers, at most `KEPT_S` old."""
        answers = await self._fresh(self._needed, self._checks, "down")
        for part, answer in answers.items():
            metrics.READY.labels(part).set(answer == "ok")
        metrics.READY.labels("node").set(not self.draining)
        return answers

    async def everything(self) -> tuple[dict[str, Answer], dict[str, Numbers]]:
        """What all parts answer, and the numbers that say so, of those that answered."""
        needed, others = await asyncio.gather(
            self.answers(), self._fresh(self._others, self._looks, "degraded")
        )
        return {**needed, **others}, {**self._needed.numbers, **self._others.numbers}

    async def measure(self) -> None:
        """Have the parts asked for the meters, which wait no longer than a moment and show what is known."""
        if self._measuring is None or self._measuring.done():
            self._measuring = spawn("health.measure", self.everything())
        await asyncio.wait([self._measuring], timeout=MEASURED_S)

    async def _fresh(
        self, kept: _Kept, looks: Mapping[str, Look], unwell: Literal["down", "degraded"]
    ) -> dict[str, Answer]:
        async with kept.one_at_a_time:
            if self._clock() - kept.at > kept.good_for_s:
                found = await asyncio.gather(*(self._ask(name, look) for name, look in looks.items()))
                told = dict(zip(looks, found, strict=True))
                kept.numbers = {name: its.numbers for name, its in told.items() if its is not None}
                kept.answers = {
                    name: "ok" if its is not None and its.well else unwell for name, its in told.items()
                }
                kept.at = self._clock()
            return kept.answers

    async def _ask(self, name: str, look: Look) -> Found | None:
        """A question that is still open when its time is up is left open, and no other one asked until it has
        an answer: to call it off could itself take long, and questions must not pile up in a database that
        stands still."""
        task = self._asked.pop(name, None) or spawn(f"health.{name}", _outcome(look))
        done, _ = await asyncio.wait([task], timeout=CHECK_S)
        if not done:
            self._asked[name] = task
        outcome = task.result() if done else f"no answer in {CHECK_S:g} s"
        if isinstance(outcome, str):
            _log.warning("check_failed", check=name, error=outcome)
            return None
        return outcome

    async def close(self) -> None:
        """Call off what is still asked."""
        tasks = [*self._asked.values(), *([] if self._measuring is None else [self._measuring])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Kept:
    """What was found last, and when."""

    def __init__(self, good_for_s: float) -> None:
        self.good_for_s = good_for_s
        self.answers: dict[str, Answer] = {}
        self.numbers: dict[str, Numbers] = {}
        self.at = float("-inf")
        self.one_at_a_time = asyncio.Lock()


def _checked(check: Check) -> Look:
    """A check as a look: it is well when it answers, and how long that took is told."""

    async def look() -> Found:
        started = time.perf_counter()
        await check()
        return Found(True, {"latency_ms": round((time.perf_counter() - started) * 1000, 1)})

    return look


async def _outcome(look: Look) -> Found | str:
    """What is found, or what is wrong with looking."""
    try:
        return await look()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


HEALTH: web.AppKey[Health] = web.AppKey("fitai_health", Health)

routes = Routes("health")


@routes.get("/health", response=Summary, limit=None)
async def health(request: web.Request) -> Summary:
    """Sum up how the server is.

    One word a part, for everybody. Who sends the operators' token as a bearer gets the numbers, as `details`.
    """
    health = request.app[HEALTH]
    answers, numbers = await health.everything()
    well = set(answers.values()) <= {"ok"}
    operator = health.token is not None and metrics.knows(request, health.token)
    return Summary(
        status="draining" if health.draining else "ok" if well else "degraded",
        version=health.version,
        uptime_s=health.uptime_s,
        **answers,
        details={name: dict(its) for name, its in numbers.items()} if operator else None,
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
