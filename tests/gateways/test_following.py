"""What is derived is told to all: at once after a quiet moment, and together while op comes after op."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from fitai.gateways.live import following, pace
from fitai.persistence.log import Log
from fitai.persistence.workouts import Workouts
from tests.gateways.conftest import Server, Wire, new_id
from tests.gateways.test_live import Connect

KG = {"type": "working", "reps": 5}


async def begun(wire: Wire, exercise: str = "squat", **create: Any) -> tuple[str, str]:
    """A workout with one exercise; returns (workout, entry)."""
    workout, entry = new_id(), new_id()
    await wire.push(
        wire.op("workout.create", workout, create),
        wire.op("workout.start", workout),
        wire.op("exercise.add", workout, {"exercise": exercise, "position": "a"}, entity=entry),
    )
    return workout, entry


async def lift(wire: Wire, workout: str, entry: str, kg: int) -> None:
    value = {"exercise_entry": entry, "load": {"value": kg, "unit": "kg"}, **KG}
    await wire.push(wire.op("set.log", workout, value, entity=new_id()))


def totals(wire: Wire, workout: str) -> list[int]:
    """The sets by each of the totals that a device was told."""
    told = [one for one in wire.events("insight") if (one["kind"], one["workout"]) == ("totals", workout)]
    return [one["totals"]["sets"] for one in told]


async def until_told(wire: Wire, workout: str, sets: int) -> None:
    await wire.until(lambda: totals(wire, workout)[-1:] == [sets])


async def test_sets_that_follow_one_another_are_told_of_together(server: Server, connect: Connect) -> None:
    phone = await connect(server, *(await two(server))[:2])
    workout, entry = await begun(phone)
    for kg in range(60, 70):
        await lift(phone, workout, entry, kg)
    await until_told(phone, workout, 10)
    assert len(totals(phone, workout)) < 10


async def test_a_set_after_a_quiet_moment_is_followed_at_once(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = await connect(server, *(await two(server))[:2])
    workout, entry = await begun(phone)
    await phone.until(lambda: bool(totals(phone, workout)))
    host = await server.hosts.open(phone.user)
    monkeypatch.setattr(pace, "EVERY_S", 3600.0)
    host.following._followed_at -= 3600.0
    await lift(phone, workout, entry, 60)
    await until_told(phone, workout, 1)


async def test_what_waits_to_be_told_is_told_to_all_when_another_device_comes(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, one, other = await two(server)
    phone, watch = await connect(server, user, one), await connect(server, user, other)
    workout, entry = await begun(phone)
    await watch.until(lambda: bool(totals(watch, workout)))
    monkeypatch.setattr(pace, "EVERY_S", 3600.0)  # nothing is told by the clock
    await lift(phone, workout, entry, 60)
    third = await connect(server, user, await server.enrol(user))
    await until_told(third, workout, 1)
    await until_told(watch, workout, 1)
    await until_told(phone, workout, 1)


async def test_a_workout_is_judged_against_one_that_is_not_projected_yet(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And against what became of that since."""
    monkeypatch.setattr(following, "FLUSH_AFTER_S", 3600.0)
    phone = await connect(server, *(await two(server))[:2])
    first, entry = await begun(phone)
    await lift(phone, first, entry, 100)
    later, again = await begun(phone)
    await lift(phone, later, again, 105)

    def record() -> list[int]:
        told = [one for one in phone.events("insight") if one["workout"] == later and one["kind"] == "record"]
        return [one["previous"] for one in told if one["type"] == "load" and one["value"] == 107]

    await until_told(phone, later, 1)
    await lift(phone, first, entry, 106)
    await lift(phone, later, again, 107)
    await phone.until(lambda: record()[-1:] == [106])
    async with server.db.read() as session:
        row = await Log(session).stream_of(phone.user)
    assert row is not None
    assert row.projected == 0


async def two(server: Server) -> tuple[str, int, int]:
    """(user, device, another device)."""
    user = await server.user()
    return user, await server.enrol(user), await server.enrol(user)


async def test_a_rest_is_projected_soon_though_op_comes_after_op(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is met by another node, should this one die."""
    monkeypatch.setattr(following, "FLUSH_EVERY_S", 3600.0)
    phone = await connect(server, *(await two(server))[:2])
    workout, _ = await begun(phone)
    host = await server.hosts.open(phone.user)
    await host.flush()
    host.following._flushed_at = asyncio.get_running_loop().time()
    await phone.push(phone.op("rest.start", workout, {"seconds": 90}))
    until = server.clock() + 90_000

    async def due() -> Sequence[tuple[str, str, int]]:
        async with server.db.read() as session:
            return await Workouts(session).due(until, 1)

    async with asyncio.timeout(10):
        while not await due():
            await asyncio.sleep(0.02)
