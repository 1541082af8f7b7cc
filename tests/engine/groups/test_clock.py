from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitai.engine.groups.clock import GRACE_MS, Clock, Run


def _paused() -> Clock:
    """Begun at 100 s with a limit of 60 s, paused after 20 s, on again 10 s later."""
    clock = Clock(60_000)
    clock.run(100_000)
    clock.stop(120_000)
    clock.run(130_000)
    return clock


def test_a_pause_shifts_the_end():
    clock = _paused()
    assert clock.runs == [Run(100_000, 0, 120_000), Run(130_000, 20_000, 170_000)]
    assert clock.ends_at == 170_000


@pytest.mark.parametrize(
    ("at", "elapsed"),
    [(99_000, 0), (100_000, 0), (110_000, 10_000), (125_000, 20_000), (131_000, 21_000), (999_000, 60_000)],
)
def test_elapsed(at, elapsed):
    assert _paused().elapsed(at) == elapsed


@pytest.mark.parametrize(
    ("elapsed", "wall"),
    [
        (0, 100_000),
        (19_999, 119_999),
        (20_000, 130_000),
        (59_999, 169_999),
        (60_000, 170_000),
        (60_001, None),
    ],
)
def test_wall_is_when_the_reading_is_reached(elapsed, wall):
    assert _paused().wall(elapsed) == wall


def test_what_lies_past_a_pause_is_not_known_while_it_lasts():
    clock = Clock(60_000)
    assert clock.wall(0) is None
    clock.run(100_000)
    clock.stop(120_000)
    assert (clock.wall(19_999), clock.wall(20_000), clock.wall(60_000)) == (119_999, None, None)


def test_what_counts():
    clock = _paused()
    assert clock.counted(99_999) is None
    assert clock.counted(100_000) == 0
    assert clock.counted(125_000) == 20_000  # within the grace of the pause
    assert clock.counted(170_000 + GRACE_MS) == 60_000
    assert clock.counted(170_001 + GRACE_MS) is None


def test_a_run_that_was_still_ahead_never_was():
    clock = _paused()
    clock.stop(129_000)
    assert clock.runs == [Run(100_000, 0, 120_000)]
    clock = Clock()
    clock.run(100_000)
    clock.stop(99_000)
    assert (clock.runs, clock.ends_at, clock.elapsed(200_000), clock.counted(100_000)) == ([], None, 0, None)


@given(
    limit=st.one_of(st.none(), st.integers(1, 60)),
    spans=st.lists(st.tuples(st.integers(0, 8), st.integers(1, 20)), max_size=6),
    open_=st.booleans(),
)
def test_the_clock_agrees_with_one_that_counts_each_second(limit, spans, open_):
    """Stopwatch by hand: in each whole second it runs or it does not."""
    clock, at, running = Clock(limit), 0, set()
    for gap, length in spans:
        at += gap
        if clock.runs and limit is not None and clock.elapsed(at) >= limit:
            break
        clock.run(at)
        end = min(at + length, clock.ends_at or at + length)
        clock.stop(end)
        running |= set(range(at, end))
        at = end
    if open_ and (limit is None or len(running) < limit):
        clock.run(at + 1)
        running |= set(range(at + 1, 400) if limit is None else range(at + 1, at + 1 + limit - len(running)))
    for moment in range(200):
        assert clock.elapsed(moment) == len({second for second in running if second < moment})
    for second in sorted(running)[:200]:
        reading = len([one for one in running if one < second])
        assert clock.wall(reading) == second
