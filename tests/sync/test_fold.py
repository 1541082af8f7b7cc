"""What ops do, told as playbooks: the machine in motion, rests, supersets, late targets."""

from __future__ import annotations

import pytest

from fitai.engine.kinds import set_id
from fitai.engine.timers import timers

WORKING, RESTING = "active.working", "active.resting"


# -- the machine in motion ---------------------------------------------------------------------------


def test_a_workout_from_plan_to_end(book):
    book.tell(
        [
            (0, "workout.create", {"title": "Push"}, "planned"),
            (10, "workout.start", {}, WORKING),
            (20, "rest.start", {"seconds": 60}, RESTING),
            (30, "workout.pause", {"reason": "phone"}, "paused.resting"),
            (90, "workout.resume", {}, RESTING),
            (95, "rest.skip", {}, WORKING),
            (99, "workout.complete", {"rating": 4}, "completed"),
        ]
    )
    told = book.state
    assert (told["started_at"], told["ended_at"], told["updated_at"]) == (10_000, 99_000, 99_000)
    assert (told["rating"], told["reason"], told["rest"]) == (4, None, None)


def test_illegal_edges_are_void_and_change_nothing_but_their_place(book):
    book.tell(
        [
            (0, "workout.create", {}, "planned"),
            (1, "workout.pause", {}, "illegal_edge: planned"),
            (2, "workout.resume", {}, "illegal_edge: planned"),
            (3, "workout.complete", {}, "illegal_edge: planned"),
            (4, "workout.start", {}, WORKING),
            (5, "workout.start", {}, f"illegal_edge: {WORKING}"),
            (6, "workout.resume", {}, f"illegal_edge: {WORKING}"),
            (7, "workout.pause", {}, "paused.working"),
            (8, "workout.pause", {}, "illegal_edge: paused.working"),
            (9, "workout.complete", {}, "completed"),
            (10, "workout.complete", {}, "illegal_edge: completed"),
            (11, "workout.abandon", {}, "illegal_edge: completed"),
            (12, "workout.start", {}, "illegal_edge: completed"),
        ]
    )
    assert book.state["rev"] == 13
    assert book.state["updated_at"] == 9_000


def test_a_planned_workout_can_be_abandoned_and_reopened_by_a_set(book):
    book.create()
    book("workout.abandon", 5, reason="ill")
    assert (book.at, book.state["reason"]) == ("abandoned", "ill")
    book.exercise("a")
    book.log("a", 1, 9)
    assert (book.at, book.state["reason"], book.state["ended_at"]) == (WORKING, None, None)
    assert book.state["started_at"] == 9_000


@pytest.mark.parametrize(
    "before",
    [
        [],
        ["workout.start"],
        ["workout.start", "workout.pause"],
        ["workout.start", "workout.complete"],
        ["workout.start", "workout.abandon"],
    ],
)
def test_a_set_is_never_void_for_the_state(book, before):
    book.create()
    book.exercise("a")
    for kind in before:
        assert book(kind).verdict == "applied"
    book.log("a", 1, 5, reps=5)
    assert book.records[-1].verdict == "applied"
    assert (book.at, book.state["ended_at"]) == (WORKING, None)
    assert book.state["totals"]["sets"] == 1


def test_a_set_resumes_a_pause_and_drops_the_frozen_rest(book):
    book.create()
    book.exercise("a")
    book.log("a", 1, 10, rest_s=60)
    book("workout.pause", 20)
    book.log("a", 2, 30)
    assert (book.at, book.w.rest) == (WORKING, None)


def test_reopening_forgets_the_typed_end_too(book):
    book.create()
    book.exercise("a")
    book.log("a", 1, 10)
    book("workout.complete", 20)
    book("workout.edit", 21, field="ended_at", value=15_000)
    assert book.state["ended_at"] == 15_000
    book.log("a", 2, 30)
    assert book.state["ended_at"] is None
    book("workout.complete", 40)
    assert book.state["ended_at"] == 40_000


