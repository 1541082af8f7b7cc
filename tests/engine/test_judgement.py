from __future__ import annotations

import pytest

from fitai.engine.judgement import Judgement, Limits, judge
from fitai.engine.kinds import KINDS, Empty, set_id
from fitai.engine.ops import Verdict


def test_an_illegal_edge_is_void_with_from_and_trigger(book):
    book.create()
    judgement = book("workout.complete")
    assert judgement == Judgement(Verdict.VOID, "illegal_edge", {"from": "planned", "trigger": "complete"})


def test_a_bad_value_is_void_with_field_and_reason_in_every_state(book):
    judgement = book("set.edit", entity=book.w.id, field="reps", value="many")
    assert (judgement.verdict, judgement.code) == ("void", "bad_value")
    assert judgement.detail["field"] == "value"


def test_judging_reads_only(book):
    book.create()
    before = book.state
    op = book.op("workout.start", {})
    assert judge(book.w, op) == judge(book.w, op)
    assert judge(book.w, op) == Judgement(Verdict.APPLIED, value=Empty())
    assert book.state == before


@pytest.mark.parametrize("edge", ["pause", "resume", "complete"])
def test_an_edge_that_its_author_had_no_ground_for_is_void_before_its_workout_is_there_too(book, edge):
    # What its author had seen is all that it is judged by: whether the create came before decides nothing.
    assert book(f"workout.{edge}").code == "illegal_edge"


def test_choosing_what_its_author_had_not_seen_is_void_before_its_target_is_there_too(book, id_of):
    assert book("conflict.choose", entity=id_of("e"), field="reps", dot=[2, 1]).code == "bad_value"


_JUDGED_BY_CONTEXT = {"workout.pause", "workout.resume", "workout.complete", "conflict.choose"}
_WAITING = sorted(KINDS.keys() - {"workout.create", *_JUDGED_BY_CONTEXT})


@pytest.mark.parametrize("kind", _WAITING)
def test_everything_waits_for_its_workout(book, kind, id_of):
    values = {
        "workout.edit": {"field": "title", "value": "x"},
        "workout.merge": {"into": id_of("other")},
        "exercise.add": {"exercise": "x", "position": "a"},
        "exercise.edit": {"field": "exercise", "value": "x"},
        "exercise.move": {"position": "a"},
        "set.log": {"exercise_entry": id_of("a"), "type": "working"},
        "set.edit": {"field": "reps", "value": 1},
        "rest.start": {"seconds": 1},
        "rest.extend": {"seconds": 1},
        "note.set": {"text": "x"},
    }
    assert book(kind, entity=id_of("e"), **values.get(kind, {})).verdict == "deferred"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("exercise.edit", {"field": "exercise", "value": "x"}),
        ("exercise.move", {"position": "a"}),
        ("exercise.remove", {}),
        ("exercise.restore", {}),
        ("set.edit", {"field": "reps", "value": 1}),
        ("set.remove", {}),
        ("set.restore", {}),
        ("note.set", {"text": "x"}),
    ],
)
def test_an_op_on_what_no_op_has_made_waits(book, kind, value, id_of):
    book.create()
    assert book(kind, entity=id_of("nobody"), **value).verdict == "deferred"


def test_a_second_op_on_what_no_op_has_made_waits_as_well(book, id_of):
    book.create()
    for kind, value in (("set.edit", {"field": "reps", "value": 1}), ("exercise.move", {"position": "a"})):
        assert [book(kind, entity=id_of(kind), **value).verdict for _ in range(2)] == ["deferred"] * 2
    book.exercise("a")
    log = {"exercise_entry": id_of("exercise.move"), "type": "working"}
    assert book("set.log", slot=1, **log).verdict == "deferred"


def test_moving_a_set_to_an_unknown_exercise_waits(book, id_of):
    book.create()
    book.exercise("a")
    one = book.log("a", 1)
    assert book("set.edit", entity=one, field="exercise_entry", value=id_of("b")).verdict == "deferred"
    book.exercise("b")
    assert [len(e["sets"]) for e in book.state["exercises"]] == [0, 1]


def test_an_exercise_id_is_no_set(book, id_of):
    book.create()
    book.exercise("a")
    assert book("set.remove", entity=id_of("a")).verdict == "deferred"
    assert len(book.state["exercises"]) == 1


# -- limits ------------------------------------------------------------------------------------------


