"""`fitai serve`: from the settings to a clean end.

Ends on SIGINT or SIGTERM, within `drain_seconds` after `drain_notice_seconds`. From the signal on it is not
ready; for the notice it serves everybody all the same, so that load balancers see that and turn away. Then:
stop accepting, answer what is on its way and say goodbye on every socket, let requests finish, bring the
projections up to the log, close the database. Whatever is still not done then is left, and loses nothing:
what was acknowledged is in the log. A second signal ends the process at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog
from aiohttp import web

from fitai.app.accounts import Credentials, demo_account
from fitai.app.failures import Refused
from fitai.app.garbage import never_again
from fitai.app.limits import Limits
from fitai.app.listen import BACKLOG, Listeners, bound
from fitai.app.observed import observed
from fitai.app.runtime import VERSION, Node, now_ms, open_node
from fitai.app.settings import Settings, warnings
from fitai.http.connections import Runner
from fitai.http.health import HEALTH
from fitai.http.metrics import open_application

_log = structlog.get_logger(__name__)

GOODBYE_SHARE = 0.5  # of drain_seconds: for sockets to go by themselves
REQUEST_SHARE = 0.2  # of drain_seconds: for requests to be answered
RETURN_MS = 2_000  # clients are asked to come back spread over at most this long

Say = Callable[[str], None]
T = TypeVar("T")


def serve(settings: Settings, *, announce: Path | None, say: Say) -> int:
    """Serve until told to stop; returns the exit code. `say` prints a line for people; `announce` names a
    file that gets {url, host, port, pid} as JSON when the server listens.

    Raises SettingsError, BadUrl, Unavailable, WrongSchema or Refused when it can not start.
    """
    with observed(settings, VERSION, now_ms), bound(settings) as listeners:
        for sentence in warnings(settings):
            _log.warning("settings", told=sentence)
        if settings.workers > 1:
            if os.name != "posix":
                raise Refused("Several workers need Linux or macOS; here it is one.")
            from fitai.app.workers import supervise

            return run(supervise(settings, listeners, announce, say))
        run(_serve(settings, listeners, announce, say))
    return 0


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop where it exists, else on asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    never_again()
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


async def _serve(settings: Settings, listeners: Listeners, announce: Path | None, say: Say) -> None:
    stop = Stop(stopping_s(settings.limits))
    stop.listen()
    async with open_node(settings) as node:
        account = await demo_account(node.db, now_ms) if settings.environment == "development" else None
        async with answering(node, listeners) as runner:
            tell(settings, listeners.port, account, announce, say)
            await stop.asked.wait()
            await drain(node, runner, settings.limits)
    _log.info("stopped")


@asynccontextmanager
async def answering(
    node: Node, listeners: Listeners, own_meters: Path | None = None
) -> AsyncIterator[web.AppRunner]:
    """Answer on these sockets, and on a Unix socket `own_meters` with the meters of this process alone."""
    async with AsyncExitStack() as stack:
        # Last to go, so that the end can be measured too.
        if own_meters is not None:
            runner = await _running(stack, Runner(open_application(node.meters.own)))
            await web.UnixSite(runner, str(own_meters)).start()
        if listeners.metrics:
            runner = await _running(stack, Runner(open_application(node.meters.report)))
            await _listen(runner, listeners.metrics)
        limits = node.settings.limits
        patience_s = limits.drain_seconds * REQUEST_SHARE
        main = Runner(node.app, idle_s=limits.keep_alive_seconds, shutdown_timeout=patience_s)
        runner = await _running(stack, main)
        await _listen(runner, listeners.main)
        yield runner


async def _running(stack: AsyncExitStack, runner: web.AppRunner) -> web.AppRunner:
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    return runner


async def _listen(runner: web.AppRunner, sockets: list[socket.socket]) -> None:
    for each in sockets:
        await web.SockSite(runner, each, backlog=BACKLOG).start()


async def drain(node: Node, runner: web.AppRunner, limits: Limits) -> None:
    """Be not ready, and a notice later stop to accept and say goodbye on every socket."""
    _log.info("draining", connections=len(node.live.connections))
    node.app[HEALTH].draining = True
    await asyncio.sleep(limits.drain_notice_seconds)
    node.jobs.stop()
    for site in list(runner.sites):
        await site.stop()
    await node.live.drain(RETURN_MS, limits.drain_seconds * GOODBYE_SHARE)


def stopping_s(limits: Limits) -> float:
    """The longest that it takes to stop."""
    return limits.drain_notice_seconds + limits.drain_seconds


def tell(settings: Settings, port: int, account: Credentials | None, announce: Path | None, say: Say) -> None:
    """Say to people and programs that the server listens."""
    url = url_of(settings.host, port)
    if announce is not None:
        write_announcement(announce, url, settings.host, port)
    for line in greeting(url, account):
        say(line)
    _log.info("serving", url=url, version=VERSION, environment=settings.environment, workers=settings.workers)


def url_of(host: str, port: int) -> str:
    """Where a browser on this machine finds a server that listens on `host`."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"


def greeting(url: str, account: Credentials | None) -> list[str]:
    """What is printed when the server listens."""
    lines = [f"FitAI {VERSION} is ready: {url}", f"  try it        {url}/docs and {url}/docs/live"]
    if account is not None:
        lines.append(f"  demo account  {account.email}  password {account.password}")
    return [*lines, "  stop          Ctrl-C"]


def write_announcement(file: Path, url: str, host: str, port: int) -> None:
    """Say where the server is, for programs: whoever sees the file sees all of it."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.write_text(json.dumps({"url": url, "host": host, "port": port, "pid": os.getpid()}) + "\n")
    draft.replace(file)


class Stop:
    """Hears SIGINT and SIGTERM. The first asks to stop and starts the clock, the second does not wait:
    `abandon` is called, and the process ends."""

    def __init__(self, within_s: float, abandon: Callable[[], None] = lambda: None) -> None:
        self.asked = asyncio.Event()
        self._within_s = within_s
        self._abandon = abandon

    def listen(self) -> None:
        """Take the signals over, for as long as the loop runs."""
        for number in (signal.SIGINT, signal.SIGTERM):
            on_signal(number, self._heard)

    def ask(self) -> None:
        """Ask to stop, as the first signal does; again is nothing new."""
        if self.asked.is_set():
            return
        self.asked.set()
        # A thread, so that it also ends a loop that is stuck, or an executor that does not return.
        clock = threading.Timer(self._within_s, self._too_late)
        clock.daemon = True
        clock.start()

    def _heard(self, number: int) -> None:
        if self.asked.is_set():
            self._abandon()
            os._exit(128 + number)
        self.ask()

    def _too_late(self) -> None:
        text = (
            f"fitai: not all was said and done within {self._within_s:g} s; what was acknowledged is stored."
        )
        print(text, file=sys.stderr, flush=True)
        self._abandon()
        os._exit(1)


def on_signal(number: int, call: Callable[[int], None]) -> None:
    """Have `call(number)` run on the loop when the signal comes."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(number, call, number)
    except NotImplementedError:  # Windows
        signal.signal(number, lambda n, _: loop.call_soon_threadsafe(call, n))
