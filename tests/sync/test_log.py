"""The rules of the op log: counters, contexts, clocks, effective time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitai.engine.ops import Dot, Op, Record, Verdict
from fitai.sync import log
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
    log.check_retry(op(1, base=1), stored, 2)
    with pytest.raises(Refusal) as caught:
        log.check_retry(op(1, at=1), stored, 2)
    assert caught.value.code == "equivocation"
    assert caught.value.extra == {"n": 1, "next_n": 2}


def test_a_context_never_goes_back_for_one_device() -> None:
    position = Position(next_n=2, base=5, beyond={2: 3})
    assert log.context(op(2, base=3), position) == Context(5, {2: 3})
    assert log.context(op(2, base=8), position) == Context(8, {2: 3})
    assert log.context(op(2), position, Context(6, {2: 1, 3: 1})) == Context(6, {2: 3, 3: 1})


def test_a_full_clock_is_compressed_to_its_longest_prefix_and_what_lies_beyond() -> None:
    tail = [(1, Dot(1, 1)), (2, Dot(2, 1)), (3, Dot(3, 1)), (4, Dot(2, 2))]
    named = log.compress({2: 2}, own=1, start=0, tail=tail, ahead=[Dot(2, 2)])
    assert named == Context(2, {2: 2})
    assert log.saw(named, 1, 4, Dot(2, 2))
    assert not log.saw(named, 1, 3, Dot(3, 1))


def test_applied_means_that_all_of_other_devices_was_seen() -> None:
    latest = {1: (4, 2), 2: (3, 1)}
    assert log.placed(Context(3, None), 1, latest) is Verdict.APPLIED
    assert log.placed(Context(2, None), 1, latest) is Verdict.MERGED
    assert log.placed(Context(2, {2: 1}), 1, latest) is Verdict.APPLIED


@given(st.integers(), st.integers(), st.none() | st.integers(), st.integers())
def test_effective_time_lies_between_the_previous_op_and_receipt(
    at: int, offset: int, previous: int | None, received: int
) -> None:
    te = log.effective_time(at, offset, previous, received)
    assert te <= received
    if previous is not None and previous <= received:
        assert te >= previous


def test_two_absurd_clocks_do_not_add_up_to_a_time_that_json_can_not_name() -> None:
    assert log.effective_time(-MAX_INT, -MAX_INT, None, 1_700_000_000_000) == -MAX_INT
