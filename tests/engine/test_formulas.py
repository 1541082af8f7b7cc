from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitai.engine.formulas import FORMULAS, brzycki, dots_ppb, epley, wathan
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


@pytest.mark.parametrize(
    ("sex", "body", "total", "points"),
    [
        ("male", 83, 600, 405.05),
        ("male", 75, 500, 358.71),
        ("male", 100, 700, 430.86),
        ("female", 60, 350, 387.99),
        ("female", 75, 400, 389.59),
    ],
)
def test_dots(sex, body, total, points):
    ppb = dots_ppb(to_ug(body, "kg"), sex)
    assert ppb is not None
    assert ppb * total / 1e9 == pytest.approx(points, abs=0.005)


@pytest.mark.parametrize(("sex", "least", "most"), [("male", 40, 210), ("female", 40, 150)])
def test_dots_are_held_within_the_weights_they_were_made_for(sex, least, most):
    kg = [dots_ppb(to_ug(kg, "kg"), sex) for kg in (1, least, least + 1, most - 1, most, 400)]
    assert kg[0] == kg[1] != kg[2]
    assert kg[3] != kg[4] == kg[5]


def test_dots_need_to_know_whose():
    assert dots_ppb(HUNDRED_KG, "") is None
