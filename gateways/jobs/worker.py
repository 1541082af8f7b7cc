"""A worker: the relay and the runner of one process, joined by a broker, from start to end.

`fitai serve` has one in it; `fitai worker` is one by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random

import structlog
from taskiq.abc.broker import AsyncBroker
from taskiq.receiver import Receiver

from fitai.gateways.jobs.contract import Kinds
from fitai.gateways.jobs.relay import SCAN_S, Periodic, Relay
from fitai.gateways.jobs.runner import Runner
from fitai.gateways.tasks import spawn
from fitai.persistence.database import Database, Unavailable
from fitai.persistence.jobs import JOBS, Backlog, Ticket

_log = structlog.get_logger(__name__)

AT_A_TIME = 8  # jobs that one worker runs
PAUSES_S = (0.1, 5.0)  # first and longest pause before a broker that failed is listened to again
LEAVE_S = 2.0  # the longest that saying goodbye to the broker may take


class Worker:
    """Runs jobs until it is closed. `periodic` are put by the clock, once for all workers."""

    def __init__(
        self,
        db: Database,
        broker: AsyncBroker,
        kinds: Kinds,
        *,
        periodic: Iterable[Periodic] = (),
        now_ms: Callable[[], int],
        chance: Random,
    ) -> None:
        self._broker = broker
        self._runner = Runner(db, kinds, now_ms=now_ms, chance=chance, at_a_time=AT_A_TIME)
        self._relay = Relay(db, self._send, self._run_here, periodic=periodic, now_ms=now_ms)

        async def run(job: str, kind: str, token: str) -> None:  # taskiq takes no method
            await self._run(Ticket(job, kind, token))

        self._job = broker.register_task(run, task_name="job")
        self._woken = asyncio.Event()
        self._ending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._here: set[asyncio.Task[None]] = set()
        db.on_commit(JOBS, self._woken.set)

    @property
    def backlog(self) -> Backlog:
        """How much there was to do at the last look."""
        return self._relay.backlog

    @property
    def running(self) -> int:
        """Handlers at work in this process."""
        return self._runner.running

    async def start(self) -> None:
        """Begin; returns also when database or broker are away."""
        self._broker.is_worker_process = True
        self._tasks = [
            spawn("jobs.relay", self._relay_on_and_on()),
            spawn("jobs.listen", self._listen_on_and_on()),
        ]

    def stop(self) -> None:
        """Begin no job any more; those that run go on until `close`."""
        self._ending.set()
        self._woken.set()
        self._runner.stop()

    async def close(self, within_s: float) -> None:
        """Let handlers end for so long; the jobs of the others are given back."""
        self.stop()
        await self._runner.close(within_s)
        await asyncio.gather(*self._tasks, *self._here, return_exceptions=True)
        with suppress(Exception):
            async with asyncio.timeout(LEAVE_S):
                await self._broker.shutdown()

    async def _send(self, ticket: Ticket) -> None:
        await self._job.kicker().with_task_id(ticket.job).kiq(ticket.job, ticket.kind, ticket.token)

    async def _run(self, ticket: Ticket) -> None:
        try:
            await self._runner.run(ticket)
        except Unavailable as error:
            _log.warning("job_not_taken", job=ticket.job, why=str(error))

    def _run_here(self, ticket: Ticket) -> None:
        task = spawn("jobs.here", self._run(ticket))
        self._here.add(task)
        task.add_done_callback(self._here.discard)

    async def _relay_on_and_on(self) -> None:
        while not self._ending.is_set():
            self._woken.clear()
            try:
                pause_s = await self._relay.step()
            except Unavailable as error:
                pause_s = SCAN_S
                _log.warning("jobs_unknown", why=str(error))
            except Exception:
                pause_s = SCAN_S
                _log.exception("relay_failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), pause_s)

    async def _listen_on_and_on(self) -> None:
        pause_s = PAUSES_S[0]
        while not self._ending.is_set():
            receiver = Receiver(self._broker, validate_params=False, max_async_tasks=AT_A_TIME)
            began = asyncio.get_running_loop().time()
            try:
                await receiver.listen(self._ending)
            except Exception as error:
                if asyncio.get_running_loop().time() - began > PAUSES_S[1]:
                    pause_s = PAUSES_S[0]
                _log.warning("broker_lost", why=f"{type(error).__name__}: {error}", again_in_s=pause_s)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ending.wait(), pause_s)
                pause_s = min(pause_s * 2, PAUSES_S[1])
