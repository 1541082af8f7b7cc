from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitai.engine.formulas import FORMULAS, brzycki, epley, wathan
from fitai.engine.units import to_ug

HUNDRED_KG = to_ug(100, "kg")


@pytest.mark.parametrize(
    ("formula", "reps", "kg"),
    [
        (epley, 3, 110.000),
        (epley, 5, 116.667),
        (epley, 8, 126.667),
        (epley, 10, 133.333),
        (brzycki, 3, 105.882),
        (brzycki, 5, 112.500),
        (brzycki, 8, 124.138),
        (brzycki, 10, 133.333),
        (wathan, 3, 108.980),
        (wathan, 5, 116.583),
        (wathan, 8, 127.671),
        (wathan, 10, 134.747),
    ],
)
def test_estimates_for_100_kg(formula, reps, kg):
    assert round(formula(HUNDRED_KG, reps) / 1e9, 3) == kg


def test_epley_and_brzycki_meet_at_ten_reps():
    assert epley(HUNDRED_KG, 10) == brzycki(HUNDRED_KG, 10)


@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
def test_one_rep_is_the_maximum_itself(formula):
    assert formula(HUNDRED_KG, 1) == HUNDRED_KG


@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
@pytest.mark.parametrize("reps", [-1, 0, 11, 36, 37, 100])
def test_outside_one_to_ten_reps_there_is_no_estimate(formula, reps):
    assert formula(HUNDRED_KG, reps) is None


@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
@given(load=st.integers(1, 3 * 10**12), reps=st.integers(1, 9))
def test_one_more_rep_never_means_less(formula, load, reps):
    assert load <= formula(load, reps) <= formula(load, reps + 1)
