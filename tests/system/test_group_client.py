"""The reference client of a group against a real server, over links that take their time and break."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fitai.app.demo_link import Link
from fitai.engine.groups.document import document
from fitai.engine.groups.formats import Phase
from fitai.engine.groups.machine import FINISHED
from fitai.engine.kinds import BadValue
from fitai.gateways.client.account import Denied, Http
from fitai.gateways.client.client import Client
from fitai.gateways.client.core import Patience
from fitai.gateways.client.group import Group
from tests.system.conftest import Process, now_ms

QUICK = Patience(base_ms=20, cap_ms=200)
TABATA = {"type": "tabata", "work_ms": 1_000, "rest_ms": 1_000, "rounds": 2}
OPEN = {"type": "open"}
TOGETHER_MS = 50
WAIT_S = 40.0

Json = dict[str, Any]


@dataclass
class Phone:
    """A person's phone, whose clock is `off` ms from the true one and drifts, on a link of its own."""

    name: str
    link: Link
    client: Client
    off: float
    drift: float
    group: Group | None = None
    switches: dict[tuple[str, Phase | None], tuple[float, float]] = field(default_factory=dict)
    said: list[Json] = field(default_factory=list)

    def steady(self) -> float:
        return asyncio.get_running_loop().time() * 1000 * (1 + self.drift) + self.off

    def enter(self, **how: Any) -> Group:
        self.group = Group.enter(
            self.client, device_ms=self.steady, listener=self._hear, patience=QUICK, **how
        )
        return self.group

    def _hear(self, event: str, payload: Json) -> None:
        assert self.group is not None
        if event == "cue":
            offset = self.group.offset
            assert offset is not None
            cue = payload["cue"]
            self.switches[cue.status, cue.phase] = (payload["at"] - now_ms(), offset.within)
        elif event == "written":
            self.said.append(payload)

    async def rest(self, process: Process, method: str, path: str, body: Json | None = None) -> Json:
        http = Http(process.url)
        try:
            return await http.call(method, path, token=self.client.token, body=body)
        finally:
            await http.close()


Make = Callable[..., Awaitable[Phone]]


@pytest.fixture
async def process(database_url: str, make_process: Callable[..., Awaitable[Process]]) -> Process:
    return await make_process(database_url, FITAI_LIMITS="off")


@pytest.fixture
async def phone(process: Process, tmp_path: Path) -> AsyncIterator[Make]:
    """Phones with accounts, connected; afterwards they are gone."""
    made: list[Phone] = []

    async def make(
        name: str, *, there: float = 0, back: float = 0, off: float = 0, drift: float = 0, codec: str = "json"
    ) -> Phone:
        link = Link(there, back)
        await link.start(process.port)
        client = await Client.open(
            tmp_path / f"{name}.db",
            url=link.url,
            now_ms=lambda: now_ms() + round(off),
            codec=codec,
            patience=QUICK,
        )
        made.append(Phone(name, link, client, off, drift))
        await client.register(f"{name}@example.org", "twelve red bicycles", name="phone", platform="test")
        await client.connect()
        await client.until(lambda: client.online, WAIT_S)
        return made[-1]

    yield make
    for one in made:
        if one.group is not None:
            one.group.close()
        await one.client.close()
        await one.link.close()


async def created(process: Process, host: Phone, format_: Json) -> str:
    """A group that the phone hosts and has entered; returns its code."""
    made = await host.rest(process, "POST", "/groups", {"title": "Class", "format": format_})
    group = host.enter(group=made["id"])
    await group.until(lambda: group.settled, WAIT_S)
    return str(made["code"])


async def settled(*phones: Phone) -> None:
    """Wait until all have all."""
    groups = [one.group for one in phones if one.group is not None]
    for group in groups:
        await group.until(lambda group=group: group.settled, WAIT_S)  # type: ignore[misc]
    head = max(group.core.held.cursor for group in groups)
    for group in groups:
        await group.until(lambda group=group: group.core.held.cursor >= head, WAIT_S)  # type: ignore[misc]


