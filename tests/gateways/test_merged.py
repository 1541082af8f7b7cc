"""Two workouts that are one: hinted at, shown as one when somebody says so, and taken apart again."""

from __future__ import annotations

from typing import Any

from fitai.gateways.live.host import Host
from fitai.persistence.opening import read_opening
from tests.gateways.conftest import Server, Wire, new_id
from tests.gateways.test_live import Connect, log_set, two_devices


async def begun(wire: Wire, exercise: str, reps: int) -> tuple[str, str]:
    """A workout of the template `legs` with one set: its id and its entry's."""
    workout, entry = new_id(), new_id()
    ack = await wire.push(
        wire.op("workout.create", workout, {"template": "legs"}),
        wire.op("workout.start", workout),
        wire.op("exercise.add", workout, {"exercise": exercise, "position": "a"}, entity=entry),
        log_set(wire, workout, entry, reps),
    )
    assert ack["ok"], ack
    return workout, entry


async def shown(wire: Wire, workout: str) -> dict[str, Any]:
    answer = await wire.call("workout:get", {"workout": workout})
    assert answer["ok"], answer
    return answer["state"]


def sets(document: dict[str, Any]) -> list[tuple[str, int, str | None]]:
    return [
        (entry["exercise"], row["reps"], entry.get("workout"))
        for entry in document["exercises"]
        for row in entry["sets"]
    ]


def hints(wire: Wire, workout: str) -> list[dict[str, Any]]:
    told = [one for one in wire.events("insight") if one["workout"] == workout and one["kind"] == "hint"]
    return [{key: one[key] for key in ("hint", "other", "withdrawn") if key in one} for one in told]


async def test_a_second_workout_of_one_template_at_the_same_time_is_hinted_at(
    server: Server, connect: Connect
) -> None:
    phone, watch = await two_devices(server, connect)
    one, _ = await begun(phone, "squat", 5)
    other, _ = await begun(watch, "squat", 4)
    await phone.until(lambda: bool(hints(phone, other)))
    assert hints(phone, other) == [{"hint": "same_workout", "other": one}]
    assert hints(phone, one) == []


async def test_a_merged_workout_is_shown_in_the_other_until_it_is_unmerged(
    server: Server, connect: Connect
) -> None:
    phone, watch = await two_devices(server, connect)
    one, _ = await begun(phone, "squat", 5)
    other, _ = await begun(watch, "lunge", 4)
    await phone.until(lambda: bool(hints(phone, other)))
    before = await shown(phone, one), await shown(phone, other)
    await phone.push(phone.op("workout.merge", other, {"into": one}))
    merged = await shown(watch, one)
    assert merged["merged"] == [other]
    assert sorted(sets(merged)) == [("lunge", 4, other), ("squat", 5, None)]
    assert merged["totals"]["sets"] == 2
    assert (await shown(watch, other))["merged_into"] == one
    await phone.until(lambda: {"hint": "same_workout", "withdrawn": True} in hints_gone(phone, other))
    await watch.push(watch.op("workout.unmerge", other, base=9))
    assert (await shown(phone, one))["exercises"] == before[0]["exercises"]
    assert sets(await shown(phone, other)) == sets(before[1])


def hints_gone(wire: Wire, workout: str) -> list[dict[str, Any]]:
    gone = [one for one in wire.events("insight") if one["workout"] == workout and one.get("withdrawn")]
    return [{"hint": "same_workout", "withdrawn": True} for one in gone if one["kind"] == "hint"]


async def test_what_is_logged_in_a_merged_workout_appears_in_the_other_at_once(
    server: Server, connect: Connect
) -> None:
    phone, watch = await two_devices(server, connect)
    one, _ = await begun(phone, "squat", 5)
    other, entry = await begun(watch, "lunge", 4)
    await phone.push(phone.op("workout.merge", other, {"into": one}))
    await watch.push(log_set(watch, other, entry, 3))
    assert sorted(sets(await shown(phone, one))) == [
        ("lunge", 3, other),
        ("lunge", 4, other),
        ("squat", 5, None),
    ]

    def counted() -> list[int]:
        told = [i for i in phone.events("insight") if i["workout"] == one and i["kind"] == "totals"]
        return [insight["totals"]["sets"] for insight in told]

    await phone.until(lambda: counted()[-1:] == [3])


async def test_a_merged_workout_is_not_lost_with_the_other_one(server: Server, connect: Connect) -> None:
    phone, watch = await two_devices(server, connect)
    one, _ = await begun(phone, "squat", 5)
    other, _ = await begun(watch, "lunge", 4)
    await phone.push(phone.op("workout.merge", other, {"into": one}))
    await watch.push(watch.op("workout.remove", one, base=4))
    host = await server.hosts.open(phone.user)
    # The merge does not touch the one named, so that its removal stands; the merged one is there by itself.
    assert host.merged.root(other) == other
    assert sets(await shown(phone, other)) == [("lunge", 4, None)]
    await phone.push(phone.op("workout.restore", one, base=10))
    assert len(sets(await shown(phone, one))) == 2


async def test_a_host_opened_anew_knows_what_is_merged_projected_or_not(
    server: Server, connect: Connect
) -> None:
    phone, watch = await two_devices(server, connect)
    one, _ = await begun(phone, "squat", 5)
    other, _ = await begun(watch, "lunge", 4)
    await phone.push(phone.op("workout.merge", other, {"into": one}))
    expected = await shown(phone, one)
    for flushed in (False, True):
        if flushed:
            await (await server.hosts.open(phone.user)).flush()
        known = await server.hosts.open(phone.user)
        fresh = Host(server.hosts, phone.user, known.stream, known.epoch)
        async with server.db.read() as session:
            opening = await read_opening(session, phone.user, None)
        assert opening is not None
        await fresh.open(opening)
        told = await fresh.state(one)
        fresh.close()
        assert told is not None
        assert told.document == expected