def test_a_past_workout_keeps_the_times_that_were_typed(book):
    book.create(1_000)
    book.exercise("a")
    book.log("a", 1, reps=5)
    book("workout.edit", field="started_at", value=100_000)
    book("workout.edit", field="ended_at", value=400_000)
    book("workout.complete")
    told = book.state
    assert (told["started_at"], told["ended_at"]) == (100_000, 400_000)
    assert told["totals"]["duration_ms"] == 300_000


def test_a_workout_does_not_end_before_its_last_set(book):
    book.create()
    book.exercise("a")
    book.log("a", 1, 100)
    book("workout.complete", 50, device=2)
    assert book.state["ended_at"] == 100_000


# -- rests -------------------------------------------------------------------------------------------


def test_a_rest_ends_by_its_deadline_without_an_op(book):
    book.create()
    book("workout.start", 0)
    book("rest.start", 10, seconds=60)
    assert book.state["rest"] == {"dot": [1, 3], "started_at": 10_000, "seconds": 60, "ends_at": 70_000}
    book("note.set", 69.999, text="not yet")
    assert book.at == RESTING
    book("note.set", 70, text="over")
    assert (book.at, book.state["rest"]) == (WORKING, None)


def test_a_pause_freezes_the_rest_and_resume_dates_it_anew(book):
    book.create()
    book("workout.start", 0)
    book("rest.start", 10, seconds=60)
    book("workout.pause", 30)
    assert book.state["rest"] == {
        "dot": [1, 3],
        "started_at": 10_000,
        "seconds": 60,
        "ends_at": None,
        "remaining_ms": 40_000,
    }
    book("note.set", 500, text="long after")
    assert book.at == "paused.resting"
    book("workout.resume", 1_000)
    assert (book.at, book.state["rest"]["ends_at"]) == (RESTING, 1_040_000)


def test_a_pause_at_the_deadline_finds_the_rest_over(book):
    book.create()
    book("workout.start", 0)
    book("rest.start", 10, seconds=60)
    book("workout.pause", 70)
    assert (book.at, book.w.rest) == ("paused.working", None)


def test_a_rest_is_extended_shortened_and_skipped_also_while_frozen(book):
    book.create()
    book("workout.start", 0)
    book("rest.start", 10, seconds=60)
    book("rest.extend", 20, seconds=30)
    assert book.w.rest.ends_at == 100_000
    assert book.w.rest.dot == (1, 3)
    book("workout.pause", 40)
    book("rest.extend", 50, seconds=-20)
    assert (book.w.rest.remaining_ms, book.w.rest.seconds) == (40_000, 70)
    book("workout.resume", 60)
    book("rest.extend", 61, seconds=-60)
    assert (book.at, book.w.rest) == (WORKING, None)


def test_skipping_a_frozen_rest_leaves_the_workout_paused(book):
    book.create()
    book("workout.start", 0)
    book("rest.start", 10, seconds=60)
    book("workout.pause", 20)
    book("rest.skip", 30)
    assert (book.at, book.w.rest) == ("paused.working", None)


@pytest.mark.parametrize(
    "before", [[], ["workout.start", "workout.pause"], ["workout.start", "workout.complete"]]
)
def test_a_rest_outside_active_has_no_effect_and_is_not_void(book, before):
    book.create()
    for kind in before:
        book(kind)
    stood = book.at
    for kind, value in (("rest.start", {"seconds": 60}), ("rest.extend", {"seconds": 9}), ("rest.skip", {})):
        assert book(kind, **value).verdict == "applied"
        assert (book.at, book.w.rest) == (stood, None)


def test_a_new_rest_replaces_the_running_one(book):
    book.create()
    book("workout.start", 0)
    book("rest.start", 10, seconds=60)
    book("rest.start", 20, seconds=90)
    assert (book.w.rest.dot, book.w.rest.ends_at) == ((1, 4), 110_000)


def test_a_rest_that_was_over_before_it_arrived_does_not_begin(book):
    book.create()
    book("workout.start", 0)
    book("note.set", 500, text="the phone is far ahead")
    book("rest.start", 100, device=2, seconds=60)
    assert (book.at, book.w.rest) == (WORKING, None)
    book("rest.start", 450, device=2, seconds=60)
    assert (book.at, book.w.rest.ends_at) == (RESTING, 510_000)


