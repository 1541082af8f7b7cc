"""`fitai demo`: two devices, a lost connection, a killed server, a merge, and counts that prove it all.

Everything is real: `fitai serve` in a process of its own, the reference client on a file for each device,
relays between them that lose what a network loses. Nothing touches the data of another FitAI: all of it
lives in a temporary folder and is gone afterwards, also after Ctrl-C.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.text import Text

from fitai.app import demo_report, demo_story
from fitai.app.demo_device import Device, NothingCame
from fitai.app.demo_link import Link
from fitai.app.demo_report import Evidence
from fitai.app.demo_screen import Screen
from fitai.app.demo_server import ServerFailed, ServerProcess
from fitai.app.demo_story import Stage
from fitai.app.runtime import VERSION, now_ms
from fitai.gateways.client.account import Denied, Offline
from fitai.persistence.database import Database
from fitai.persistence.log import Log

Json = dict[str, Any]

OFF = 1  # the exit code when a count is off or something did not happen
STOPPED = 130  # the exit code when it was interrupted
EMAIL = "ada@fitai.example"
PASSWORD = "only for this demo"
PAGE = 500


def play(console: Console) -> int:
    """Run the demo; returns the exit code: 0, or 1 when something is off."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))  # errors only
    with tempfile.TemporaryDirectory(prefix="fitai-demo-") as folder:
        try:
            return asyncio.run(_play(console, Path(folder)))
        except (NothingCame, ServerFailed, Denied, Offline) as failure:
            console.print(Text(f"\nThe demo failed: {failure}", style="bold red"), soft_wrap=True)
            return OFF
        except asyncio.CancelledError:
            console.print("\nStopped; the server is ended and its data removed.")
            return STOPPED


async def _play(console: Console, folder: Path) -> int:
    stop_on_signals()
    screen = Screen(console, now_ms)
    screen.act(f"FitAI {VERSION}: one workout on two devices")
    async with _staged(folder, screen) as stage:
        await demo_story.play(stage)
        evidence = await _collect(stage, folder)
    counts = demo_report.proof(stage, evidence)
    demo_report.show(console, stage, evidence, counts)
    off = [count.name for count in counts if not count.holds]
    verdict = f"{len(off)} counts are off: {'; '.join(off)}" if off else "Every count is as it must be"
    console.print(
        Text(f"{verdict}, after {screen.elapsed_s:.1f} s.", style="bold red" if off else "bold green")
    )
    return OFF if off else 0


def stop_on_signals() -> None:
    """End on SIGINT and SIGTERM with the server stopped and the folder removed."""
    main = asyncio.current_task()
    assert main is not None, "a coroutine runs in a task"
    with suppress(NotImplementedError):  # Windows, where SIGINT does the same by itself
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, main.cancel)


@asynccontextmanager
async def _staged(folder: Path, screen: Screen) -> AsyncIterator[Stage]:
    """Server, account and devices, signed in and not connected; all ended afterwards, whatever happened."""
    async with AsyncExitStack() as stack:
        server = ServerProcess(folder)
        stack.push_async_callback(server.kill)
        port = await server.start()
        screen.tell("server", f"started on port {port} in {screen.elapsed_s:.2f} s", f"data in {folder}")
        phone = Device("phone", "ios", "json", screen)
        watch = Device("watch", "watchos", "msgpack", screen)
        links = {device.name: Link() for device in (phone, watch)}
        for device in (phone, watch):
            link = links[device.name]
            await link.start(port)
            stack.push_async_callback(link.close)
            await device.open(folder, link.url, now_ms)
            stack.push_async_callback(device.close)
        user = await _sign_in(phone, watch)
        screen.tell("phone", "registered over REST", f"user {user}")
        yield Stage(user, server, phone, watch, links, screen)


async def _sign_in(phone: Device, watch: Device) -> str:
    """Register a user on the phone, sign in on the watch; returns the user's id."""
    await phone.client.register(EMAIL, PASSWORD, name=phone.name, platform=phone.platform)
    await watch.client.login(EMAIL, PASSWORD, name=watch.name, platform=watch.platform)
    user = phone.client.user
    assert user is not None, "signed in"
    return user


async def _collect(stage: Stage, folder: Path) -> Evidence:
    """Ask server and devices for what they have, stop the server, and read the log from its file."""
    workouts = (stage.before.workout, stage.today.workout)
    states = {}
    for workout in workouts:
        answer = await stage.phone.client.ask("workout:get", {"workout": workout})
        states[workout] = answer["state"]
    logs = {device.name: await device.client.records() for device in stage.devices}
    digests = {
        device.name: [await device.client.digest(workout) for workout in workouts] for device in stage.devices
    }
    stop = await stage.server.stop()
    stage.screen.tell("server", f"stopped cleanly in {stop[1]:.2f} s", f"exit code {stop[0]}")
    return Evidence(await _stored(folder, stage.user), states, logs, digests, stop)


async def _stored(folder: Path, user: str) -> list[Json]:
    """Every record of the user, as the database's file has it."""
    db = Database.open(f"sqlite:///{folder / 'data' / 'fitai.db'}", pool_size=1)
    try:
        async with db.read() as session:
            log = Log(session)
            row = await log.stream_of(user)
            records: list[Json] = []
            while row is not None and (page := await log.read(row.id, len(records), PAGE)):
                records += [record.wire() for record in page]
            return records
    finally:
        await db.close()
