"""Deadlines of the formats against examples that were worked out by hand."""

from __future__ import annotations

import msgspec
import pytest

from fitai.engine.groups.formats import Circuit, Format, Phase, current, deadlines, limit, plan
from fitai.engine.kinds import BadValue, convert
from tests.group_book import GroupBook

TASKS = [{"exercise": "pull-up", "reps": 5}, {"exercise": "run", "distance_m": 200}]


def _format(**value) -> Format:
    return convert(value, Format)


def _told(book: GroupBook) -> list[tuple]:
    """(kind, round, station, begins, ends) of all phases, by the wall, in seconds."""

    def seconds(ms: int | None) -> float | None:
        return None if ms is None else ms / 1000

    found = deadlines(book.g.phases, book.g.clock)
    return [(d.phase.kind, d.phase.round, d.phase.station, seconds(d.at), seconds(d.until)) for d in found]


def test_every_minute_on_the_minute():
    book = GroupBook().create(
        format={"type": "emom", "rounds": 3, "stations": [{"title": "a"}, {"title": "b"}]}
    )
    book.live(100)
    assert _told(book) == [("work", 1, 0, 100, 160), ("work", 2, 1, 160, 220), ("work", 3, 0, 220, 280)]


def test_tabata_is_twenty_seconds_and_ten_eight_times():
    book = GroupBook().create(format={"type": "tabata"}).live(1000)
    told = _told(book)
    assert told[:3] == [
        ("work", 1, None, 1000, 1020),
        ("rest", 1, None, 1020, 1030),
        ("work", 2, None, 1030, 1050),
    ]
    assert told[-1] == ("rest", 8, None, 1230, 1240)
    assert len(told) == 16


def test_a_circuit_rests_between_stations_and_not_after_the_last():
    book = GroupBook().create(
        format={
            "type": "circuit",
            "stations": [{"exercise": "squat"}, {"exercise": "row"}],
            "work_ms": 40_000,
            "rest_ms": 20_000,
            "rounds": 2,
        }
    )
    assert _told(book.live(0.0 + 10)) == [
        ("work", 1, 0, 10, 50),
        ("rest", 1, 0, 50, 70),
        ("work", 1, 1, 70, 110),
        ("rest", 1, 1, 110, 130),
        ("work", 2, 0, 130, 170),
        ("rest", 2, 0, 170, 190),
        ("work", 2, 1, 190, 230),
    ]


def test_a_circuit_without_rests():
    circuit = Circuit([], 1_000, 0, 3)
    circuit = msgspec.structs.replace(circuit, stations=[*_format(type="led", steps=[{}]).steps])
    assert [phase.until_ms for phase in plan(circuit)] == [1_000, 2_000, 3_000]


@pytest.mark.parametrize(
    "format_",
    [
        {"type": "amrap", "tasks": TASKS, "limit_ms": 720_000},
        {"type": "for_time", "tasks": TASKS, "rounds": 3, "limit_ms": 720_000},
        {"type": "race", "measure": {"of": "distance"}, "limit_ms": 720_000},
        {"type": "open", "limit_ms": 720_000},
    ],
)
def test_twelve_minutes_are_one_phase(format_):
    book = GroupBook().create(format=format_).live(60)
    assert _told(book) == [("work", 1, None, 60, 780)]


def test_open_ends_when_somebody_says_so():
    book = GroupBook().create().live(60)
    assert _told(book) == [("work", 1, None, 60, None)]
    assert limit(book.g.format) is None


def test_a_pause_shifts_what_is_to_come_and_nothing_else():
    book = GroupBook().create(format={"type": "emom", "rounds": 3}).live(100)
    book("group.pause", 180)  # 20 s into the second minute
    assert _told(book) == [
        ("work", 1, None, 100, 160),
        ("work", 2, None, 160, None),
        ("work", 3, None, None, None),
    ]
    book("group.resume", 300, in_ms=5_000)
    assert _told(book) == [
        ("work", 1, None, 100, 160),
        ("work", 2, None, 160, 345),
        ("work", 3, None, 345, 405),
    ]