def test_a_rest_that_began_late_on_the_clock_is_not_frozen_longer_than_it_was(book):
    book.create()
    book("workout.start", 0)
    book("rest.skip", 500)
    book("rest.start", 450, device=2, seconds=60)
    book("workout.pause", 460, device=2)
    assert book.w.rest.remaining_ms == 10_000


# -- rests that a set starts -------------------------------------------------------------------------


def test_a_set_starts_its_own_rest_else_its_slots_else_its_exercises(book, id_of):
    entry = {"entry": id_of("a"), "exercise": "squat", "position": "a", "target": {"rest_s": 180}}
    book.create(plan=[{**entry, "sets": [{"slot": 1, "target": {"rest_s": 90}}, {"slot": 2}]}])
    book.log("a", 1, 10, rest_s=30)
    assert (book.w.rest.seconds, book.w.rest.dot, book.w.rest.ends_at) == (30, (1, 2), 40_000)
    book.log("a", 1, 20)
    assert (book.w.rest.seconds, book.w.rest.dot) == (90, (1, 3))
    book.log("a", 2, 30)
    assert book.w.rest.seconds == 180
    book.log("a", 3, 40, rest_s=0)
    assert (book.at, book.w.rest) == (WORKING, None)


def test_a_set_that_is_not_done_starts_no_rest(book):
    book.create()
    book.exercise("a")
    book.log("a", 1, 10, rest_s=60, done=False)
    assert (book.at, book.w.rest) == (WORKING, None)
    book.log("a", 1, 20, done=True, rest_s=60)
    assert book.at == RESTING
    (row,) = book.state["exercises"][0]["sets"]
    assert (row["at"], row["dot"]) == (20_000, [1, 4])


def test_the_next_set_ends_the_rest(book):
    book.create()
    book.exercise("a")
    book.log("a", 1, 10, rest_s=600)
    book.log("a", 2, 60)
    assert (book.at, book.w.rest) == (WORKING, None)
    assert (book.w.rest_ms, book.state["totals"]["rest_ms"]) == (50_000, 50_000)


# -- supersets ---------------------------------------------------------------------------------------


def _superset(book, *names):
    book.create()
    for name in names:
        book.exercise(name, superset="S", target={"rest_s": 60})


def _rests(book, *logs):
    """For each (entry, slot) logged ten seconds apart, whether a rest follows."""
    rests = []
    for entry, slot in logs:
        book.log(entry, slot, book.now / 1000 + 10)
        rests.append(book.w.rest is not None)
    return rests


def test_a_superset_rests_only_after_the_last_member_of_the_round(book):
    _superset(book, "a", "b", "c")
    logs = [("a", 1), ("b", 2), ("c", 3), ("a", 4), ("b", 5), ("c", 6)]
    assert _rests(book, *logs) == [False, False, True, False, False, True]


def test_a_round_may_be_done_in_any_order(book):
    _superset(book, "a", "b")
    assert _rests(book, ("b", 1), ("a", 2), ("a", 3), ("b", 4)) == [False, True, False, True]


def test_an_explicit_rest_waits_for_the_round_as_well(book):
    _superset(book, "a", "b")
    book.log("a", 1, 10, rest_s=30)
    assert book.at == WORKING
    book.log("b", 2, 20, rest_s=30)
    assert book.state["rest"]["seconds"] == 30


def test_a_member_with_fewer_planned_sets_does_not_hold_up_the_rounds(book, id_of):
    plan = [
        {"entry": id_of("a"), "exercise": "a", "position": "a", "superset": 1, "target": {"rest_s": 60}},
        {"entry": id_of("b"), "exercise": "b", "position": "b", "superset": 1, "target": {"rest_s": 60}},
    ]
    plan[0]["sets"] = [{"slot": 1}, {"slot": 2}]
    plan[1]["sets"] = [{"slot": 3}]
    book.create(plan=plan)
    assert _rests(book, ("a", 1), ("b", 3), ("a", 2)) == [False, True, True]


def test_a_removed_member_and_another_group_do_not_count(book, id_of):
    _superset(book, "a", "b")
    book.exercise("z", superset="T")
    book("exercise.remove", entity=id_of("b"))
    assert _rests(book, ("a", 1)) == [True]