def void(judgement, limit, most):
    return judgement == Judgement(Verdict.VOID, "limit", {"limit": limit, "max": most})


def test_the_exercises_of_a_workout_are_limited_and_removing_makes_no_room(new_book, id_of):
    book = new_book(limits=Limits(exercises=2))
    book.create()
    for name in ("a", "b"):
        book.exercise(name)
    add = {"exercise": "x", "position": "c"}
    assert void(book("exercise.add", entity=id_of("c"), **add), "exercises", 2)
    book("exercise.remove", entity=id_of("a"))
    assert void(book("exercise.add", entity=id_of("c"), **add), "exercises", 2)
    assert book("exercise.add", entity=id_of("a"), **add).verdict == "applied"


def test_the_ops_of_a_workout_are_limited_whatever_became_of_them(new_book, id_of):
    book = new_book(limits=Limits(ops=3))
    book.create()
    assert book("workout.resume").code == "illegal_edge"
    assert book("workout.dance").verdict == "deferred"
    for kind in ("set.log", "workout.dance", "workout.start"):
        assert void(book(kind), "ops", 3)
    assert book.state["status"] == "planned"


def test_the_sets_of_a_workout_are_limited_but_never_the_writing_of_one_that_is_there(new_book, id_of):
    book = new_book(limits=Limits(sets=2))
    book.create()
    book.exercise("a")
    one = book.log("a", 1)
    book.log("a", 2)
    log = {"exercise_entry": id_of("a"), "type": "working"}
    assert void(book("set.log", slot=3, **log), "sets", 2)
    assert void(book("set.log", entity=id_of("x"), **log), "sets", 2)
    assert book("set.log", slot=2, reps=9, **log).verdict == "applied"
    assert book("set.edit", entity=one, field="reps", value=5).verdict == "applied"


def test_ops_that_wait_for_a_target_are_limited_like_targets(new_book, id_of):
    book = new_book(limits=Limits(sets=2, exercises=2))
    book.create()
    for kind, limit in (("set.remove", "sets"), ("exercise.remove", "exercises")):
        assert [book(kind, entity=id_of(f"{kind}{i}")).verdict for i in range(2)] == ["deferred"] * 2
        assert void(book(kind, entity=id_of(f"{kind}2")), limit, 2)


def test_a_plan_is_limited_in_exercises_and_slots(new_book, id_of):
    book = new_book(limits=Limits(exercises=2, sets=3))

    def entries(n, slots):
        return [
            {
                "entry": id_of(str(i)),
                "exercise": "x",
                "position": "a",
                "sets": [{"slot": f"{i}.{j}"} for j in range(slots)],
            }
            for i in range(n)
        ]

    assert void(book("workout.create", plan=entries(3, 1)), "exercises", 2)
    assert void(book("workout.create", plan=entries(2, 2)), "sets", 3)
    assert not book.w.known
    assert book("workout.create", plan=entries(1, 3)).verdict == "applied"
    assert book("workout.create", plan=entries(1, 3)).verdict == "applied"
    assert void(book("workout.create", plan=entries(2, 1)), "sets", 3)


def test_the_bytes_of_a_note_are_limited(new_book):
    book = new_book(limits=Limits(text=10))
    book.create()
    assert book("note.set", text="ö" * 5).verdict == "applied"
    assert void(book("note.set", text="ö" * 6), "text", 10)
    book("workout.start")
    assert void(book("workout.complete", note="x" * 11), "text", 10)
    assert (book.at, book.state["note"]) == ("active.working", "ö" * 5)


def test_notes_on_unknown_entities_are_limited(new_book, id_of):
    book = new_book(limits=Limits(exercises=1, sets=1))
    book.create()
    for i in range(2):
        assert book("note.set", entity=id_of(str(i)), text="x").verdict == "deferred"
    assert void(book("note.set", entity=id_of("2"), text="x"), "notes", 2)
    assert book("note.set", entity=id_of("1"), text="y").verdict == "deferred"


def test_a_slot_and_its_sets_id_are_one_set_to_the_limit(new_book, id_of):
    book = new_book(limits=Limits(sets=1))
    book.create()
    book.exercise("a")
    book.log("a", 7)
    log = {"exercise_entry": id_of("a"), "type": "working"}
    assert book("set.log", entity=set_id(book.w.id, 7), **log).verdict == "applied"
