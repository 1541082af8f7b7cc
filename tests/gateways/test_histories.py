"""What records are judged against costs the same in a log of any length, by marks laid in the background."""

from __future__ import annotations

import asyncio

from sqlalchemy import func, select

from fitai.persistence import histories
from fitai.persistence.models import ExerciseMark
from tests.gateways.conftest import Server, Wire, new_id

MINUTE = 60_000


async def trained(wire: Wire, at: int, kg: int) -> str:
    """Push a workout with one set of squats; returns its id."""
    workout, entry = new_id(), new_id()
    load = {"type": "working", "load": {"value": kg, "unit": "kg"}, "reps": 5}
    ack = await wire.push(
        wire.op("workout.create", workout, at=at),
        wire.op("workout.start", workout, at=at),
        wire.op("exercise.add", workout, {"exercise": "squat", "position": "a"}, entity=entry, at=at),
        wire.op("set.log", workout, {"exercise_entry": entry, **load}, entity=new_id(), at=at + 1),
    )
    assert {result["verdict"] for result in ack["results"]} == {"applied"}
    return workout


async def marks(server: Server) -> int:
    async with server.db.read() as session:
        return (await session.execute(select(func.count()).select_from(ExerciseMark))).scalar_one()


async def test_a_long_way_back_is_shortened_for_the_next_record_which_stays_right(
    server, connect, monkeypatch
):
    monkeypatch.setattr(histories, "STRIDE", 2)
    user = await server.user()
    phone = await connect(server, user, await server.enrol(user))
    begun = server.clock() - 100 * MINUTE
    for place, kg in enumerate((60, 90, 50, 70, 80)):
        await trained(phone, begun + place * MINUTE, kg)
    await (await server.hosts.open(user)).flush()
    last = await trained(phone, begun + 9 * MINUTE, 40)
    await phone.event("insight", lambda i: (i["kind"], i["workout"]) == ("totals", last))
    await asyncio.wait([server.hosts._layer])
    assert await marks(server) >= 1

    async def record(workout):
        return await phone.event(
            "insight", lambda i: (i["kind"], i["workout"], i.get("type")) == ("record", workout, "load")
        )

    beaten = await record(await trained(phone, begun + 10 * MINUTE, 95))
    assert beaten["previous"] == 90
    # An old workout comes late, from below the marks, and is what the next one has to beat.
    await trained(phone, begun - MINUTE, 120)
    beaten = await record(await trained(phone, begun + 11 * MINUTE, 125))
    assert beaten["previous"] == 120


async def test_closing_does_not_wait_for_marks_that_are_still_to_be_laid(server, connect, monkeypatch):
    monkeypatch.setattr(histories, "STRIDE", 1)
    monkeypatch.setattr(histories, "LAID", 1)
    user = await server.user()
    phone = await connect(server, user, await server.enrol(user))
    begun = server.clock() - 100 * MINUTE
    await trained(phone, begun, 60)
    host = await server.hosts.open(user)
    await host.flush()
    laying, go_on = asyncio.Event(), asyncio.Event()

    async def endless(*_: object) -> bool:
        laying.set()
        await go_on.wait()
        return True

    monkeypatch.setattr("fitai.gateways.live.hosts.lay", endless)
    await trained(phone, begun + MINUTE, 70)
    await laying.wait()
    closing = asyncio.create_task(server.hosts.close())
    await asyncio.wait([closing], timeout=0.1)
    assert not closing.done()  # what is under way comes to its end
    go_on.set()
    await closing
