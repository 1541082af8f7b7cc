"""Rooms of one group on several nodes: one order for all, whatever becomes of hints, nodes and the
database."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import pytest
from sqlalchemy import delete, update

from fitai.engine.groups.document import digest, document
from fitai.gateways.groups.room import Room
from fitai.gateways.identity import Identity
from fitai.persistence.append import Append
from fitai.persistence.database import Unavailable
from fitai.persistence.group_models import GroupRow
from fitai.persistence.groups import Groups
from fitai.persistence.models import Stream
from fitai.sync.wire import Refusal
from tests.gateways.conftest import PATIENCE, CutBus, Server
from tests.gateways.groups.conftest import FAR, Scene, Seated, caller

Nodes = Callable[..., Awaitable[Scene]]

SELDOM: dict[str, Any] = {"look_s": 600.0}  # nothing is healed by looking, but by what the test does
QUICK: dict[str, Any] = {"heartbeat_s": 0.1, "look_s": 0.3}


def cut(server: Server) -> CutBus:
    assert isinstance(server.bus, CutBus)
    server.bus.cut()
    return server.bus


async def agree(scene: Scene, group: str, *seated: Seated) -> None:
    """All nodes and devices have the log as the database has it, once the server has nothing more to add: a
    host who left is succeeded."""
    rooms = [await server.rooms.open(group) for server in scene.servers]
    async with asyncio.timeout(PATIENCE):
        while True:
            for room in rooms:
                room.look()
                await settled(room)
            g = await scene.folded(group)
            if all(room.head == g.seq for room in rooms):
                break
    for room in rooms:
        assert digest(document(room.group)) == digest(document(g))
        members = {user: no for no, user in room.users.items()}
        assert len(members) == len(g.members) and room.users.keys() == g.members.keys()
    for who in seated:
        await who.told(g.seq)
        who.in_order()


@pytest.mark.usefixtures("no_exception_is_logged")
async def test_what_one_node_appends_the_others_tell(nodes: Nodes) -> None:
    scene = await nodes(limits=SELDOM)
    host = await scene.create()
    guest = await scene.join(host, server=scene.servers[1])
    assert guest.ready["member"] == 2
    said = await guest.do("chat.say", {"text": "from the other node"})
    await host.told(said["seq"])
    back = await host.do("chat.say", {"text": "heard you"})
    await guest.told(back["seq"])
    await agree(scene, host.group, host, guest)


@pytest.mark.usefixtures("no_exception_is_logged")
async def test_two_nodes_race_for_the_head_and_nothing_is_lost_or_twice(nodes: Nodes) -> None:
    scene = await nodes(limits={**SELDOM, "rates": False})
    host = await scene.create()
    seated = [host] + [await scene.join(host, server=scene.servers[n % 2]) for n in range(5)]

    async def talk(who: Seated) -> list[int]:
        return [(await who.do("chat.say", {"text": f"{n}"}))["seq"] for n in range(20)]

    seqs = [seq for run in await asyncio.gather(*map(talk, seated)) for seq in run]
    log = await scene.log(host.group)
    assert sorted(seqs) == [record.seq for record in log if record.op.kind == "chat.say"]
    assert sum(server.hosts.lost_races for server in scene.servers) > 0, "they did race"
    await agree(scene, host.group, *seated)


@pytest.mark.usefixtures("no_exception_is_logged")
async def test_the_same_person_joins_on_two_nodes_at_once_as_one_member(nodes: Nodes) -> None:
    scene = await nodes(limits=SELDOM)
    host = await scene.create()
    user = await scene.server.user("Ana")
    wires = [await scene.wire(server, user) for server in scene.servers]
    seated = [Seated(wire, code=scene.code(host)) for wire in wires]
    readies = await asyncio.gather(*(who.join() for who in seated))
    assert [ready["member"] for ready in readies] == [2, 2]
    assert len({ready["device"] for ready in readies}) == 2
    await agree(scene, host.group, host)
    assert (await scene.folded(host.group)).count == 2


@pytest.mark.usefixtures("no_exception_is_logged")
async def test_hints_that_are_lost_cost_time_only(nodes: Nodes) -> None:
    scene = await nodes(limits=QUICK, bus_class=CutBus)
    host = await scene.create()
    guest = await scene.join(host, server=scene.servers[1])
    cut(scene.servers[0])
    said = await host.do("chat.say", {"text": "nobody hints this"})
    await guest.told(said["seq"])
    await agree(scene, host.group, host, guest)


@pytest.mark.usefixtures("no_exception_is_logged")
async def test_who_joins_elsewhere_is_known_before_anything_of_theirs_is_told(nodes: Nodes) -> None:
    scene = await nodes(limits=SELDOM)
    host = await scene.create()
    seen: list[bool] = []
    room = await scene.room(host.group)
    changed = room.stage.changed

    def looking(records: Any) -> None:
        seen.extend(room.group.devices[record.device] in room.users for record in records if record.device)
        changed(records)

    room.stage.changed = looking  # type: ignore[method-assign]
    guest = await scene.join(host, server=scene.servers[1])
    await host.told(guest.ready["head"])
    assert seen and all(seen)
    user = room.users[guest.ready["member"]]
    assert user == guest.wire.user and room.member_of(user) is room.group.members[2]


@pytest.mark.usefixtures("no_exception_is_logged")
async def test_a_node_that_dies_between_append_and_answer_has_appended(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = await nodes(limits=SELDOM)
    host = await scene.create()
    guest = await scene.join(host, server=scene.servers[1])
    appended = scene.servers[1].appender.append
    over = asyncio.Event()

    async def dying(append: Append) -> None:
        await appended(append)
        over.set()
        await asyncio.Event().wait()  # the node is no more: nobody ever hears

    op = guest.op("chat.say", {"text": "was it heard?"})
    with monkeypatch.context() as patch:
        patch.setattr(scene.servers[1].appender, "append", dying)
        await guest.wire.emit("group:push", {"group": host.group, "ops": [op]})
        await over.wait()
    room = scene.servers[1].rooms.loaded(host.group)
    assert room is not None and room._worker is not None
    room._worker.cancel()
    await asyncio.gather(room._worker, return_exceptions=True)
    scene.servers[1].rooms._rooms.clear()
    room.close()

    again = Seated(await scene.wire(scene.servers[0], guest.wire.user), host.group)
    await again.join()
    back = Seated(await scene._connect(scene.servers[0], guest.wire.user, guest.wire.device), host.group)
    ready = await back.join()
    assert ready["next_n"] == op["n"] + 1
    [result] = (await back.push(op))["results"]
    assert (result["verdict"], result["first"]["verdict"]) == ("duplicate", "applied")
    assert [r.seq for r in await scene.log(host.group) if r.op.kind == "chat.say"] == [result["seq"]]


async def test_a_log_that_began_anew_is_opened_anew(nodes: Nodes) -> None:
    scene = await nodes(1, limits=QUICK)
    host = await scene.create()
    old = await scene.room(host.group)
    async with scene.server.db.write() as session:
        await session.execute(update(Stream).where(Stream.id == old.stream).values(epoch="anew"))
    bye = await host.wire.event("bye")
    assert (bye["code"], bye["reconnect"]) == ("overload", True)
    with pytest.raises(Refusal) as refused:
        await old.act(caller(host.wire), "group.pause", {})
    assert refused.value.code == "later"
    again = Seated(await scene.wire(user=host.wire.user), host.group)
    ready = await again.join(cursor={"epoch": host.ready["epoch"], "seq": 1})
    assert (ready["ok"], ready["epoch"], ready["resumed"]) == (True, "anew", False)


async def test_a_group_that_is_gone_is_no_more(nodes: Nodes) -> None:
    scene = await nodes(1, limits=QUICK)
    host = await scene.create()
    room = await scene.room(host.group)
    async with scene.server.db.write() as session:
        await session.execute(delete(GroupRow).where(GroupRow.id == host.group))
        await session.execute(delete(Stream).where(Stream.id == room.stream))
    await host.wire.event("bye")
    told = await Seated(await scene.wire(user=host.wire.user), host.group).join()
    assert told["code"] == "not_found"


async def test_while_the_database_is_away_nothing_is_acknowledged(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = await scene.create()

    async def away(append: Append) -> None:
        raise Unavailable("it is away")

    with monkeypatch.context() as patch:
        patch.setattr(scene.server.appender, "append", away)
        op = host.op("chat.say", {"text": "anybody?"})
        answer = await host.push(op)
        assert (answer["ok"], answer["code"]) == (False, "later") and answer["retry_after_ms"] > 0
        told = await Seated(await scene.wire(), code=scene.code(host)).join()
        assert told["code"] == "later"
        left = await host.wire.call("group:leave", {"group": host.group})
        assert left["code"] == "later"
    assert (await host.push(op))["results"][0]["verdict"] == "applied"
    assert (await scene.folded(host.group)).count == 1


@pytest.mark.usefixtures("no_exception_is_logged")
async def test_a_deadline_that_nobody_holds_is_met_by_the_scan(nodes: Nodes) -> None:
    scene = await nodes(2, limits=SELDOM)
    room = await scene.server.rooms.create(
        Identity(await scene.server.user(), 1, FAR), {"title": "Nobody comes", "format": {"type": "open"}}
    )
    scene.server.rooms._rooms.clear()
    room.close()
    for server in scene.servers:
        server.clock.ahead_ms += 2 * 86_400_000  # a day after which the lobby is closed, and a spare one
    for server in scene.servers:
        await server.rooms.scan()
    held = [server.rooms.loaded(room.id) for server in scene.servers]
    assert sum(one is not None for one in held) == 1, "one of them has the lease"
    [one] = [one for one in held if one is not None]
    await settled(one)
    g = await scene.folded(room.id)
    assert (g.status, g.reason) == ("cancelled", "idle")
    async with scene.server.db.read() as session:
        assert await Groups(session).due(FAR, 10) == []


async def test_time_alone_moves_what_the_scan_looks_for(nodes: Nodes) -> None:
    scene = await nodes(1, limits=SELDOM)
    host = await scene.create(format={"type": "amrap", "limit_ms": 60_000, "tasks": [SQUATS]})
    await host.do("group.start", {"in_ms": 5_000})

    async def due_at() -> int:
        async with scene.server.db.read() as session:
            [(_, at)] = await Groups(session).due(FAR, 10)
        return at

    room = await scene.room(host.group)
    assert await due_at() == room.group.live_at
    scene.server.clock.ahead_ms += 6_000
    room.tick()
    await settled(room)
    assert await due_at() == room.group.clock.ends_at


SQUATS = {"exercise": "squat", "reps": 10}


async def settled(room: Room) -> None:
    """The room's worker has done all that it was asked."""
    while room._working or room._jobs or room._after:
        await room.quiet()
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("no_exception_is_logged")
async def test_any_schedule_on_two_nodes_ends_with_one_view(nodes: Nodes, seed: int) -> None:
    """Devices of several people push, leave, come back, retry and are kicked, on two rooms over one log,
    while hints are lost now and then."""
    dice = random.Random(seed)
    scene = await nodes(limits={**SELDOM, "rates": False}, bus_class=CutBus)
    host = await scene.create(await scene.wire(scene.servers[0]))
    guests = [await scene.join(host, await scene.wire(scene.servers[n % 2])) for n in range(5)]
    second = Seated(await scene.wire(scene.servers[1], guests[0].wire.user), host.group)
    await second.join()
    everybody = [host, *guests, second]

    done = await asyncio.gather(*(_live(who, random.Random(dice.random())) for who in everybody))
    assert sum(done) > 100, "something happened"
    for server in scene.servers:
        assert isinstance(server.bus, CutBus)
        server.bus.rejoin()
    await agree(scene, host.group, *(who for who in everybody if host.group in _seats(who)))
    by_device: dict[int, list[int]] = {}
    for record in await scene.log(host.group):
        by_device.setdefault(record.device, []).append(record.op.n)
    assert all(ns == list(range(1, len(ns) + 1)) for ns in by_device.values())


