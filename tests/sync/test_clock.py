"""Vector clocks are values of a lattice: a partial order with a least upper bound."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitai.engine.ops import Dot
from fitai.sync.clock import VectorClock

# Few devices and small counters, so that equal, ordered and concurrent clocks are all common.
CLOCKS = st.dictionaries(st.integers(0, 3), st.integers(0, 3)).map(VectorClock)


@given(CLOCKS, CLOCKS)
def test_merge_commutes(a: VectorClock, b: VectorClock) -> None:
    assert a | b == b | a


@given(CLOCKS, CLOCKS, CLOCKS)
def test_merge_associates(a: VectorClock, b: VectorClock, c: VectorClock) -> None:
    assert (a | b) | c == a | (b | c)


@given(CLOCKS)
def test_merge_with_oneself_or_with_nothing_changes_nothing(a: VectorClock) -> None:
    assert a | a == a | VectorClock() == a


@given(CLOCKS, CLOCKS, CLOCKS)
def test_a_merge_is_the_least_clock_that_descends_from_both(
    a: VectorClock, b: VectorClock, c: VectorClock
) -> None:
    assert a | b >= a
    assert a | b >= b
    assert (c >= a | b) == (c >= a and c >= b)


@given(CLOCKS, CLOCKS, CLOCKS)
def test_descends_is_a_partial_order(a: VectorClock, b: VectorClock, c: VectorClock) -> None:
    assert a >= a
    assert (a >= b and b >= a) == (a == b)
    assert a >= c or not (a >= b and b >= c)


@given(CLOCKS, CLOCKS)
def test_two_clocks_are_equal_ordered_one_way_or_concurrent_and_nothing_else(
    a: VectorClock, b: VectorClock
) -> None:
    assert [a == b, a > b, a < b, a // b].count(True) == 1
    assert (a // b) == (b // a)
    assert (a > b, a >= b) == (b < a, b <= a)


@given(CLOCKS, CLOCKS)
def test_the_order_is_that_of_the_sets_of_ops_that_were_seen(a: VectorClock, b: VectorClock) -> None:
    dots = {Dot(device, n) for device in range(4) for n in range(1, 5)}
    of_a, of_b = ({dot for dot in dots if clock.seen(dot)} for clock in (a, b))
    assert (a >= b, a > b, a == b) == (of_a >= of_b, of_a > of_b, of_a == of_b)
    assert {dot for dot in dots if (a | b).seen(dot)} == of_a | of_b


@given(st.dictionaries(st.integers(0, 3), st.integers(0, 3)))
def test_a_zero_and_a_missing_entry_are_the_same(entries: dict[int, int]) -> None:
    clock = VectorClock(entries)
    without = VectorClock({device: n for device, n in entries.items() if n})
    assert (clock, hash(clock), dict(clock)) == (without, hash(without), dict(without))
    assert [clock[device] for device in range(4)] == [entries.get(device, 0) for device in range(4)]


def test_equal_clocks_are_one_key_whatever_the_order_of_their_entries() -> None:
    assert {VectorClock({1: 2, 3: 4}): "x"}[VectorClock([(3, 4), (1, 2), (7, 0)])] == "x"


@given(CLOCKS, st.integers(0, 3))
def test_a_tick_sees_exactly_the_device_s_next_op_besides(clock: VectorClock, device: int) -> None:
    ticked = clock.tick(device)
    assert ticked > clock
    assert ticked[device] == clock[device] + 1
    assert all(ticked[other] == clock[other] for other in range(4) if other != device)


def test_a_clock_never_changes() -> None:
    clock: Any = VectorClock({1: 1})
    source = {1: 1}
    copied = VectorClock(source)
    source[1] = 9
    with pytest.raises(TypeError):
        clock[1] = 2
    with pytest.raises(AttributeError):
        clock.entries = {}
    clock.tick(1), clock | {1: 5}
    assert clock == copied == VectorClock({1: 1})


def test_a_negative_counter_is_no_clock() -> None:
    with pytest.raises(ValueError, match="negative"):
        VectorClock({1: -1})
