"""The live protocol, packet by packet, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fitai.gateways.bus.topics import user_topic

from .conftest import Server, Wire, new_id

Connect = Callable[..., Awaitable[Wire]]


async def two_devices(server: Server, connect: Connect) -> tuple[Wire, Wire]:
    user = await server.user()
    phone, watch = await server.enrol(user, "phone"), await server.enrol(user, "watch")
    return await connect(server, user, phone), await connect(server, user, watch, codec="msgpack")


async def started(wire: Wire, workout: str, entry: str) -> None:
    ack = await wire.push(
        wire.op("workout.create", workout, {"title": "Legs"}),
        wire.op("workout.start", workout),
        wire.op("exercise.add", workout, {"exercise": "squat", "position": "a0"}, entity=entry),
    )
    assert [r["verdict"] for r in ack["results"]] == ["applied"] * 3


def log_set(wire: Wire, workout: str, entry: str, reps: int = 5, **value: Any) -> dict[str, Any]:
    load = {"value": 100, "unit": "kg"}
    return wire.op(
        "set.log",
        workout,
        {"exercise_entry": entry, "type": "working", "reps": reps, "load": load, **value},
        entity=new_id(),
    )


async def test_ready_is_the_first_event_after_the_connect_packet(server: Server, connect: Connect) -> None:
    user = await server.user()
    device = await server.enrol(user)
    wire = await connect(server, user, device)
    assert [p[0] for p in wire.packets[:1]] == ["connect"]
    assert wire.packets[1][1] == "ready"
    ready = wire.packets[1][2]
    assert ready["protocol"] == 1
    assert (ready["user"], ready["device"], ready["next_n"]) == (user, device, 1)
    assert (ready["head"], ready["resumed"]) == (0, False)
    assert isinstance(ready["epoch"], str)
    assert ready["limits"]["push_ops"] == 500


async def test_each_device_sees_the_other_s_records_and_only_an_ack_for_its_own(
    server: Server, connect: Connect
) -> None:
    phone, watch = await two_devices(server, connect)
    workout, entry = new_id(), new_id()
    await started(phone, workout, entry)
    await watch.told(3)
    watch.base = 3
    ack = await watch.push(log_set(watch, workout, entry))
    [result] = ack["results"]
    assert (result["n"], result["seq"], result["rev"], result["verdict"]) == (1, 4, 4, "applied")
    assert ack["head"] == 4
    await phone.told(4)
    assert [r["seq"] for r in watch.records()] == [1, 2, 3]
    assert [r["seq"] for r in phone.records()] == [4]
    record = phone.records()[0]
    assert (record["device"], record["n"], record["rev"]) == (watch.device, 1, 4)
    assert record["value"]["load"] == {"value": 100, "unit": "kg"}
    frame = phone.events("ops")[0]
    assert (frame["from"], frame["to"]) == (4, 4)


async def test_a_second_connection_of_the_pushing_device_is_told_too(
    server: Server, connect: Connect
) -> None:
    user = await server.user()
    device = await server.enrol(user)
    one, two = await connect(server, user, device), await connect(server, user, device)
    await one.push(one.op("workout.create", new_id()))
    await two.told(1)
    assert one.records() == []


async def test_a_cursor_brings_exactly_the_rest_own_records_included(
    server: Server, connect: Connect
) -> None:
    phone, watch = await two_devices(server, connect)
    workout, entry = new_id(), new_id()
    await started(phone, workout, entry)
    epoch = phone.packets[1][2]["epoch"]
    await watch.close()
    for _ in range(5):
        phone.base += 1
        await phone.push(log_set(phone, workout, entry))
    again = await connect(server, watch.user, watch.device, cursor={"epoch": epoch, "seq": 2})
    await again.told(8)
    assert again.packets[1][2]["resumed"] is True
    assert [r["seq"] for r in again.records()] == [3, 4, 5, 6, 7, 8]
    own = await connect(server, phone.user, phone.device, cursor={"epoch": epoch, "seq": 0})
    await own.told(8)
    assert [r["seq"] for r in own.records()] == list(range(1, 9))


@pytest.mark.parametrize(
    "cursor",
    [None, 7, "x", {}, {"epoch": 5}, {"epoch": "strange", "seq": 0}, {"seq": 1}, {"epoch": "E", "seq": -1},
     {"epoch": "E", "seq": 99}, {"epoch": "E", "seq": "1"}, {"epoch": "E", "seq": 1.5}],
)  # fmt: skip
async def test_a_cursor_that_says_nothing_is_not_refused_and_resumes_nothing(
    server: Server, connect: Connect, cursor: Any
) -> None:
    phone, watch = await two_devices(server, connect)
    await phone.push(phone.op("workout.create", new_id()))
    epoch = phone.packets[1][2]["epoch"]
    if isinstance(cursor, dict) and cursor.get("epoch") == "E":
        cursor = {**cursor, "epoch": epoch}
    again = await connect(server, watch.user, watch.device, cursor=cursor)
    assert again.packets[1][2]["resumed"] is False
    await phone.push(phone.op("workout.create", new_id()))
    await again.told(2)
    assert [r["seq"] for r in again.records()] == [2]


async def test_everything_resumes_over_a_restart_of_the_server(
    make_server: Callable[..., Awaitable[Server]], connect: Connect
) -> None:
    server = await make_server()
    phone, _ = await two_devices(server, connect)
    workout, entry = new_id(), new_id()
    await started(phone, workout, entry)
    cursor = {"epoch": phone.packets[1][2]["epoch"], "seq": 3}
    await server.stop()
    await phone.gone()
    assert phone.events("bye") == [{"code": "draining", "reconnect": True, "after_ms": 0}]
    await server.start()
    again = await connect(server, phone.user, phone.device, cursor=cursor)
    assert again.packets[1][2] | {"server_time": 0} == again.packets[1][2] | {
        "next_n": 4, "head": 3, "resumed": True, "server_time": 0,
    }  # fmt: skip
    again.base = 3
    ack = await again.push(log_set(again, workout, entry))
    assert ack["results"][0]["seq"] == 4


async def test_a_retry_is_a_duplicate_with_its_first_answer_and_other_content_an_equivocation(
    server: Server, connect: Connect
) -> None:
    phone, _ = await two_devices(server, connect)
    workout = new_id()
    create, resume = phone.op("workout.create", workout), phone.op("workout.resume", workout)
    first = await phone.push(create, resume)
    assert first["results"][1]["verdict"] == "void"
    assert first["results"][1]["code"] == "illegal_edge"
    assert first["results"][1]["detail"] == {"from": "planned", "trigger": "resume"}
    again = await phone.push(create, {**resume, "base": 1})
    for once, twice in zip(first["results"], again["results"], strict=True):
        same = {key: once[key] for key in ("n", "seq", "rev", "te")}
        answer = {key: value for key, value in once.items() if key not in ("n", "seq")}
        assert twice == {**same, "verdict": "duplicate", "first": answer}
    other = await phone.push({**create, "value": {"title": "other"}})
    assert (other["ok"], other["code"], other["n"], other["next_n"]) == (False, "equivocation", 1, 3)
    mixed = await phone.push(resume, phone.op("workout.start", workout))
    assert [r["verdict"] for r in mixed["results"]] == ["duplicate", "applied"]
    assert [r["seq"] for r in mixed["results"]] == [2, 3]


async def test_refusals_store_nothing_and_leave_the_connection_as_it_was(
    server: Server, connect: Connect
) -> None:
    phone, _ = await two_devices(server, connect)
    workout = new_id()
    gap = await phone.push({**phone.op("workout.create", workout), "n": 5})
    assert (gap["code"], gap["next_n"]) == ("gap", 1)
    ahead = await phone.push({**phone.op("workout.create", workout), "n": 1, "base": 4})
    assert ahead["code"] == "base_ahead"
    epoch = await phone.call(
        "push", {"ops": [{**phone.op("workout.create", workout), "n": 1}], "epoch": "other"}
    )
    assert epoch["code"] == "epoch"
    assert (await phone.call("push", {"ops": "none"}))["code"] == "bad_request"
    assert (await phone.call("nonsense", {}))["code"] == "bad_request"
    phone.next_n = 1
    assert (await phone.push(phone.op("workout.create", workout)))["results"][0]["seq"] == 1


async def test_pull_pages_the_log_and_refuses_positions_beyond_its_head(
    server: Server, connect: Connect
) -> None:
    phone, watch = await two_devices(server, connect)
    await phone.push(*(phone.op("workout.create", new_id()) for _ in range(5)))
    page = await watch.call("pull", {"after": 1, "limit": 3})
    assert [r["seq"] for r in page["records"]] == [2, 3, 4]
    assert (page["more"], page["head"]) == (True, 5)
    rest = await watch.call("pull", {"after": 4, "limit": 10_000})
    assert ([r["seq"] for r in rest["records"]], rest["more"]) == ([5], False)
    assert (await watch.call("pull", {"after": 5}))["records"] == []
    assert (await watch.call("pull", {"after": 6}))["code"] == "bad_request"


async def test_workout_get_folds_the_state_and_another_user_s_workout_does_not_exist(
    server: Server, connect: Connect
) -> None:
    phone, watch = await two_devices(server, connect)
    workout, entry = new_id(), new_id()
    await started(phone, workout, entry)
    await phone.push(log_set(phone, workout, entry, reps=8))
    got = await watch.call("workout:get", {"workout": workout.upper()})
    assert (got["ok"], got["seq"]) == (True, 4)
    assert got["state"]["status"] == "active"
    assert got["state"]["exercises"][0]["sets"][0]["reps"] == 8
    stranger = await server.user()
    other = await connect(server, stranger, await server.enrol(stranger))
    theirs = await other.call("workout:get", {"workout": workout})
    unknown = await other.call("workout:get", {"workout": new_id()})
    assert theirs == unknown
    assert theirs["code"] == "not_found"
    await other.push(other.op("workout.create", workout, {"title": "mine"}))
    assert (await watch.call("workout:get", {"workout": workout}))["state"]["title"] == "Legs"


async def test_insights_reach_all_devices_and_a_new_connection_hears_the_open_workout_s(
    server: Server, connect: Connect
) -> None:
    phone, watch = await two_devices(server, connect)
    workout, entry = new_id(), new_id()
    await started(phone, workout, entry)
    await phone.push(log_set(phone, workout, entry, reps=5))
    await phone.push(log_set(phone, workout, entry, reps=5, load={"value": 110, "unit": "kg"}))
    for wire in (phone, watch):
        record = await wire.event("insight", lambda i: i["kind"] == "record" and i["type"] == "load")
        assert (record["value"], record["previous"], record["unit"]) == (110, 100, "kg")
        totals = await wire.event("insight", lambda i: i["kind"] == "totals" and i["totals"]["sets"] == 2)
        assert totals["totals"]["volume_ug"] == 1_050 * 10**9
    late = await connect(server, watch.user, watch.device)
    again = await late.event("insight", lambda i: i["kind"] == "record" and i["type"] == "load")
    assert again == record


async def test_telemetry_reaches_the_others_conflated_and_is_never_stored(
    server: Server, connect: Connect
) -> None:
    phone, watch = await two_devices(server, connect)
    workout = new_id()
    for beat in range(60, 160):
        await watch.send(2, ["telemetry", {"workout": workout, "hr": beat, "zone": "x"}])
    last = await phone.event("telemetry", lambda t: t["hr"] == 159)
    assert last == {"workout": workout, "hr": 159, "zone": "x", "device": watch.device}
    assert len(phone.events("telemetry")) <= 4
    assert watch.events("telemetry") == []
    assert (await phone.call("pull", {"after": 0}))["records"] == []


async def test_presence_shows_a_leave_only_after_its_grace(server: Server, connect: Connect) -> None:
    phone, watch = await two_devices(server, connect)
    both = await phone.event("presence", lambda p: len(p["devices"]) == 2)
    assert [d["name"] for d in both["devices"]] == ["phone", "watch"]
    seen = len(phone.events("presence"))
    await watch.close()
    back = await connect(server, watch.user, watch.device)
    await asyncio.sleep(0.4)
    assert len(phone.events("presence")) == seen
    await back.close()
    await phone.until(lambda: [len(p["devices"]) for p in phone.events("presence")][-1] == 1)


async def test_the_clock_answers_at_once_with_the_server_s_time(server: Server, connect: Connect) -> None:
    phone, _ = await two_devices(server, connect)
    before = server.clock()
    answer = await phone.call("clock", {"t0": 123})
    assert answer["t0"] == 123
    assert before <= answer["t1"] <= server.clock()


async def test_a_token_is_renewed_in_place_for_the_same_user_and_device_only(
    server: Server, connect: Connect
) -> None:
    phone, watch = await two_devices(server, connect)
    good = await phone.call("auth", {"token": server.tokens.issue(phone.user, phone.device)})
    assert good["ok"] is True
    assert good["expires_at"] > server.clock()
    bad = await phone.call("auth", {"token": server.tokens.issue(watch.user, watch.device)})
    assert (bad["ok"], bad["code"]) == (False, "unauthorized")
    assert (await phone.call("auth", {"token": "garbage"}))["code"] == "unauthorized"


async def test_an_expired_token_is_warned_of_given_a_grace_and_then_closed(
    make_server: Callable[..., Awaitable[Server]], connect: Connect
) -> None:
    server = await make_server(limits={"expiry_grace_s": 0.5})
    server.tokens.life_ms = 3000
    phone, _ = await two_devices(server, connect)
    warning = await phone.event("auth:expiring")
    await phone.call("auth", {"token": server.tokens.issue(phone.user, phone.device)})
    await phone.gone()
    assert warning["at"] - server.clock() < 0
    assert phone.events("bye") == [{"code": "expired", "reconnect": True, "after_ms": 0}]
    assert len(phone.events("auth:expiring")) == 2


async def test_a_revoked_device_is_closed_for_good_and_can_not_come_back(
    server: Server, connect: Connect
) -> None:
    phone, watch = await two_devices(server, connect)
    from fitai.persistence.devices import Devices

    async with server.db.write() as session:
        await Devices(session).revoke(watch.user, watch.device, server.clock())
    server.bus.publish(user_topic(watch.user), {"kind": "revoked", "device": watch.device})
    await asyncio.wait_for(watch.gone(), 2)
    assert watch.events("bye") == [{"code": "revoked", "reconnect": False, "after_ms": 0}]
    assert ["disconnect", None] in watch.packets
    again = Wire(server, watch.user, watch.device)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(again.connect(), 0.5)
    refused = next(p[1] for p in again.packets if p[0] == "refused")
    assert refused["data"] == {"code": "device_revoked", "message": refused["message"], "retry": False}
    await again.close()
    await phone.push(phone.op("workout.create", new_id()))


async def test_a_flood_is_told_to_come_later_and_keeps_its_place(
    make_server: Callable[..., Awaitable[Server]], connect: Connect
) -> None:
    server = await make_server(limits={"ops_burst": 10, "ops_per_s": 1000.0})
    phone, _ = await two_devices(server, connect)
    ops = [phone.op("workout.create", new_id()) for _ in range(30)]
    ack = await phone.push(*ops)
    assert 10 <= len(ack["results"]) < 30
    done = len(ack["results"])
    while done < 30:
        ack = await phone.push(*ops[done:])
        if ack["ok"]:
            done += len(ack["results"])
        else:
            assert (ack["code"], ack["retry_after_ms"] > 0) == ("later", True)
            await asyncio.sleep(ack["retry_after_ms"] / 1000)
    pulled = await phone.call("pull", {"after": 0})
    assert [r["n"] for r in pulled["records"]] == list(range(1, 31))


async def test_a_record_that_was_undone_while_a_device_was_away_is_withdrawn_when_it_returns(
    server: Server, connect: Connect
) -> None:
    phone, watch = await two_devices(server, connect)
    workout, entry = new_id(), new_id()
    await started(phone, workout, entry)
    better = log_set(phone, workout, entry, reps=5)
    await phone.push(better)
    best = log_set(phone, workout, entry, load={"value": 120, "unit": "kg"})
    await phone.push(best)
    told = await watch.event("insight", lambda i: i["kind"] == "record" and i["type"] == "load")
    cursor = {"epoch": phone.packets[1][2]["epoch"], "seq": 5}
    await watch.close()
    await phone.push(phone.op("set.remove", workout, entity=best["entity"]))
    await phone.event("insight", lambda i: i["id"] == told["id"] and i.get("withdrawn"))
    back = await connect(server, watch.user, watch.device, cursor=cursor)
    await back.event("insight", lambda i: i["id"] == told["id"] and i.get("withdrawn") is True)


async def test_text_that_a_database_may_not_like_is_kept_as_typed(server: Server, connect: Connect) -> None:
    phone, watch = await two_devices(server, connect)
    workout, entry = new_id(), "0198C1F2-8C11-7D02-B1F0-0F6F3F2AB9D1"
    title = "a\x00b 💪 \u2028 \"'\\"
    value = {"title": title, "tz": "\x00", "extra": {"\x00": 1}}
    await phone.push(phone.op("workout.create", workout, value))
    await phone.push(
        phone.op("exercise.add", workout, {"exercise": "sq\x00at", "position": "a0"}, entity=entry),
        phone.op("note.set", workout, {"text": "\x00" * 100}),
    )
    await phone.push(log_set(phone, workout, entry, type="\x00"))
    await watch.told(4)
    await server.hosts.loaded(phone.user).flush()
    assert watch.records()[0]["value"] == value
    assert (await watch.call("workout:get", {"workout": workout}))["state"]["title"] == title
    assert watch.records()[-1]["verdict"] == "void"
