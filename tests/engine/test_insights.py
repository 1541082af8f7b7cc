from __future__ import annotations

import uuid

import pytest

from fitai.engine.insights import changes, insights, rest_over
from fitai.engine.ops import Dot
from fitai.engine.records import bests_of, workout_bests


class Screen:
    """What a device shows: it hears changes only, and knows nothing but them."""

    def __init__(self, book, history=None):
        self.book = book
        self.history = history or {}
        self.known = {}
        self.heard = []

    def listen(self):
        """Hear what changed; the records heard, as (type, value or None when withdrawn)."""
        now = insights(self.book.w, self.history)
        self.heard = changes(self.known, now)
        self.known = now
        return [(i.get("type"), i.get("value")) for i in self.heard if i["kind"] == "record"]

    def records(self):
        return {i["type"]: i["value"] for i in self.known.values() if i["kind"] == "record"}


@pytest.fixture
def screen(book):
    book.create()
    book.exercise("a", exercise="bench")
    return Screen(book)


def test_a_record_says_what_of_what_and_by_which_set(screen):
    book = screen.book
    book.log("a", 1, reps=5, load=100)
    assert screen.listen() == []
    one = book.log("a", 2, reps=5, load=(225, "lb"))
    screen.listen()
    (load,) = [i for i in screen.heard if i.get("type") == "load"]
    assert load == {
        "id": str(uuid.uuid5(uuid.UUID(book.w.id), "record:bench:load")),
        "workout": book.w.id,
        "kind": "record",
        "exercise": "bench",
        "type": "load",
        "value": 225,
        "unit": "lb",
        "previous": 220.462,
        "set": one,
    }


def test_there_is_one_insight_per_exercise_and_type_and_a_better_one_replaces_it(screen):
    book = screen.book
    book.log("a", 1, reps=1, load=100)
    book.log("a", 2, reps=1, load=105)
    screen.listen()
    first = {i["id"] for i in screen.heard if i["kind"] == "record"}
    book.log("a", 3, reps=1, load=110)
    assert ("load", 110) in screen.listen()
    assert {i["id"] for i in screen.heard if i["kind"] == "record"} == first
    assert screen.records()["load"] == 110


def test_a_worse_set_after_a_record_is_no_news(screen):
    book = screen.book
    book.log("a", 1, reps=1, load=100)
    book.log("a", 2, reps=1, load=105)
    screen.listen()
    book.log("a", 3, reps=1, load=90)
    assert screen.listen() == []


def test_editing_a_set_takes_its_record_back(screen):
    book = screen.book
    book.log("a", 1, reps=1, load=100)
    one = book.log("a", 2, reps=1, load=105)
    screen.listen()
    book("set.edit", entity=one, field="load", value={"value": 100, "unit": "kg"})
    screen.listen()
    assert screen.records() == {}
    withdrawn = [i for i in screen.heard if i.get("withdrawn")]
    assert {"id", "workout", "kind", "withdrawn"} == set(withdrawn[0])
    assert {i["kind"] for i in withdrawn} == {"record"}


def test_deleting_a_set_takes_its_record_back_to_the_next_best(screen):
    book = screen.book
    book.log("a", 1, reps=1, load=100)
    book.log("a", 2, reps=1, load=105)
    one = book.log("a", 3, reps=1, load=110)
    screen.listen()
    book("set.remove", entity=one)
    assert ("load", 105) in screen.listen()
    book("set.restore", entity=one)
    assert ("load", 110) in screen.listen()


def test_turning_a_set_into_a_warmup_or_not_done_takes_its_record_back(screen):
    book = screen.book
    book.log("a", 1, reps=1, load=100)
    one = book.log("a", 2, reps=1, load=105)
    for field, wrong, right in (("type", "warmup", "working"), ("done", False, True)):
        screen.listen()
        assert screen.records()["load"] == 105
        book("set.edit", entity=one, field=field, value=wrong)
        screen.listen()
        assert screen.records() == {}
        book("set.edit", entity=one, field=field, value=right)