def test_a_phase_that_begins_just_when_it_is_paused_begins_afterwards():
    book = GroupBook().create(format={"type": "emom", "rounds": 2}).live(100)
    book("group.pause", 160)
    book("group.resume", 200, in_ms=1_000)
    assert _told(book) == [("work", 1, None, 100, 201), ("work", 2, None, 201, 261)]


def test_the_steps_of_a_led_class_begin_when_they_are_called():
    steps = [
        {"title": "warm up"},
        {"title": "squats", "exercise": "squat", "target": {"reps": 5}},
        {"title": "end"},
    ]
    book = GroupBook().create(format={"type": "led", "steps": steps}).live(100)
    assert book("group.next", 130, to=1).verdict == "applied"
    assert _told(book) == [("work", 1, 0, 100, 131), ("work", 2, 1, 131, None)]
    book("group.pause", 140)
    book("group.resume", 150, in_ms=1_000)
    book("group.next", 160, to=2, in_ms=0)
    assert _told(book) == [("work", 1, 0, 100, 131), ("work", 2, 1, 131, 160), ("work", 3, 2, 160, None)]


def test_a_step_that_was_called_just_before_a_pause_begins_after_it():
    book = GroupBook().create(format={"type": "led", "steps": [{}, {}]}).live(100)
    book("group.next", 110, to=1, in_ms=2_000)
    book("group.pause", 111)
    assert _told(book)[1] == ("work", 2, 1, None, None)
    book("group.resume", 200, in_ms=1_000)  # 1 s of the 2 are left
    assert _told(book)[1] == ("work", 2, 1, 202, None)


@pytest.mark.parametrize(
    ("elapsed", "phase"),
    [(0, 0), (19_999, 0), (20_000, 1), (29_999, 1), (30_000, 2), (239_999, 15), (240_000, None)],
)
def test_the_current_phase(elapsed, phase):
    phases = plan(_format(type="tabata"))
    found = current(phases, elapsed)
    assert found == (None if phase is None else phases[phase])


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"type": "yoga"}, "type"),
        ({"type": "emom"}, "rounds"),
        ({"type": "emom", "rounds": 501}, "rounds"),
        ({"type": "led", "steps": []}, "steps"),
        ({"type": "race", "measure": {"of": "reps", "by": "dots"}, "limit_ms": 60_000}, "measure"),
        ({"type": "race", "measure": {"of": "volume", "by": "dots"}, "limit_ms": 60_000, "goal": 5}, "value"),
        ({"type": "race", "measure": {"of": "reps"}, "limit_ms": 9_999}, "limit_ms"),
        ({"type": "amrap", "tasks": [{"exercise": "a"}], "limit_ms": 60_000}, "tasks[0]"),
        (
            {
                "type": "amrap",
                "tasks": [{"exercise": "a", "reps": 1, "duration_ms": 1_000}],
                "limit_ms": 60_000,
            },
            "tasks[0]",
        ),
        ({"type": "amrap", "tasks": [{"exercise": "a", "distance_m": 0}], "limit_ms": 60_000}, "tasks[0]"),
        (
            {"type": "amrap", "tasks": [{"exercise": "a", "distance_m": 0.0001}], "limit_ms": 60_000},
            "tasks[0]",
        ),
        ({"type": "amrap", "tasks": [{"exercise": "a", "reps": 1}] * 2, "limit_ms": 60_000}, "value"),
        ({"type": "circuit", "stations": [{}] * 200, "work_ms": 1_000, "rest_ms": 0, "rounds": 500}, "value"),
        ({"type": "led", "steps": [{"target": {"a": "x" * 3_000}}]}, "steps[0]"),
    ],
)
def test_what_no_format_can_be(wrong, field):
    with pytest.raises(BadValue) as caught:
        _format(**wrong)
    assert caught.value.detail["field"] == field


def test_the_longest_circuit_is_bounded():
    phases = plan(_format(type="circuit", stations=[{}] * 2, work_ms=1_000, rest_ms=1_000, rounds=500))
    assert len(phases) == 1_999
    assert phases[0] == Phase("work", 1, 0, 0, 1_000)
