"""Estimated one-repetition maximum (1RM) from a load and the reps done with it, in integer micrograms.

    Epley    w (1 + r/30)                        the default
    Brzycki  36 w / (37 - r)
    Wathan   100 w / (48.8 + 53.8 e^(-0.075 r))

Sources: startingstrength.com thread 33294, vcalc.com, e1rm.com/formulas/wathan. One rep is the maximum itself
and returns the load, where the formulas as written would add to it. Beyond 10 reps the estimates part from
each other and from people (Reynolds 2006, JSCR 20(3):584), so there is none. Results are rounded half to
even; on 100 kg × 5 they are 116.667, 112.5 and 116.583 kg.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from fitai.engine.units import divide

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
