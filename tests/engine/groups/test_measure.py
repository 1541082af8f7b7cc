from __future__ import annotations

import pytest

from fitai.engine.groups.clock import GRACE_MS
from fitai.engine.groups.measure import Body, Measure, Progress, measured, on_board, progress
from tests.group_book import GroupBook
from tests.playbook import Playbook

KG = 1_000_000_000
RACE = {"type": "race", "measure": {"of": "reps"}, "limit_ms": 600_000}
BODY = Body(80 * KG, "male")


def _race(of: str, **more) -> dict:
    by = more.pop("by", "absolute")
    return {**RACE, "measure": {"of": of, "by": by}, **more}


def _group(format_: dict) -> GroupBook:
    """Live from second 100 on, with host 1 and participant 2."""
    book = GroupBook().create(format=format_)
    book.join(2)
    return book.live(100)


def _workout() -> Playbook:
    w = Playbook().create()
    w.exercise("squat")
    w.exercise("run")
    return w


def _progress(book: GroupBook, w: Playbook, body: Body = BODY, no: int = 2) -> Progress:
    return progress(book.g, book.g.members[no], w.w, body)


def _measure(book: GroupBook, w: Playbook, body: Body = BODY) -> Measure | None:
    return _progress(book, w, body).measure


# -- what counts -----------------------------------------------------------------------------------


def test_only_what_is_done_while_the_clock_runs_counts_and_no_warm_up():
    book, w = _group(RACE), _workout()
    w.log("squat", 1, 99, reps=1)  # before the start, whoever joined when
    w.log("squat", 2, 100, reps=2)
    w.log("squat", 3, 101, reps=4, type="warmup")
    w.log("squat", 4, 102, reps=8, done=False)
    w.log("squat", 5, 700 + GRACE_MS / 1000, reps=16)  # typed after the buzzer
    w.log("squat", 6, 700.001 + GRACE_MS / 1000, reps=32)
    assert _measure(book, w) == Measure(18)


def test_a_pause_stops_it_for_all_but_what_was_just_done():
    book, w = _group(RACE), _workout()
    book("group.pause", 200)
    book("group.resume", 300, in_ms=10_000)
    for slot, at in enumerate((199, 200 + GRACE_MS / 1000, 250, 305, 310)):
        w.log("squat", slot, at, reps=2**slot)
    assert _measure(book, w) == Measure(1 + 2 + 16)


def test_before_anybody_began_nothing_counts():
    book, w = GroupBook().create(format=RACE), _workout()
    w.log("squat", 1, 50, reps=5)
    assert _progress(book, w, no=1).measure == Measure(0)
    book("group.start", 60, in_ms=10_000)
    w.log("squat", 2, 69, reps=5)
    w.log("squat", 3, 70, reps=3)  # nothing was folded since the start: time alone began it
    assert _progress(book, w, no=1).measure == Measure(3)


def test_whoever_comes_late_is_measured_from_the_start():
    book, w = _group(RACE), _workout()
    w.log("squat", 1, 110, reps=5)
    book.now = 300_000
    book.join(3)
    w.log("squat", 2, 310, reps=7)
    assert progress(book.g, book.g.members[3], w.w).measure == Measure(12)


def test_whoever_leaves_keeps_what_they_did_until_then():
    book, w = _group(RACE), _workout()
    w.log("squat", 1, 110, reps=5)
    book("member.leave", 120, by=2)
    w.log("squat", 2, 130, reps=7)
    assert _measure(book, w) == Measure(5)
    book("member.join", 140, by=2)
    assert _measure(book, w) == Measure(12)


def test_edits_and_removals_correct_it():
    book, w = _group(_race("volume")), _workout()
    one = w.log("squat", 1, 110, reps=5, load=100)
    two = w.log("squat", 2, 120, reps=5, load=(100, "lb"))
    lb = 453_592_370
    assert _measure(book, w) == Measure(500 * KG + 500 * lb, None, True)
    w("set.edit", 900, entity=one, field="reps", value=6)  # long after the end: when it was done counts
    w("set.remove", 901, entity=two)
    assert _measure(book, w) == Measure(600 * KG, None, True)
    w("workout.remove", 902)
    assert _measure(book, w) == Measure(0, None, True)


