"""`fitai serve --workers N`: several processes behind one port, and one that looks after them.

The supervisor binds the addresses, migrates the database, and starts the workers, which all accept from the
sockets that it bound: no connection is lost in the queue of a worker that dies. Each worker is a node like
any other, and finds the others through Redis. A worker that ends is started again, after a pause that grows
while it keeps ending at once; when all of them do, the supervisor gives up.

Supervisor and worker share a pipe. `ready` goes up when the worker listens, `stop` comes down. Its end means
that the supervisor is gone, which a worker takes for `stop`: nobody is left behind on the port. Signals are
the supervisor's. A worker is deaf to Ctrl-C, which a terminal sends to all, and may hear SIGTERM more often
than once, which drains that worker alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import structlog

from fitai.app.accounts import Credentials, demo_account
from fitai.app.failures import EXIT, Refused, explained
from fitai.app.listen import Listeners
from fitai.app.metrics import Siblings
from fitai.app.observed import observed
from fitai.app.runtime import VERSION, now_ms, open_node
from fitai.app.serve import Say, Stop, answering, drain, on_signal, run, stopping_s, tell
from fitai.app.settings import Settings
from fitai.app.stores import open_database
from fitai.gateways.tasks import spawn

_log = structlog.get_logger(__name__)

PAUSES_S = (0.1, 15.0)  # first and longest pause before a worker is started again
SETTLED_S = 10.0  # a worker that lived so long did not end at once
GIVE_UP = 5  # ends at once in a row, of every worker
MARGIN_S = 1.0  # what the supervisor takes longer to stop than its workers

_processes = get_context("spawn")


class Worker:
    """One process, from its start to its end."""

    def __init__(self, settings: Settings, siblings: Siblings, listeners: Listeners) -> None:
        self._control, theirs = _processes.Pipe()
        self.process: BaseProcess = _processes.Process(
            target=work, args=(settings, siblings, listeners, theirs), name=f"fitai-worker-{siblings.own}"
        )
        with _without_ctrl_c():
            self.process.start()
        theirs.close()
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._loop.add_reader(self._control.fileno(), self._heard)
        self._loop.add_reader(self.process.sentinel, self._end)

    @property
    def lived_s(self) -> float:
        """Seconds since its start."""
        return self._loop.time() - self._started

    @property
    def code(self) -> int:
        """How it ended; one that ends before it serves anybody has nothing to leave undone."""
        return (self.process.exitcode or 0) if self.ready.is_set() else 0

    def stop(self) -> None:
        """Ask it to drain and end."""
        if not self.ready.is_set():
            self.process.kill()
        with suppress(OSError):
            self._control.send("stop")

    def _heard(self) -> None:
        try:
            self._control.recv()
        except (EOFError, OSError):
            self._loop.remove_reader(self._control.fileno())
        else:
            self.ready.set()

    def _end(self) -> None:
        self._loop.remove_reader(self.process.sentinel)
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        self.process.join()
        self.ended.set()


class Crew:
    """So many workers, each of which is replaced when it ends."""

    def __init__(self, settings: Settings, listeners: Listeners, folder: Path, stop: Stop) -> None:
        self._settings = settings
        self._listeners = listeners
        self._folder = folder
        self._stop = stop
        self._workers: dict[int, Worker] = {}
        self._keepers: list[asyncio.Task[int]] = []
        self._hasty = [0] * settings.workers  # how often in a row each ended at once
        self._begun = False
        self._given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Start all; returns when all are ready or stopping was asked. Raises Refused when one ends."""
        self._keepers = [spawn("workers.keep", self._keep(i)) for i in range(self._settings.workers)]
        await asyncio.sleep(0)
        await self._wait_for(*(worker.ready for worker in self._workers.values()))
        self._begun = True

    async def serve(self) -> None:
        """Keep them running until stopping is asked; raises Refused when all end at once, again and again."""
        await self._wait_for(self._stop.asked)

    async def end(self) -> list[int]:
        """Ask all to end, and wait for it; returns their exit codes."""
        self._stop.ask()
        for worker in self._workers.values():
            worker.stop()
        return await asyncio.gather(*self._keepers)

    def kill(self) -> None:
        """End all at once."""
        for worker in self._workers.values():
            worker.process.kill()

    async def _keep(self, index: int) -> int:
        """Have a worker of this number until stopping is asked; returns how the one ended that was asked."""
        siblings = Siblings(index, self._settings.workers, self._folder)
        while not self._stop.asked.is_set():
            worker = self._workers[index] = Worker(self._settings, siblings, self._listeners)
            await worker.ended.wait()
            if self._stop.asked.is_set():
                return worker.code
            await self._pause(index, worker.lived_s, worker.process.exitcode or 0)
        return 0

    async def _pause(self, index: int, lived_s: float, code: int) -> None:
        self._hasty[index] = self._hasty[index] + 1 if lived_s < SETTLED_S else 0
        pause = min(PAUSES_S[0] * 2 ** self._hasty[index], PAUSES_S[1])
        _log.warning("worker_ended", worker=index, code=code, lived_s=round(lived_s, 1), again_in_s=pause)
        why = None
        if not self._begun:
            why = f"A worker ended before it could serve ({_how(code)}); what it said stands above."
        elif min(self._hasty) >= GIVE_UP:
            why = f"All workers end at once, {GIVE_UP} times in a row (the last {_how(code)})."
        if why is not None and not self._given_up.done():
            self._given_up.set_exception(Refused(why))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.asked.wait(), pause)

    async def _wait_for(self, *events: asyncio.Event) -> None:
        """Return when all have happened, or stopping was asked; raises Refused when the crew gives up."""

        async def all_of_them() -> None:
            for event in events:
                await event.wait()

        ends: list[asyncio.Future[Any]] = [
            spawn("workers.wait", all_of_them()),
            spawn("workers.wait", self._stop.asked.wait()),
        ]
        try:
            await asyncio.wait([*ends, self._given_up], return_when=asyncio.FIRST_COMPLETED)
            if self._given_up.done():
                self._given_up.result()
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)


