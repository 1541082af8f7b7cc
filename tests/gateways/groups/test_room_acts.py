"""What is asked of rooms by others than sockets: changes over REST, the server's own ops, the end of a
node."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fitai.engine.groups.group import Group
from fitai.engine.timers import ServerOp
from fitai.gateways.groups.rooms import UnknownGroup
from fitai.gateways.identity import Identity
from fitai.gateways.live.jobs import Key, KeyReuse
from fitai.sync.wire import Refusal
from tests.gateways.conftest import Server, Wire, new_id
from tests.gateways.groups.conftest import FAR, OPEN, Scene, Seated, caller


@pytest.fixture(autouse=True)
def nothing_is_logged(no_exception_is_logged: None) -> None:
    """None of this is an error."""


async def refused(asked: Awaitable[Any]) -> Refusal:
    with pytest.raises(Refusal) as told:
        await asked
    return told.value


async def test_a_change_over_rest_is_an_op_of_an_api_device_of_the_member(scene: Scene) -> None:
    host = await scene.create()
    room = await scene.room(host.group)
    done = await room.act(caller(host.wire), "group.edit", {"field": "title", "value": "Arms"})
    assert [record.op.kind for record in done.records] == ["device.enrol", "group.edit"]
    assert done.state.title == "Arms" and done.results[-1]["verdict"] == "applied"
    device = done.records[-1].device
    assert device != host.ready["device"] and room.group.devices[device] == 1
    again = await room.act(caller(host.wire), "group.edit", {"field": "title", "value": "Legs"})
    assert [(record.op.kind, record.device) for record in again.records] == [("group.edit", device)]
    await host.told(again.records[-1].seq)
    host.in_order()


@pytest.mark.parametrize(
    ("kind", "value", "code"),
    [
        ("group.pause", {}, "illegal_edge"),
        ("member.kick", {"member": 77}, "member"),
        ("group.start", {"in_ms": "soon"}, "bad_value"),
        ("group.host", {"member": 1, "was": 1, "reason": "lost"}, "forbidden"),
    ],
)
async def test_what_could_not_stand_is_refused_and_nothing_is_written(
    scene: Scene, kind: str, value: dict[str, Any], code: str
) -> None:
    host = await scene.create()
    room = await scene.room(host.group)
    error = await refused(room.act(caller(host.wire), kind, value))
    assert error.code == code and error.extra["detail"]
    stranger = await scene.wire()
    assert (await refused(room.act(caller(stranger), kind, value))).code == "not_found"
    assert len(await scene.log(host.group)) == host.ready["head"]


async def test_joining_over_rest_asks_for_the_code(scene: Scene) -> None:
    host = await scene.create()
    room = await scene.room(host.group)
    guest = caller(await scene.wire())
    for code in (None, "0000000000"):
        assert (await refused(room.act(guest, "member.join", {}, code=code))).code == "not_found"
    bad = await refused(room.act(guest, "member.join", {"as": "host"}, code=scene.code(host)))
    assert (bad.code, room.member_of(guest.user)) == ("bad_value", None)
    await room.act(guest, "member.join", {"as": "spectator"}, code=scene.code(host))
    member = room.member_of(guest.user)
    assert member is not None and (member.role, member.no) == ("spectator", 2)
    assert await scene.server.rooms.find(scene.code(host), guest, "") == host.group
    await room.act(caller(host.wire), "group.invite", {})
    assert (await refused(scene.server.rooms.find(scene.code(host), guest, ""))).code == "invite_over"
    assert await scene.server.rooms.find(scene.code(host, 2), None, "192.0.2.1") == host.group


async def test_a_request_with_its_key_again_is_done_once(scene: Scene) -> None:
    host = await scene.create()
    room, who = await scene.room(host.group), caller(host.wire)
    edit = {"field": "title", "value": "once"}
    first = await room.act(who, "group.edit", edit, key=Key("k", "edit"))
    again = await room.act(who, "group.edit", edit, key=Key("k", "edit"))
    assert (first.replayed, again.replayed, again.records) == (False, True, [])
    with pytest.raises(KeyReuse):
        await room.act(who, "group.edit", edit, key=Key("k", "another"))


async def test_a_group_is_made_once_for_a_key_also_at_one_moment(scene: Scene) -> None:
    who = caller(await scene.wire())
    rooms = scene.server.rooms
    made = await asyncio.gather(*(rooms.create(who, OPEN, key=Key("k", "make")) for _ in range(4)))
    assert len({room.id for room in made}) == 1
    with pytest.raises(KeyReuse):
        await rooms.create(who, OPEN, key=Key("k", "another"))
    records = await scene.log(made[0].id)
    assert [record.op.kind for record in records] == ["device.enrol", "group.create"]
    assert made[0].group.host == 1 and made[0].users == {1: who.user}


@pytest.mark.parametrize(
    "value", [{}, {"title": "x"}, {"title": "x", "format": {"type": "none"}}, {**OPEN, "capacity": 10**6}]
)
async def test_what_is_no_group_is_not_made(scene: Scene, value: dict[str, Any]) -> None:
    error = await refused(scene.server.rooms.create(caller(await scene.wire()), value))
    assert error.code in ("bad_value", "limit")


async def test_there_is_no_room_of_no_group(scene: Scene) -> None:
    with pytest.raises(UnknownGroup):
        await scene.server.rooms.open(new_id())
    user = await scene.server.user()
    with pytest.raises(UnknownGroup):
        await scene.server.rooms.open(user)  # a person's stream is none


async def test_the_server_acts_on_the_group_as_it_is_inside_the_append(scene: Scene) -> None:
    host = await scene.create()
    guest = await scene.join(host)
    room = await scene.room(host.group)
    seen: list[int] = []

    def make(g: Group, now: int) -> ServerOp | None:
        seen.append(g.seq)
        return (
            ServerOp("group.host", {"member": 2, "was": g.host, "reason": "lost"}, now)
            if g.host == 1
            else None
        )

    first, second = await asyncio.gather(room.serve(make), room.serve(make))
    assert [len(done.records) for done in (first, second)] == [1, 0]
    assert seen == [guest.ready["head"], guest.ready["head"] + 1]
    await guest.told(first.records[0].seq)
    assert (guest.records()[-1]["device"], room.group.host) == (0, 2)
    wrong = room.serve(lambda g, now: ServerOp("group.host", {"member": 9, "was": 2, "reason": "lost"}, now))
    assert (await refused(wrong)).code == "member"


async def test_a_token_that_may_only_read_joins_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = await scene.create()
    wire = await scene.wire()
    [connection] = [c for c in scene.server.live.connections if c.identity.user == wire.user]
    connection.identity = Identity(wire.user, wire.device, FAR, frozenset({"sync:read", "groups:read"}))
    told = await Seated(wire, code=scene.code(host)).join()
    assert (told["code"], told["scope"]) == ("forbidden", "groups:write")
    room = await scene.room(host.group)
    await room.act(caller(wire), "member.join", {}, code=scene.code(host))
    seated = Seated(wire, host.group)
    assert (await seated.join())["ok"]
    told = await seated.push(seated.op("chat.say", {"text": "hi"}))
    assert (told["code"], told["scope"]) == ("forbidden", "groups:write")


async def test_a_node_that_ends_answers_what_it_took(
    make_server: Callable[..., Awaitable[Server]], connect: Callable[..., Awaitable[Wire]]
) -> None:
    scene = Scene(connect, await make_server())
    host = await scene.create()
    guest = await scene.join(host)
    ops = [guest.op("chat.say", {"text": f"{n}"}) for n in range(4)]
    ids = [await guest.wire.emit("group:push", {"group": host.group, "ops": [op]}) for op in ops]
    await scene.server.live.drain(0, 5.0)
    taken = [p for p in guest.wire.packets if p[0] == "ack" and p[1] in ids]
    assert all(p[2]["ok"] for p in taken)
    said = [r for r in await scene.log(host.group) if r.op.kind == "chat.say"]
    assert len(said) == len(taken)
    assert guest.wire.events("bye")[0]["code"] == "draining"
    assert (await scene.room(host.group)).seats == {}


async def test_a_reader_who_takes_nothing_costs_a_bounded_amount(
    make_server: Callable[..., Awaitable[Server]], connect: Callable[..., Awaitable[Wire]]
) -> None:
    server = await make_server(limits={"queue_bytes": 200_000, "rates": False})
    scene = Scene(connect, server)
    host = await scene.create()
    slow = await scene.join(host)
    [seat] = [seat for seat in (await scene.room(host.group)).seats.values() if seat.member == 2]
    socket = slow.wire.ws._response.connection.transport
    socket.pause_reading()
    for n in range(3_000):  # the systems on both sides hold some megabytes
        await host.do(
            "group.edit",
            {
                "field": "title",
                "value": f"{n} " + "x" * 150,
            },
            unknown="y" * 12_000,
        )
        if seat.closed:
            break
    assert seat.closed, "told that it is slow, and out"
    socket.resume_reading()
    assert (await slow.wire.event("bye"))["code"] == "slow"
    back = Seated(await scene._connect(server, slow.wire.user, slow.wire.device), host.group)
    assert (await back.join(cursor={"epoch": slow.ready["epoch"], "seq": slow.ready["head"]}))["resumed"]
    await back.told(len(await scene.log(host.group)))
    back.in_order()


async def test_one_key_at_the_same_moment_counts_once_and_is_nobody_else_s_trouble(scene: Scene) -> None:
    host = await scene.create()
    room = await scene.room(host.group)
    guest, key = caller(await scene.wire()), Key("again", "the same request")
    await room.act(guest, "member.join", {}, code=scene.code(host))
    title = {"field": "title", "value": "Arms"}
    asked = [room.act(caller(host.wire), "group.edit", title, key=key) for _ in range(3)]
    done = await asyncio.gather(*asked, room.act(guest, "chat.say", {"text": "hello"}))
    assert sorted(one.replayed for one in done[:3]) == [False, True, True]
    log = [record.op.kind for record in await scene.log(host.group)]
    assert (log.count("group.edit"), log.count("chat.say")) == (1, 1)
    with pytest.raises(KeyReuse):
        await room.act(caller(host.wire), "group.edit", title, key=Key("again", "another one"))
