"""What people do to a room who mean no good, or are too many: clear codes, and the group unharmed."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from fitai.engine.groups.judgement import GroupLimits
from fitai.gateways.counts import MemoryCounts
from fitai.gateways.groups.limits import GroupBounds
from fitai.gateways.groups.moderation import Review
from fitai.persistence.blocks import Blocks
from fitai.persistence.group_reports import GroupReports
from fitai.persistence.models import Device, User
from fitai.sync.wire import Refusal
from tests.gateways.conftest import Clock, Server, Wire
from tests.gateways.groups.conftest import Scene, Seated, caller
from tests.gateways.hostile import HOSTILE

MakeServer = Callable[..., Awaitable[Server]]
Connect = Callable[..., Awaitable[Wire]]

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.usefixtures("no_exception_is_logged"),
]


# -- too many --------------------------------------------------------------------------------------


async def crowd(server: Server, many: int) -> list[str]:
    """Users with a device 1 each, written at once."""
    users = [str(uuid.uuid4()) for _ in range(many)]
    some = await server.user()
    async with server.db.write() as session:
        like = await session.get_one(User, some)
        columns = {c.key: getattr(like, c.key) for c in User.__table__.columns}
        for number, user in enumerate(users):
            email = f"{user}@example.org"
            mine = {"id": user, "email": email, "email_key": email, "display_name": f"Athlete {number}"}
            session.add(User(**{**columns, **mine, "next_device": 2}))
        await session.flush()
        for user in users:
            session.add(
                Device(
                    user_id=user,
                    id=1,
                    kind="device",
                    name="phone",
                    platform="test",
                    install_id=None,
                    parent=None,
                    created_at=0,
                    last_used_at=0,
                )
            )
    return users


async def test_a_thousand_join_at_once_and_there_is_room_for_all_but_one(
    make_server: MakeServer, connect: Connect
) -> None:
    server = await make_server(limits={"rates": False, "queue_bytes": 2**28})
    scene = Scene(connect, server)
    host = await scene.create()
    users = await crowd(server, 1_000)
    wires: list[Wire] = []
    for start in range(0, len(users), 50):
        wires += await asyncio.gather(*(connect(server, user, 1) for user in users[start : start + 50]))
    answers = await asyncio.gather(*(Seated(wire, code=scene.code(host)).join() for wire in wires))
    assert Counter(answer.get("code", "ok") for answer in answers) == {"ok": 999, "full": 1}
    g = await scene.folded(host.group)
    assert g.count == 1_000 and len(g.devices) == 1_000
    assert {answer["member"] for answer in answers if answer["ok"]} == set(range(2, 1_001))
    said = await host.do("chat.say", {"text": "welcome, all of you"})
    last = next(wire for wire, answer in zip(wires, answers, strict=True) if answer["ok"])
    await last.event("group:ops", lambda frame: frame["to"] == said["seq"])


async def test_who_floods_the_chat_is_told_to_wait_and_others_are_not(scene: Scene) -> None:
    host = await scene.create()
    flood, other = await scene.join(host), await scene.join(host)
    ops = [flood.op("chat.say", {"text": "spam"}) for _ in range(20)]
    answer = await flood.push(*ops)
    assert len(answer["results"]) == 5, "the first five are accepted"
    refused = await flood.push(ops[5])
    assert (refused["ok"], refused["code"]) == (False, "later") and 0 < refused["retry_after_ms"] <= 2_000
    watch = Seated(await scene.wire(user=flood.wire.user), host.group)
    await watch.join()
    assert (await watch.push(watch.op("chat.say", {"text": "more"})))["code"] == "later", "of the member"
    assert (await other.do("chat.say", {"text": "calm"}))["verdict"] == "applied"
    assert (await flood.push(ops[4]))["results"][0]["verdict"] == "duplicate", "a retry costs nothing"
    scene.server.clock.ahead_ms += 2_000
    assert (await flood.push(ops[5]))["results"][0]["verdict"] == "applied"
    said = [record for record in await scene.log(host.group) if record.op.kind == "chat.say"]
    assert len(said) == 7


async def test_ops_have_a_rate_too_and_what_was_accepted_stands(scene: Scene) -> None:
    host = await scene.create()
    ops = [host.op("group.edit", {"field": "title", "value": f"{n}"}) for n in range(80)]
    first = await host.push(*ops)
    assert len(first["results"]) == 50
    assert (await host.push(ops[50]))["code"] == "later"
    scene.server.clock.ahead_ms += 1_000
    assert len((await host.push(*ops[50:]))["results"]) == 10


async def test_an_account_joins_no_more_than_so_many_groups_a_minute(
    make_server: MakeServer, connect: Connect
) -> None:
    clock = Clock()
    bounds = GroupBounds(joins_per_min=3)
    server = await make_server(counts=MemoryCounts(clock), clock=clock, bounds=bounds)
    scene = Scene(connect, server)
    groups = [await scene.create() for _ in range(4)]
    wire = await scene.wire()
    answers = [await Seated(wire, code=scene.code(group)).join() for group in groups]
    assert [answer["ok"] for answer in answers] == [True, True, True, False]
    assert answers[3]["code"] == "later" and 0 < answers[3]["retry_after_ms"] <= 60_000
    assert (await Seated(wire, groups[0].group).join())["ok"], "to come back is no join"
    clock.ahead_ms += 61_000
    assert (await Seated(wire, code=scene.code(groups[3])).join())["ok"]


async def test_a_connection_sits_in_so_many_rooms(make_server: MakeServer, connect: Connect) -> None:
    server = await make_server(bounds=GroupBounds(rooms_per_connection=2))
    scene = Scene(connect, server)
    groups = [await scene.create() for _ in range(3)]
    wire = await scene.wire()
    answers = [await Seated(wire, code=scene.code(group)).join() for group in groups]
    assert [answer.get("code") for answer in answers] == [None, None, "too_many"]
    assert (await wire.call("group:leave", {"group": groups[0].group, "stay": True}))["ok"]
    assert (await Seated(wire, code=scene.code(groups[2])).join())["ok"]


async def test_a_group_that_is_full_of_ops_takes_no_more(make_server: MakeServer, connect: Connect) -> None:
    server = await make_server(bounds=GroupBounds(rules=GroupLimits(ops=4)))
    scene = Scene(connect, server)
    host = await scene.create()
    for _ in range(2):
        await host.do("group.edit", {"field": "title", "value": "full"})
    void = await host.do("chat.say", {"text": "one more"})
    assert (void["verdict"], void["code"]) == ("void", "limit")
    told = await Seated(await scene.wire(), code=scene.code(host)).join()
    assert (told["code"], told["detail"]) == ("limit", {"limit": "ops", "max": 4})


# -- guessing --------------------------------------------------------------------------------------


async def test_codes_are_not_guessed(make_server: MakeServer, connect: Connect) -> None:
    clock = Clock()
    server = await make_server(counts=MemoryCounts(clock), clock=clock)
    scene = Scene(connect, server)
    host = await scene.create()
    guesser = await scene.wire()
    told = [await Seated(guesser, code=f"ZZZZZZZZ{n:02}").join() for n in range(12)]
    assert [answer["code"] for answer in told] == ["not_found"] * 10 + ["later"] * 2
    right = await Seated(guesser, code=scene.code(host)).join()
    assert right["code"] == "later", "also the right one, for as long"
    # Other accounts at the same address: thirty wrong ones, ten of them gone.
    others = [await scene.wire() for _ in range(3)]
    told = [await Seated(other, code="0000000000").join() for other in others for _ in range(8)]
    assert [answer["code"] for answer in told] == ["not_found"] * 20 + ["later"] * 4
    clock.ahead_ms += 3_601_000
    assert (await Seated(guesser, code=scene.code(host)).join())["ok"]


async def test_tries_at_one_moment_do_not_all_slip_through(make_server: MakeServer, connect: Connect) -> None:
    clock = Clock()
    server = await make_server(counts=MemoryCounts(clock), clock=clock)
    who = caller(await Scene(connect, server).wire())
    tries = [server.rooms.find(f"00000000{n:02}", who, "") for n in range(40)]
    refused = await asyncio.gather(*tries, return_exceptions=True)
    assert Counter(error.code for error in refused if isinstance(error, Refusal)) == {
        "not_found": 10,
        "later": 30,
    }


async def test_right_codes_cost_no_try_and_are_read_as_people_type(
    make_server: MakeServer, connect: Connect
) -> None:
    clock = Clock()
    server = await make_server(counts=MemoryCounts(clock), clock=clock)
    scene = Scene(connect, server)
    host = await scene.create()
    guest, code = await scene.wire(), scene.code(host)
    for _ in range(15):
        assert (await Seated(guest, code=f" {code[:5].lower()}-{code[5:].lower()}").join())["ok"]


# -- who shall not meet ----------------------------------------------------------------------------


async def block(server: Server, user: str, blocked: str) -> None:
    async with server.db.write() as session:
        await Blocks(session).add(user, blocked, "them", server.clock())
    server.rooms.blocked()


@pytest.mark.parametrize("turned", [False, True])
async def test_who_is_blocked_by_a_member_finds_no_such_group(scene: Scene, turned: bool) -> None:
    host = await scene.create()
    guest = await scene.wire()
    pair = (host.wire.user, guest.user)
    await block(scene.server, *(reversed(pair) if turned else pair))
    told = await Seated(guest, code=scene.code(host)).join()
    unknown = await Seated(guest, "018f0000-0000-7000-8000-000000000001").join()
    assert told == unknown and told["code"] == "not_found"
    assert len(await scene.log(host.group)) == host.ready["head"]


async def test_two_who_block_each_other_later_do_not_hear_each_other(scene: Scene) -> None:
    host = await scene.create()
    ana, ben = await scene.join(host), await scene.join(host)
    await block(scene.server, ana.wire.user, ben.wire.user)
    room = await scene.room(host.group)
    await ana.wire.until(lambda: room.hidden(2) == {3} and room.hidden(3) == {2})
    said = await ben.do("chat.say", {"text": "Ana?"})
    answer = await ana.do("chat.say", {"text": "anybody?"})
    for who in (host, ana, ben):
        await who.told(answer["seq"])
        who.in_order()
    heard = {who: {r["seq"]: r for r in who.records()} for who in (host, ana, ben)}
    assert heard[host][said["seq"]]["value"] == {"text": "Ana?"}
    assert (heard[ana][said["seq"]]["value"], heard[ana][said["seq"]]["withheld"]) == ({}, "blocked")
    assert (heard[ben][answer["seq"]]["value"], heard[ben][answer["seq"]]["withheld"]) == ({}, "blocked")
    page = await ana.wire.call("group:pull", {"group": host.group, "after": said["seq"] - 1, "limit": 1})
    assert page["records"][0]["withheld"] == "blocked"


# -- moderation ------------------------------------------------------------------------------------


class Judge:
    """Says of a message what stands in it, as soon as it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.may.set()
        self.asked: list[tuple[int, str]] = []

    async def review(self, group: str, member: int, text: str) -> Review:
        self.asked.append((member, text))
        await self.may.wait()
        action: Any = text.split()[0] if text.split()[0] in ("hold", "drop") else "pass"
        return Review(action, None if action == "pass" else "rude")

    async def close(self) -> None:
        pass