async def _live(who: Seated, dice: random.Random) -> int:
    """Do this and that; returns how many ops found their place."""
    done = 0
    for _ in range(25):
        bus = cut(who.wire.server) if dice.random() < 0.2 else None
        ops = [_any_op(who, dice) for _ in range(dice.randint(1, 4))]
        answer = await who.push(*ops)
        if answer["ok"]:
            done += len(answer["results"])
        elif answer["code"] != "not_joined" or not (await who.join())["ok"]:
            assert answer["code"] == "not_joined", answer
            break
        if answer["ok"] and dice.random() < 0.2:
            await _retry(who, ops)
        if bus is not None:
            bus.rejoin()
    return done


async def _retry(who: Seated, ops: list[dict[str, Any]]) -> None:
    again = await who.push(*ops)
    assert again.get("code") == "not_joined" or {r["verdict"] for r in again["results"]} == {"duplicate"}


def _seats(who: Seated) -> Collection[str]:
    """The groups in whose rooms a device is."""
    [connection] = [
        c
        for c in who.wire.server.live.connections
        if (c.identity.user, c.identity.device) == (who.wire.user, who.wire.device)
    ]
    return (connection.seats or {}).keys()


def _any_op(who: Seated, dice: random.Random) -> dict[str, Any]:
    some: list[tuple[str, dict[str, Any]]] = [
        ("chat.say", {"text": "go"}),
        ("chat.hide", {"dot": [dice.randint(1, 6), dice.randint(1, 9)]}),
        ("group.edit", {"field": "title", "value": f"title {dice.randint(1, 9)}"}),
        ("group.start", {"in_ms": 60_000}),
        ("group.hold", {}),
        ("member.role", {"member": dice.randint(1, 6), "role": dice.choice(["coach", "participant"])}),
        ("member.hand_over", {"member": dice.randint(1, 6)}),
        ("member.share", {"share": dice.choice(["everything", "presence"])}),
        ("member.kick", {"member": dice.randint(1, 12)}),
        ("group.invite", {}),
        ("group.unheard_of", {}),
        ("member.leave", {}) if dice.random() < 0.2 else ("group.next", {"to": 1}),
    ]
    kind, value = dice.choice(some)
    return who.op(kind, value)