def test_no_workout_is_nothing_done():
    book = _group(RACE)
    assert progress(book.g, book.g.members[2], None) == Progress(measure=Measure(0))


def test_progress_tells_where_somebody_is():
    book, w = _group({"type": "open"}), _workout()
    w.log("squat", 1, 110, reps=5, load=100, rpe=8, rest_s=60)
    w.log("run", 2, 200, distance_m=400.5, duration_ms=90_000)
    w.log("squat", 3, 210, reps=3, load=(225, "lb"), rest_s=90)
    lb = 453_592_370
    assert _progress(book, w) == Progress(
        status="active",
        phase="resting",
        rest_ends_at=300_000,
        exercise="squat",
        sets=3,
        reps=8,
        distance_mm=400_500,
        duration_ms=90_000,
        volume_ug=500 * KG + 675 * lb,
        last={"exercise": "squat", "reps": 3, "load": {"value": 225, "unit": "lb"}},
        measure=None,
    )
    w("workout.pause", 220)
    assert _progress(book, w).rest_ends_at is None


# -- measures --------------------------------------------------------------------------------------


def test_kilograms_and_pounds_are_one():
    kg, lb = _workout(), _workout()
    kg.log("squat", 1, 110, reps=100, load=45.359)
    lb.log("squat", 1, 110, reps=100, load=(100, "lb"))
    lb.log("squat", 2, 111, reps=1, load=(0, "lb"))
    book = _group(_race("volume"))
    assert _measure(book, kg).amount == 4_535_900_000_000
    assert _measure(book, lb).amount == 4_535_923_700_000


def test_distance_is_in_millimetres():
    book, w = _group(_race("distance")), _workout()
    for slot in range(3):
        w.log("run", slot, 110, distance_m=0.1)
    assert _measure(book, w) == Measure(300)


def test_volume_by_body_weight_and_by_dots():
    w = _workout()
    w.log("squat", 1, 110, reps=6, load=100)
    by_weight = _group(_race("volume", by="body_weight"))
    assert _measure(by_weight, w, Body(80 * KG)) == Measure(7_500, None, True)  # 7.5 times
    assert _measure(by_weight, w, Body(60 * KG)) == Measure(10_000, None, True)
    dots = _group(_race("volume", by="dots"))
    assert _measure(dots, w, Body(83 * KG, "male")).amount == pytest.approx(405_050, abs=5)
    assert (_measure(dots, w, Body(83 * KG, "female")).amount or 0) > 405_050


@pytest.mark.parametrize("body", [Body(), Body(sex="male"), Body(80 * KG), Body(80 * KG, "other")])
def test_where_no_body_is_known_there_is_no_amount(body):
    w = _workout()
    w.log("squat", 1, 110, reps=6, load=100)
    assert _measure(_group(_race("volume", by="dots")), w, body) == Measure(None, None, True)


def test_the_first_to_a_goal_is_known_by_the_set_that_reached_it():
    book, w = _group(_race("reps", goal=10)), _workout()
    w.log("squat", 1, 110, reps=6)
    w.log("squat", 2, 130, reps=3)
    assert _measure(book, w) == Measure(9)
    third = w.log("squat", 3, 150, reps=3)
    w.log("squat", 4, 170, reps=9)
    assert _measure(book, w) == Measure(21, 50_000)
    w("set.remove", 180, entity=third)
    assert _measure(book, w) == Measure(18, 70_000)


def test_a_late_sync_moves_the_moment_at_which_a_goal_was_reached():
    book, w = _group(_race("reps", goal=10)), _workout()
    w.log("squat", 1, 110, reps=6)
    w.log("squat", 2, 150, reps=6)
    assert _measure(book, w).time_ms == 50_000
    w.log("squat", 3, 120, reps=6, rest_s=None)  # another device brings what was done at 120
    assert _measure(book, w) == Measure(18, 20_000)


