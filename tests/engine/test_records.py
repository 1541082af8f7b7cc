"""When something is a personal record, told as people expect it."""

from __future__ import annotations

import json
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitai.engine.records import RECORD_TYPES, Best, Bests, bests_of, merge, records, workout_bests

KG = 1_000_000_000
LB = 453_592_370


@pytest.fixture
def done(new_book, id_of):
    """done(sets…, earlier=[[sets…], …]): the records of a workout of "bench", {type: (value, previous)}."""

    def bests(sets, **options):
        book = new_book()
        book.create()
        book.exercise("a", exercise="bench")
        for slot, one in enumerate(sets):
            book.log(one.pop("entry", "a"), slot, slot, **one)
        return workout_bests(book.w, **options)

    def play(*sets, earlier=(), **options):
        history = bests_of(bests([dict(one) for one in workout], **options) for workout in earlier)
        now = bests([dict(one) for one in sets], **options).get("bench", Bests())
        return {hit.type: (hit.value, hit.previous) for hit in records(now, history.get("bench"))}

    return play


def a_set(reps, load, **more):
    return {"reps": reps, "load": load, **more}


# -- baselines and ties ------------------------------------------------------------------------------


def test_the_first_ever_log_is_a_baseline_of_everything(done):
    assert done(a_set(5, 100, duration_ms=9, distance_m=3)) == {}
    assert done({"duration_ms": 60_000, "distance_m": 400}) == {}
    assert done(a_set(5, 30, assisted=True)) == {}


def test_without_a_history_the_first_set_is_what_later_ones_are_compared_with(done):
    assert done(a_set(5, 100), a_set(5, 105), a_set(5, 110))["load"] == (110 * KG, 100 * KG)
    assert done(a_set(5, 100), a_set(5, 90)) == {}
    assert done(a_set(5, 100), a_set(7, 100))["reps"] == (7, 5)


def test_the_volume_of_the_first_workout_is_a_baseline_as_a_whole(done):
    assert "workout_volume" not in done(a_set(5, 100), a_set(5, 100), a_set(5, 100))


def test_with_a_history_only_what_beats_the_history_is_a_record(done):
    history = [[a_set(5, 100)]]
    assert done(a_set(1, 60), a_set(1, 80), earlier=history) == {}
    assert done(a_set(1, 101), earlier=history)["load"] == (101 * KG, 100 * KG)


def test_ties_are_no_records(done):
    one = [a_set(5, 100), {"duration_ms": 60_000}, {"distance_m": 400}]
    assert done(*one, earlier=[one]) == {}
    helped = [a_set(5, 30, assisted=True)]
    assert done(*helped, earlier=[helped]) == {}


def test_the_best_of_all_earlier_workouts_counts_not_the_last_one(done):
    history = [[a_set(5, 120)], [a_set(5, 100)]]
    assert "load" not in done(a_set(5, 110), earlier=history)
    assert done(a_set(5, 121), earlier=history)["load"] == (121 * KG, 120 * KG)


# -- what counts -------------------------------------------------------------------------------------


def test_warmups_never_count_neither_as_record_nor_as_baseline(done):
    history = [[a_set(5, 100)]]
    assert done(a_set(5, 200, type="warmup"), earlier=history) == {}
    assert done(a_set(5, 60, type="warmup"), a_set(5, 100)) == {}
    assert done(a_set(5, 101), earlier=[[a_set(5, 200, type="warmup"), a_set(5, 100)]])["load"][1] == 100 * KG


def test_sets_that_are_not_done_do_not_count(done):
    assert done(a_set(5, 200, done=False), earlier=[[a_set(5, 100)]]) == {}


def test_a_failed_single_is_no_record(done):
    assert done(a_set(0, 200), earlier=[[a_set(5, 100)]]) == {}


@pytest.mark.parametrize("type_", ["working", "drop", "failure", "amrap", "myo", "partial", "isometric"])
def test_every_other_type_counts(done, type_):
    assert "load" in done(a_set(5, 105, type=type_), earlier=[[a_set(5, 100)]])


