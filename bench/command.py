"""`fitai bench`: a run from what was asked to what is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import structlog
from rich.console import Console

from fitai.app.demo_server import ServerFailed
from fitai.app.failures import Refused
from fitai.bench import page, sheet
from fitai.bench.against import comparison
from fitai.bench.document import FORMAT, document
from fitai.bench.fleet import FleetFailed, Measured, fleet
from fitai.bench.generator import raise_file_limit
from fitai.bench.plan import Plan
from fitai.bench.scenarios import SCENARIOS
from fitai.bench.scenarios.base import Scenario
from fitai.bench.screen import Screen, show
from fitai.bench.target import Target, may_be_loaded, running, started
from fitai.bench.watch import Watch
from fitai.gateways.tasks import spawn

INVALID = 1  # the exit code of a run whose figures say nothing
STOPPED = 130  # the exit code when it was interrupted before anything was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of the command, as typed; None where nothing was said."""

    scenario: str
    url: str | None = None
    users: int | None = None
    devices: Sequence[int] = ()
    sizes: Sequence[int] = ()
    rate: float | None = None
    window: int | None = None
    duration: float | None = None
    codec: str = "json"
    generators: int | None = None
    seed: int = 1
    database: str | None = None
    redis: str | None = None
    workers: int | None = None
    metrics_token: str | None = None
    json: Path | None = None
    html: Path | None = None
    into: Path | None = None
    against: Path | None = None
    yes: bool = False


def plan_of(asked: Asked) -> Plan:
    """The plan; what was not said comes from the scenario. Raises Refused."""
    scenario = SCENARIOS.get(asked.scenario)
    if scenario is None:
        raise Refused(f"There is no scenario {asked.scenario!r}; there are {', '.join(SCENARIOS)}.")
    if asked.rate is not None and asked.window is not None:
        raise Refused("--rate is an open loop, --window a closed one: give one of them.")
    if asked.url is not None and (asked.database or asked.redis or asked.workers):
        raise Refused(
            "--database, --redis and --workers are for a server that is started here, "
            "--url for one that is there."
        )
    sizes = _sizes(asked, scenario)
    needed = max(scenario.devices) if asked.scenario in ("live", "sync") else 1
    devices = tuple(asked.devices) or scenario.devices
    if min(devices) < needed:
        raise Refused(f"{asked.scenario} needs {needed} devices a user.")
    if len(devices) > 1 and len(scenario.devices) == 1:
        raise Refused(f"{asked.scenario} takes one number of devices.")
    return Plan(
        scenario=asked.scenario,
        users=max(sizes, default=0) or _users(asked, scenario),
        devices=devices,
        sizes=sizes,
        duration_s=asked.duration or scenario.duration_s,
        rate=asked.rate,
        window=asked.window if asked.rate is not None or asked.window else scenario.window,
        codec=asked.codec,
        generators=_generators(asked, scenario),
        seed=asked.seed,
    )


def _users(asked: Asked, scenario: type[Scenario]) -> int:
    return asked.users or (scenario.users if asked.url is None else scenario.foreign)


def _sizes(asked: Asked, scenario: type[Scenario]) -> tuple[int, ...]:
    """The sizes of groups, from the smallest; of as many as there are users when only those were said."""
    if not scenario.sizes:
        if asked.sizes:
            raise Refused(f"{scenario.name} has no groups: --size is for `group`.")
        return ()
    if asked.sizes and asked.users is not None:
        raise Refused("--size says how many people there are: leave --users out.")
    if asked.users is None and asked.url is None:
        return tuple(sorted(set(asked.sizes or scenario.sizes)))
    return tuple(sorted(set(asked.sizes))) or (_users(asked, scenario),)


def _generators(asked: Asked, scenario: type[Scenario]) -> int:
    if not scenario.together:
        return asked.generators or max(1, (os.cpu_count() or 1) // 2)
    if (asked.generators or 1) > 1:
        raise Refused(f"All people of {scenario.name} are in one generator: it knows what each of them sent.")
    return 1


def bench(asked: Asked, console: Console) -> int:
    """Do it; returns the exit code: 0, or 1 when the run is invalid. Raises Refused when it can not be
    done."""
    plan = plan_of(asked)
    may_be_loaded([url for url in (asked.url, asked.database, asked.redis) if url], asked.yes)
    earlier = None if asked.against is None else load(asked.against)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))  # errors only
    try:
        told = asyncio.run(run(asked, plan, console))
    except (ServerFailed, FleetFailed) as failure:
        raise Refused(str(failure)) from failure
    except asyncio.CancelledError:
        console.print("Stopped; what was started is ended.")
        return STOPPED
    show(told, console)
    if earlier is not None:
        comparison(told, earlier, console)
    if asked.json is not None:
        asked.json.write_text(json.dumps(told, indent=1) + "\n")
    if asked.html is not None:
        asked.html.write_text(page.html(told, earlier), encoding="utf-8")
    if asked.into is not None:
        sheet.keep(told, asked.into)
    return 0 if told["valid"] else INVALID


def load(path: Path) -> dict[str, Any]:
    """A document of an earlier run; raises Refused."""
    try:
        told = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Refused(f"{path} is no result of `fitai bench` ({error}).") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise Refused(f"{path} is no result of `fitai bench` that this version can read.")
    return told


async def run(asked: Asked, plan: Plan, console: Console) -> dict[str, Any]:
    """One run; its document. An interrupt ends it with what there is. Raises ServerFailed, FleetFailed."""
    measured, notes = Measured(), list[str]()
    interrupted = False
    stop = Stop()
    raise_file_limit()  # the server that is started inherits it
    load_before = await asyncio.to_thread(psutil.cpu_percent, 0.5) / 100
    async with _target(asked, plan) as target:
        console.print(f"{target.url}: {plan.users:,} users are made …")
        people = await target.people.make(plan.users, max(plan.devices))
        watch = Watch(target.url, target.pid, target.metrics_token, plan.interval_s)
        try:
            async with fleet(plan, target.url, people) as generators:
                await generators.ready()
                with watch, Screen(plan, measured, watch.points, console) as screen:
                    interrupted = await stop.ends(generators.go(measured, screen.update))
        finally:
            if asked.url is not None and (sentence := await target.people.remove()):
                notes.append(sentence)
                console.print(sentence)
    return document(
        plan,
        target.facts,
        measured,
        watch.points,
        load_before=load_before,
        interrupted=interrupted,
        notes=notes,
    )


@asynccontextmanager
async def _target(asked: Asked, plan: Plan) -> AsyncIterator[Target]:
    if asked.url is not None:
        async with running(asked.url, asked.metrics_token) as target:
            yield target
    else:
        async with started(plan, asked.database, asked.redis, asked.workers or 1) as target:
            yield target


class Stop:
    """Hears Ctrl-C and SIGTERM. While something is measured they end that, and what there is gets told;
    before and after they end all of it, and what was started is taken away."""

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._heard)

    async def ends(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do a work; True when it was ended before its time."""
        whole, self._task = self._task, spawn("bench.run", work)
        try:
            await self._task
        except asyncio.CancelledError:
            return True
        finally:
            self._task = whole
        return False

    def _heard(self) -> None:
        if self._task is not None:
            self._task.cancel()
