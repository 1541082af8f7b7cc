"""The stage over real sockets: what members see of each other, and when they are told."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from fitai.gateways.groups.stage import TICK_MS
from fitai.gateways.live.connection import Connection
from fitai.persistence.blocks import Blocks
from tests.gateways.conftest import new_id
from tests.gateways.groups.conftest import Scene, Seated, caller
from tests.gateways.groups.training import Trainee, agree, later, live, trainee, view_of


@pytest.fixture(autouse=True)
def nothing_is_logged(no_exception_is_logged: None) -> None:
    """None of this is an error."""


async def crew(scene: Scene, members: int = 3, **more: Any) -> list[Trainee]:
    """A host and others who train, live."""
    host = await trainee(scene, **more)
    others = [await trainee(scene, host.seat) for _ in range(members - 1)]
    await live(scene, host)
    return [host, *others]


# -- ticks -----------------------------------------------------------------------------------------


async def test_what_one_logs_the_others_see_ranked(scene: Scene) -> None:
    host, ben, cleo = await crew(scene)
    await ben.log(5)
    await host.sees(2, reps=5, sets=1, amount=5, rank=1, status="active", here=True, last=None)
    await cleo.log(8)
    for one in (host, ben, cleo):
        await one.sees(2, rank=2)
        await one.sees(3, rank=1)
    await agree(scene, [host, ben, cleo], {1, 2, 3})


async def test_ticks_come_at_most_four_times_a_second_and_say_only_what_changed(scene: Scene) -> None:
    host, ben, _ = await crew(scene)
    await agree(scene, [host], {1, 2, 3})
    seen = len(host.ticks())
    for reps in range(1, 16):
        await ben.log(reps)
        await asyncio.sleep(0.05)
    await host.sees(2, sets=15, reps=120)
    told = host.ticks()[seen:]
    assert 2 <= len(told) < 15
    gaps = [after["at"] - before["at"] for before, after in pairwise(told)]
    assert min(gaps) >= TICK_MS
    assert all(tick["members"].keys() == {"2"} for tick in told), "of the others there was nothing to tell"
    assert all(tick["members"]["2"].keys() <= {"sets", "reps", "amount", "rank"} for tick in told[1:])
    await asyncio.sleep(2 * TICK_MS / 1000)
    assert host.ticks()[seen:] == told, "where nothing happens nothing is told"


async def test_who_comes_late_begins_with_the_whole_and_goes_on_with_ticks(scene: Scene) -> None:
    host, ben, _ = await crew(scene)
    for reps in (3, 4):
        await ben.log(reps)
    await host.sees(2, reps=7)
    late = await trainee(scene, host.seat)
    assert view_of(late.seat)[2]["reps"] == 7
    await late.log(9)
    for one in (host, ben, late):
        await one.sees(4, reps=9, rank=1)
    await agree(scene, [host, ben, late], {1, 2, 3, 4})


async def test_a_room_that_is_opened_anew_reads_what_everybody_did(scene: Scene) -> None:
    host, ben, cleo = await crew(scene)
    await ben.log(5)
    await cleo.log(6)
    await host.sees(3, rank=1)
    room = await scene.room(host.seat.group)
    scene.server.rooms.forget(room)  # as when its log began anew: all of them come back
    await host.wire.event("bye")
    again = Trainee(Seated(await scene.wire(user=host.wire.user), host.seat.group), host.workout)
    assert (await again.seat.join())["ok"]
    await again.sees(2, reps=5, rank=2)
    await again.sees(3, reps=6, rank=1)


async def test_a_connection_that_reads_slowly_is_told_less_often_and_misses_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, ben, cleo = await crew(scene)
    await agree(scene, [host, ben, cleo], {1, 2, 3})
    slow = {c.sid for c in scene.server.live.connections if c.identity.user == cleo.wire.user}
    monkeypatch.setattr(Connection, "ready", property(lambda connection: connection.sid not in slow))
    told = len(cleo.ticks())
    for reps in (3, 4, 5):
        await ben.wire.call("group:cheer", {"group": ben.seat.group, "to": 3, "kind": "fire"})
        await ben.log(reps)
        await host.sees(2, sets=reps - 2)
    assert len(cleo.ticks()) == told
    slow.clear()
    await cleo.sees(2, sets=3, reps=12)
    assert len(cleo.ticks()) == told + 1
    assert cleo.cheers() == {("3", "fire"): 3}


# -- what is shown ---------------------------------------------------------------------------------


@pytest.mark.parametrize("share", ["everything", "progress", "presence"])
async def test_others_see_what_a_member_chose(scene: Scene, share: str) -> None:
    host, ben, _ = await crew(scene)
    await ben.seat.do("member.share", {"share": share})
    await ben.log(5, kilos=60)
    await ben.wire.call("telemetry", {"workout": ben.workout, "hr": 141.3, "power": 250})
    view = await agree_on(scene, host, 2, share)
    assert ("reps" in view) == (share != "presence")
    assert ("volume_ug" in view) == ("last" in view) == (share == "everything")
    assert view.get("hr") == (141 if share == "everything" else None)
    assert "power" not in view


async def agree_on(scene: Scene, one: Trainee, no: int, share: str) -> dict[str, Any]:
    await one.sees(no, here=True, reps=None if share == "presence" else 5)
    if share == "everything":
        await one.sees(no, hr=141)
    else:
        await asyncio.sleep(2 * TICK_MS / 1000)
    view: dict[str, Any] = one.view()[no]
    return view


async def test_a_board_of_loads_shows_ranks_but_no_amounts_of_who_keeps_them(scene: Scene) -> None:
    volume = {"type": "race", "measure": {"of": "volume"}, "limit_ms": 3_600_000}
    host, ben, _ = await crew(scene, format_=volume)
    await host.seat.do("member.share", {"share": "everything"})
    await host.log(5, kilos=60)
    await ben.log(5, kilos=70)
    await ben.sees(1, rank=2, amount=300_000_000_000)
    await ben.sees(2, rank=1, amount=None, volume_ug=None)


async def test_only_telemetry_of_the_group_s_workout_is_told(scene: Scene) -> None:
    host, ben, _ = await crew(scene)
    await ben.seat.do("member.share", {"share": "everything"})
    await ben.wire.call("telemetry", {"workout": new_id(), "hr": 180})
    await ben.wire.call("telemetry", {"workout": ben.workout, "hr": 120})
    await host.sees(2, hr=120)
    assert all(tick["members"].get("2", {}).get("hr") != 180 for tick in host.ticks())


# -- late, edited, removed -------------------------------------------------------------------------


async def test_late_syncs_edits_and_removals_correct_the_board_whenever_they_come(scene: Scene) -> None:
    host, ben, cleo = await crew(scene)
    first = scene.server.clock()
    await asyncio.sleep(0.01)
    await ben.log(5)
    gone = await cleo.log(9)
    await host.sees(3, rank=1)
    edited = await ben.log(1)
    await ben.edit(edited, "reps", 7)
    await host.sees(2, rank=1, reps=12)
    await cleo.remove(gone)
    await host.sees(3, rank=None, reps=None)
    later(scene, 60_000)
    await cleo.log(20, at=first)  # done a minute ago, where there was no connection
    await host.sees(3, rank=1, amount=20)
    await agree(scene, [host, ben, cleo], {1, 2, 3})


# -- presence --------------------------------------------------------------------------------------


async def test_a_member_is_here_with_any_device_and_goes_after_the_grace_of_the_last(scene: Scene) -> None:
    host, ben, _ = await crew(scene)
    await host.sees(2, here=True)
    watch = Seated(await scene.wire(user=ben.wire.user), host.seat.group)
    assert (await watch.join())["member"] == 2
    seen = len(host.ticks())
    await ben.wire.close()
    await asyncio.sleep(0.5)
    assert host.view()[2]["here"], "the watch is there"
    await watch.wire.close()
    await host.sees(2, here=None)
    assert all("left" not in tick["members"].get("2", {}) for tick in host.ticks()[seen:])


async def test_who_leaves_the_group_is_not_here_at_once_but_what_they_did_is(scene: Scene) -> None:
    host, ben, _ = await crew(scene)
    await ben.log(5)
    assert (await ben.wire.call("group:leave", {"group": ben.seat.group}))["ok"]
    await host.sees(2, here=None, left=True, rank=1, amount=5)
    told = len(ben.ticks())
    await host.log(6)
    await host.sees(1, rank=1)
    assert len(ben.ticks()) == told, "who left is told nothing any more"


# -- cheers ----------------------------------------------------------------------------------------


async def test_cheers_are_counted_and_told_once_to_all(scene: Scene) -> None:
    host, ben, cleo = await crew(scene)
    await agree(scene, [host, ben, cleo], {1, 2, 3})
    for kind in ("fire", "fire", "clap"):
        await ben.wire.emit("group:cheer", {"group": ben.seat.group, "to": 3, "kind": kind})
    assert (await cleo.wire.call("group:cheer", {"group": ben.seat.group, "kind": "go"}))["ok"]
    for one in (host, ben, cleo):
        await one.hears({("3", "fire"): 2, ("3", "clap"): 1, ("0", "go"): 1})


async def test_what_is_no_cheer_is_refused_with_a_code(scene: Scene) -> None:
    host, ben, _ = await crew(scene)
    stranger = await scene.wire()
    for wire, payload, code in (
        (ben.wire, {"to": 99, "kind": "fire"}, "not_found"),
        (ben.wire, {"to": 1, "kind": "<b>hi</b>"}, "bad_request"),
        (ben.wire, {"to": "1", "kind": "fire"}, "bad_request"),
        (stranger, {"kind": "fire"}, "not_joined"),
    ):
        answer = await wire.call("group:cheer", {"group": host.seat.group, **payload})
        assert (answer["ok"], answer["code"]) == (False, code), payload
    answers = [
        await ben.wire.call("group:cheer", {"group": host.seat.group, "kind": "clap"}) for _ in range(60)
    ]
    late = [answer for answer in answers if not answer["ok"]]
    assert late
    assert {answer["code"] for answer in late} == {"later"}
    assert all(answer["retry_after_ms"] > 0 for answer in late)


# -- blocks ----------------------------------------------------------------------------------------


async def test_who_block_each_other_in_the_room_are_taken_out_of_each_other_s_sight(scene: Scene) -> None:
    host, ben, cleo = await crew(scene)
    await ben.log(5)
    await cleo.sees(2, reps=5)
    async with scene.server.db.write() as session:
        block = await Blocks(session).add(cleo.wire.user, ben.wire.user, "Ben", 0)
    scene.server.rooms.blocked()
    await cleo.wire.until(lambda: 2 not in cleo.view())
    await ben.wire.until(lambda: 3 not in ben.view())
    await ben.log(6)
    await cleo.log(3)
    await host.sees(2, reps=11)
    await host.sees(3, reps=3)
    assert 2 not in cleo.view()
    assert 3 not in ben.view()
    answer = await cleo.wire.call("group:cheer", {"group": cleo.seat.group, "to": 2, "kind": "fire"})
    assert answer["code"] == "not_found"
    async with scene.server.db.write() as session:
        assert await Blocks(session).remove(cleo.wire.user, block)
    scene.server.rooms.blocked()
    await cleo.sees(2, reps=11)
    await ben.sees(3, reps=3)


# -- another host ----------------------------------------------------------------------------------


async def test_the_host_vanishes_and_the_coach_who_was_there_longest_hosts(make_scene: Any) -> None:
    scene = await make_scene(host_grace_ms=300)
    host, ben, cleo = await crew(scene)
    await host.seat.do("member.role", {"member": 3, "role": "coach"})
    await host.wire.close()
    await ben.wire.until(lambda: any(r["kind"] == "group.host" for r in ben.seat.records()))
    hosts = [r for r in await scene.log(host.seat.group) if r.op.kind == "group.host"]
    assert [r.op.value for r in hosts] == [{"member": 3, "was": 1, "reason": "lost"}]
    assert (await scene.folded(host.seat.group)).members[1].role == "coach"
    assert cleo.no == 3


async def test_a_host_who_leaves_is_succeeded_at_once_and_one_who_comes_back_in_time_is_not(
    make_scene: Any,
) -> None:
    scene = await make_scene(host_grace_ms=60_000)
    host, ben, _ = await crew(scene)
    await host.wire.close()
    await ben.sees(1, here=None)
    back = Seated(await scene.wire(user=host.wire.user), host.seat.group)
    assert (await back.join())["ok"]
    await ben.sees(1, here=True)
    assert (await scene.folded(host.seat.group)).host == 1
    assert (await back.wire.call("group:leave", {"group": back.group}))["ok"]
    await ben.wire.until(lambda: any(r["kind"] == "group.host" for r in ben.seat.records()))
    [record] = [r for r in await scene.log(host.seat.group) if r.op.kind == "group.host"]
    assert record.op.value == {"member": 2, "was": None, "reason": "left"}


async def test_where_nobody_can_host_the_group_waits_for_one(make_scene: Any) -> None:
    scene = await make_scene(host_grace_ms=100)
    host = await trainee(scene)
    looker = await scene.join(host.seat, **{"as": "spectator"})
    await host.wire.close()
    await looker.wire.until(lambda: "here" not in view_of(looker).get(1, {}))
    await asyncio.sleep(0.3)
    assert (await scene.folded(host.seat.group)).host == 1
    await trainee(scene, host.seat)
    await looker.wire.until(lambda: any(r["kind"] == "group.host" for r in looker.records()))
    assert (await scene.folded(host.seat.group)).host == 3


# -- leaving the room ------------------------------------------------------------------------------


async def test_when_the_last_one_has_gone_nothing_is_followed_any_more(scene: Scene) -> None:
    people = await crew(scene)
    room = await scene.room(people[0].seat.group)
    assert len(room.stage.watches._watchers) == 3
    for one in people:
        await one.wire.close()
    async with asyncio.timeout(10):
        while room.stage.busy:
            await asyncio.sleep(0.02)
    assert not room.stage.watches._watchers
    assert not scene.server.hosts.watching.streams()
    back = Trainee(Seated(await scene.wire(user=people[1].wire.user), room.id), people[1].workout)
    assert (await back.seat.join())["ok"]
    await agree(scene, [back], {2})


async def test_what_rest_does_in_a_room_where_nobody_is_follows_nobody(scene: Scene) -> None:
    host = await scene.wire()
    room = await scene.server.rooms.create(caller(host), {"title": "x", "format": {"type": "open"}})
    await room.act(caller(host), "member.workout", {"workout": new_id()})
    assert not room.stage.busy
    assert not room.stage.watches._watchers
