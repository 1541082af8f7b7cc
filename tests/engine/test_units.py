from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitai.engine.units import divide, from_thousandths, from_ug, plain, to_ug


def test_a_kilogram_and_a_pound_in_micrograms():
    assert to_ug(1, "kg") == 1_000_000_000
    assert to_ug(1, "lb") == 453_592_370


@pytest.mark.parametrize(
    ("value", "unit", "ug"),
    [
        (0, "kg", 0),
        (0.1, "kg", 100_000_000),
        (62.5, "kg", 62_500_000_000),
        (135, "lb", 61_234_969_950),
        (0.001, "kg", 1_000_000),
        (0.1, "lb", 45_359_237),
        (0.001, "lb", 453_592),  # 453592.37
        (0.05, "lb", 22_679_618),  # 22679618.5, half to even
        (0.15, "lb", 68_038_856),  # 68038855.5, half to even
    ],
)
def test_loads_are_exact_below_a_microgram(value, unit, ug):
    assert to_ug(value, unit) == ug


def test_an_unknown_unit_is_a_key_error():
    with pytest.raises(KeyError):
        to_ug(1, "stone")


@given(st.integers(0, 3_000_000), st.sampled_from(["kg", "lb"]))
def test_what_can_be_typed_comes_back_as_typed(thousandths, unit):
    value = thousandths / 1000
    assert from_ug(to_ug(value, unit), unit) == value


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**12))
def test_division_is_off_by_at_most_a_half_and_halves_go_to_even(numerator, denominator):
    quotient = divide(numerator, denominator)
    off = abs(2 * (quotient * denominator - numerator))
    assert off <= denominator
    if off == denominator:
        assert quotient % 2 == 0


def test_a_hundred_kilograms_shown_in_pounds_have_three_places():
    assert from_ug(to_ug(100, "kg"), "lb") == 220.462


def test_whole_values_are_integers():
    assert repr(plain(60.0)) == "60"
    assert repr(plain(62.5)) == "62.5"
    assert repr(from_thousandths(5_000)) == "5"
    assert repr(from_thousandths(5_250)) == "5.25"
