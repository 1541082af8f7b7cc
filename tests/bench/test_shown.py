"""What receivers of a group were shown, beside what was sent. From ticks that are made up."""

from __future__ import annotations

import pytest

from fitai.bench.shown import Expected, News, Receivers


def tick(members, cheers=None):
    made = {"group": "g", "at": 1, "members": {str(no): fields for no, fields in members.items()}}
    return made if cheers is None else {**made, "cheers": cheers}


def a_set(reps=5, kg=62.5, rpe=8):
    return {"reps": reps, "load": {"value": kg, "unit": "kg"}, "rpe": rpe}


HERE = {"here": True, "amount": 0}


@pytest.fixture
def sent():
    expected = Expected()
    for no in (1, 2, 3):
        expected.joined(no)
    return expected


@pytest.fixture
def receivers(sent):
    return Receivers(sent.tells)


def everybody():
    return {"1": HERE, "2": HERE, "3": HERE}


def test_those_who_were_told_the_same_tick_share_one_state_and_one_step(receivers):
    ana, ben = receivers.begin(everybody()), receivers.begin(everybody())
    assert ana is ben
    told = tick({1: {"hr": 60}})
    assert receivers.after(ana, told) is receivers.after(ben, told)


def test_one_who_was_told_two_ticks_as_one_is_where_the_others_are(receivers):
    start = receivers.begin(everybody())
    first = tick({1: {"hr": 60}, 2: {"hr": 61}}, {"0": {"clap": 1}})
    second = tick({1: {"hr": 70}}, {"0": {"clap": 1}, "2": {"go": 1}})
    both = tick({1: {"hr": 70}, 2: {"hr": 61}}, {"0": {"clap": 2}, "2": {"go": 1}})
    others = receivers.after(receivers.after(start, first).shown, second)
    slow = receivers.after(start, both)
    assert slow.shown is others.shown
    assert (slow.fields, others.fields) == (2, 1)


def test_who_was_shown_something_else_stays_apart(receivers):
    start = receivers.begin(everybody())
    one = receivers.after(start, tick({1: {"hr": 60}}))
    other = receivers.after(start, tick({1: {"hr": 61}}))
    assert one.shown is not other.shown
    assert receivers.after(other.shown, tick({1: {"hr": 60}})).shown is one.shown
    assert receivers.again(one.shown) is one.shown


def test_a_tick_tells_of_the_heart_rate_and_of_each_set_that_was_sent(sent, receivers):
    sent.beat(1, 60, 10.0)
    sent.beat(1, 61, 11.0)
    sent.logged(2, a_set(), 10.5)
    sent.logged(2, a_set(), 11.5)
    step = receivers.after(receivers.begin(everybody()), tick({1: {"hr": 61}, 2: {"sets": 2, "rank": 1}}))
    assert step.news == [News("heart", 11.0), News("set", 10.5), News("set", 11.5)]
    assert step.oldest == 10.5
    assert step.fields == 3
    quiet = receivers.after(step.shown, tick({3: {"rank": 2, "rest_ends_at": None}, 9: {"hr": 61}}))
    assert (quiet.news, quiet.oldest) == ([], None)


def shown(receivers, view, cheers=None):
    return receivers.after(receivers.begin(everybody()), tick(view, cheers)).shown


def test_what_was_sent_is_what_must_be_shown(sent, receivers):
    sent.beat(1, 60, 0.0)
    sent.logged(1, a_set(reps=5, kg=62.5), 0.0)
    sent.logged(2, a_set(reps=5, kg=100), 0.0)
    sent.logged(3, a_set(reps=3, kg=20), 0.0)
    sent.logged(3, a_set(reps=1, kg=40, rpe=9), 0.0)
    sent.cheered(0, "clap")
    sent.cheered(2, "go")
    last = {"exercise": "squat", **a_set()}
    right = {
        1: {"sets": 1, "reps": 5, "volume_ug": 312_500_000_000, "amount": 5, "rank": 1, "hr": 60,
            "last": last},
        2: {"sets": 1, "reps": 5, "volume_ug": 500_000_000_000, "amount": 5, "rank": 1,
            "last": {**last, "load": {"value": 100, "unit": "kg"}}},
        3: {"sets": 2, "reps": 4, "volume_ug": 100_000_000_000, "amount": 4, "rank": 3,
            "last": {**last, **a_set(1, 40, 9)}},
    }  # fmt: skip
    cheers = {"0": {"clap": 1}, "2": {"go": 1}}
    assert list(sent.wrong(shown(receivers, right, cheers))) == []
    for no, field, value in (
        (1, "hr", 61), (1, "rank", 2), (2, "reps", 6), (3, "sets", 1), (3, "volume_ug", 1), (2, "here", None),
        (1, "amount", 6), (3, "last", {**last, **a_set(2, 40, 9)}),
    ):  # fmt: skip
        other = {**right, no: {**right[no], field: value}}
        [why] = sent.wrong(shown(receivers, other, cheers))
        assert f"member {no}: {field} is " in why
    [why] = sent.wrong(shown(receivers, right, {"0": {"clap": 1}}))
    assert why == "1 cheers, not 2"


def test_a_member_too_many_and_one_too_few_are_wrong(sent, receivers):
    [why] = sent.wrong(shown(receivers, {4: {"here": True}}))
    assert why == "member 4: here is True, not None"
    assert "member 3: here is None, not True" in list(sent.wrong(receivers.begin({"1": HERE, "2": HERE})))