def test_kg_and_lb_compare_as_one(done):
    assert "load" not in done(a_set(5, (220.462, "lb")), earlier=[[a_set(5, 100)]])
    assert done(a_set(5, (220.463, "lb")), earlier=[[a_set(5, 100)]])["load"][1] == 100 * KG
    assert "load" in done(a_set(5, 100), earlier=[[a_set(5, (220, "lb"))]])
    same = done(a_set(5, (100, "lb")), earlier=[[a_set(5, 45.359)]])
    assert same["load"] == (100 * LB, 45_359_000_000)


# -- the types ---------------------------------------------------------------------------------------


def test_the_best_estimated_maximum_may_come_from_a_lighter_set(done):
    hits = done(a_set(8, 95), earlier=[[a_set(5, 100)]])
    assert hits["e1rm"] == (120_333_333_333, 116_666_666_667)
    assert "load" not in hits


def test_sets_of_more_than_ten_reps_have_no_estimate(done):
    assert "e1rm" not in done(a_set(11, 99), earlier=[[a_set(5, 100)]])


def test_the_formula_can_be_chosen(done):
    hits = done(a_set(8, 95), earlier=[[a_set(5, 100)]], formula="brzycki")
    assert hits["e1rm"][1] == 112_500_000_000
    with pytest.raises(KeyError):
        done(a_set(1, 1), formula="guess")


def test_most_reps_only_where_that_exact_load_was_logged_before(done):
    history = [[a_set(5, 100)]]
    assert done(a_set(6, 100), earlier=history)["reps"] == (6, 5)
    assert "reps" not in done(a_set(6, 99), earlier=history)
    assert "reps" not in done(a_set(6, 101), earlier=history)


def test_most_reps_must_be_more_than_ever_at_that_load_or_heavier(done):
    history = [[a_set(8, 60), a_set(12, 70)]]
    assert "reps" not in done(a_set(12, 60), earlier=history)
    assert done(a_set(13, 60), earlier=history)["reps"] == (13, 8)
    assert "reps" not in done(a_set(13, 65), a_set(13, 60), earlier=history)


def test_of_several_loads_the_heaviest_tells_the_reps(done):
    history = [[a_set(8, 60), a_set(5, 80)]]
    assert done(a_set(9, 60), a_set(6, 80), earlier=history)["reps"] == (6, 5)


def test_body_weight_alone_has_reps(done):
    assert done({"reps": 12}, earlier=[[{"reps": 10}]]) == {"reps": (12, 10)}
    assert done({"reps": 12, "load": 0}, earlier=[[{"reps": 10}]]) == {"reps": (12, 10)}


def test_best_set_volume_and_best_workout_volume(done):
    hits = done(a_set(10, 60), a_set(10, 60), earlier=[[a_set(5, 100), a_set(5, 100)]])
    assert hits["set_volume"] == (600 * KG, 500 * KG)
    assert hits["workout_volume"] == (1_200 * KG, 1_000 * KG)


def test_longest_time_and_longest_distance(done):
    history = [[{"duration_ms": 60_000, "type": "isometric"}, {"distance_m": 400}]]
    hits = done({"duration_ms": 60_001, "type": "isometric"}, {"distance_m": 400.5}, earlier=history)
    assert hits == {"duration": (60_001, 60_000), "distance": (400_500, 400_000)}


def test_how_long_some_reps_took_is_no_longest_time(done):
    assert "duration" not in done(a_set(5, 1, duration_ms=90_000), earlier=[[{"duration_ms": 60_000}]])


def test_a_weight_that_was_held_is_a_load(done):
    assert done({"load": 40, "duration_ms": 1}, earlier=[[a_set(5, 30)]])["load"] == (40 * KG, 30 * KG)


def test_with_assistance_less_help_is_the_record_and_there_is_no_maximum(done):
    history = [[a_set(8, 30, assisted=True)]]
    assert done(a_set(8, 25, assisted=True), earlier=history) == {"assist": (25 * KG, 30 * KG)}
    assert done(a_set(8, 35, assisted=True), earlier=history) == {}
    assert done(a_set(8, 30, assisted=True), a_set(8, 25, assisted=True)) == {"assist": (25 * KG, 30 * KG)}


