"""One seed: people train on their devices while faults strike, then everything heals, and all is compared."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from sqlalchemy import func, select

from fitai.persistence.database import Database, Unavailable
from fitai.persistence.models import Stream, WorkoutRow
from tests.chaos.checks import Checks
from tests.chaos.faults import due, plan, strike
from tests.chaos.links import Link
from tests.chaos.phone import Phone
from tests.chaos.roamer import Roamer
from tests.chaos.stack import NODES, Stack
from tests.chaos.training import Person
from tests.system.conftest import people

IDLE_S = 6  # after which the server pauses a workout: once, whoever dies
ENOUGH = 50  # of what is wrong, to see what it is
SPARE_S = 120.0  # for all that has no bound of its own
LINKED = 0.4  # of the devices go by links that may be slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of everything.

    users, and how many of them use the reference client; seconds of training, between the acts of a user on
    average, and that healing may take; the kinds of faults (None: the seed's turn), and how many more
    """

    users: int = 60
    phones: int = 3
    training_s: float = 24.0
    pause_s: float = 1.0
    heal_s: float = 90.0
    kinds: Sequence[str] | None = None
    more: int = 2


@dataclass
class Outcome:
    """What became of a seed. `wrong` lists the broken promises; `story` is what happened when."""

    seed: int
    struck: Counter[str] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)


