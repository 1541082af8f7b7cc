"""`fitai worker`: a process that runs jobs and serves nobody.

It ends as `fitai serve` does: on a signal it begins no job any more, lets those that run end within
`drain_seconds`, and gives back the others. A second signal ends it at once; nothing is lost by that either.
"""

from __future__ import annotations

import json
import os
from contextlib import AsyncExitStack
from pathlib import Path

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from fitai.app.jobs import open_worker
from fitai.app.listen import bound_for_metrics
from fitai.app.metrics import Meters
from fitai.app.observed import observed
from fitai.app.runtime import VERSION, now_ms
from fitai.app.serve import Say, Stop, run
from fitai.app.settings import Settings, warnings
from fitai.app.stores import open_database
from fitai.http.metrics import open_application

_log = structlog.get_logger(__name__)

MARGIN_S = 3.0  # for what comes after the jobs: the broker, the database


def work(settings: Settings, *, announce: Path | None, say: Say) -> None:
    """Run jobs until told to stop. `announce` names a file that gets {pid} as JSON when it is at work.

    Raises SettingsError, BadUrl, Unavailable, WrongSchema or Refused when it can not start.
    """
    with observed(settings, VERSION, now_ms):
        for sentence in warnings(settings):
            _log.warning("settings", told=sentence)
        run(_work(settings, announce, say))


async def _work(settings: Settings, announce: Path | None, say: Say) -> None:
    drain_s = settings.limits.drain_seconds
    stop = Stop(drain_s + MARGIN_S)
    stop.listen()
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(open_database(settings, migrate=settings.migrate))
        runner = web.AppRunner(open_application(Meters(CollectorRegistry()).report), access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        for each in stack.enter_context(bound_for_metrics(settings)):
            await web.SockSite(runner, each).start()
        worker = open_worker(settings, db, now_ms)
        await worker.start()
        stack.push_async_callback(worker.close, drain_s)
        if announce is not None:
            half = announce.with_name(f".{announce.name}")
            half.write_text(json.dumps({"pid": os.getpid()}), encoding="utf-8")
            half.replace(announce)
        say(f"FitAI {VERSION} runs jobs. Stop it with Ctrl-C.")
        await stop.asked.wait()
        _log.info("draining", jobs=worker.running)
    _log.info("stopped")
