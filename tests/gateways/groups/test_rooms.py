"""A room over real sockets: join, say, hear in order, leave; who may not, and what is told to whom."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.gateways.conftest import Server, Wire
from tests.gateways.groups.conftest import Scene, Seated


@pytest.fixture(autouse=True)
def nothing_is_logged(no_exception_is_logged: None) -> None:
    """None of this is an error."""


async def test_who_has_the_code_joins_and_everybody_hears_of_it(scene: Scene) -> None:
    host = await scene.create()
    guest = await scene.join(host)
    assert (host.ready["member"], guest.ready["member"]) == (1, 2)
    assert guest.ready["next_n"] == 2, "to join took one"
    assert guest.ready["state"]["title"] == "Leg day"
    await host.told(guest.ready["head"])
    assert [record["kind"] for record in host.records()] == ["device.enrol", "member.join"]
    assert "invite" not in host.records()[0]["value"]
    host.in_order()


async def test_what_is_said_is_told_to_all_in_one_order(scene: Scene) -> None:
    host = await scene.create()
    others = [await scene.join(host, await scene.wire(codec=codec)) for codec in ("json", "msgpack", "json")]
    everybody = [host, *others]
    for number, who in enumerate(everybody * 2):
        result = await who.do("chat.say", {"text": f"number {number}"})
        assert result["verdict"] == "applied"
    head = (await scene.log(host.group))[-1].seq
    for who in everybody:
        await who.told(head)
        who.in_order()


async def test_a_push_without_a_seat_is_refused(scene: Scene) -> None:
    host = await scene.create()
    stranger = Seated(await scene.wire(), host.group)
    stranger.ready = {"resumed": False, "head": 0}
    for event, payload in (
        ("group:push", {"ops": [stranger.op("chat.say", {"text": "hi"})]}),
        ("group:pull", {"after": 0}),
        ("group:leave", {}),
        ("group:report", {"dot": [1, 1], "reason": "rude"}),
    ):
        answer = await stranger.wire.call(event, {"group": host.group, **payload})
        assert (answer["ok"], answer["code"]) == (False, "not_joined"), event


async def test_a_stranger_without_a_code_finds_no_such_group(scene: Scene) -> None:
    host = await scene.create()
    stranger = Seated(await scene.wire(), host.group)
    told = await stranger.join()
    other: Any = await Seated(await scene.wire(), "018f0000-0000-7000-8000-000000000001").join()
    assert told == other and told["code"] == "not_found"
    assert len(await scene.log(host.group)) == host.ready["head"]


# -- coming and going ------------------------------------------------------------------------------


async def test_who_is_a_member_comes_back_by_the_id_and_writes_nothing(scene: Scene) -> None:
    host = await scene.create()
    guest = await scene.join(host)
    head = guest.ready["head"]
    again = Seated(guest.wire, host.group)
    assert (await again.join())["head"] == head
    assert again.ready["member"] == guest.ready["member"]


async def test_who_left_comes_back_without_a_code_and_goes_on_counting(scene: Scene) -> None:
    host = await scene.create()
    guest = await scene.join(host)
    await guest.do("chat.say", {"text": "bye"})
    left = await guest.wire.call("group:leave", {"group": host.group})
    assert left == {"ok": True, "next_n": 4}
    answer = await guest.push(guest.op("chat.say", {"text": "still here?"}))
    assert answer["code"] == "not_joined"
    again = Seated(guest.wire, host.group)
    ready = await again.join()
    assert (ready["ok"], ready["member"], ready["next_n"]) == (True, guest.ready["member"], 5)
    assert (await again.do("chat.say", {"text": "back"}))["n"] == 5


async def test_staying_closes_the_room_only(scene: Scene) -> None:
    host = await scene.create()
    guest = await scene.join(host)
    assert (await guest.wire.call("group:leave", {"group": host.group, "stay": True}))["ok"]
    result = await host.do("chat.say", {"text": "alone?"})
    assert (await guest.wire.call("clock", {"t0": 1}))["t0"] == 1
    assert guest.records() == []
    g = await scene.folded(host.group)
    assert g.members[2].here and result["seq"] == g.seq


async def test_who_is_kicked_hears_of_it_and_is_out_on_all_devices(scene: Scene) -> None:
    host = await scene.create()
    phone = await scene.join(host)
    watch = Seated(await scene.wire(user=phone.wire.user, codec="msgpack"), host.group)
    assert (await watch.join())["member"] == 2 and watch.ready["device"] != phone.ready["device"]
    result = await host.do("member.kick", {"member": 2})
    for device in (phone, watch):
        await device.told(result["seq"])
        assert device.records()[-1]["kind"] == "member.kick"
        assert (await device.push(device.op("chat.say", {"text": "no!"})))["code"] == "not_joined"
    old = await Seated(phone.wire, code=scene.code(host)).join()
    assert (old["ok"], old["code"]) == (False, "invite_over")
    assert (await Seated(phone.wire, host.group).join())["code"] == "invite_over"
    await host.do("group.invite")
    assert (await Seated(phone.wire, code=scene.code(host)).join())["code"] == "invite_over"
    assert (await Seated(phone.wire, code=scene.code(host, 2)).join())["member"] == 2


async def test_what_can_not_join_is_told_why_and_nothing_is_written(scene: Scene) -> None:
    host = await scene.create(capacity=2)
    guest = await scene.join(host)
    before = len(await scene.log(host.group))
    full = await Seated(await scene.wire(), code=scene.code(host)).join()
    assert (full["ok"], full["code"], full["detail"]) == (False, "full", {"capacity": 2})
    assert len(await scene.log(host.group)) == before
    await host.do("member.ban", {"member": 2})
    banned = await Seated(guest.wire, code=scene.code(host)).join()
    assert (banned["ok"], banned["code"]) == (False, "banned")
    await host.do("group.edit", {"field": "open", "value": False})
    closed = await Seated(await scene.wire(), code=scene.code(host)).join()
    assert (closed["ok"], closed["code"]) == (False, "closed")
    await host.do("group.cancel")
    over = await Seated(await scene.wire(), code=scene.code(host)).join()
    assert over["code"] == "illegal_edge"
    assert over["detail"] == {"from": "cancelled", "trigger": "join"}
    assert (await scene.folded(host.group)).count == 1


async def test_phone_and_watch_are_two_devices_of_one_member(scene: Scene) -> None:
    host = await scene.create()
    phone = await scene.join(host)
    watch = Seated(await scene.wire(user=phone.wire.user), host.group)
    await watch.join()
    said = [await device.do("chat.say", {"text": "hi"}) for device in (phone, watch)]
    assert [result["n"] for result in said] == [2, 1]
    await phone.told(said[-1]["seq"])
    await host.told(said[-1]["seq"])
    assert [r["device"] for r in host.records() if r["kind"] == "chat.say"] == [
        phone.ready["device"],
        watch.ready["device"],
    ]
    g = await scene.folded(host.group)
    assert g.count == 2 and g.devices[phone.ready["device"]] == g.devices[watch.ready["device"]] == 2


# -- order, resume, exactly once -------------------------------------------------------------------


async def test_a_cursor_gets_all_that_came_after_it_own_records_too(scene: Scene) -> None:
    host = await scene.create()
    guest = await scene.join(host)
    cursor = {"epoch": guest.ready["epoch"], "seq": guest.ready["head"]}
    await guest.do("chat.say", {"text": "mine"})
    await guest.wire.close()
    for number in range(4):
        last = await host.do("chat.say", {"text": f"while you were away {number}"})
    wire = await scene._connect(scene.server, guest.wire.user, guest.wire.device)
    back = Seated(wire, host.group)
    ready = await back.join(cursor=cursor)
    assert ready["resumed"] and ready["next_n"] == 3
    await back.told(last["seq"])
    back.in_order()
    assert [record["seq"] for record in back.records()] == list(range(cursor["seq"] + 1, last["seq"] + 1))


@pytest.mark.parametrize("cursor", [{"epoch": "another", "seq": 1}, {"epoch": None, "seq": 10**9}])
async def test_a_cursor_that_says_nothing_about_this_log_is_not_resumed(
    scene: Scene, cursor: dict[str, Any]
) -> None:
    host = await scene.create()
    told = {**cursor, "epoch": cursor["epoch"] or host.ready["epoch"]}
    again = Seated(host.wire, host.group)
    ready = await again.join(cursor=told)
    assert (ready["ok"], ready["resumed"], ready["head"]) == (True, False, host.ready["head"])


async def test_a_long_log_is_pulled_page_by_page_and_resumed(
    make_server: Callable[..., Awaitable[Server]], connect: Callable[..., Awaitable[Wire]]
) -> None:
    scene = Scene(connect, await make_server(limits={"rates": False}))
    host = await scene.create()
    guest = await scene.join(host)
    for _ in range(15):
        ops = [host.op("group.edit", {"field": "title", "value": f"title {n}"}) for n in range(40)]
        assert len((await host.push(*ops))["results"]) == 40
    head = len(await scene.log(host.group))
    pulled: list[int] = []
    after, more = 0, True
    while more:
        page = await guest.wire.call("group:pull", {"group": host.group, "after": after, "limit": 250})
        pulled += [record["seq"] for record in page["records"]]
        after, more = page["to"], page["more"]
    assert pulled == list(range(1, head + 1))
    back = Seated(await scene.wire(user=guest.wire.user), host.group)
    assert (await back.join(cursor={"epoch": host.ready["epoch"], "seq": 3}))["resumed"]
    await back.told(head)
    back.in_order()
    beyond = await guest.wire.call("group:pull", {"group": host.group, "after": 10**6})
    assert (beyond["ok"], beyond["code"]) == (False, "bad_request")


async def test_a_retry_is_answered_once_more_and_another_op_is_refused(scene: Scene) -> None:
    host = await scene.create()
    op = host.op("chat.say", {"text": "once"})
    first = await host.push(op)
    again = await host.push(op)
    [result] = again["results"]
    assert result["verdict"] == "duplicate" and result["first"]["verdict"] == "applied"
    assert result["seq"] == first["results"][0]["seq"]
    other = await host.push({**op, "value": {"text": "twice"}})
    assert (other["code"], other["next_n"]) == ("equivocation", op["n"] + 1)
    gap = await host.push({**op, "n": op["n"] + 5})
    assert (gap["code"], gap["next_n"]) == ("gap", op["n"] + 1)
    ahead = await host.push({**op, "n": op["n"] + 1, "base": 10**6})
    assert ahead["code"] == "base_ahead"
    strange = await host.push({**op, "n": op["n"] + 1}, epoch="another")
    assert (strange["code"], strange["epoch"]) == ("epoch", host.ready["epoch"])
    assert sum(record.op.kind == "chat.say" for record in await scene.log(host.group)) == 1


async def test_two_who_press_at_once_move_the_group_once(scene: Scene) -> None:
    host = await scene.create()
    coach = await scene.join(host)
    seen = await host.do("member.role", {"member": 2, "role": "coach"})
    await coach.told(seen["seq"])
    ops = [who.op("group.start", {"in_ms": 60_000}) for who in (host, coach)]
    answers = [await who.push(op) for who, op in zip((host, coach), ops, strict=True)]
    results = [answer["results"][0] for answer in answers]
    assert sorted(result["verdict"] for result in results) == ["applied", "void"]
    assert next(r["code"] for r in results if r["verdict"] == "void") == "illegal_edge"


# -- what is told to whom --------------------------------------------------------------------------


async def test_what_is_void_is_told_to_its_author_only(scene: Scene) -> None:
    host = await scene.create()
    phone = await scene.join(host)
    watch = Seated(await scene.wire(user=phone.wire.user), host.group)
    await watch.join()
    void = await phone.do("member.kick", {"member": 1})
    assert (void["verdict"], void["code"]) == ("void", "forbidden")
    assert void["detail"] == {"role": "participant", "kind": "member.kick"}
    after = await phone.do("chat.say", {"text": "sorry"})
    for who in (host, watch):
        await who.told(after["seq"])
        who.in_order()
    assert void["seq"] in {record["seq"] for record in watch.records()}, "the author's other device"
    assert void["seq"] not in {record["seq"] for record in host.records()}
    page = await host.wire.call("group:pull", {"group": host.group, "after": void["seq"] - 1})
    assert (page["to"], [r["seq"] for r in page["records"]]) == (after["seq"], [after["seq"]])


async def test_a_message_that_was_taken_away_is_not_told_again(scene: Scene) -> None:
    host = await scene.create()
    guest, other = await scene.join(host), await scene.join(host)
    said = await guest.do("chat.say", {"text": "rude"})
    await host.told(said["seq"])
    hidden = await host.do("chat.hide", {"dot": [guest.ready["device"], said["n"]]})
    await other.told(hidden["seq"])
    told = {}
    for who in (host, guest, other):
        page = await who.wire.call("group:pull", {"group": host.group, "after": said["seq"] - 1})
        told[who.ready["member"]] = page["records"][0]["value"]
    assert told == {1: {"text": "rude"}, 2: {"text": "rude"}, 3: {}}


# -- forgery ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("device.enrol", {"device": 99, "member": 1, "name": "Mallory"}),
        ("group.host", {"member": 2, "was": 1, "reason": "lost"}),
        ("member.erase", {"member": 1}),
        ("chat.release", {"dot": [1, 3], "text": "said by nobody"}),
        ("member.role", {"member": 2, "role": "coach"}),
        ("member.hand_over", {"member": 2}),
        ("group.cancel", {}),
        ("group.create", {"title": "mine", "format": {"type": "open"}}),
        ("member.join", {"as": "participant"}),
    ],
)
async def test_nobody_takes_a_role_that_is_not_theirs(scene: Scene, kind: str, value: dict[str, Any]) -> None:
    host = await scene.create()
    guest = await scene.join(host)
    forged = {"role": "host", "member": 1, "device": 0, "seq": 1, "verdict": "applied", "te": 0}
    result = await guest.do(kind, value, **forged)
    assert (result["verdict"], result["code"]) == ("void", "forbidden")
    record = (await scene.log(host.group))[-1]
    assert (record.device, record.seq) == (guest.ready["device"], result["seq"])
    g = await scene.folded(host.group)
    assert (g.host, g.members[2].role, g.count) == (1, "participant", 2)


async def test_a_newer_kind_is_kept_and_told(scene: Scene) -> None:
    host = await scene.create()
    guest = await scene.join(host)
    result = await guest.do("group.confetti", {"much": True}, unknown="kept")
    assert result["verdict"] == "deferred"
    await host.told(result["seq"])
    assert (host.records()[-1]["value"], host.records()[-1]["unknown"]) == ({"much": True}, "kept")
