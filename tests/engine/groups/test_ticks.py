from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fitai.engine.groups.ticks import View, apply, changes, cheered, combine

values = st.one_of(st.integers(0, 3), st.just({"reps": 5}), st.just(False))
fields = st.dictionaries(st.sampled_from("abcd"), values, min_size=1, max_size=4)
views = st.dictionaries(st.integers(1, 6), fields, max_size=6)
news = st.dictionaries(st.sampled_from("abcd"), st.one_of(st.none(), values), max_size=4)
tidings = st.dictionaries(st.integers(1, 6), news, max_size=6)


def test_only_what_changed_is_said():
    before: View = {1: {"reps": 5, "rank": 1}, 2: {"reps": 3, "rank": 2}, 3: {"here": True}}
    after: View = {1: {"reps": 5, "rank": 2}, 2: {"reps": 8, "rank": 1}, 4: {"here": True}}
    assert changes(before, after) == {
        3: {"here": None},
        1: {"rank": 2},
        2: {"reps": 8, "rank": 1},
        4: {"here": True},
    }
    assert changes({1: {"rest_ends_at": 9, "reps": 1}}, {1: {"reps": 1}}) == {1: {"rest_ends_at": None}}


@given(views, views)
def test_a_change_leads_from_one_view_to_the_other(before, after):
    assert apply(before, changes(before, after)) == after


@given(views, views)
def test_a_change_is_the_least(before, after):
    change = changes(before, after)
    assert (change == {}) == (before == after)
    for no, said in change.items():
        assert said
        assert all(before.get(no, {}).get(field) != value for field, value in said.items())


@given(views, tidings, tidings)
def test_two_changes_are_combined_into_one(view, first, second):
    assert apply(view, combine(first, second)) == apply(apply(view, first), second)


@given(views, views, views)
def test_nothing_is_altered(one, two, three):
    kept = [{no: dict(said) for no, said in view.items()} for view in (one, two, three)]
    change = combine(changes(one, two), changes(two, three))
    apply(one, change)
    assert [one, two, three] == kept


def test_cheers_add_up():
    first = {1: {"clap": 2}}
    assert cheered(first, {1: {"clap": 3, "fire": 1}, 2: {"clap": 1}}) == {
        1: {"clap": 5, "fire": 1},
        2: {"clap": 1},
    }
    assert first == {1: {"clap": 2}}