async def test_moderation_passes_holds_and_drops(make_server: MakeServer, connect: Connect) -> None:
    scene = Scene(connect, await make_server(moderation=Judge()))
    host = await scene.create()
    ana, ben = await scene.join(host), await scene.join(host)
    passed = await ana.do("chat.say", {"text": "hello"})
    held = await ana.do("chat.say", {"text": "hold this"})
    dropped = await ana.do("chat.say", {"text": "drop this"})
    assert [passed["verdict"], held["verdict"], dropped["verdict"]] == ["applied", "deferred", "void"]
    assert (dropped["code"], dropped["detail"]) == ("moderated", {"reason": "rude"})
    for who in (host, ben):
        await who.told(dropped["seq"])
    told = {r["seq"]: r for r in ben.records()}
    assert told[passed["seq"]]["value"] == {"text": "hello"}
    assert (told[held["seq"]]["value"], told[held["seq"]]["withheld"]) == ({}, "held")
    assert dropped["seq"] not in told
    crew = {r["seq"]: r["value"] for r in host.records()}
    assert crew[held["seq"]] == {"text": "hold this"}
    async with scene.server.db.read() as session:
        [report] = (await GroupReports(session).page()).items
    assert (report.dot, report.text, report.reporter, report.reason) == (
        (ana.ready["device"], held["n"]),
        "hold this",
        None,
        "rude",
    )