def test_left_and_right_are_one_set_of_the_round(book):
    _superset(book, "a", "b")
    for slot, entry, side, rests in [
        (1, "a", "left", False),
        (2, "a", "right", False),
        (3, "b", None, True),
        (4, "a", "left", False),
        (5, "b", None, True),
    ]:
        book.log(entry, slot, slot * 10, side=side)
        assert (book.w.rest is not None) is rests


def test_both_halves_of_a_pair_end_the_round_that_the_other_member_waits_for(book):
    _superset(book, "a", "b")
    book.log("b", 1, 10)
    assert book.at == WORKING
    for slot, side in ((2, "left"), (3, "right")):
        book.log("a", slot, slot * 10, side=side)
        assert book.at == RESTING


# -- time --------------------------------------------------------------------------------------------


def test_time_is_spent_working_resting_or_paused_and_counted_once(book):
    book.create(0)
    book("workout.start", 10)
    book("rest.start", 20, seconds=30)
    book("note.set", 60, text="the rest ended at 50")
    book("workout.pause", 70)
    book("workout.resume", 100)
    book("workout.complete", 105)
    totals = book.state["totals"]
    assert (totals["work_ms"], totals["rest_ms"]) == (10_000 + 20_000 + 5_000, 30_000)
    assert book.w.paused_ms == 30_000
    assert totals["duration_ms"] == 95_000


def test_time_runs_up_to_the_last_op_while_the_workout_goes_on(book):
    book.create(0)
    book("workout.start", 10)
    book("note.set", 25, text="x")
    assert book.state["totals"]["work_ms"] == 15_000
    book("rest.start", 30, seconds=60)
    book("note.set", 40, text="y")
    assert book.state["totals"]["rest_ms"] == 10_000


def test_late_ops_take_no_time(book):
    book.create(0)
    book("workout.start", 10)
    book("rest.skip", 100)
    book("rest.skip", 20, device=2)
    book("workout.pause", 30, device=2)
    book("workout.resume", 110)
    assert (book.w.work_ms, book.w.paused_ms) == (90_000, 10_000)


def test_the_gap_before_a_reopening_is_neither_work_nor_rest(book):
    book.create(0)
    book.exercise("a")
    book.log("a", 1, 10)
    book("workout.complete", 20)
    book.log("a", 2, 500)
    book("workout.complete", 510)
    assert book.state["totals"]["work_ms"] == 20_000


# -- exercises and sets ------------------------------------------------------------------------------


def test_exercises_are_ordered_by_position_then_id_and_move(book, id_of):
    book.create()
    for name, position in (("x", "b"), ("y", "a"), ("z", "B")):
        book.exercise(name, position=position)
    assert [e["exercise"] for e in book.state["exercises"]] == ["z", "y", "x"]
    book("exercise.move", entity=id_of("z"), position="c", superset=7)
    assert [(e["exercise"], e["superset"]) for e in book.state["exercises"]] == [
        ("y", None),
        ("x", None),
        ("z", 7),
    ]
    book("exercise.move", entity=id_of("x"), position="c")
    tied = sorted([id_of("x"), id_of("z")])
    assert [e["id"] for e in book.state["exercises"]][1:] == tied


def test_the_same_exercise_may_come_twice(book):
    book.create()
    book.exercise("a", exercise="squat")
    book.exercise("b", exercise="squat")
    book.log("a", 1, reps=5, load=100)
    book.log("b", 2, reps=5, load=100)
    assert [len(e["sets"]) for e in book.state["exercises"]] == [1, 1]
    assert book.state["totals"]["exercises"]["squat"]["sets"] == 2


def test_an_exercise_can_be_swapped_and_its_target_edited(book, id_of):
    book.create()
    book.exercise("a", exercise="squat")
    book("exercise.edit", entity=id_of("a"), field="exercise", value="front-squat")
    book("exercise.edit", entity=id_of("a"), field="target", value={"rest_s": 90})
    (entry,) = book.state["exercises"]
    assert (entry["exercise"], entry["target"]) == ("front-squat", {"rest_s": 90})


