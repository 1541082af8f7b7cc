"""Loads in integer micrograms, distances in integer millimetres: sums are exact, kg and lb compare as one.

What a person typed is kept as typed (`{value: 135, unit: "lb"}`). Every comparison and sum is made in
micrograms, because rounding pounds to kilograms loses a little on each way and there and back.

    1 kg = 1,000,000,000 µg
    1 lb =   453,592,370 µg     (the international pound of 1959, 0.45359237 kg exactly)
"""

from __future__ import annotations

from typing import Final

UG_PER_KG: Final = 1_000_000_000
UG_PER_LB: Final = 453_592_370

_UG: Final = {"kg": UG_PER_KG, "lb": UG_PER_LB}


def divide(numerator: int, denominator: int) -> int:
    """Integer quotient rounded to the nearest, halves to even. `denominator` is positive."""
    quotient, rest = divmod(numerator, denominator)
    twice = rest * 2
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient


def to_ug(value: float, unit: str) -> int:
    """A load of at most 3 decimal places in micrograms; what is below a microgram is rounded half to even.

    Raises KeyError for a unit other than "kg" and "lb".
    """
    return divide(thousandths(value) * _UG[unit], 1000)


def from_ug(ug: int, unit: str) -> int | float:
    """Micrograms in `unit`, at most 3 decimal places; the inverse of `to_ug` for all that can be typed."""
    return from_thousandths(divide(ug * 1000, _UG[unit]))


def thousandths(value: float) -> int:
    """A decimal of at most 3 places as an integer: metres to millimetres, kg to grams."""
    return round(value * 1000)


def from_thousandths(amount: int) -> int | float:
    """The decimal that `thousandths` came from; an int when it is whole, so that 60.0 reads 60."""
    whole, rest = divmod(amount, 1000)
    return amount / 1000 if rest else whole


def plain(value: float) -> int | float:
    """`value`, as an int when it is whole: 60 and 60.0 are one number to everybody."""
    return int(value) if value == int(value) else value
