from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from fitai.app.failures import Refused
from fitai.app.replay import find_history, print_timeline
from fitai.persistence.devices import Devices
from tests.persistence.group_people import GroupPeople

WORKOUT = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
SQUAT = "0192f3c4-7b1a-7c3e-9d2f-00000000000a"

CREATED = ("workout.create", {"title": "Legs", "tz": "Europe/Berlin"})
SQUATTED = (
    "set.log",
    {"exercise_entry": SQUAT, "type": "working", "slot": 1, "reps": 5, "load": {"value": 100, "unit": "kg"}},
)
STORY = [
    CREATED,
    ("exercise.add", {"_entity": SQUAT, "exercise": "squat", "position": "a"}),
    ("workout.resume", {}),
    SQUATTED,
    ("workout.complete", {"rating": 8}),
]


async def printed(db, workout=WORKOUT, email=None, width=200):
    out = io.StringIO()
    print_timeline(await find_history(db, workout, email), Console(file=out, width=width, highlight=False))
    return out.getvalue()


async def test_a_timeline_has_a_line_for_every_record_with_its_place_and_verdict(db, person):
    ada = await person()
    await ada.log(WORKOUT, *STORY)
    lines = (await printed(db)).splitlines()
    assert lines[0] == f"Legs  {WORKOUT}"
    assert lines[1] == "of ada@example.com, times in Europe/Berlin"
    assert "Thursday, 28 May 2026" in lines
    told = [line.split("  ") for line in lines if " seq " in line]
    assert len(told) == len(STORY)
    assert told[0][1:5] == ["22:26:40.000", "seq 1", "rev 1", "Phone"]
    assert lines[-1] == "completed after 5 records: 1 set, 5 reps, 500 kg moved"


async def test_a_void_record_says_why(db, person):
    ada = await person()
    await ada.log(WORKOUT, *STORY)
    void = next(line for line in (await printed(db)).splitlines() if "resumed" in line)
    assert void.endswith("void (illegal_edge: from planned, trigger resume)")


async def test_lines_are_not_broken_where_the_output_is_narrow(db, person):
    ada = await person()
    await ada.log(WORKOUT, *STORY)
    narrow, wide = await printed(db, width=20), await printed(db)
    assert narrow == wide


async def test_the_server_and_the_rest_surface_are_named(db, person):
    ada = await person()
    async with db.write() as session:
        api = await Devices(session).api_device(ada.user, 1, 0)
    await ada.log(WORKOUT, CREATED, device=api)
    await ada.log(WORKOUT, ("workout.start", {}))
    await ada.log(WORKOUT, ("workout.pause", {"reason": "idle"}), device=0)
    text = await printed(db)
    assert "Phone (REST)" in text
    assert "server" in text
    assert "paused (idle)" in text


async def test_an_id_that_two_people_have_asks_whose(db, person):
    for email in ("ada@example.com", "bob@example.com"):
        someone = await person(email)
        await someone.log(WORKOUT, CREATED)
    with pytest.raises(Refused, match=r"2 users have a workout .*--user"):
        await find_history(db, WORKOUT, None)
    history = await find_history(db, WORKOUT.upper(), "BOB@example.com")
    assert history.owner.email == "bob@example.com"


@pytest.mark.parametrize(
    ("workout", "email", "sentence"),
    [
        ("legs", None, "no workout's id"),
        ("0192f3c4-0000-7c3e-9d2f-5a6b7c8d9e0f", None, "There is no workout"),
        ("0192f3c4-0000-7c3e-9d2f-5a6b7c8d9e0f", "ada@example.com", "of ada@example.com"),
        (WORKOUT, "nobody@example.com", "no account"),
    ],
)
async def test_what_cannot_be_found_is_told_in_a_sentence(db, person, workout, email, sentence):
    ada = await person()
    await ada.log(WORKOUT, CREATED)
    with pytest.raises(Refused, match=sentence):
        await find_history(db, workout, email)


async def test_a_group_is_no_workout(db, person):
    ada = await person()
    group = GroupPeople(db, ada.appender, [SimpleNamespace(owner=ada.user)])
    group.book.create()
    await group.begin()
    with pytest.raises(Refused, match="There is no workout"):
        await printed(db, group.id)
