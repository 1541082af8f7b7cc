"""The rules of the op log: counters, contexts, clocks, effective time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitai.engine.ops import Dot, Op, Record, Stamp, Verdict, saw
from fitai.sync import log
from fitai.sync.clock import VectorClock
from fitai.sync.log import Context, Position
from fitai.sync.wire import MAX_INT, Refusal, WireLimits, decode_op, op_hash

WORKOUT = "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001"


def op(n: int, base: int = 0, **changes: Any) -> Op:
    raw = {"n": n, "base": base, "kind": "workout.start", "workout": WORKOUT, "value": {}, "at": 0, **changes}
    return decode_op(raw, WireLimits())[0]


def refusal(*args: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        log.admit(*args)
    return caught.value


def test_a_push_is_divided_into_retries_and_new_ops() -> None:
    admission = log.admit([op(3), op(4), op(5)], Position(next_n=5), head=9)
    assert (admission.retries, [o.n for o in admission.fresh]) == (2, [5])
    admission = log.admit([op(1), op(2)], Position(next_n=9), head=9)
    assert (admission.retries, list(admission.fresh)) == (2, [])


def test_a_counter_ahead_is_a_gap_that_says_where_to_go_on() -> None:
    error = refusal([op(7)], Position(next_n=5), 9)
    assert (error.code, error.extra) == ("gap", {"next_n": 5})


def test_a_base_beyond_the_head_is_refused_but_a_retry_is_answered_whatever_its_base() -> None:
    assert refusal([op(5, base=10)], Position(next_n=5), 9).code == "base_ahead"
    assert log.admit([op(4, base=10)], Position(next_n=5), 9).retries == 1


def test_the_same_counter_with_other_content_is_an_equivocation() -> None:
    stored = Record(
        op=op(1), seq=1, rev=1, device=1, base=0, beyond=None, te=0, rt=0, verdict=Verdict.APPLIED,
        hash=op_hash(op(1).raw),
    )  # fmt: skip
    with pytest.raises(Refusal) as caught:
        log.retried(op(1, at=1), stored, 2)
    assert caught.value.code == "equivocation"
    assert caught.value.extra == {"n": 1, "next_n": 2}


def test_a_retry_is_a_duplicate_with_the_first_answer_whatever_its_base_and_spelling() -> None:
    first = op(4, base=2, value={"reason": "tired", "seconds": 60})
    stored = Record(
        op=first, seq=9, rev=3, device=1, base=5, beyond={2: 7}, te=1_000, rt=2_000, verdict=Verdict.VOID,
        code="illegal_edge", detail={"from": "planned", "trigger": "start"}, hash=op_hash(first.raw),
    )  # fmt: skip
    again = op(4, base=8, value={"seconds": 60.0, "reason": "tired"})
    told = log.result(stored)
    assert told == {
        "n": 4, "seq": 9, "rev": 3, "te": 1_000, "verdict": "void",
        "context": {"base": 5, "beyond": {"2": 7}},
        "code": "illegal_edge", "detail": {"from": "planned", "trigger": "start"},
    }  # fmt: skip
    assert log.retried(again, stored, 5) == {
        "n": 4, "seq": 9, "rev": 3, "te": 1_000, "verdict": "duplicate",
        "first": {key: value for key, value in told.items() if key not in ("n", "seq")},
    }  # fmt: skip


def test_a_context_never_goes_back_for_one_device() -> None:
    position = Position(next_n=2, base=5, beyond={2: 3})
    assert log.context(op(2, base=3), position) == Context(5, {2: 3})
    assert log.context(op(2, base=8), position) == Context(8, {2: 3})
    assert log.context(op(2), position, Context(6, {2: 1, 3: 1})) == Context(6, {2: 3, 3: 1})


def test_a_full_clock_is_compressed_to_its_longest_prefix_and_what_lies_beyond() -> None:
    tail = [(1, Dot(1, 1)), (2, Dot(2, 1)), (3, Dot(3, 1)), (4, Dot(2, 2)), (5, Dot(2, 3)), (6, Dot(1, 2))]
    named = log.compress(VectorClock({2: 2}), own=1, start=0, tail=tail)
    assert named == Context(2, {2: 2})
    later = Stamp(seq=7, device=1, n=3, te=0, base=named.base, beyond={**(named.beyond or {})})
    seen = [dot for seq, dot in tail if saw(later, Stamp(seq, dot.device, dot.n, 0, 0))]
    assert seen == [Dot(1, 1), Dot(2, 1), Dot(2, 2), Dot(1, 2)]


def test_a_clock_that_covers_everything_is_a_base_and_one_that_covers_nothing_too() -> None:
    tail = [(3, Dot(2, 1)), (4, Dot(1, 1)), (5, Dot(3, 1))]
    assert log.compress(VectorClock({2: 1, 3: 1}), own=1, start=2, tail=tail) == Context(5, None)
    assert log.compress(VectorClock(), own=1, start=2, tail=tail) == Context(2, None)


def test_a_clock_that_names_what_is_not_here_comes_later_and_hears_what_is_missing() -> None:
    here = VectorClock({1: 3, 2: 5})
    log.require(VectorClock({2: 5, 1: 99}), own=1, here=here)
    with pytest.raises(Refusal) as caught:
        log.require(VectorClock({2: 6, 3: 1, 1: 4}), own=1, here=here)
    assert caught.value.code == "later"
    assert caught.value.extra["missing"] == {"2": 6, "3": 1}
    assert caught.value.extra["retry_after_ms"] > 0


def test_an_entry_is_dropped_as_soon_as_the_base_covers_it_and_not_before() -> None:
    places = {Dot(2, 4): 7, Dot(3, 1): 9}
    context = Context(8, {2: 4, 3: 1, 4: 6})
    assert log.shorten(context, places) == Context(8, {3: 1, 4: 6}), "what has no place is kept"
    assert log.shorten(Context(9, {2: 4, 3: 1}), places) == Context(9, None)
    assert log.shorten(Context(6, {2: 4, 3: 1}), places) == Context(6, {2: 4, 3: 1})


def test_applied_means_that_all_of_other_devices_was_seen() -> None:
    latest = [Stamp(seq=4, device=1, n=2, te=0, base=0), Stamp(seq=3, device=2, n=1, te=0, base=0)]

    def verdict(base, beyond=None):
        return log.placed(Stamp(seq=5, device=1, n=3, te=0, base=base, beyond=beyond), latest)

    assert verdict(3) is Verdict.APPLIED
    assert verdict(2) is Verdict.MERGED
    assert verdict(2, {2: 1}) is Verdict.APPLIED


@given(st.lists(st.integers()), st.integers(), st.none() | st.integers(), st.integers())
def test_effective_time_lies_between_the_previous_op_and_receipt(
    ats: list[int], offset: int, previous: int | None, received: int
) -> None:
    for at, te in zip(ats, log.effective_times(ats, offset, previous, received), strict=True):
        assert te <= received
        if previous is not None and previous <= received:
            assert te >= previous
        if -MAX_INT <= at + offset <= received and (previous is None or previous <= at + offset):
            assert te == at + offset
        previous = te


def test_two_absurd_clocks_do_not_add_up_to_a_time_that_json_can_not_name() -> None:
    assert log.effective_times([-MAX_INT], -MAX_INT, None, 1_700_000_000_000) == [-MAX_INT]