def test_a_set_has_one_register_per_field(book):
    book.create()
    book.exercise("a")
    one = book.log("a", 1, reps=5, load=(135, "lb"), rpe=8)
    book("set.edit", entity=one, field="reps", value=6)
    book("set.edit", entity=one, field="rpe", value=None)
    book("set.edit", entity=one, field="distance_m", value=1.5)
    (row,) = book.state["exercises"][0]["sets"]
    assert (row["reps"], row["load"], row["rpe"]) == (6, {"value": 135, "unit": "lb"}, None)
    assert (row["distance_m"], book.w.sets[one].distance_mm) == (1.5, 1_500)


def test_logging_a_set_again_writes_the_given_fields_only(book):
    book.create()
    book.exercise("a")
    one = book.log("a", 1, 10, reps=5, load=100)
    assert book.log("a", 1, 20, reps=6, rpe=9, device=2) == one
    (row,) = book.state["exercises"][0]["sets"]
    assert (row["reps"], row["load"], row["rpe"]) == (6, {"value": 100, "unit": "kg"}, 9)
    assert (row["at"], row["dot"]) == (10_000, [1, 3])


def test_another_entity_makes_a_set_stand_alone(book, id_of):
    book.create()
    book.exercise("a")
    meeting = book.log("a", 1, reps=5)
    book("set.log", entity=id_of("own"), exercise_entry=id_of("a"), slot=1, type="working", reps=8)
    assert [(s["id"], s["slot"], s["reps"]) for s in book.state["exercises"][0]["sets"]] == [
        (meeting, 1, 5),
        (id_of("own"), 1, 8),
    ]


def test_a_set_can_move_to_another_exercise(book, id_of):
    book.create()
    book.exercise("a")
    book.exercise("b")
    one = book.log("a", 1)
    book("set.edit", entity=one, field="exercise_entry", value=id_of("b"))
    assert [len(e["sets"]) for e in book.state["exercises"]] == [0, 1]


def test_removing_hides_and_restoring_shows_again(book, id_of):
    book.create()
    book.exercise("a")
    one = book.log("a", 1, reps=5)
    book("set.remove", entity=one)
    assert book.state["exercises"][0]["sets"] == []
    assert book.state["removed_entities"] == [{"id": one, "kind": "set"}]
    book("set.restore", entity=one)
    book("exercise.remove", entity=id_of("a"))
    assert book.state["exercises"] == []
    assert book.state["removed_entities"] == [{"id": id_of("a"), "kind": "exercise"}]
    assert book.state["totals"]["sets"] == 0
    book("exercise.restore", entity=id_of("a"))
    assert book.state["exercises"][0]["sets"][0]["reps"] == 5
    assert book.state["removed_entities"] == []


def test_a_set_logged_again_or_into_a_removed_exercise_is_seen(book, id_of):
    book.create()
    book.exercise("a")
    one = book.log("a", 1, reps=5)
    book("set.remove", entity=one)
    book.log("a", 1, reps=6)
    assert book.state["exercises"][0]["sets"][0]["reps"] == 6
    book("exercise.remove", entity=id_of("a"))
    book.log("a", 2, reps=7, device=2)
    assert [s["reps"] for s in book.state["exercises"][0]["sets"]] == [6, 7]


def test_an_exercise_added_again_is_seen(book, id_of):
    book.create()
    book.exercise("a")
    book("exercise.remove", entity=id_of("a"))
    book.exercise("a", exercise="row")
    assert [e["exercise"] for e in book.state["exercises"]] == ["row"]


def test_notes_belong_to_the_workout_an_exercise_or_a_set(book, id_of):
    book.create()
    book.exercise("a")
    one = book.log("a", 1)
    book("note.set", text="slept badly")
    book("note.set", entity=id_of("a"), text="new bar")
    book("note.set", entity=one, text="left knee", parent=[1, 3])
    told = book.state
    (entry,) = told["exercises"]
    assert (told["note"], entry["note"], entry["sets"][0]["note"]) == ("slept badly", "new bar", "left knee")
    book("workout.complete", note="fine in the end")
    assert book.state["note"] == "fine in the end"


# -- the workout itself ------------------------------------------------------------------------------