async def supervise(settings: Settings, listeners: Listeners, announce: Path | None, say: Say) -> int:
    """Run the workers until told to stop; returns 0 when each came to a clean end. Raises Refused when they
    do not start, or end at once again and again, and what stops a server from starting."""
    with tempfile.TemporaryDirectory(prefix="fitai-") as folder:

        def abandon() -> None:
            crew.kill()
            shutil.rmtree(folder, ignore_errors=True)

        stop = Stop(stopping_s(settings.limits) + MARGIN_S, abandon)
        crew = Crew(settings, listeners, Path(folder), stop)
        stop.listen()
        account = await _prepare(settings)
        try:
            await crew.start()
            if not stop.asked.is_set():
                tell(settings, listeners.port, account, announce, say)
            await crew.serve()
        finally:
            # The workers let go of the sockets after the notice; what then queued on ours would wait in vain.
            asyncio.get_running_loop().call_later(settings.limits.drain_notice_seconds, listeners.close)
            codes = await crew.end()
    _log.info("stopped", codes=codes)
    return 0 if set(codes) <= {0} else 1


async def _prepare(settings: Settings) -> Credentials | None:
    """Do once what a single process does when it starts."""
    async with open_database(settings, migrate=settings.migrate) as db:
        return await demo_account(db, now_ms) if settings.environment == "development" else None


def work(settings: Settings, siblings: Siblings, listeners: Listeners, control: Connection) -> None:
    """A worker's process; ends with 0 after draining, with 2 for a reason that it says in one sentence."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    structlog.contextvars.bind_contextvars(worker=siblings.own)
    try:
        with observed(settings, VERSION, now_ms):
            run(_work(settings.model_copy(update={"migrate": False}), siblings, listeners, control))
    except Exception as error:
        sentence = explained(error)
        if sentence is None:
            raise
        print(f"fitai: {sentence}", file=sys.stderr, flush=True)
        sys.exit(EXIT)
    logging.shutdown()
    # Nothing is left to do, and the interpreter takes longer to find that out than all of the draining took.
    os._exit(0)


async def _work(settings: Settings, siblings: Siblings, listeners: Listeners, control: Connection) -> None:
    stop = Stop(stopping_s(settings.limits))
    loop = asyncio.get_running_loop()

    def heard() -> None:  # `stop`, or the end of the supervisor
        loop.remove_reader(control.fileno())
        stop.ask()

    on_signal(signal.SIGTERM, lambda _: stop.ask())
    loop.add_reader(control.fileno(), heard)
    async with (
        open_node(settings, siblings) as node,
        answering(node, listeners, siblings.socket(siblings.own)) as runner,
    ):
        with suppress(OSError):
            control.send("ready")
        await stop.asked.wait()
        await drain(node, runner, settings.limits)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """A process that is started in this block never hears of Ctrl-C; here it is heard afterwards."""
    resource_tracker.ensure_running()  # it would unblock what is blocked
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
