"""What records are judged against costs the same in a log of any length, by marks laid in the background."""

from __future__ import annotations

import asyncio

from sqlalchemy import func, select

from fitai.gateways.live.histories import Histories
from fitai.persistence import histories
from fitai.persistence.database import Database
from fitai.persistence.histories import Asked
from fitai.persistence.log import Log
from fitai.persistence.models import ExerciseMark
from tests.gateways.conftest import Server, Wire, new_id
from tests.persistence.test_histories import NOW, Diary, lifted

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


async def diaries(db: Database, server: Server, count: int) -> list[Diary]:
    """People with a log each, in the one a better lift than in the other."""
    made = []
    for place in range(count):
        async with db.read() as session:
            stream = await Log(session).stream_of(await server.user())
        made.append(Diary(db, stream))
        await made[-1].write((new_id(), NOW, {"bench": lifted(place)}))
    return made


async def test_questions_that_wait_together_share_a_session_whoever_asks(server, monkeypatch):
    people = await diaries(server.db, server, 8)
    sessions, answers = [], histories.answers

    async def noting(session, questions, pages=None):
        sessions.append(len(questions))
        return await answers(session, questions, pages)

    monkeypatch.setattr("fitai.gateways.live.histories.answers", noting)
    together, asked = Histories(server.db), Asked([new_id()], None, {"bench", "curl"})
    found = await asyncio.gather(*(together.before(each.stream, [asked]) for each in people))
    assert [answer.found for answer in found] == [[each.before(asked)] for each in people]
    assert sessions == [8]
    assert len({repr(answer.found) for answer in found}) == len(people)


async def test_a_long_way_keeps_no_other_question_waiting(server, monkeypatch):
    long, short = await diaries(server.db, server, 2)
    await long.write_many(2 * histories.STRIDE)
    answers, go_on = histories.answers, asyncio.Event()

    async def slow(session, questions, pages=None):
        if pages is None:
            await go_on.wait()
        return await answers(session, questions, pages)

    monkeypatch.setattr("fitai.gateways.live.histories.answers", slow)
    together, asked = Histories(server.db), Asked([new_id()], None, {"bench"})
    waiting = asyncio.create_task(together.before(long.stream, [asked]))
    assert (await together.before(short.stream, [asked])).found == [short.before(asked)]
    assert not waiting.done()
    go_on.set()
    assert (await waiting).found == [long.before(asked)]


async def test_a_question_that_cannot_be_asked_fails_alone(server):
    [diary] = await diaries(server.db, server, 1)
    together, asked = Histories(server.db), Asked([new_id()], None, {"bench"})
    first, second, third = await asyncio.gather(
        together.before(2**70, [asked]),
        together.before(diary.stream, [asked]),
        together.before(2**70, [asked]),
        return_exceptions=True,
    )
    assert isinstance(first, Exception)
    assert isinstance(third, Exception)
    assert second.found == [diary.before(asked)]
