"""Deadlines: rests end by themselves, idle workouts pause and finish, and no restart loses any of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .conftest import Server, Wire, new_id
from .test_live import log_set, started, two_devices

Connect = Callable[..., Awaitable[Wire]]
MINUTE = 60_000


def is_rest_over(insight: dict[str, object]) -> bool:
    return insight["kind"] == "rest_over"


async def test_the_end_of_a_rest_is_told_with_the_dot_that_began_it_and_never_early(
    server: Server, connect: Connect
) -> None:
    phone, watch = await two_devices(server, connect)
    workout, entry = new_id(), new_id()
    await started(phone, workout, entry)
    before = server.clock()
    await phone.push(phone.op("rest.start", workout, {"seconds": 1}))
    for wire in (phone, watch):
        over = await wire.event("insight", is_rest_over)
        assert server.clock() >= before + 1000
        assert over["dot"] == [phone.device, 4]
        assert over["at"] <= server.clock()


async def test_a_skipped_rest_is_not_over(server: Server, connect: Connect) -> None:
    phone, _ = await two_devices(server, connect)
    workout, entry = new_id(), new_id()
    await started(phone, workout, entry)
    await phone.push(phone.op("rest.start", workout, {"seconds": 60}), phone.op("rest.skip", workout))
    await phone.push(phone.op("rest.start", workout, {"seconds": 1}))
    over = await phone.event("insight", is_rest_over)
    assert over["dot"] == [phone.device, 6]
    server.clock.ahead_ms = 2 * MINUTE
    server.hosts.timers.wake()
    await phone.call("clock", {"t0": 0})
    assert [i["dot"] for i in phone.events("insight") if is_rest_over(i)] == [[phone.device, 6]]


async def test_a_rest_that_ended_while_the_server_was_down_is_told_after_the_restart(
    make_server: Callable[..., Awaitable[Server]], connect: Connect
) -> None:
    server = await make_server()
    phone, _ = await two_devices(server, connect)
    workout, entry = new_id(), new_id()
    await started(phone, workout, entry)
    await phone.push(log_set(phone, workout, entry, rest_s=90))
    await server.stop()
    server.clock.ahead_ms = 3 * MINUTE
    await server.start()
    again = await connect(server, phone.user, phone.device)
    over = await again.event("insight", is_rest_over)
    assert over["dot"] == [phone.device, 4]


async def test_a_device_that_was_away_hears_of_the_rest_that_ended_meanwhile(
    server: Server, connect: Connect
) -> None:
    phone, watch = await two_devices(server, connect)
    workout, entry = new_id(), new_id()
    await started(phone, workout, entry)
    await watch.close()
    await phone.push(log_set(phone, workout, entry, rest_s=1))
    told = await phone.event("insight", is_rest_over)
    back = await connect(server, watch.user, watch.device)
    assert await back.event("insight", is_rest_over) == told


async def test_an_idle_workout_is_paused_at_its_last_op_and_completed_after_hours(
    server: Server, connect: Connect
) -> None:
    phone, _ = await two_devices(server, connect)
    workout, entry = new_id(), new_id()
    await started(phone, workout, entry)
    await phone.push(log_set(phone, workout, entry))
    last = (await phone.call("pull", {"after": 3}))["records"][0]["te"]
    server.clock.ahead_ms = 16 * MINUTE
    server.hosts.timers.wake()
    await phone.told(5)
    pause = phone.records()[-1]
    assert (pause["device"], pause["n"], pause["kind"]) == (0, 1, "workout.pause")
    assert pause["value"] == {"reason": "idle"}
    assert pause["te"] == last
    server.clock.ahead_ms = 7 * 60 * MINUTE
    server.hosts.timers.wake()
    await phone.told(6)
    assert phone.records()[-1]["kind"] == "workout.complete"
    state = (await phone.call("workout:get", {"workout": workout}))["state"]
    assert (state["status"], state["ended_at"]) == ("completed", last)
    phone.base = 6
    await phone.push(log_set(phone, workout, entry))
    state = (await phone.call("workout:get", {"workout": workout}))["state"]
    assert state["status"] == "active"


async def test_an_idle_workout_without_a_set_is_abandoned_and_a_restart_in_between_changes_nothing(
    make_server: Callable[..., Awaitable[Server]], connect: Connect
) -> None:
    server = await make_server()
    phone, _ = await two_devices(server, connect)
    workout, entry = new_id(), new_id()
    await started(phone, workout, entry)
    cursor = {"epoch": phone.packets[1][2]["epoch"], "seq": 3}
    await server.stop()
    server.clock.ahead_ms = 7 * 60 * MINUTE
    await server.start()
    again = await connect(server, phone.user, phone.device, cursor=cursor)
    await again.told(4)
    assert [r["kind"] for r in again.records()] == ["workout.abandon"]
    assert again.records()[0]["value"] == {"reason": "idle"}


async def test_a_rest_is_over_also_when_the_next_op_comes_before_the_server_looks_at_its_clock(
    make_server: Callable[..., Awaitable[Server]], connect: Connect
) -> None:
    server = await make_server()
    phone, watch = await two_devices(server, connect)
    workout, entry = new_id(), new_id()
    await started(phone, workout, entry)
    await phone.push(log_set(phone, workout, entry, rest_s=90))
    await phone.push(phone.op("rest.start", workout, {"seconds": 60}))
    server.clock.ahead_ms = 2 * MINUTE  # and nobody wakes the timers
    ack = await phone.push(log_set(phone, workout, entry))
    assert ack["results"][0]["verdict"] == "applied"
    for wire in (phone, watch):
        over = await wire.event("insight", is_rest_over)
        assert over["dot"] == [phone.device, 5]
    await phone.push(phone.op("rest.start", workout, {"seconds": 60}))
    await phone.push(log_set(phone, workout, entry))
    await phone.call("clock", {"t0": 0})
    assert [i["dot"] for i in phone.events("insight") if is_rest_over(i)] == [[phone.device, 5]]