def test_a_set_counts_when_it_was_done_not_when_it_was_first_written():
    book, w = _group(_race("reps", goal=10)), _workout()
    w.log("squat", 1, 110, reps=6, done=False)
    w.log("squat", 2, 120, reps=6)
    w.log("squat", 1, 150, reps=6, done=True)
    assert _measure(book, w) == Measure(12, 50_000)
    w("set.edit", 160, entity=w.log("squat", 3, 155, reps=1), field="reps", value=2)
    assert _progress(book, w).last["reps"] == 2


def test_pauses_are_taken_out_of_a_time():
    book, w = _group(_race("reps", goal=10)), _workout()
    book("group.pause", 110)
    book("group.resume", 199, in_ms=1_000)
    w.log("squat", 1, 205, reps=10)
    assert _measure(book, w).time_ms == 15_000


def test_a_race_may_count_some_exercises_only():
    book, w = _group(_race("reps", exercises=["squat"])), _workout()
    w.log("squat", 1, 110, reps=6)
    w.log("run", 2, 120, reps=6)
    assert _measure(book, w) == Measure(6)


TASKS = [{"exercise": "squat", "reps": 10}, {"exercise": "run", "distance_m": 200}]


def test_amrap_counts_whole_rounds_and_what_is_done_of_the_next():
    book, w = _group({"type": "amrap", "tasks": TASKS, "limit_ms": 600_000}), _workout()
    w.log("squat", 1, 110, reps=10)
    assert _measure(book, w) == Measure(10)
    w.log("run", 2, 120, distance_m=199)
    assert _measure(book, w) == Measure(10)  # not whole
    w.log("run", 3, 121, distance_m=1)
    assert _measure(book, w) == Measure(11)
    w.log("squat", 4, 130, reps=25)  # more than two rounds ask for: 10 of them help
    assert _measure(book, w) == Measure(21)
    w.log("run", 5, 140, distance_m=200)
    assert _measure(book, w) == Measure(32)


def test_for_time_is_done_when_all_of_it_is():
    book, w = _group({"type": "for_time", "tasks": TASKS, "rounds": 2, "limit_ms": 600_000}), _workout()
    w.log("squat", 1, 110, reps=30)
    w.log("run", 2, 120, distance_m=200)
    assert _measure(book, w) == Measure(21)
    w.log("run", 3, 163, distance_m=250)
    w.log("squat", 4, 170, reps=5)
    assert _measure(book, w) == Measure(22, 63_000)


def test_a_held_task_counts_when_it_was_held_long_enough():
    tasks = [{"exercise": "squat", "duration_ms": 60_000}]
    book, w = _group({"type": "for_time", "tasks": tasks, "rounds": 1, "limit_ms": 600_000}), _workout()
    w.log("squat", 1, 130, duration_ms=30_000, type="isometric")
    assert _measure(book, w) == Measure(0)
    w.log("squat", 2, 170, duration_ms=30_000, type="isometric")
    assert _measure(book, w) == Measure(1, 70_000)


@pytest.mark.parametrize(
    ("format_", "unit"),
    [
        ({"type": "open"}, None),
        ({"type": "led", "steps": [{}]}, None),
        ({"type": "open", "measure": {"of": "distance"}}, "mm"),
        ({"type": "led", "steps": [{}], "measure": {"of": "volume"}}, "ug"),
        ({"type": "tabata"}, "reps"),
        ({"type": "emom", "rounds": 2}, "reps"),
        ({"type": "amrap", "tasks": TASKS, "limit_ms": 60_000}, "reps"),
        (_race("volume", by="dots"), "dots"),
        (_race("volume", by="body_weight"), "body_weights"),
    ],
)
def test_in_what_the_amounts_are(format_, unit):
    book = _group(format_)
    assert measured(book.g.format) == unit
    assert on_board(book.g, book.g.members[2]) is (unit is not None)
    assert (_measure(book, _workout()) is not None) is (unit is not None)


# -- who is on the board ---------------------------------------------------------------------------


def test_who_is_on_the_board():
    book = GroupBook().create(format=RACE).crew()
    for member in (6, 7, 8, 9):
        book.join(member)
    book("member.leave", by=6)
    book("member.kick", member=7)
    book("member.erase", by=0, member=8)
    book("member.share", by=9, share="presence")
    book("member.leave", by=4)
    assert [no for no, member in book.g.members.items() if on_board(book.g, member)] == [1, 2, 3, 6]
