from __future__ import annotations

import io
import uuid
from types import SimpleNamespace

import msgspec
import pytest
from rich.console import Console
from sqlalchemy import delete, select

from fitai.app.limits import Limits
from fitai.app.rebuild import next_deadline, rebuild
from fitai.persistence.models import ExerciseBests, SetRow, Snapshot, WorkoutRow
from fitai.persistence.projections import Projector
from fitai.sync.fold import fold
from tests.persistence.group_people import GroupPeople

SQUAT = "0192f3c4-7b1a-7c3e-9d2f-00000000000a"
WORKOUT = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
LIMITS = Limits(idle_pause_seconds=100, idle_finish_seconds=1000)

PLAYED = [
    ("workout.create", {"title": "Legs"}),
    ("exercise.add", {"_entity": SQUAT, "exercise": "squat", "position": "a"}),
    (
        "set.log",
        {
            "exercise_entry": SQUAT,
            "type": "working",
            "slot": 1,
            "reps": 5,
            "load": {"value": 100, "unit": "kg"},
        },
    ),
    (
        "set.log",
        {"exercise_entry": SQUAT, "type": "working", "slot": 2, "reps": 5, "rest_s": 60, "done": True},
    ),
]
TABLES = (WorkoutRow, SetRow, ExerciseBests, Snapshot)


async def rows(db):
    found = {}
    async with db.read() as session:
        for table in TABLES:
            columns = list(table.__table__.columns)
            found[table.__tablename__] = sorted(map(repr, (await session.execute(select(*columns))).all()))
    return found


async def rebuilt(db):
    screen = io.StringIO()
    done = await rebuild(db, LIMITS, Console(file=screen, width=100))
    return done, screen.getvalue()


async def test_everything_is_written_anew_from_the_log(db, person):
    for number in range(3):
        someone = await person(f"p{number}@example.com")
        await someone.log(str(uuid.uuid4()), *PLAYED)
        await someone.log(WORKOUT, *PLAYED)
    done, screen = await rebuilt(db)
    assert (done.streams, done.workouts) == (3, 6)
    assert "3/3" in screen
    assert "6 workouts" in screen
    first = await rows(db)
    assert len(first["workouts"]) == 6
    assert len(first["sets"]) == 12
    async with db.write() as session:
        for table in TABLES:
            await session.execute(delete(table))
    await rebuilt(db)
    assert await rows(db) == first


async def test_nothing_lags_behind_afterwards(db, person):
    ada = await person()
    await ada.log(WORKOUT, *PLAYED)
    assert await Projector(db).lagging(10) == [ada.user]
    await rebuilt(db)
    assert await Projector(db).lagging(10) == []


async def test_a_database_without_people_is_rebuilt_too(db):
    done, _ = await rebuilt(db)
    assert (done.streams, done.workouts) == (0, 0)


@pytest.mark.parametrize(
    ("last", "due_after_s"),
    [
        ([], 60),  # the rest that the last set began
        ([("rest.skip", {})], 100),
        ([("rest.skip", {}), ("workout.pause", {})], 1000),
        ([("rest.skip", {}), ("workout.complete", {})], None),
    ],
)
async def test_the_servers_next_deadline_follows_from_state_and_limits(db, person, last, due_after_s):
    ada = await person()
    records = await ada.log(WORKOUT, *PLAYED, *last)
    due = next_deadline(LIMITS)(fold(WORKOUT, ada.user, records).workout, records)
    assert due == (None if due_after_s is None else records[-1].te + due_after_s * 1000)


async def test_the_servers_own_pause_does_not_count_as_a_sign_of_life(db, person):
    ada = await person()
    records = await ada.log(WORKOUT, *PLAYED, ("rest.skip", {}))
    heard = records[-1].rt
    records += await ada.log(WORKOUT, ("workout.pause", {"reason": "idle"}), device=0)
    late = [*records[:-1], msgspec.structs.replace(records[-1], rt=heard + 900_000, te=heard)]
    due = next_deadline(LIMITS)(fold(WORKOUT, ada.user, late).workout, late)
    assert due == heard + 1_000_000


async def test_a_group_is_no_user_and_its_log_no_workout(db, person):
    ada = await person()
    await ada.log(WORKOUT, *PLAYED)
    group = GroupPeople(db, ada.appender, [SimpleNamespace(owner=ada.user)])
    group.book.create()
    await group.begin()
    done, _ = await rebuilt(db)
    assert (done.streams, done.workouts) == (1, 1)
    assert group.id not in str(await rows(db))