def test_create_plans_entries_and_slots(book, id_of):
    sets = [{"slot": 1, "target": {"reps": 5}}, {"slot": "back-off"}]
    book.create(
        title="Legs",
        template="ppl",
        units="lb",
        tz="UTC",
        plan=[{"entry": id_of("a"), "exercise": "squat", "position": "a", "sets": sets}],
    )
    told = book.state
    assert (told["title"], told["template"], told["units"], told["tz"]) == ("Legs", "ppl", "lb", "UTC")
    assert (told["created"], told["created_at"], told["status"], told["phase"]) == (True, 0, "planned", None)
    assert told["exercises"][0]["plan"] == [
        {"slot": 1, "set": set_id(book.w.id, 1), "target": {"reps": 5}},
        {"slot": "back-off", "set": set_id(book.w.id, "back-off"), "target": None},
    ]


def test_create_on_an_existing_id_writes_its_fields(book, id_of):
    book.create(1, title="A", tz="UTC")
    book.exercise("a")
    book.create(2, title="B", plan=[{"entry": id_of("b"), "exercise": "row", "position": "b"}])
    told = book.state
    assert (told["title"], told["tz"], told["created_at"]) == ("B", "UTC", 1_000)
    assert [e["exercise"] for e in told["exercises"]] == ["a", "row"]


def test_a_workout_is_removed_restored_merged_and_unmerged(book, id_of):
    book.create()
    book("workout.remove")
    assert book.state["removed"] is True
    book("workout.restore")
    assert book.state["removed"] is False
    book("workout.merge", into=id_of("other"))
    assert book.state["merged_into"] == id_of("other")
    book("workout.unmerge")
    assert "merged_into" not in book.state


def test_choosing_where_nothing_conflicts_changes_nothing(book):
    book.create(title="A")
    before = book.state
    assert book("conflict.choose", 0, field="title", dot=[1, 1]).verdict == "applied"
    assert {**book.state, "rev": 1} == before


# -- late targets ------------------------------------------------------------------------------------


def test_ops_on_a_set_before_its_log_take_effect_when_it_appears(book, id_of):
    book.create()
    book.exercise("a")
    one = set_id(book.w.id, 1)
    assert book("set.edit", entity=one, field="reps", value=8, device=2).verdict == "deferred"
    assert book("note.set", entity=one, text="hard", device=2).verdict == "deferred"
    assert book.state["exercises"][0]["sets"] == []
    book.log("a", 1, reps=5, load=100, base=2)
    (row,) = book.state["exercises"][0]["sets"]
    assert (row["reps"], row["load"]["value"], row["note"]) == (8, 100, "hard")
    assert [one["field"] for one in book.state["alternatives"]] == ["reps"]
    book("set.edit", entity=one, field="reps", value=9)
    assert book.state["exercises"][0]["sets"][0]["reps"] == 9


def test_a_removal_removes_nothing_that_it_had_not_seen_even_if_it_comes_first(book):
    book.create()
    book.exercise("a")
    one = set_id(book.w.id, 1)
    assert book("set.remove", entity=one, device=2).verdict == "deferred"
    assert book.state["removed_entities"] == []
    book.log("a", 1, base=2)
    assert book.state["removed_entities"] == []
    assert [flag["flag"] for flag in book.state["flags"]] == ["removed_and_edited"]


def test_a_set_of_an_exercise_that_comes_later_waits_for_it(book, id_of):
    book.create()
    book.log("a", 1, 10, reps=5, device=2)
    assert book.records[-1].verdict == "deferred"
    assert (book.state["exercises"], book.state["totals"]["sets"]) == ([], 0)
    book.exercise("a")
    assert book.state["exercises"][0]["sets"][0]["reps"] == 5
    assert book.state["totals"]["sets"] == 1


def test_ops_on_an_exercise_before_it_is_added_stand_beside_its_first_values(book, id_of):
    book.create()
    edit = book("exercise.edit", entity=id_of("a"), device=2, field="exercise", value="row")
    assert edit.verdict == "deferred"
    assert book("exercise.move", entity=id_of("a"), device=2, position="m").verdict == "deferred"
    assert book.state["exercises"] == []
    book.exercise("a", exercise="squat", position="a", superset=1, base=1)
    (entry,) = book.state["exercises"]
    assert (entry["exercise"], entry["position"], entry["superset"]) == ("row", "m", 1)
    (alternative,) = book.state["alternatives"]
    assert [other["value"] for other in alternative["others"]] == ["squat"]


