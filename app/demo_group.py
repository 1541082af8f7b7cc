"""`fitai demo --group 12`: people train together over several nodes, one of which is killed, and proof.

Everything is real: `fitai serve` processes, the reference client on a file for each person, links that take
their time, clocks that are minutes wrong. Nothing touches the data of another FitAI: all of it lives in a
temporary folder (or a PostgreSQL database of its own, and under a prefix of its own in Redis) and is gone
afterwards, also after Ctrl-C.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import structlog
from rich.console import Console
from rich.text import Text

from fitai.app import demo_group_proof, demo_group_story
from fitai.app.demo import OFF, STOPPED, stop_on_signals
from fitai.app.demo_device import NothingCame
from fitai.app.demo_group_nodes import Node, Nodes, database
from fitai.app.demo_group_person import Person
from fitai.app.demo_group_proof import Evidence
from fitai.app.demo_group_screen import Screen
from fitai.app.demo_group_story import Played, Stage
from fitai.app.demo_report import proof_table
from fitai.app.demo_server import ServerFailed
from fitai.app.runtime import VERSION, now_ms
from fitai.engine.groups.clock import GRACE_MS
from fitai.gateways.client.account import Denied, Offline

Json = dict[str, Any]

FEWEST: Final = 7  # each of them has something to do
MOST: Final = 48
AT_ONCE: Final = 4  # registrations: the server hashes few passwords at a time
RESULTS_S: Final = 40.0  # the grace after the end is 15 s
AGAIN_S: Final = 0.3
NAMES: Final = ("Ada", "Ben", "Cleo", "Dara", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jun", "Kai", "Lea")


def play(console: Console, people: int, *, redis: str | None, postgres: str | None, seed: int = 7) -> int:
    """Run the demo with so many people; returns the exit code: 0, or 1 when something is off. With the URL of
    a `redis` there are three nodes; `postgres` is the URL of a server on which a database may be made."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))  # what is critical only
    with tempfile.TemporaryDirectory(prefix="fitai-demo-") as folder:
        try:
            return asyncio.run(_play(console, Path(folder), people, redis, postgres, random.Random(seed)))
        except (NothingCame, ServerFailed, Denied, Offline) as failure:
            console.print(Text(f"\nThe demo failed: {failure}", style="bold red"), soft_wrap=True)
            return OFF
        except asyncio.CancelledError:
            console.print("\nStopped; the servers are ended and their data removed.")
            return STOPPED


async def _play(
    console: Console,
    folder: Path,
    people: int,
    redis: str | None,
    postgres: str | None,
    chance: random.Random,
) -> int:
    stop_on_signals()
    screen = Screen(console, now_ms)
    async with _staged(folder, screen, people, redis, postgres, chance) as stage:
        await demo_group_story.play(stage)
        evidence = await _collect(stage)
    counts = demo_group_proof.proof(stage, evidence)
    console.print()
    for played in stage.played:
        console.print(demo_group_proof.final(stage, played, evidence))
    console.print(proof_table(counts))
    off = [count.name for count in counts if not count.holds]
    verdict = f"{len(off)} counts are off: {'; '.join(off)}" if off else "Every count is as it must be"
    console.print(
        Text(f"{verdict}, after {screen.elapsed_s:.1f} s.", style="bold red" if off else "bold green")
    )
    return OFF if off else 0


@asynccontextmanager
async def _staged(
    folder: Path,
    screen: Screen,
    people: int,
    redis: str | None,
    postgres: str | None,
    chance: random.Random,
) -> AsyncIterator[Stage]:
    """Servers and people, signed in and connected; all ended afterwards, whatever happened."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(database(folder, postgres))
        nodes = Nodes(folder, url, redis)
        stack.push_async_callback(nodes.close)
        screen.act(f"FitAI {VERSION}: {people} people on {len(nodes.all)} node{'s' * (len(nodes.all) > 1)}")
        await nodes.start()
        ports = ", ".join(str(node.port) for node in nodes.all)
        kept = "PostgreSQL" if postgres else "SQLite"
        screen.tell("clock", f"started on port {ports}, on one {kept} database, in {screen.elapsed_s:.2f} s")
        crowd = [_person(place, people, nodes, chance) for place in range(people)]
        for person in crowd:
            stack.push_async_callback(person.link.close)
            await person.link.start(person.node.port)
            await person.open(folder)
            stack.push_async_callback(person.close)
        await _sign_in(crowd)
        wrong = max(abs(person.clock.off) for person in crowd) / 1000
        screen.tell("clock", f"{people} people signed in, with clocks up to {wrong:.0f} s wrong")
        screen.people, screen.watched = crowd, crowd[0]
        yield Stage(nodes, crowd, screen)


def _person(place: int, people: int, nodes: Nodes, chance: random.Random) -> Person:
    """The last one looks on; two show their progress only; equally many on each node."""
    node = nodes.all[place * len(nodes.all) // people]
    name = NAMES[place] if place < len(NAMES) else f"{NAMES[place % len(NAMES)]} {place // len(NAMES) + 1}"
    role = "spectator" if place == people - 1 else "participant"
    share = "progress" if place in (2, 6) else "everything"
    own = random.Random(chance.random())
    return Person(name, place, own, node, now_ms, role=role, share=share)


async def _sign_in(crowd: list[Person]) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(person: Person) -> None:
        async with turns:
            await person.register()
            await person.client.connect()

    await asyncio.gather(*(one(person) for person in crowd))


async def _collect(stage: Stage) -> Evidence:
    """Ask devices and nodes for what they have, stop the servers, and read the logs."""
    screen = stage.screen
    screen.act("What everybody has")
    screen.tell(
        "clock",
        f"what was done may be typed until {GRACE_MS // 1000} s after the end; then the tables are final",
    )
    rest = {played.id: await _asked(stage, played) for played in stage.played}
    views = {played.id: _views(stage, played) for played in stage.played}
    lost = sum(person.lost for person in stage.people), sum(person.resumed for person in stage.people)
    codes = await stage.nodes.stop()
    screen.tell("clock", f"{len(codes)} servers stopped; now the logs are read")
    users = [str(person.client.user) for person in stage.people]
    url = stage.nodes.database
    groups = await demo_group_proof.read_logs(url, (played.id for played in stage.played))
    return Evidence(groups, await demo_group_proof.read_logs(url, users), rest, views, lost, codes)


def _views(stage: Stage, played: Played) -> dict[str, Any]:
    """The table of everybody who is still in the room."""
    return {
        person.name: demo_group_proof.seen(training)
        for person in stage.people
        for training in person.trainings
        if training.group.id == played.id and training.group.joined
    }


async def _asked(stage: Stage, played: Played) -> dict[str, tuple[Json, Json]]:
    """{node: (the group, its results)} over REST, once the results are there."""
    answers = {}
    for node in stage.nodes.all:
        group = await stage.host.rest("GET", f"/groups/{played.id}", node=node)
        answers[node.name] = (group, await _results(stage, played, node))
    stage.screen.tell("clock", f"{len(answers)} nodes asked for the results of {played.title}")
    return answers


async def _results(stage: Stage, played: Played, node: Node) -> Json:
    """The final table by a node: there is none before the grace after the end is over."""
    until = stage.screen.elapsed_s + RESULTS_S
    while True:
        results = await stage.host.rest("GET", f"/groups/{played.id}/results", node=node)
        if results["rows"]:
            return results
        if stage.screen.elapsed_s > until:
            raise NothingCame(f"{node.name} gave no table of {played.title} within {RESULTS_S:g} s.")
        await asyncio.sleep(AGAIN_S)
