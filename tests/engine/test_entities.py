from __future__ import annotations

import pytest

from fitai.engine.fold import apply
from fitai.engine.kinds import set_id
from fitai.engine.ops import Verdict
from fitai.engine.workout import Judgement, state


@pytest.mark.parametrize(
    ("kind", "value", "entity"),
    [
        ("workout.complete", {"rating": 1, "note": "x"}, None),
        ("exercise.move", {"position": "z"}, "entry"),
        ("exercise.edit", {"field": "exercise", "value": "row"}, "late entry"),
        ("set.edit", {"field": "reps", "value": 99}, "set"),
        ("set.edit", {"field": "reps", "value": 99}, "late set"),
        ("note.set", {"text": "x"}, "set"),
        ("rest.extend", {"seconds": 5}, None),
        (
            "workout.create",
            {
                "plan": [
                    {
                        "entry": "018f0000-0000-7000-8000-0000000000e1",
                        "exercise": "squat",
                        "position": "a",
                        "sets": [{"slot": "new"}],
                    }
                ]
            },
            None,
        ),
    ],
)
def test_a_copy_is_equal_and_shares_nothing_that_an_op_changes(book, kind, value, entity):
    entry = {"entry": "018f0000-0000-7000-8000-0000000000e1", "exercise": "squat", "position": "a"}
    book.create(plan=[{**entry, "sets": [{"slot": 1}]}])
    log = {"exercise_entry": entry["entry"], "type": "working"}
    book("set.log", 10, slot=1, rest_s=60, **log)
    late_entry = "018f0000-0000-7000-8000-0000000000e2"
    book("exercise.edit", entity=late_entry, field="exercise", value="press")
    late_set = set_id(book.w.id, 2)
    book("set.edit", entity=late_set, field="reps", value=7)
    ids = {
        "entry": entry["entry"],
        "late entry": late_entry,
        "set": set_id(book.w.id, 1),
        "late set": late_set,
    }

    kept, known_edits = book.w.copy(), dict(book.w.sets[late_set].pending)
    before = state(kept)
    assert before == book.state
    op = book.op(kind, value, ids.get(entity))
    book.take(op, Judgement(Verdict.APPLIED))
    assert state(kept) == before
    # What waits in stubs is not in the document: let both appear.
    assert kept.sets[late_set].pending == known_edits
    book("exercise.add", entity=late_entry, exercise="first", position="m")
    apply(kept, book.records[-1])
    assert [e["exercise"] for e in state(kept)["exercises"]] == ["squat", "press"]
