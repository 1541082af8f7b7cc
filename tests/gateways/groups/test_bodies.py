"""Boards by body weight and DOTS, in a room: what members tell of their bodies, and when it is news."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fitai.engine.groups.clock import GRACE_MS
from fitai.engine.units import UG_PER_KG
from fitai.gateways.groups import duties
from fitai.persistence.group_results import GroupResults
from fitai.persistence.users import Users
from tests.gateways.conftest import PATIENCE, Server, Wire
from tests.gateways.groups.conftest import Scene, caller
from tests.gateways.groups.training import Trainee, agree, later, live, trainee

MakeNodes = Callable[..., Awaitable[Scene]]


@pytest.fixture(autouse=True)
def nothing_is_logged(no_exception_is_logged: None) -> None:
    """None of this is an error."""


def race(by: str) -> dict[str, Any]:
    return {"type": "race", "measure": {"of": "volume", "by": by}, "limit_ms": 3_600_000}


async def weigh(server: Server, user: str, kilos: int | None, sex: str | None = None) -> None:
    """What a user tells of their body, while no room hears of it."""
    ug = None if kilos is None else kilos * UG_PER_KG
    async with server.db.write() as session:
        await Users(session).edit(user, body_weight_ug=ug, sex=sex)


async def somebody(
    scene: Scene, kilos: int | None = None, sex: str | None = None, server: Server | None = None
) -> Wire:
    wire = await scene.wire(server)
    await weigh(wire.server, wire.user, kilos, sex)
    return wire


async def crew(scene: Scene, by: str, *wires: Wire) -> list[Trainee]:
    """A host and others who train, live, and show everything."""
    host = await trainee(scene, wire=wires[0], format_=race(by))
    others = [await trainee(scene, host.seat, wire) for wire in wires[1:]]
    for one in (host, *others):
        await one.seat.do("member.share", {"share": "everything"})
    await live(scene, host)
    return [host, *others]


async def table(scene: Scene, host: Trainee) -> list[tuple[int, int | None, int | None]]:
    """The final table as it is now: (member, rank, amount)."""
    room = await scene.room(host.seat.group)
    return [(line.member, line.rank, line.amount) for line in await room.stage.results()]


async def finish(scene: Scene, host: Trainee) -> None:
    await host.seat.do("group.finish")
    later(scene, GRACE_MS)


@pytest.mark.parametrize(
    ("by", "first", "second"),
    [
        ("body_weight", 6_250, 5_000),  # 500 kg by 80 and by 100 kg
        ("dots", 471_125, 307_758),  # a woman of 80 kg before a man of 100 kg
    ],
)
async def test_who_tells_their_body_is_ranked_by_it_and_who_does_not_has_no_rank(
    scene: Scene, by: str, first: int, second: int
) -> None:
    people = [await somebody(scene, 100, "male"), await somebody(scene, 80, "female"), await somebody(scene)]
    host, ben, cleo = everybody = await crew(scene, by, *people)
    for one in everybody:
        await one.log(10, kilos=50)
    await host.sees(2, amount=first, rank=1)
    await cleo.sees(1, amount=second, rank=2)
    await ben.sees(3, volume_ug=500 * UG_PER_KG, amount=None, rank=None)
    await agree(scene, everybody, {1, 2, 3})
    await finish(scene, host)
    assert await table(scene, host) == [(2, 1, first), (1, 2, second), (3, None, None)]


async def test_dots_need_the_sex_as_well(scene: Scene) -> None:
    host, _ = everybody = await crew(
        scene, "dots", await somebody(scene, 100), await somebody(scene, 80, "male")
    )
    for one in everybody:
        await one.log(10)
    await host.sees(2, rank=1)
    await host.sees(1, volume_ug=500 * UG_PER_KG, amount=None, rank=None)


async def test_a_body_that_is_told_in_mid_class_is_news_on_every_node(nodes: MakeNodes) -> None:
    scene = await nodes(2)
    here, there = scene.servers
    people = [await somebody(scene, 100, server=here), await somebody(scene, server=there)]
    _, ben = everybody = await crew(scene, "body_weight", *people)
    for one in everybody:
        await one.log(10)
    for one in everybody:
        await one.sees(1, rank=1)
        await one.sees(2, volume_ug=500 * UG_PER_KG, rank=None)
    await weigh(here, ben.wire.user, 80)
    here.rooms.weighed(ben.wire.user)
    for one in everybody:
        await one.sees(2, amount=6_250, rank=1)
        await one.sees(1, amount=5_000, rank=2)
    await weigh(there, ben.wire.user, None)
    there.rooms.weighed(ben.wire.user)
    for one in everybody:
        await one.sees(2, amount=None, rank=None)
        await one.sees(1, rank=1)
    await agree(scene, everybody, {1, 2})


async def test_only_rooms_of_that_user_look(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    host, _ = await crew(scene, "body_weight", await somebody(scene, 100), await somebody(scene, 80))
    other = await trainee(scene)
    asked: list[str] = []
    looked = asyncio.Event()
    for seat in (host.seat, other.seat):
        room = await scene.room(seat.group)
        weigh_anew = room.weigh_anew

        async def looks(group: str = room.id, look: Callable[[], Awaitable[None]] = weigh_anew) -> None:
            await look()
            asked.append(group)
            looked.set()

        monkeypatch.setattr(room, "weigh_anew", looks)
    scene.server.rooms.weighed(host.wire.user)
    async with asyncio.timeout(30):
        await looked.wait()
    assert asked == [host.seat.group]


async def test_a_hint_that_was_lost_costs_until_the_next_join_or_act(scene: Scene) -> None:
    people = [await somebody(scene, 100), await somebody(scene)]
    host, ben = await crew(scene, "body_weight", *people)
    await ben.log(10)
    await host.sees(2, volume_ug=500 * UG_PER_KG, rank=None)
    await weigh(scene.server, ben.wire.user, 80)
    assert (await ben.seat.join())["ok"]
    await host.sees(2, amount=6_250, rank=1)
    await weigh(scene.server, ben.wire.user, 50)
    room = await scene.room(host.seat.group)
    await room.act(caller(ben.wire), "member.share", {"share": "everything"})
    await host.sees(2, amount=10_000)


async def test_a_node_that_may_have_missed_a_hint_looks(scene: Scene) -> None:
    people = [await somebody(scene, 100), await somebody(scene)]
    host, ben = await crew(scene, "body_weight", *people)
    await ben.log(10)
    await weigh(scene.server, ben.wire.user, 80)
    scene.server.rooms.anew()
    await host.sees(2, amount=6_250, rank=1)


async def test_the_table_reads_bodies_anew_and_then_stays(scene: Scene) -> None:
    people = [await somebody(scene, 100), await somebody(scene, 80), await somebody(scene)]
    host, ben, cleo = everybody = await crew(scene, "body_weight", *people)
    for one in everybody:
        await one.log(10)
    await weigh(scene.server, ben.wire.user, 200)  # of which no room hears
    await finish(scene, host)
    assert await table(scene, host) == [(1, 1, 5_000), (2, 2, 2_500), (3, None, None)]
    await weigh(scene.server, cleo.wire.user, 50)
    await weigh(scene.server, host.wire.user, 500)
    later_on = [(3, 1, 10_000), (1, 2, 5_000), (2, 3, 2_500)]
    assert await table(scene, host) == later_on, "who was not ranked is; who was is what they were"
    async with scene.server.db.read() as session:
        stored = await GroupResults(session).of(host.seat.group)
    assert [(line.member, line.rank, line.amount) for line in stored] == later_on


async def test_a_body_told_after_the_end_is_in_the_table_of_a_room_that_hears_of_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duties, "CORRECT_MS", 50)
    monkeypatch.setattr(duties, "PAUSE_MS", 50)
    host, ben = await crew(scene, "body_weight", await somebody(scene, 100), await somebody(scene))
    await ben.log(10)
    await finish(scene, host)
    (await scene.room(host.seat.group)).tick()

    async def stored() -> list[tuple[int, int | None, int | None]]:
        async with scene.server.db.read() as session:
            lines = await GroupResults(session).of(host.seat.group)
        return [(line.member, line.rank, line.amount) for line in lines]

    await eventually(stored, [(1, None, 0), (2, None, None)])
    await weigh(scene.server, ben.wire.user, 80)
    scene.server.rooms.weighed(ben.wire.user)
    await eventually(stored, [(2, 1, 6_250), (1, None, 0)])


async def eventually(ask: Callable[[], Awaitable[Any]], expected: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while await ask() != expected:
            await asyncio.sleep(0.02)
