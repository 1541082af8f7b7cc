from __future__ import annotations

import json

from fitai.engine.workout import digest, state


def test_an_unknown_workout_is_a_whole_document(book):
    assert book.state == {
        "id": book.w.id,
        "rev": 0,
        "created": False,
        "removed": False,
        "status": "planned",
        "phase": None,
        "title": None,
        "template": None,
        "units": None,
        "tz": None,
        "created_at": None,
        "started_at": None,
        "ended_at": None,
        "updated_at": None,
        "rating": None,
        "reason": None,
        "note": None,
        "rest": None,
        "exercises": [],
        "removed_entities": [],
        "totals": book.state["totals"],
        "flags": [],
        "alternatives": [],
    }


def test_a_set_is_shown_as_typed_with_whole_numbers_as_integers(book):
    book.create()
    book.exercise("a")
    one = book.log("a", 1, 7, reps=5, load=60.0, rpe=8.0, rir=1.5, distance_m=5.0, side="left", assisted=True)
    (row,) = book.state["exercises"][0]["sets"]
    assert json.dumps(row) == json.dumps(
        {
            "id": one,
            "slot": 1,
            "type": "working",
            "reps": 5,
            "load": {"value": 60, "unit": "kg"},
            "rpe": 8,
            "rir": 1.5,
            "duration_ms": None,
            "distance_m": 5,
            "side": "left",
            "assisted": True,
            "rest_s": None,
            "done": True,
            "note": None,
            "at": 7_000,
            "dot": [1, 3],
        }
    )


def test_the_digest_does_not_see_the_place_in_the_log(book):
    book.create(title="A")
    before = digest(book.state)
    book("workout.resume")  # void: it only takes a rev
    assert book.state["rev"] == 2
    assert digest(book.state) == before
    assert digest({**book.state, "seq": 9, "verdict": "merged"}) == before


def test_the_digest_sees_everything_else(book):
    book.create(title="A")
    before = book.state
    for key in before.keys() - {"rev"}:
        assert digest({**before, key: "other"}) != digest(before), key


def test_the_digest_survives_json_and_the_order_of_keys(book):
    book.create()
    book.exercise("a")
    book.log("a", 1, reps=5, load=62.5)
    there = json.loads(json.dumps(book.state))
    assert digest(dict(reversed(there.items()))) == digest(book.state)


def test_the_document_shares_nothing_that_a_later_op_changes(book):
    book.create()
    book.exercise("a")
    one = book.log("a", 1, reps=5, load=60, rest_s=60)
    before = book.state
    kept = json.dumps(before)
    book("set.edit", entity=one, field="load", value={"value": 70, "unit": "kg"})
    book("rest.extend", seconds=30)
    book("exercise.move", entity=before["exercises"][0]["id"], position="z")
    assert json.dumps(before) == kept


def test_an_end_that_is_typed_before_the_workout_ends_is_shown(book):
    book.create()
    book("workout.start", 1)
    book("workout.edit", field="ended_at", value=9_000)
    assert state(book.w)["ended_at"] == 9_000
