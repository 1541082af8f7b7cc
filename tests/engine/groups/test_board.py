from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from fitai.engine.groups.board import board
from fitai.engine.groups.measure import Measure


def _ranks(*measures: Measure) -> list[int | None]:
    rows = board(dict(enumerate(measures)))
    return [rows[no].rank for no in range(len(measures))]


def test_equals_share_a_rank_and_the_next_is_left_out():
    assert _ranks(Measure(5), Measure(9), Measure(9), Measure(2)) == [3, 1, 1, 4]
    assert _ranks(Measure(9), Measure(5), Measure(5), Measure(2)) == [1, 2, 2, 4]


def test_who_reached_the_goal_is_before_who_has_more_without():
    assert _ranks(Measure(10, 60_000), Measure(99), Measure(10, 50_000), Measure(50)) == [2, 3, 1, 4]


def test_nothing_done_and_nothing_known_have_no_rank():
    assert _ranks(Measure(0), Measure(3), Measure(None)) == [None, 1, None]


def test_the_rows_are_in_the_order_of_the_board():
    rows = board({3: Measure(0), 7: Measure(5), 5: Measure(5), 1: Measure(None), 9: Measure(8)})
    assert list(rows) == [9, 5, 7, 1, 3]


measures = st.builds(
    Measure,
    st.one_of(st.none(), st.integers(0, 4)),
    st.one_of(st.none(), st.integers(0, 3)),
)


@given(st.dictionaries(st.integers(1, 30), measures, max_size=12))
def test_a_rank_is_one_more_than_how_many_are_ahead(entries):
    """Without sorting: everybody is compared with everybody."""

    def ahead(a: Measure, b: Measure) -> bool:
        if a.time_ms is not None and b.time_ms is not None:
            return a.time_ms < b.time_ms
        if a.time_ms is not None or b.time_ms is not None:
            return a.time_ms is not None
        return Fraction(a.amount or 0) > Fraction(b.amount or 0)

    def compares(measure: Measure) -> bool:
        return measure.time_ms is not None or bool(measure.amount)

    rows = board(entries)
    assert rows.keys() == entries.keys()
    for no, one in entries.items():
        others = [other for other in entries.values() if compares(other) and ahead(other, one)]
        assert rows[no].rank == (1 + len(others) if compares(one) else None)