async def test_a_message_that_is_looked_at_keeps_only_its_own_author_waiting(
    make_server: MakeServer, connect: Connect
) -> None:
    judge = Judge()
    scene = Scene(connect, await make_server(moderation=judge))
    host = await scene.create()
    ana, ben = await scene.join(host), await scene.join(host)
    judge.may.clear()
    first = await ana.wire.emit(
        "group:push", {"group": host.group, "ops": [ana.op("chat.say", {"text": "hold me"})]}
    )
    then = await ana.wire.emit(
        "group:push", {"group": host.group, "ops": [ana.op("member.share", {"share": "everything"})]}
    )
    assert (await ben.do("member.share", {"share": "presence"}))["verdict"] == "applied"
    assert (await ana.wire.call("clock", {"t0": 1}))["t0"] == 1, "her connection goes on"
    judge.may.set()
    [one], [two] = [(await ana.wire.ack(id))["results"] for id in (first, then)]
    assert (one["n"], one["verdict"], two["n"], two["verdict"]) == (2, "deferred", 3, "applied")
    assert judge.asked == [(2, "hold me")]


async def test_a_message_is_reported_once_and_nobody_in_the_group_learns_of_it(scene: Scene) -> None:
    host = await scene.create()
    guest = await scene.join(host)
    said = await host.do("chat.say", {"text": "rude"})
    before = len(await scene.log(host.group))
    report = {"group": host.group, "dot": [host.ready["device"], said["n"]], "reason": "rude"}
    assert await guest.wire.call("group:report", report) == {"ok": True}
    assert await guest.wire.call("group:report", report) == {"ok": True}
    nothing = await guest.wire.call("group:report", {**report, "dot": [host.ready["device"], 99]})
    assert nothing["code"] == "not_found"
    async with scene.server.db.read() as session:
        reports = (await GroupReports(session).page()).items
    assert [(r.text, r.reporter) for r in reports] == [("rude", guest.wire.user)]
    assert len(await scene.log(host.group)) == before


