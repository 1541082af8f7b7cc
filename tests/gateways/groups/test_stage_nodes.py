"""A group over several nodes: whatever becomes of the hints between them, all see what the logs tell."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fitai.gateways.groups import presence
from fitai.gateways.groups.limits import GroupBounds
from tests.gateways.conftest import CutBus
from tests.gateways.groups.conftest import Scene, Seated
from tests.gateways.groups.training import Trainee, agree, live, trainee
from tests.gateways.test_storm import BadHub

MakeScene = Callable[..., Awaitable[Scene]]

QUICK: dict[str, Any] = {"heartbeat_s": 0.1, "look_s": 0.3}
SELDOM: dict[str, Any] = {"look_s": 600.0}


@pytest.fixture(autouse=True)
def nothing_is_logged(no_exception_is_logged: None) -> None:
    """None of this is an error."""


async def crew(scene: Scene) -> list[Trainee]:
    """A host and one other on the first node, and two on the second, live."""
    host = await trainee(scene)
    others = [await trainee(scene, host.seat, server=scene.servers[index % 2]) for index in (0, 1, 1)]
    await live(scene, host)
    return [host, *others]


def hosts_of(records: list[Any]) -> list[Any]:
    return [record.op.value for record in records if record.op.kind == "group.host"]


async def test_what_is_logged_on_one_node_is_seen_on_the_other(nodes: MakeScene) -> None:
    scene = await nodes(limits=SELDOM)
    people = await crew(scene)
    for reps, one in enumerate(people, 3):
        await one.log(reps)
    view = await agree(scene, people, {1, 2, 3, 4})
    assert [view[no]["rank"] for no in (1, 2, 3, 4)] == [4, 3, 2, 1]
    for server, elsewhere in zip(scene.servers, ((3, 4), (1, 2)), strict=True):
        users = {people[no - 1].wire.user for no in elsewhere}
        assert server.hosts.watching._listening.keys() == users, "only to those who are not hosted here"


async def test_telemetry_and_cheers_cross_over(nodes: MakeScene) -> None:
    scene = await nodes(limits=SELDOM)
    host, ben, cleo, _ = await crew(scene)
    await cleo.seat.do("member.share", {"share": "everything"})
    await host.sees(3, here=True, amount=0)
    await cleo.wire.call("telemetry", {"workout": cleo.workout, "hr": 133})
    await host.sees(3, hr=133)
    for _ in range(5):
        await host.wire.emit("group:cheer", {"group": host.seat.group, "to": 3, "kind": "fire"})
    for one in (ben, cleo):
        await one.hears({("3", "fire"): 5})
    await asyncio.sleep(0.6)
    assert cleo.cheers() == {("3", "fire"): 5}, "each counts once"


async def test_a_hint_that_is_lost_is_made_up_for_by_looking(nodes: MakeScene) -> None:
    scene = await nodes(limits=QUICK, bus_class=CutBus)
    host, ben, cleo, dan = await crew(scene)
    await agree(scene, [host, dan], {1, 2, 3, 4})
    buses = [server.bus for server in scene.servers]
    for bus in buses:
        assert isinstance(bus, CutBus)
        bus.cut()
    await host.log(5)
    await dan.log(7)
    await dan.sees(1, reps=5)
    await host.sees(4, reps=7)
    for bus in buses:
        assert isinstance(bus, CutBus)
        bus.rejoin()
    await agree(scene, [host, ben, cleo, dan], {1, 2, 3, 4})


async def test_who_changes_nodes_was_never_away(nodes: MakeScene) -> None:
    scene = await nodes(limits={**SELDOM, "presence_grace_s": 2.0})
    host, _, cleo, _ = await crew(scene)
    await host.sees(3, here=True)
    seen = len(host.ticks())
    await cleo.wire.close()
    wire = await scene.wire(scene.servers[0], user=cleo.wire.user)
    back = Trainee(Seated(wire, host.seat.group), cleo.workout)
    assert (await back.seat.join())["ok"]
    await agree(scene, [host, back], {1, 2, 3, 4})
    await asyncio.sleep(2.5)
    assert not any("here" in tick["members"].get("3", {}) for tick in host.ticks()[seen:])


async def test_a_node_that_dies_takes_nobody_s_sets_with_it_and_its_host_is_succeeded_once(
    nodes: MakeScene,
) -> None:
    scene = await nodes(3, limits=QUICK, bounds=GroupBounds(host_grace_ms=500), bus_class=CutBus)
    host = await trainee(scene, server=scene.servers[0])
    others = [await trainee(scene, host.seat, server=scene.servers[index]) for index in (1, 2, 1, 2)]
    await live(scene, host)
    await host.log(9)
    await agree(scene, [host, *others], {1, 2, 3, 4, 5})
    dead = scene.servers[0].bus
    assert isinstance(dead, CutBus)
    dead.cut()  # as seen from the others it is no more
    for one in others:
        await one.sees(1, here=None, reps=9, rank=1)
        await one.hears_of("group.host")
    for one in others:
        await one.log(4)
    await agree(scene, others, {2, 3, 4, 5})
    assert hosts_of(await scene.log(host.seat.group)) == [{"member": 2, "was": 1, "reason": "lost"}]


@pytest.mark.parametrize("seed", range(3))
async def test_over_a_bad_bus_all_views_come_to_what_the_logs_tell(
    nodes: MakeScene, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        presence, "WORD_MS", 500
    )  # a last word that is lost is missed by the next, or by none
    monkeypatch.setattr(presence, "SILENT_MS", 2_000)
    dice = random.Random(seed)
    hub = BadHub(seed)
    scene = await nodes(limits=QUICK, hub=hub)
    people = await crew(scene)
    sets: list[tuple[Trainee, str]] = []
    here = {one.no for one in people}
    for _ in range(40):
        one = dice.choice([one for one in people if one.no in here])
        match dice.randrange(10):
            case 0 if sets:
                one, entity = sets.pop(dice.randrange(len(sets)))
                if one.no in here:
                    await one.remove(entity)
            case 1 if sets:
                one, entity = dice.choice(sets)
                if one.no in here:
                    await one.edit(entity, "reps", dice.randrange(1, 30))
            case 2:
                await one.seat.do("member.share", {"share": dice.choice(["everything", "progress"])})
            case 3 if len(here) > 2 and one.no != 1:
                await one.wire.close()
                here.discard(one.no)
            case 4 if len(people) < 8:
                server = dice.choice(scene.servers)
                people.append(await trainee(scene, people[0].seat, server=server))
                here.add(people[-1].no)
            case _:
                sets.append((one, await one.log(dice.randrange(1, 20))))
        if dice.random() < 0.2:
            await asyncio.sleep(dice.random() / 5)
    hub.calm = True
    watching = [one for one in people if one.no in here]
    expected = await agree(scene, watching, here)
    assert sum("rank" in fields for fields in expected.values()) >= 2
    late = [await trainee(scene, people[0].seat, server=server) for server in scene.servers]
    await agree(scene, [*watching, *late], here | {one.no for one in late})
    assert all(hub.counts[fate] > 2 for fate in ("kept", "lost", "late", "doubled"))
