"""One of the people of the group demo: a phone with a clock of its own, a link, a workout, and a will.

Nothing here carries data: what a person sees, they see through the reference client. What is kept besides
are the counts that the demo proves.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fitai.app.demo_device import QUICK, NothingCame
from fitai.app.demo_group_nodes import Node
from fitai.app.demo_link import Link
from fitai.engine.groups import formats
from fitai.gateways.client.account import Http
from fitai.gateways.client.client import Client
from fitai.gateways.client.group import Group
from fitai.gateways.client.group_cues import Cue

Json = dict[str, Any]

PASSWORD = "only for this demo"
SLOWEST_LINK_S = 0.03
WRONG_MS = 180_000
DRIFT = 50e-6
LOOK_S = 0.02
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Wrong:
    """A device's clock: `off` ms from the true one, and fast or slow by `drift`."""

    off: int
    drift: float
    now_ms: Callable[[], int]
    monotonic_s: Callable[[], float]

    def wall(self) -> int:
        """What it shows, Unix ms."""
        return self.now_ms() + self.off

    def steady(self) -> float:
        """A clock of the same quartz that nobody sets, ms from any origin."""
        return self.monotonic_s() * 1000 * (1 + self.drift) + self.off


@dataclass(slots=True)
class Switch:
    """A person's device switched to another phase, by its own alarm.

    due    when it had to, Unix ms of the server; at: when it did, by the true clock
    clock  by how much the device's idea of the server's time was off, ms
    """

    group: str
    due: int
    at: int
    clock: float


@dataclass(slots=True)
class Training:
    """What a person trains in one group: their own workout, which has its own ops in their own stream."""

    group: Group
    workout: str
    entries: dict[str, str] = field(default_factory=dict)
    sets: dict[str, int] = field(default_factory=dict)
    said: list[Json] = field(default_factory=list)
    over: bool = False  # they do no more of it

    @property
    def reps(self) -> int:
        """What this person says that they did."""
        return sum(self.sets.values())


