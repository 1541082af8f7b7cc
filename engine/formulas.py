"""Estimated one-repetition maximum (1RM) from a load and the reps done with it, and DOTS, in micrograms.

    Epley    w (1 + r/30)                        the default
    Brzycki  36 w / (37 - r)
    Wathan   100 w / (48.8 + 53.8 e^(-0.075 r))

Sources: startingstrength.com thread 33294, vcalc.com, e1rm.com/formulas/wathan. One rep is the maximum itself
and returns the load, where the formulas as written would add to it. Beyond 10 reps the estimates part from
each other and from people (Reynolds 2006, JSCR 20(3):584), so there is none. Results are rounded half to
even; on 100 kg × 5 they are 116.667, 112.5 and 116.583 kg.

DOTS makes loads of lifters of different body weight b (kg) comparable, in points, linear in the load:
500 w / (A b⁴ + B b³ + C b² + D b + E). Coefficients: OpenPowerlifting, `coefficients/dots.rs`; b is held
within 40 to 210 kg (men) and 40 to 150 kg (women). 600 kg at 83 kg are 405.05 points for a man, 350 kg at
60 kg 387.99 for a woman.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from fitai.engine.units import UG_PER_KG, divide

MAX_REPS: Final = 10

Formula = Callable[[int, int], int | None]

_WATHAN: Final = tuple(100 / (48.8 + 53.8 * math.exp(-0.075 * reps)) for reps in range(MAX_REPS + 1))


def epley(load_ug: int, reps: int) -> int | None:
    """w (1 + r/30) in µg; None outside 1 to 10 reps."""
    if not 1 <= reps <= MAX_REPS:
        return None
    return load_ug if reps == 1 else divide(load_ug * (30 + reps), 30)


def brzycki(load_ug: int, reps: int) -> int | None:
    """36 w / (37 - r) in µg; None outside 1 to 10 reps."""
    if not 1 <= reps <= MAX_REPS:
        return None
    return load_ug if reps == 1 else divide(load_ug * 36, 37 - reps)


def wathan(load_ug: int, reps: int) -> int | None:
    """100 w / (48.8 + 53.8 e^(-0.075 r)) in µg; None outside 1 to 10 reps."""
    if not 1 <= reps <= MAX_REPS:
        return None
    return load_ug if reps == 1 else round(load_ug * _WATHAN[reps])


FORMULAS: Final[Mapping[str, Formula]] = {"epley": epley, "brzycki": brzycki, "wathan": wathan}


_DOTS: Final = {
    "male": (210, (-1.0930e-6, 7.391293e-4, -0.1918759221, 24.0900756, -307.75076)),
    "female": (150, (-1.0706e-6, 5.158568e-4, -0.1126655495, 13.6175032, -57.96288)),
}


def dots_ppb(body_ug: int, sex: str) -> int | None:
    """DOTS points a kg lifted, in billionths; None where there are no coefficients for `sex`."""
    if sex not in _DOTS:
        return None
    most, (a, b, c, d, e) = _DOTS[sex]
    kg = min(max(body_ug / UG_PER_KG, 40), most)
    return round(500e9 / ((((a * kg + b) * kg + c) * kg + d) * kg + e))