# -- hostile payloads ------------------------------------------------------------------------------


def _json(payload: Any) -> bool:
    try:
        orjson.dumps(payload)
    except TypeError:
        return False
    return True


STRANGE: list[Any] = [
    {"group": None},
    {"group": 5},
    {"group": "x"},
    {"group": "../../etc/passwd"},
    {"code": None},
    {"code": 5},
    {"code": "x" * 5_000},
    {"code": "\u0000" * 10},
    {"code": "٣" * 10},
    {"code": "0" * 10, "group": "0" * 36},
    {"as": "host"},
    {"share": "nothing"},
    {"workout": "x"},
    {"cursor": []},
    {"cursor": {"epoch": 5, "seq": 1}},
    {"cursor": {"epoch": "x", "seq": 2**64 - 1}},
    {"after": 2**63},
    {"after": 0, "limit": 0},
    {"ops": [{"n": 2**63}]},
    {"ops": [{"n": 1, "base": 0, "kind": "chat.say", "value": {"text": "x" * 20_000}, "at": 0}]},
    {"ops": [{"n": 2, "base": 0, "kind": "chat.say", "value": {"text": 1e308}, "at": 2**53}]},
    {
        "ops": [
            {"n": 2, "base": 0, "kind": "chat.say", "value": {"text": ["\ud7ff"]}, "at": 0, "clock": {"1": 9}}
        ]
    },
    {"ops": [{"n": 2, "base": 0, "kind": "chat.hide", "value": {"dot": [1]}, "at": 0, "workout": 5}]},
    {"ops": [{"n": 2, "base": 0, "kind": "x" * 65, "value": {}, "at": 0}]},
    {"dot": [1, 1, 1], "reason": "x"},
    {"dot": [2**70, -1], "reason": "x"},
    {"dot": [1, 1], "reason": "x" * 10_000},
    {"stay": "yes"},
    {"to": 2**40, "kind": "fire"},
    {"to": 1, "kind": "x" * 1_000},
]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_strange_payload_is_refused_and_harms_nobody(
    make_server: MakeServer, connect: Connect, codec: str
) -> None:
    scene = Scene(connect, await make_server(limits={"rates": False}))
    host = await scene.create()
    guest = await scene.join(host, await scene.wire(codec=codec))
    strange = [p for p in HOSTILE if codec == "msgpack" or _json(p)] + STRANGE
    strange += [{**payload, "group": host.group} for payload in STRANGE if "group" not in payload]
    deep: Any = {}
    for _ in range(200):
        deep = {"x": deep}
    strange += [{"group": host.group, "deep": deep}, {"group": host.group, "ops": [deep]}]
    events = ["group:join", "group:push", "group:pull", "group:report", "group:tick", "group:ops", "group:"]
    answered = Counter(
        [(await guest.wire.call(event, payload)).get("code", "ok") for event in events for payload in strange]
    )
    assert answered["bad_request"] > 100
    assert not set(answered) & {"unavailable", "internal"}
    assert not guest.wire.events("bye")
    assert (await host.do("chat.say", {"text": "still here"}))["verdict"] == "applied"
    g = await scene.folded(host.group)
    assert g.count == 2 and g.created