def test_records_are_told_against_the_history(new_book):
    before, book = new_book(), new_book()
    for one in (before, book):
        one.create()
        one.exercise("a", exercise="plank")
    before.log("a", 1, duration_ms=60_000, distance_m=1)
    before.log("a", 2, reps=8, load=20)
    history = bests_of([workout_bests(before.w)])
    book.log("a", 1, duration_ms=61_000, distance_m=1.5)
    book.log("a", 2, reps=9, load=20)
    told = {i["type"]: i for i in insights(book.w, history).values() if i["kind"] == "record"}
    assert (told["duration"]["value"], told["duration"]["unit"]) == (61_000, "ms")
    assert (told["distance"]["value"], told["distance"]["unit"], told["distance"]["previous"]) == (
        1.5,
        "m",
        1,
    )
    assert (told["reps"]["value"], told["reps"]["unit"]) == (9, "reps")
    assert told["reps"]["load"] == {"value": 20, "unit": "kg"}
    assert (told["set_volume"]["value"], told["set_volume"]["unit"]) == (180, "kg")
    assert (told["workout_volume"]["value"], told["workout_volume"]["set"]) == (180, None)
    assert told["e1rm"]["value"] == 26


def test_less_help_is_told_in_its_unit(screen):
    book = screen.book
    book.log("a", 1, reps=8, load=(40, "lb"), assisted=True)
    book.log("a", 2, reps=8, load=(35, "lb"), assisted=True)
    screen.listen()
    assert screen.records() == {"assist": 35}


def test_totals_are_always_told_and_only_when_they_change(screen):
    book = screen.book
    book.log("a", 1, 10, reps=5, load=100)
    screen.listen()
    (totals,) = [i for i in screen.heard if i["kind"] == "totals"]
    assert totals["totals"]["volume_ug"] == 500 * 10**9
    book("note.set", 10, text="x")
    screen.listen()
    assert screen.heard == []


def test_a_removed_workout_takes_back_all_that_it_said(screen):
    book = screen.book
    book.log("a", 1, reps=1, load=100)
    book.log("a", 2, reps=1, load=105)
    screen.listen()
    ids = set(screen.known)
    book("workout.remove")
    screen.listen()
    assert {i["id"] for i in screen.heard if i["withdrawn"]} == ids
    book("workout.restore")
    screen.listen()
    assert set(screen.known) == ids


def test_a_workout_that_is_not_created_yet_says_nothing(book):
    book("workout.start", 5)
    assert insights(book.w, {}) == {}


def test_a_workout_that_the_server_paused_hints_at_it_until_it_goes_on(screen):
    book = screen.book
    book("workout.start", 1)
    book("workout.pause", 2, device=0, reason="idle")
    screen.listen()
    (hint,) = [i for i in screen.heard if i["kind"] == "hint"]
    assert (hint["hint"], hint["status"]) == ("idle", "paused")
    book("workout.resume", 3)
    screen.listen()
    assert {"id": hint["id"], "workout": book.w.id, "kind": "hint", "withdrawn": True} in screen.heard


def test_the_end_of_a_rest_carries_the_dot_that_began_it(book):
    book.create()
    book("workout.start", 0)
    book("rest.start", 10, seconds=60)
    told = rest_over(book.w, Dot(1, 3))
    assert told == {
        "id": str(uuid.uuid5(uuid.UUID(book.w.id), "rest:1:3")),
        "workout": book.w.id,
        "kind": "rest_over",
        "dot": [1, 3],
        "at": 70_000,
    }
    assert rest_over(book.w, Dot(2, 9), 5)["at"] == 5
    assert rest_over(book.w, Dot(2, 9))["at"] == 10_000


def test_ids_differ_by_exercise_type_and_workout(new_book):
    ids = set()
    for workout in ("018f0000-0000-7000-8000-000000000001", "018f0000-0000-7000-8000-000000000002"):
        book = new_book(workout)
        book.create()
        for name in ("a", "b"):
            book.exercise(name)
            book.log(name, f"{name}1", reps=5, load=100)
            book.log(name, f"{name}2", reps=6, load=105)
        ids |= set(insights(book.w, {}))
    # Two workouts, each with totals and load, e1rm and set_volume of two exercises.
    assert len(ids) == 2 * (1 + 2 * 3)