def test_sets_are_in_the_order_of_their_logs_not_of_what_was_said_about_them_before(book):
    book.create()
    book.exercise("a")
    book("set.edit", entity=set_id(book.w.id, 2), field="reps", value=8)
    book.log("a", 1)
    book.log("a", 2)
    assert [s["slot"] for s in book.state["exercises"][0]["sets"]] == [1, 2]


def test_what_comes_before_its_workout_is_there_when_the_workout_comes(book):
    assert book("workout.start", 5).verdict == "deferred"
    assert book("workout.edit", device=2, field="title", value="Legs").verdict == "deferred"
    assert book("exercise.add", entity=book.w.id, exercise="squat", position="a").verdict == "deferred"
    assert (book.state["created"], book.w.known) == (False, False)
    assert timers(book.w).due_at is None
    book.create(5, title="Untitled", tz="UTC", base=1)
    told = book.state
    assert (told["created"], told["status"], told["started_at"]) == (True, "active", 5_000)
    assert (told["title"], told["tz"], len(told["exercises"])) == ("Legs", "UTC", 1)


def test_unknown_kinds_and_newer_schemas_are_deferred_without_effect(book):
    book.create(title="A")
    before = book.state
    assert book("workout.dance", 50, steps=3).verdict == "deferred"
    assert book("workout.edit", 60, v=2, field="title", value="B").verdict == "deferred"
    assert {**book.state, "rev": 1} == before


def test_a_record_that_this_version_cannot_read_only_takes_its_place(book):
    book.create()
    op = book.op("workout.edit", {"field": "title", "value": 5})
    record = book.take(op, book("workout.start"))
    assert (book.w.seq, book.w.rev) == (record.seq, record.rev)
    assert book.state["title"] is None


def test_a_note_on_a_set_that_is_not_there_yet_holds_it_against_who_had_not_read_it(book):
    book.create()
    book.exercise("a")
    one = set_id(book.w.id, 1)
    assert book("note.set", entity=one, device=2, text="felt easy").verdict == "deferred"
    book.log("a", 1, base=2)
    book("set.remove", entity=one, base=2)
    (row,) = book.state["exercises"][0]["sets"]
    assert row["note"] == "felt easy"
    (flag,) = book.state["flags"]
    assert (flag["flag"], [kept["dot"] for kept in flag["kept"]]) == ("removed_and_edited", [[2, 1]])


def test_versions_of_a_note_are_not_merged_over_one_that_somebody_had_not_read(book):
    book.create()
    book("note.set", 10, text="squats")
    book("note.set", 20, text="squats\nslow", parent=[1, 2])
    book("note.set", 30, device=2, base=1, text="legs\nsquats")
    assert book.state["note"] == "legs\nsquats"
    (alternative,) = book.state["alternatives"]
    assert [other["value"] for other in alternative["others"]] == ["squats\nslow"]
    assert book.state["flags"] == []


def test_an_edge_is_judged_by_what_its_author_had_seen_of_the_servers_yielding(book):
    book.create()
    book("workout.start", 10)
    book("workout.pause", 1000, device=0, reason="idle")
    book("note.set", 1100, base=2, text="still here")
    assert book.state["status"] == "active"
    assert book("workout.resume", 1200, device=2, base=3).verdict == "applied"
    assert book("workout.resume", 1200, device=3, base=4).code == "illegal_edge"


def test_what_builds_on_an_op_of_a_newer_client_waits_and_is_not_called_wrong(book):
    book.create()
    book("workout.dance", 5)
    assert book("workout.pause", 10, device=2, base=1).code == "illegal_edge"
    assert book("workout.pause", 10, base=2).verdict == "deferred"
    assert book("conflict.choose", 11, field="title", dot=[1, 2]).verdict == "deferred"
    assert book("conflict.choose", 11, device=2, base=1, field="title", dot=[1, 1]).code == "bad_value"
    assert book.state["status"] == "planned"
