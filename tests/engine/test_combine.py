from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitai.engine.combine import alias, combined, root, sources
from fitai.engine.workout import digest, state

PHONE = "018f0000-0000-7000-8000-00000000000a"
WATCH = "018f0000-0000-7000-8000-00000000000b"


@pytest.fixture
def phone(new_book):
    """Squats on the phone, from second 10 to 100."""
    book = new_book(PHONE)
    book.create(title="Legs", template="legs")
    book.exercise("squat", position="a")
    book("workout.start", 10)
    book.log("squat", 1, 40, reps=5, load=100)
    book("workout.complete", 100)
    return book


@pytest.fixture
def watch(new_book):
    """The same squats on the watch, from second 5 to 200, and lunges between."""
    book = new_book(WATCH)
    book.create(title="Legs?", template="legs")
    book("workout.start", 5)
    book.exercise("squat", position="a", at=6)
    book.exercise("lunge", position="Z", at=6)
    book.log("squat", 2, 60, reps=4, load=100)
    book("note.set", entity=book.state["exercises"][1]["id"], text="deep")
    book.log("lunge", 3, 80, reps=8)
    book("workout.complete", 200)
    return book


def test_the_view_holds_the_exercises_and_sets_of_both(phone, watch):
    told = state(combined(phone.w, [watch.w]))
    assert told["merged"] == [WATCH]
    assert [(e["exercise"], e.get("workout")) for e in told["exercises"]] == [
        ("lunge", WATCH),
        ("squat", None),
        ("squat", WATCH),
    ]
    assert [[s["slot"] for s in e["sets"]] for e in told["exercises"]] == [[3], [1], [2]]
    assert told["exercises"][2]["note"] == "deep"
    assert told["totals"]["sets"] == 3
    assert told["totals"]["volume_ug"] == 900 * 10**9
    assert (told["title"], told["status"]) == ("Legs", "completed")
    assert (told["started_at"], told["ended_at"]) == (5_000, 200_000)
    assert told["totals"]["work_ms"] == 90_000 + 195_000


def test_looking_changes_neither(phone, watch):
    before = digest(state(phone.w)), digest(state(watch.w))
    combined(phone.w, [watch.w])
    assert (digest(state(phone.w)), digest(state(watch.w))) == before


def test_what_was_never_made_or_is_removed_brings_nothing(phone, watch, new_book):
    watch("workout.remove", 300)
    unknown = new_book(WATCH)
    assert combined(phone.w, [watch.w, unknown.w]) is phone.w


def test_a_workout_that_goes_on_has_no_end_whatever_was_merged_into_it(new_book, watch):
    book = new_book(PHONE)
    book.create()
    book("workout.start", 10)
    told = state(combined(book.w, [watch.w]))
    assert (told["status"], told["ended_at"]) == ("active", None)


def test_conflicts_say_which_workout_they_are_of(phone, watch):
    base = len(watch.records)
    watch("workout.edit", 300, device=1, base=base, field="title", value="A")
    watch("workout.edit", 301, device=2, base=base, field="title", value="B")
    (alternative,) = state(combined(phone.w, [watch.w]))["alternatives"]
    assert (alternative["workout"], alternative["shown"]["value"]) == (WATCH, "B")


def test_a_merged_workout_stands_for_itself_while_the_other_is_not_there(phone, watch, new_book):
    assert not alias(watch.w, phone.w)
    watch("workout.merge", 300, into=PHONE)
    assert alias(watch.w, phone.w)
    assert not alias(watch.w, new_book(PHONE).w)
    phone("workout.remove", 300)
    assert not alias(watch.w, phone.w)
    phone("workout.restore", 301)
    assert alias(watch.w, phone.w)
    watch("workout.unmerge", 302)
    assert not alias(watch.w, phone.w)


def test_aliases_are_followed_and_a_circle_ends_at_its_smallest():
    aliases = {"c": "b", "b": "a", "x": "y", "y": "x", "z": "y"}
    assert [root(aliases, name) for name in "abcxyz"] == ["a", "a", "a", "x", "x", "x"]
    assert sources(aliases, "a") == ["b", "c"]
    assert sources(aliases, "b") == []
    assert sources(aliases, "x") == ["y", "z"]


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("abcdef")))
def test_every_workout_is_shown_in_exactly_one_view(aliases):
    aliases = {name: into for name, into in aliases.items() if name != into}
    shown = [name for name in "abcdef" if root(aliases, name) == name]
    held = sorted([*shown, *(other for name in shown for other in sources(aliases, name))])
    assert held == list("abcdef")