class Person:
    """`share` as in `member.share`; `role` participant or spectator; `node` is whom their link leads to."""

    client: Client

    def __init__(
        self,
        name: str,
        place: int,
        chance: random.Random,
        node: Node,
        now_ms: Callable[[], int],
        *,
        role: str = "participant",
        share: str = "everything",
    ) -> None:
        self.name = name
        self.chance = chance
        self.node = node
        self.role = role
        self.share = share
        off = chance.randint(-WRONG_MS, WRONG_MS)
        loop = asyncio.get_running_loop()
        self.clock = Wrong(off, chance.uniform(-DRIFT, DRIFT), now_ms, loop.time)
        self.link = Link(chance.uniform(0.001, SLOWEST_LINK_S), chance.uniform(0.001, SLOWEST_LINK_S))
        self.pace = chance.randint(6, 12)
        self.hr = chance.randint(85, 105)
        self.training: Training | None = None
        self.past: list[Training] = []
        self.written = 0
        self.acknowledged: set[int] = set()
        self.alone = False  # without a network
        self.lost = 0
        self.resumed = 0
        self.switches: list[Switch] = []
        self._email = f"{place}-{name.lower()}@fitai.example"
        self._now_ms = now_ms
        self._looked: dict[str, int] = {}

    async def open(self, folder: Path) -> None:
        """Open the phone, whose link has been started; `close` ends it."""
        self.client = await Client.open(
            folder / f"{self._email}.db",
            url=self.link.url,
            now_ms=self.clock.wall,
            patience=QUICK,
            listener=self._hear,
        )

    async def close(self) -> None:
        """Hang up, and close the phone's file."""
        for training in self.trainings:
            training.group.close()
        await self.client.close()

    async def register(self) -> None:
        """Make an account."""
        await self.client.register(
            self._email, PASSWORD, name="phone", platform="ios", display_name=self.name
        )

    @property
    def trainings(self) -> list[Training]:
        """All groups that they were in, the present one last."""
        return [*self.past, *([self.training] if self.training is not None else [])]

    @property
    def now(self) -> Training:
        """The present one."""
        assert self.training is not None, "in a group"
        return self.training

    @property
    def group(self) -> Group:
        """The group they are in."""
        return self.now.group

    # -- groups ----------------------------------------------------------------------------------------

    def enter(
        self, heard: Callable[[Person, str, Json], None], *, group: str | None = None, code: str | None = None
    ) -> None:
        """Join by a code, or as who is a member already, with a workout that is still to begin."""
        if self.training is not None:
            self.past.append(self.training)
        workout = str(uuid.uuid4())

        def hear(event: str, payload: Json) -> None:
            if event == "cue":
                self._switched(training.group, payload["cue"], payload["at"])
            elif event == "written":
                training.said.append(payload)
            heard(self, event, payload)

        entered = Group.enter(
            self.client,
            group=group,
            code=code,
            as_=self.role,
            share=self.share,
            listener=hear,
            device_ms=self.clock.steady,
            random=self.chance.random,
            workout=None if self.role == "spectator" else workout,
            patience=QUICK,
        )
        self.training = training = Training(entered, workout)

    def _switched(self, group: Group, cue: Cue, at: float) -> None:
        """Keep when the device switched; not when it first looked, and not when somebody paused."""
        assert group.id is not None
        true = self._now_ms()
        due = _due(group, cue)
        looked = self._looked.setdefault(group.id, true)
        if due is not None and looked < due:
            self.switches.append(Switch(group.id, due, true, at - true))

    # -- the workout -----------------------------------------------------------------------------------

    async def begin(self, title: str, exercises: Iterable[str]) -> None:
        """Their own workout, and its exercises."""
        now = self.now
        await self.log("workout.create", {"title": title, "units": "kg"})
        await self.log("workout.start", {})
        for place, exercise in enumerate(exercises):
            entry = now.entries[exercise] = str(uuid.uuid4())
            await self.log("exercise.add", {"exercise": exercise, "position": f"a{place:02}"}, entry)

    async def set_done(self, exercise: str, reps: int) -> str:
        """A set; returns its id."""
        id_ = str(uuid.uuid4())
        value = {"exercise_entry": self.now.entries[exercise], "type": "working", "reps": reps, "done": True}
        await self.log("set.log", value, id_)
        self.now.sets[id_] = reps
        return id_

    async def log(self, kind: str, value: Json, entity: str | None = None) -> None:
        """An op of their own workout, connected or not."""
        await self.client.log(kind, self.now.workout, value, entity)
        self.written += 1

    def beat(self, *, effort: bool) -> None:
        """Their heart goes on, and the watch tells."""
        self.hr += round((165 if effort else 110) - self.hr) // 6 + self.chance.randint(-2, 3)
        self.client.send("telemetry", {"workout": self.now.workout, "hr": self.hr})

    # -- the network -----------------------------------------------------------------------------------

    async def move(self, node: Node) -> None:
        """Their link leads to another node now, or to the same one on another port."""
        self.node = node
        self.link.target = node.port
        await self.client.connect()

    async def cut(self) -> None:
        """No network from now on."""
        self.alone = True
        self.link.cut()
        await self.until(lambda: not self.client.online, "they noticed")

    async def mend(self) -> None:
        """The network is back."""
        self.alone = False
        self.link.mend()
        await self.client.connect()

    async def until(self, holds: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
        """Wait until something holds, of their device or of the group that it shows; raises NothingCame."""
        try:
            async with asyncio.timeout(within_s):
                while not holds():  # noqa: ASYNC110 - many things make it hold, and none of them tells
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            stopped = self.client.stopped or (self.training and self.group.stopped)
            why = f": {stopped}" if stopped else ""
            raise NothingCame(f"{self.name} waited {within_s:g} s until {what}{why}.") from None

    async def rest(self, method: str, path: str, body: Json | None = None, node: Node | None = None) -> Json:
        """A REST call, to their own node or another one; raises Denied or Offline."""
        http = Http((node or self.node).url)
        try:
            return await http.call(method, path, token=self.client.token, body=body)
        finally:
            await http.close()

    def _hear(self, event: str, payload: Json) -> None:
        match event:
            case "records":
                mine = (one for one in payload["records"] if one["device"] == self.client.device)
                self.acknowledged.update(one["n"] for one in mine)
            case "offline":
                self.lost += 1
            case "online":
                self.resumed += payload["resumed"]


def _due(group: Group, cue: Cue) -> int | None:
    """When what is on now had to begin, by the server's time; None where nobody had planned it."""
    g = group.state
    if cue.phase is None:
        return g.clock.ends_at if cue.status == "finished" and g.reason is None else None
    return next((one.at for one in formats.deadlines(g.phases, g.clock) if one.phase == cue.phase), None)
