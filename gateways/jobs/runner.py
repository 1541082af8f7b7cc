"""Running one job: claim its row, call its handler, write down what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from random import Random
from typing import Any

import structlog

from fitai.gateways import occasion
from fitai.gateways.jobs import meters
from fitai.gateways.jobs.contract import Attempt, Kind, Kinds, Permanent, Temporary
from fitai.gateways.jobs.outcome import Dead, Done, Interrupted, Later, Outcome, judge, parse
from fitai.gateways.tasks import spawn
from fitai.persistence import tracing
from fitai.persistence.database import Database, Unavailable, WriteSession
from fitai.persistence.jobs import Jobs, Taken, Ticket

_log = structlog.get_logger(__name__)

MARGIN_S = 15.0  # a claim lasts so much longer than its handler may take
UNKNOWN_S = 15.0  # how long a job of an unknown kind is held, to be put back
# Pauses before an outcome is written once more. Without it a job that is done would be done again.
AGAIN_S = (0.1, 0.5, 2.0, 5.0)


class Runner:
    """Runs jobs, so many at a time at most."""

    def __init__(
        self,
        db: Database,
        kinds: Kinds,
        *,
        now_ms: Callable[[], int],
        chance: Random,
        at_a_time: int,
    ) -> None:
        self._db = db
        self._kinds = kinds
        self._now_ms = now_ms
        self._chance = chance
        self._slots = asyncio.Semaphore(at_a_time)
        self._handling: set[asyncio.Task[Exception | None]] = set()
        self._closing = False
        self._interrupting = False
        for name in kinds:
            for outcome in _OUTCOMES.values():
                meters.OUTCOMES.labels(name, outcome)  # there from the start, so that its first count is seen

    @property
    def running(self) -> int:
        """Handlers at work."""
        return len(self._handling)

    def stop(self) -> None:
        """Begin with nothing more."""
        self._closing = True

    async def close(self, within_s: float) -> None:
        """Let handlers end for so long, then interrupt them and give their jobs back."""
        self.stop()
        if self._handling:
            await asyncio.wait(set(self._handling), timeout=within_s)
        self._interrupting = True
        for task in self._handling:
            task.cancel()

    async def run(self, ticket: Ticket) -> Outcome | None:
        """Run the job, unless somebody else does or did; never raises for what its handler does.

        Raises Unavailable when the row can not be read: then its claim ends by itself.
        """
        async with self._slots:
            if self._closing:
                return None
            kind = self._kinds.get(ticket.kind)
            held_s = UNKNOWN_S if kind is None else kind.within_s + MARGIN_S
            async with self._db.write() as session:
                taken = await Jobs(session).take(ticket, until=self._now_ms() + int(held_s * 1000))
            if taken is None:
                return None
            began, started = self._now_ms(), time.perf_counter()
            meters.WAIT_SECONDS.observe(max(0, began - taken.due_at) / 1000)
            outcome = await self._attempt(kind, taken, began)
            meters.RUN_SECONDS.labels(_label(kind)).observe(time.perf_counter() - started)
            await self._settle(kind, taken, outcome)
            return outcome

    async def _attempt(self, kind: Kind[Any] | None, taken: Taken, now: int) -> Outcome:
        error: Exception | None = None
        if self._interrupting:
            return Interrupted()
        if kind is not None:
            attempt = Attempt(taken.job, taken.attempts, now)
            # A task of its own, so that the end of this worker can interrupt the handler and nothing else.
            task = spawn(f"job.{kind.name}", self._handled(kind, attempt, taken))
            self._handling.add(task)
            try:
                await asyncio.wait({task})
            finally:
                task.cancel()
                self._handling.discard(task)
            if task.cancelled():
                return Interrupted()
            error = task.result()
        return judge(kind, taken, error, self._now_ms(), self._chance)

    async def _handled(self, kind: Kind[Any], attempt: Attempt, taken: Taken) -> Exception | None:
        """What went wrong, if anything did."""
        occasion.NOW.set(occasion.Job(attempt.job, kind.name, attempt.number))
        try:
            if attempt.number > kind.attempts:
                raise Permanent(f"given up after {kind.attempts} attempts, the last of which never ended")
            async with asyncio.timeout(kind.within_s):
                with tracing.job(kind.name, taken.trace):
                    await kind.handle(attempt, parse(kind, taken.payload))
        except Exception as error:
            if not isinstance(error, Permanent | Temporary | TimeoutError | Unavailable):
                _log.exception("job_raised", job=attempt.job, kind=kind.name, attempt=attempt.number)
            return error
        return None

    async def _settle(self, kind: Kind[Any] | None, taken: Taken, outcome: Outcome) -> None:
        """Write the outcome down, several times if need be, and tell it."""
        for pause in (*AGAIN_S, None):
            try:
                async with self._db.write() as session:
                    held = await _written(session, taken, outcome, self._now_ms())
                break
            except Unavailable as error:
                if pause is None:
                    _log.warning("job_outcome_lost", job=taken.job, kind=taken.kind, why=str(error))
                    return
                await asyncio.sleep(pause)
        if held:
            _told(_label(kind), taken, outcome)
        else:
            _log.warning("job_overtaken", job=taken.job, kind=taken.kind, attempt=taken.attempts)


async def _written(session: WriteSession, taken: Taken, outcome: Outcome, now: int) -> bool:
    jobs = Jobs(session)
    match outcome:
        case Done():
            return await jobs.finish(taken, now=now)
        case Later(due, error):
            return await jobs.fail(taken, error, due=due)
        case Dead(error):
            return await jobs.bury(taken, error, now=now)
        case Interrupted():
            return await jobs.give_back(taken)


def _told(label: str, taken: Taken, outcome: Outcome) -> None:
    about = {"job": taken.job, "kind": taken.kind, "attempt": taken.attempts}
    match outcome:
        case Done():
            _log.info("job_done", **about)
        case Later(due, error):
            _log.warning("job_failed", why=error, again_at=due, **about)
        case Dead(error):
            _log.error("job_dead", why=error, **about)
        case Interrupted():
            _log.info("job_interrupted", **about)
    meters.OUTCOMES.labels(label, _OUTCOMES[type(outcome)]).inc()


_OUTCOMES = {Done: "done", Later: "failed", Dead: "dead", Interrupted: "interrupted"}


def _label(kind: Kind[Any] | None) -> str:
    return "unknown" if kind is None else kind.name
