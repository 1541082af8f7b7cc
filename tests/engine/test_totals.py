from __future__ import annotations

import pytest

from fitai.engine.totals import totals

KG = 1_000_000_000
LB = 453_592_370


def test_an_empty_workout_has_nothing(book):
    assert totals(book.w) == {
        "volume_ug": 0,
        "sets": 0,
        "warmup_sets": 0,
        "reps": 0,
        "work_ms": 0,
        "rest_ms": 0,
        "duration_ms": 0,
        "distance_m": 0,
        "exercises": {},
        "muscles": {},
    }


def test_volume_sets_and_reps_are_summed_exactly_over_kg_and_lb(book):
    book.create()
    book.exercise("a", exercise="squat")
    book.exercise("b", exercise="row")
    book.log("a", 1, reps=5, load=100.1)
    book.log("a", 2, reps=3, load=(225.5, "lb"))
    book.log("b", 3, reps=10, load=40)
    told = totals(book.w)
    squat = 5 * 100_100_000_000 + 3 * LB * 2255 // 10
    assert told["volume_ug"] == squat + 400 * KG
    assert (told["sets"], told["reps"]) == (3, 18)
    assert told["exercises"]["squat"] == {
        "volume_ug": squat,
        "sets": 2,
        "warmup_sets": 0,
        "reps": 8,
        "duration_ms": 0,
        "distance_m": 0,
    }


def test_four_hundred_tenths_are_exactly_forty(book):
    book.create()
    book.exercise("a")
    for slot in range(400):
        book.log("a", slot, reps=1, load=0.1, distance_m=0.1)
    told = totals(book.w)
    assert (told["volume_ug"], told["distance_m"]) == (40 * KG, 40)


def test_only_done_sets_count(book):
    book.create()
    book.exercise("a")
    one = book.log("a", 1, reps=5, load=100, done=False)
    assert totals(book.w)["sets"] == 0
    book("set.edit", entity=one, field="done", value=True)
    assert totals(book.w)["volume_ug"] == 500 * KG


def test_warmups_are_counted_apart(book):
    book.create()
    book.exercise("a")
    book.log("a", 1, type="warmup", reps=10, load=20, duration_ms=5)
    book.log("a", 2, type="drop", reps=5, load=100)
    told = totals(book.w)
    assert (told["warmup_sets"], told["sets"], told["reps"], told["volume_ug"]) == (1, 1, 5, 500 * KG)
    assert told["exercises"]["a"]["duration_ms"] == 0


@pytest.mark.parametrize(
    ("sides", "sets"),
    [
        (["left"], 1),
        (["left", "right"], 1),
        (["right", "left"], 1),
        (["left", "right", "left", "right"], 2),
        (["left", "left", "right", "right"], 2),
        (["left", "left"], 2),
        (["both"], 1),
        ([None, "left", "right"], 2),
    ],
)
def test_a_left_and_a_right_set_are_one_set_but_both_were_lifted(book, sides, sets):
    book.create()
    book.exercise("a")
    for slot, side in enumerate(sides):
        book.log("a", slot, reps=8, load=10, side=side)
    told = totals(book.w)
    assert (told["sets"], told["reps"]) == (sets, 8 * len(sides))
    assert told["volume_ug"] == 80 * KG * len(sides)


def test_a_warmup_half_is_no_half_of_a_working_set(book):
    book.create()
    book.exercise("a")
    book.log("a", 1, type="warmup", side="left")
    book.log("a", 2, side="right")
    assert (totals(book.w)["warmup_sets"], totals(book.w)["sets"]) == (1, 1)


def test_help_is_no_volume(book):
    book.create()
    book.exercise("a")
    book.log("a", 1, reps=8, load=30, assisted=True)
    assert (totals(book.w)["volume_ug"], totals(book.w)["reps"]) == (0, 8)


def test_timed_sets_and_distances(book):
    book.create()
    book.exercise("a")
    book.log("a", 1, type="isometric", duration_ms=60_000)
    book.log("a", 2, duration_ms=30_000, distance_m=400.125)
    told = totals(book.w)
    assert told["distance_m"] == 400.125
    assert told["exercises"]["a"]["duration_ms"] == 90_000


def test_muscles_get_their_exercises_whole(book):
    book.create()
    book.exercise("a", exercise="squat")
    book.exercise("b", exercise="lunge")
    book.exercise("c", exercise="unheard-of")
    for entry in "abc":
        book.log(entry, entry, reps=10, load=10)
    told = totals(book.w, {"squat": ["quadriceps", "glutes"], "lunge": ["quadriceps"]})
    assert {name: its["sets"] for name, its in told["muscles"].items()} == {"quadriceps": 2, "glutes": 1}
    assert told["muscles"]["quadriceps"]["volume_ug"] == 200 * KG


def test_an_edit_and_its_undoing_leave_the_totals_as_they_were(book):
    book.create()
    book.exercise("a")
    one = book.log("a", 1, 10, reps=5, load=100)
    before = totals(book.w)
    book("set.edit", entity=one, field="reps", value=50)
    assert totals(book.w) != before
    book("set.edit", entity=one, field="reps", value=5)
    assert totals(book.w) == before
    book("set.remove", entity=one)
    book("set.restore", entity=one)
    assert totals(book.w) == before


def test_the_largest_workout_that_is_allowed_fits_in_63_bits(book):
    book.create()
    book.exercise("a")
    for slot in range(500):
        book.log("a", slot, reps=5_000, load=3_000)
    assert 0 < totals(book.w)["volume_ug"] < 2**63
