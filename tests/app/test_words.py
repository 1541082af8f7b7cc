from __future__ import annotations

import pytest

from fitai.app.words import Narrator
from fitai.engine.kinds import KINDS, set_id

WORKOUT = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
SQUAT = "0192f3c4-7b1a-7c3e-9d2f-00000000000a"
ROW = "0192f3c4-7b1a-7c3e-9d2f-00000000000b"
LOOSE = "0192f3c4-7b1a-7c3e-9d2f-0000000000c1"


def op(kind, value=None, entity=None):
    made = {"kind": kind, "workout": WORKOUT, "value": value or {}}
    return made if entity is None else {**made, "entity": entity}


def squat(**value):
    return op("set.log", {"exercise_entry": SQUAT, "type": "working", **value}, LOOSE)


@pytest.fixture
def narrator():
    made = Narrator()
    made.tell(op("exercise.add", {"exercise": "squat", "position": "a"}, SQUAT))
    return made


def test_a_creation_names_its_title_and_plan():
    plan = [
        {"entry": SQUAT, "exercise": "squat", "position": "a", "sets": [{"slot": 1}, {"slot": 2}]},
        {"entry": ROW, "exercise": "row", "position": "b"},
    ]
    told = Narrator().tell(op("workout.create", {"title": "Legs", "plan": plan}))
    assert told == "created “Legs”: squat × 2, row × 0"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"reps": 5, "load": {"value": 102.5, "unit": "kg"}, "rpe": 8.5}, "5 × 102.5 kg, RPE 8.5"),
        ({"reps": 5, "load": {"value": 100.0, "unit": "lb"}, "rir": 2}, "5 × 100 lb, 2 in reserve"),
        ({"reps": 12}, "12 reps"),
        ({"duration_ms": 90_000}, "1 min 30 s"),
        ({"distance_m": 400, "duration_ms": 61_500}, "1 min 1.5 s, 400 m"),
        ({"reps": 6, "load": {"value": 20, "unit": "kg"}, "assisted": True}, "6 × 20 kg help"),
        ({"reps": 8, "side": "left", "rest_s": 120}, "8 reps, left, rest 2 min"),
        ({"reps": 8, "type": "warmup"}, "8 reps, warmup"),
        ({"reps": 8, "done": False}, "8 reps, not done"),
    ],
)
def test_a_set_says_what_was_done(narrator, value, words):
    assert narrator.tell(squat(**value)) == f"squat, set 1: {words}"


def test_sets_are_counted_by_exercise_and_known_again(narrator):
    narrator.tell(op("exercise.add", {"exercise": "row", "position": "b"}, ROW))
    assert narrator.tell(squat(reps=5)).startswith("squat, set 1: ")
    slotted = op("set.log", {"exercise_entry": SQUAT, "slot": 7, "type": "working", "reps": 4})
    assert narrator.tell(slotted) == "squat, set 2: 4 reps"
    rowed = op("set.log", {"exercise_entry": ROW, "slot": "r", "type": "working", "reps": 9})
    assert narrator.tell(rowed) == "row, set 1: 9 reps"
    assert narrator.tell(slotted) == "squat, set 2 again: 4 reps"
    edited = op("set.edit", {"field": "load", "value": {"value": 60, "unit": "kg"}}, set_id(WORKOUT, 7))
    assert narrator.tell(edited) == "squat, set 2: load is now 60 kg"


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (op("workout.pause", {"reason": "idle"}), "paused (idle)"),
        (op("workout.complete", {"rating": 9}), "completed, rated 9 of 10"),
        (op("workout.edit", {"field": "started_at", "value": 12}), "started at is now 12"),
        (op("workout.edit", {"field": "title", "value": None}), "title is now nothing"),
        (op("exercise.remove", entity=SQUAT), "removed squat"),
        (op("rest.extend", {"seconds": -30}), "rest shorter by 30 s"),
        (op("note.set", {"text": "felt\neasy"}), "note: felt easy"),
        (op("note.set", {"text": "deep"}, SQUAT), "note on squat: deep"),
        (op("exercise.remove", entity=ROW), "removed an exercise"),
    ],
)
def test_what_happened_is_told_in_words(narrator, record, words):
    assert narrator.tell(record) == words


@pytest.mark.parametrize("kind", [*KINDS, "future.kind"])
@pytest.mark.parametrize(
    "value", [{}, {"load": 5, "reps": "many", "plan": 7, "sets": None}, ["no", "object"], "text"]
)
def test_a_value_that_makes_no_sense_is_shown_and_never_an_error(narrator, kind, value):
    for entity in (None, SQUAT, 17):
        assert narrator.tell({"kind": kind, "workout": WORKOUT, "value": value, "entity": entity})


def test_a_note_cannot_move_the_cursor_of_a_terminal_and_is_cut(narrator):
    told = narrator.tell(op("note.set", {"text": "\x1b[2Jgone" + "x" * 500}))
    assert told.isprintable()
    assert len(told) == 160
    assert told.endswith("…")