def test_reps_with_the_same_help_count_and_less_help_is_heavier(done):
    history = [[a_set(8, 30, assisted=True), a_set(10, 20, assisted=True)]]
    assert done(a_set(11, 30, assisted=True), earlier=history) == {"reps": (11, 8)}
    assert done(a_set(9, 30, assisted=True), earlier=history) == {}


def test_an_assisted_set_is_no_load_for_the_unassisted_ones(done):
    assert "load" not in done(a_set(5, 200, assisted=True), earlier=[[a_set(5, 100)]])


# -- left and right ----------------------------------------------------------------------------------


def test_the_second_half_of_the_first_pair_is_no_record_over_the_first(done):
    assert done(a_set(8, 10, side="left"), a_set(10, 12, side="right")) == {}


def test_left_and_right_are_one_set_whose_volumes_add_up(done):
    pair = [a_set(8, 10, side="left"), a_set(8, 10, side="right")]
    assert done(*pair, earlier=[pair]) == {}
    better = [a_set(8, 10, side="left"), a_set(9, 10, side="right")]
    hits = done(*better, earlier=[pair])
    assert hits["set_volume"] == (170 * KG, 160 * KG)
    assert hits["reps"] == (9, 8)


def test_the_second_pair_is_compared_with_the_first(done):
    pairs = [a_set(8, 10, side=side) for side in ("left", "right")]
    pairs += [a_set(8, 12, side=side) for side in ("right", "left")]
    assert done(*pairs)["load"] == (12 * KG, 10 * KG)
    assert done(*pairs)["set_volume"] == (192 * KG, 160 * KG)


# -- bests as values ---------------------------------------------------------------------------------


def test_the_sets_and_times_of_bests_are_told(book):
    book.create()
    book.exercise("a", exercise="bench")
    book.log("a", 1, 10, reps=5, load=100)
    heavier = book.log("a", 2, 20, reps=5, load=(225, "lb"))
    bests = workout_bests(book.w)["bench"]
    assert bests.best["load"] == Best(225 * LB, heavier, 20_000, "lb")
    assert bests.best["workout_volume"] == Best(500 * KG + 5 * 225 * LB, None, 20_000, "lb")
    assert set(bests.reps) == {100 * KG, 225 * LB}


def test_the_same_exercise_twice_in_a_workout_is_one(book):
    book.create()
    for name in ("a", "b"):
        book.exercise(name, exercise="bench")
        book.log(name, name, reps=5, load=100)
    assert workout_bests(book.w)["bench"].best["workout_volume"].value == 1_000 * KG


def test_an_empty_workout_has_no_bests(book):
    assert workout_bests(book.w) == {}
    assert records(Bests(), None) == []
    assert merge() == Bests()


bests_strategy = st.builds(
    lambda best, reps: Bests.from_json({"best": best, "reps": reps}),
    st.dictionaries(
        st.sampled_from(RECORD_TYPES),
        st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.integers(0, 2), st.sampled_from(["kg", "lb"])),
    ),
    st.dictionaries(
        st.sampled_from(["0", "1", "-1"]),
        st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.integers(0, 2), st.none()),
    ),
)


@given(st.lists(bests_strategy, max_size=3))
def test_merging_is_the_same_in_any_order_and_grouping(several):
    merged = merge(*several)
    for order in permutations(several):
        assert merge(*order) == merged
        grouped = Bests()
        for one in order:
            grouped = merge(grouped, one)
        assert grouped == merged
        absorbed = Bests()
        for one in order:
            absorbed.absorb(json.loads(json.dumps(one.to_json())))
        assert absorbed == merged
    assert merge(merged, merged) == merged


@given(bests_strategy)
def test_bests_survive_json(bests):
    assert Bests.from_json(json.loads(json.dumps(bests.to_json()))) == bests


def test_types_of_a_newer_version_are_dropped():
    assert Bests.from_json({"best": {"speed": [1, None, 0, None]}, "reps": {}}) == Bests()


@given(bests_strategy)
def test_nothing_beats_itself(bests):
    assert records(bests, bests) == []