async def test_devices_with_wrong_clocks_on_uneven_links_switch_within_50_ms_of_each_other(process, phone):
    phones = [
        await phone("ada", there=0.036, back=0.001, off=300_000, drift=100e-6),
        await phone("ben", there=0.001, back=0.036, off=-420_000, drift=-100e-6),
        await phone("cleo", there=0.02, back=0.01, off=-5_000),
        await phone("dara"),
    ]
    host = phones[0]
    code = await created(process, host, TABATA)
    for one in phones[1:]:
        one.enter(code=code)
    await settled(*phones)
    assert host.group is not None
    assert (await host.group.write("group.start", {"in_ms": 1_500}))["verdict"] == "applied"
    for one in phones:
        group = one.group
        assert group is not None
        await group.until(lambda group=group: (cue := group.cue()) and cue.status == FINISHED, WAIT_S)

    switches = [("live", phase) for phase in host.group.state.phases] + [("finished", None)]
    assert len(switches) == 5
    for switch in switches:
        errors = []
        for one in phones:
            early, within = one.switches[switch]
            assert abs(early) <= within + 1, (one.name, switch)  # now_ms is rounded down, too
            errors.append(early)
        assert 20 < max(errors) - min(errors) <= TOGETHER_MS, (switch, errors)


async def test_every_op_is_there_once_through_cut_links_lost_answers_and_a_killed_server(process, phone):
    ada, ben = await phone("ada", there=0.004, back=0.004), await phone("ben")
    code = await created(process, ada, OPEN)
    group, other = ada.group, ben.enter(code=code)
    await settled(ada, ben)
    chance = random.Random(5)
    written = []
    for number in range(30):
        written.append(group.say("group.edit", {"field": "title", "value": f"title {number}"}))
        await asyncio.sleep(chance.uniform(0, 0.02))
        match number % 6:
            case 1:
                ada.link.swallow()  # it arrives, and nobody says so
            case 3:
                ada.link.cut()
            case 4:
                ada.link.mend()
                await ada.client.connect()
        if number == 15:
            process.kill()
            await process.start()
    ada.link.mend()
    for one in (ada, ben):
        await one.client.connect()
    await settled(ada, ben)

    records = list(other.core.held.records.values())
    titles = [one["value"]["value"] for one in records if one["kind"] == "group.edit"]
    assert titles == [f"title {number}" for number in range(30)]
    assert [one.result["seq"] for one in written] == [
        one["seq"] for one in records if one["kind"] == "group.edit"
    ]
    assert len(ada.said) == 30
    assert document(group.state) == document(other.state)
    told = await ada.rest(process, "GET", f"/groups/{group.id}")
    assert {**told, **document(group.state)} == told


async def test_json_and_msgpack_see_one_group_and_who_leaves_may_come_back(process, phone):
    ada, ben = await phone("ada"), await phone("ben", codec="msgpack")
    code = await created(process, ada, OPEN)
    group, other = ada.group, ben.enter(code=code, share="everything")
    await settled(ada, ben)
    both = {1: {"here": True}, 2: {"here": True}}
    for one in (group, other):
        await one.until(lambda one=one: {no: {"here": f.get("here")} for no, f in one.view.items()} == both)
    cheers: list[Json] = []
    ben.client.listen(lambda event, payload: cheers.append(payload) if event == "group:tick" else None)
    group.cheer("fire", to=2)
    await other.until(lambda: any("cheers" in tick for tick in cheers), WAIT_S)
    told = next(tick["cheers"] for tick in cheers if "cheers" in tick)
    assert {int(no): kinds for no, kinds in told.items()} == {2: {"fire": 1}}

    await other.leave()
    assert other.stopped == "left"
    await group.until(lambda: group.state.members[2].gone == "left", WAIT_S)
    again = ben.enter(group=group.id)
    await settled(ada, ben)
    assert (await again.write("chat.say", {"text": "back"}))["verdict"] == "applied"
    await settled(ada, ben)
    assert document(again.state) == document(group.state)
    assert group.state.members[2].role == "participant"


async def test_what_can_not_be_is_said_at_once(process, phone):
    ada = await phone("ada")
    nowhere = ada.enter(code="0000000000")
    await nowhere.until(lambda: nowhere.stopped is not None, WAIT_S)
    assert nowhere.stopped == "not_found"
    nowhere.close()
    await created(process, ada, OPEN)
    group = ada.group
    for kind, value in (("chat.say", {"text": "a" * 501}), ("chat.shout", {"text": "a"})):
        with pytest.raises(BadValue):
            group.say(kind, value)
    void = await group.write("group.pause", {})
    assert (void["verdict"], void["code"]) == ("void", "illegal_edge")
    with pytest.raises(Denied) as denied:
        await ada.rest(process, "GET", "/groups/018f0000-0000-7000-8000-0000000000aa")
    assert denied.value.code == "not_found"