class World:
    """See the module's first lines. `run` gives the outcome; what is left behind is nothing."""

    def __init__(self, seed: int, data: Path, scale: Scale) -> None:
        self.seed = seed
        self.scale = scale
        self.outcome = Outcome(seed)
        self.struck, self.effects = self.outcome.struck, self.outcome.effects
        self.random = Random(seed)
        self.faults = plan(seed, scale.kinds or due(seed), scale.training_s, NODES, scale.more)
        self.stack = Stack(data, FITAI_LIMIT_IDLE_PAUSE_SECONDS=str(IDLE_S), FITAI_MIGRATE="off")
        self.roamers: list[Roamer] = []
        self.phones: list[Phone] = []
        self.by_ways: list[Link] = []
        self._began = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._held: dict[object, asyncio.Lock] = {}

    def holding(self, target: object) -> asyncio.Lock:
        """The lock of what a fault meets."""
        return self._held.setdefault(target, asyncio.Lock())

    def tell(self, what: str) -> None:
        self.outcome.story.append(f"{time.monotonic() - self._began:6.1f}  {what}")

    def wrong(self, what: str) -> None:
        if len(self.outcome.wrong) < ENOUGH:
            self.outcome.wrong.append(what)
            self.tell(f"WRONG: {what}")

    async def run(self) -> Outcome:
        async with self.stack, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            self.db = Database.open(self.stack.database_url)
            try:
                await self._bounded(self._spawn(self._story(http)))
            finally:
                await self._end()
        self.outcome.times["all"] = time.monotonic() - self._began
        return self.outcome

    async def _bounded(self, story: asyncio.Task[None]) -> None:
        """A story that does not come to its end is wrong too."""
        await asyncio.wait([story], timeout=self.scale.training_s + self.scale.heal_s + SPARE_S)
        if story.done():
            await story
            return
        stuck = [frames[-1] for task in self._tasks if (frames := task.get_stack())]
        places = Counter(f"{Path(one.f_code.co_filename).name}:{one.f_lineno}" for one in stuck)
        self.wrong(f"the story does not end; its tasks are at {dict(places)}")

    async def _story(self, http: aiohttp.ClientSession) -> None:
        self.tell("all nodes are up")
        await self._settle_in(http)
        await self._all_here()
        self.tell("all devices are connected")
        await self._train()
        self.tell("healed")
        healed = time.monotonic()
        await self._heal(http, healed)
        self._count()
        await Checks(self).check()
        self.tell("checked")

    # -- who takes part ------------------------------------------------------------------------------------

    async def _settle_in(self, http: aiohttp.ClientSession) -> None:
        ports = [lambda node=node: node.port for node in self.stack.nodes]
        self.by_ways = [await Link([port], self.seed + i).start() for i, port in enumerate(ports)]
        self.balancer = await Link(ports, self.seed).start()
        accounts = await people(self.stack.database_url, self.scale.users, devices=3)
        self.persons = []
        self.devices: list[list[Roamer | Phone]] = []
        for number, (user, ids) in enumerate(accounts):
            ids = ids[: 2 + number % 2]
            phones = 2 if number < self.scale.phones else 0
            its: list[Any] = [await self._phone(user, id) for id in ids[1:][:phones]]
            roaming = [id for id in ids if id not in [phone.id for phone in its]]
            its += [self._roamer(user, id, number + place, http) for place, id in enumerate(roaming)]
            self.devices.append(its)
            self.persons.append(Person(Random(f"{self.seed}.{number}")))

    async def _all_here(self) -> None:
        """A fault is to meet people who train."""
        async with asyncio.timeout(self.scale.heal_s):
            while any(each.node is None for each in self.roamers):
                await asyncio.sleep(0.05)

    def _roamer(self, user: str, id: int, home: int, http: aiohttp.ClientSession) -> Roamer:
        nodes = self.stack.nodes
        linked = self.random.random() < LINKED
        order = [(home + turn) % len(nodes) for turn in range(len(nodes))]
        ways: list[tuple[int, Callable[[], str]]] = [
            (place, self._url(self.by_ways[place] if linked else nodes[place])) for place in order
        ]
        roamer = Roamer(
            user,
            id,
            http=http,
            ways=ways,
            token=lambda: nodes[0].tokens.issue(user, id),
            codec=self.random.choice(["json", "msgpack"]),
            random=Random(f"{self.seed}.{user}.{id}"),
            wrong=self.wrong,
        )
        self.roamers.append(roamer)
        self._spawn(roamer.live())
        return roamer

    @staticmethod
    def _url(where: Any) -> Callable[[], str]:
        return lambda: f"http://127.0.0.1:{where.port}"

    async def _phone(self, user: str, id: int) -> Phone:
        phone = await Phone.open(
            self.stack.folder,
            user,
            id,
            url=f"http://127.0.0.1:{self.balancer.port}",
            token=self.stack.nodes[0].tokens.issue(user, id),
            codec=self.random.choice(["json", "msgpack"]),
            random=Random(f"{self.seed}.{user}.{id}"),
        )
        self.phones.append(phone)
        return phone

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        return task

    # -- what happens --------------------------------------------------------------------------------------

    async def _train(self) -> None:
        training = [
            self._spawn(person.trains(its, self.scale.pause_s, self.scale.training_s))
            for person, its in zip(self.persons, self.devices, strict=True)
        ]
        striking = [self._spawn(strike(self, fault)) for fault in self.faults]
        for task in [*training, *striking]:
            try:
                await task
            except Exception as error:
                self.wrong(f"a part of the harness failed: {type(error).__name__}: {error}")

    async def _heal(self, http: aiohttp.ClientSession, healed: float) -> None:
        """Wait until each node says that it is ready, each device has sent and has all, and the server has
        paused every workout and projected every log; what does not come within the bound is wrong."""
        waits: dict[str, Callable[[], Awaitable[str]]] = {
            "ready": lambda: self._unready(http),
            "sent": self._unsent,
            "paused": self._unpaused,
            "current": self._behind,
        }
        await asyncio.gather(*(self._until(name, ask, healed) for name, ask in waits.items()))

    async def _until(self, name: str, missing: Callable[[], Awaitable[str]], healed: float) -> None:
        left = "not asked"
        while time.monotonic() < healed + self.scale.heal_s:
            try:
                left = await missing()
            except Unavailable as error:
                left = str(error)
            if not left:
                # Current means current with a log that nothing is written to any more.
                if name != "current" or {"sent", "paused"} <= self.outcome.times.keys():
                    self.outcome.times[name] = time.monotonic() - healed
                    self.tell(f"{name}, all of them")
                    return
                left = "nothing"
            await asyncio.sleep(0.2)
        self.wrong(f"not {name} {self.scale.heal_s:g} s after healing: {left}")

    async def _unready(self, http: aiohttp.ClientSession) -> str:
        answers = await asyncio.gather(*(node.ready(http) for node in self.stack.nodes))
        return ", ".join(f"node {i}" for i, ready in enumerate(answers) if not ready)

    async def _unsent(self) -> str:
        names = [each.name for each in self.roamers if each.outbox]
        return _some([*names, *(phone.name for phone in self.phones if phone.client.held.outbox)])

    async def _unpaused(self) -> str:
        if await self._unsent():
            return "not all is sent"
        async with self.db.read() as session:
            behind = select(func.count()).select_from(Stream).where(Stream.projected < Stream.head)
            lagging = (await session.execute(behind)).scalar_one()
            active = select(func.count()).select_from(WorkoutRow).where(WorkoutRow.status == "active")
            going_on = (await session.execute(active)).scalar_one()
        return f"{lagging} logs are not projected, {going_on} workouts go on" if lagging or going_on else ""

    async def _behind(self) -> str:
        async with self.db.read() as session:
            rows = await session.execute(select(Stream.owner, Stream.head))
            heads = {row.owner: row.head for row in rows.all()}
        late = [
            f"{each.name} at {each.cursor} of {heads[each.user]}"
            for each in self.roamers
            if each.cursor != heads[each.user] or each.node is None
        ]
        late += [
            f"{each.name} at {each.client.held.cursor} of {heads[each.user]}"
            for each in self.phones
            if each.client.held.cursor != heads[each.user]
        ]
        return _some(late)

    # -- the end -------------------------------------------------------------------------------------------

    def _count(self) -> None:
        for counts in [each.counts for each in self.roamers] + [each.counts for each in self.phones]:
            self.outcome.counts += counts
        self.outcome.counts["acked"] = sum(len(each.acked) for each in self.roamers)
        self.outcome.counts["acked"] += sum(each.acked for each in self.phones)
        self.outcome.counts["written"] = sum(person.written for person in self.persons)
        for node in self.stack.nodes:
            self.outcome.counts += Counter({f"warned: {what}": n for what, n in node.warned().items()})
        self.outcome.counts["node starts"] = sum(node.starts for node in self.stack.nodes)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for phone in self.phones:
            with suppress(Exception):
                await phone.close()
        for link in [*self.by_ways, *([self.balancer] if self.by_ways else [])]:
            await link.close()
        await self.db.close()


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
