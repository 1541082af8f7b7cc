"""`fitai serve`: one process, from the settings to a clean end.

Ends on SIGINT or SIGTERM, within `drain_seconds`: stop accepting, say goodbye on every socket, let requests
finish, bring the projections up to the log, close the database. Whatever is still not done then is left,
and loses nothing: what was acknowledged is in the log. A second signal ends the process at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from fitai.app import logs
from fitai.app.accounts import Credentials, demo_account
from fitai.app.failures import not_listening
from fitai.app.runtime import VERSION, Node, now_ms, open_node
from fitai.app.settings import Settings, warnings
from fitai.http import app as rest

_log = structlog.get_logger(__name__)

GOODBYE_SHARE = 0.5  # of drain_seconds: for sockets to go by themselves
REQUEST_SHARE = 0.2  # of drain_seconds: for requests to be answered
RETURN_MS = 2_000  # clients are asked to come back spread over this long

Say = Callable[[str], None]


def serve(settings: Settings, *, announce: Path | None, say: Say) -> None:
    """Serve until told to stop. `say` prints a line for people; `announce` names a file that gets
    {url, host, port, pid} as JSON when the server listens.

    Raises SettingsError, BadUrl, Unavailable, WrongSchema or Refused when it can not start.
    """
    logs.configure(settings)
    for sentence in warnings(settings):
        _log.warning("settings", told=sentence)
    run(_serve(settings, announce, say))


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where it exists, else on asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


async def _serve(settings: Settings, announce: Path | None, say: Say) -> None:
    stop = Stop(settings.limits.drain_seconds)
    stop.listen()
    async with open_node(settings) as node:
        account = await demo_account(node.db, now_ms) if settings.environment == "development" else None
        drain_s = settings.limits.drain_seconds
        runner = rest.runner(node.app, access_log=None, shutdown_timeout=drain_s * REQUEST_SHARE)
        await runner.setup()
        try:
            url = await _listen(runner, settings, announce)
            for line in greeting(url, account):
                say(line)
            _log.info("serving", url=url, version=VERSION, environment=settings.environment)
            await stop.asked.wait()
            await _drain(node, runner, drain_s * GOODBYE_SHARE)
        finally:
            await runner.cleanup()
    _log.info("stopped")


async def _listen(runner: web.AppRunner, settings: Settings, announce: Path | None) -> str:
    site = web.TCPSite(runner, settings.host, settings.port)
    try:
        await site.start()
    except OSError as error:
        raise not_listening(settings, error) from error
    url = url_of(settings.host, site.port)
    if announce is not None:
        write_announcement(announce, url, settings.host, site.port)
    return url


async def _drain(node: Node, runner: web.AppRunner, within_s: float) -> None:
    _log.info("draining", connections=len(node.live.connections))
    for site in list(runner.sites):
        await site.stop()
    await node.live.drain(RETURN_MS, within_s)


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
    """Hears SIGINT and SIGTERM. The first asks to stop and starts the clock, the second does not wait."""

    def __init__(self, within_s: float) -> None:
        self.asked = asyncio.Event()
        self._within_s = within_s

    def listen(self) -> None:
        """Take the signals over, for as long as the loop runs."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, self._heard, number)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda n, _: loop.call_soon_threadsafe(self._heard, n))

    def _heard(self, number: int) -> None:
        if self.asked.is_set():
            os._exit(128 + number)
        self.asked.set()
        # A thread, so that it also ends a loop that is stuck, or an executor that does not return.
        clock = threading.Timer(self._within_s, self._too_late)
        clock.daemon = True
        clock.start()

    def _too_late(self) -> None:
        text = (
            f"fitai: not all was said and done within {self._within_s:g} s; what was acknowledged is stored."
        )
        print(text, file=sys.stderr, flush=True)
        os._exit(1)
