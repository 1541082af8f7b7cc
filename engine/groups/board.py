"""The board: who is ahead. A pure function of what each has done, so it is never wrong for long.

Who reached what there was to reach comes first, by when they did; then the others, by how much they have.
Equals share a rank and the next one is left out (1, 2, 2, 4). Who has done nothing, or can not be compared
(no body weight is known), is on the board without a rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fitai.engine.groups.measure import Measure


class Row(NamedTuple):
    """A member on the board; `rank` from 1, None without one."""

    rank: int | None
    measure: Measure


def board(measures: Mapping[int, Measure]) -> dict[int, Row]:
    """The rows by member, in the order of the board; those without a rank last, by number."""
    ranked = sorted((key, no) for no, measure in measures.items() if (key := _key(measure)) is not None)
    rows: dict[int, Row] = {}
    rank, before = 0, None
    for place, (key, no) in enumerate(ranked, 1):
        if key != before:
            rank, before = place, key
        rows[no] = Row(rank, measures[no])
    for no in sorted(measures.keys() - rows.keys()):
        rows[no] = Row(None, measures[no])
    return rows


def _key(measure: Measure) -> tuple[int, int] | None:
    """What rows are ordered by; None without a rank."""
    if measure.time_ms is not None:
        return (0, measure.time_ms)
    return (1, -measure.amount) if measure.amount else None
