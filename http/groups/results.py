"""The final table of a group: what each member shows of their line, best first. As JSON, and as CSV.

What is shown is the same for every reader, as in ticks (`fitai.engine.groups.sharing`): who shows presence
only is not on it, and who shows their progress keeps loads to themselves, and what is made of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

from fitai.engine.groups.group import Group, Member
from fitai.engine.groups.measure import measured
from fitai.http import tables
from fitai.http.groups.schemas import ResultRow
from fitai.persistence.group_results import Result

COLUMNS: Final = (
    "rank",
    "name",
    "amount",
    "unit",
    "time_s",
    "sets",
    "reps",
    "distance_m",
    "duration_s",
    "volume_kg",
    "left",
)

# What the amounts are in for programs: how people write it, and how many of the one make one of the other.
_WRITTEN: Final[dict[str | None, tuple[str, int]]] = {
    None: ("", 1),
    "reps": ("reps", 1),
    "ug": ("kg", 10**9),
    "mm": ("m", 1_000),
    "body_weights": ("body weights", 1_000),
    "dots": ("DOTS", 1_000),
}
_OF_LOADS: Final = frozenset({"ug", "body_weights", "dots"})


def rows(g: Group, stored: Iterable[Result]) -> list[ResultRow]:
    """The lines that are shown, in the order of the board; those without a rank last."""
    shown = [_row(g, g.members[row.member], row) for row in stored if _is_shown(g.members.get(row.member))]
    return sorted(shown, key=lambda row: (row.rank is None, row.rank or 0, row.member))


def table(unit: str | None, shown: Iterable[ResultRow]) -> bytes:
    """Lines as CSV; `unit` is that of the amounts (`measured`)."""
    return tables.lines([COLUMNS, *(_cells(unit, row) for row in shown)])


def _is_shown(member: Member | None) -> bool:
    return member is not None and member.share != "presence"


def _row(g: Group, member: Member, row: Result) -> ResultRow:
    everything = member.share == "everything"
    told = everything or measured(g.format) not in _OF_LOADS
    return ResultRow(
        rank=row.rank,
        member=member.no,
        name=member.name,
        left=member.gone is not None,
        amount=row.amount if told else None,
        time_ms=row.time_ms if told else None,
        sets=row.sets,
        reps=row.reps,
        distance_mm=row.distance_mm,
        duration_ms=row.duration_ms,
        volume_ug=row.volume_ug if everything else None,
    )


def _cells(unit: str | None, row: ResultRow) -> Iterator[Any]:
    written, of = _WRITTEN[unit]
    yield row.rank
    yield row.name
    yield _in(row.amount, of)
    yield written if row.amount is not None else None
    yield _in(row.time_ms, 1_000)
    yield row.sets
    yield row.reps
    yield _in(row.distance_mm, 1_000)
    yield _in(row.duration_ms, 1_000)
    yield _in(row.volume_ug, 10**9)
    yield "yes" if row.left else None


def _in(amount: int | None, of: int) -> str | None:
    """An amount in a larger unit, with as many places as it needs."""
    return None if amount is None else f"{(Decimal(amount) / of).normalize():f}"
