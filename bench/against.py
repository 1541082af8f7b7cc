"""A run beside an earlier one: ratios, and how much they vary within the runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = Mapping[str, Any]

MACHINE = ("cpu", "cores", "system", "python")
FIGURES = (("per s", "per_s"), ("p50", "p50"), ("p99", "p99"))


@dataclass(frozen=True, slots=True)
class Ratio:
    """This run's figure as a part of the earlier one's. `least` and `most` come from the quarters of the
    intervals: if 1 lies between them, the runs do not differ by more than each of them varies. None where a
    run has too few intervals to tell."""

    what: str
    now: float
    then: float
    ratio: float
    least: float | None
    most: float | None


def ratios(now: Json, then: Json) -> Iterator[Ratio]:
    """The ratios of all operations that both runs have, and of the server's means."""
    for name, one in now["operations"].items():
        other = then["operations"].get(name)
        if other is None:
            continue
        for title, key in FIGURES:
            mine = one["per_s"] if key == "per_s" else one["ms"][key]
            its = other["per_s"] if key == "per_s" else other["ms"][key]
            if its > 0:
                spread = _spread(_values(one, key), _values(other, key))
                yield Ratio(f"{name}, {title}", mine, its, mine / its, *spread)
    for title, key, unit in (("server CPU, cores", "cpu", 1.0), ("server memory, MiB", "rss_after", 2.0**20)):
        if now["server"].get(key) and then["server"].get(key):
            mine, its = now["server"][key] / unit, then["server"][key] / unit
            yield Ratio(title, mine, its, mine / its, None, None)


def differences(now: Json, then: Json) -> list[str]:
    """What else is different, in sentences: ratios of unlike runs mislead."""
    found = []
    for title, part, keys in (
        ("machine", "machine", MACHINE),
        ("what was asked", "asked", sorted({*now["asked"], *then["asked"]})),
    ):
        unlike = [
            f"{key} {then[part].get(key)} → {now[part].get(key)}"
            for key in keys
            if now[part].get(key) != then[part].get(key)
        ]
        if unlike:
            found.append(f"Not the same {title}: {', '.join(unlike)}.")
    if now["scenario"] != then["scenario"]:
        found.append(f"Another scenario: {then['scenario']}.")
    if not then["valid"]:
        found.append("The earlier run is not valid.")
    return found


def comparison(now: Json, then: Json, console: Console) -> None:
    """Print it."""
    console.print(Text(f"\nbeside the run of {then['at']}", style="bold"))
    for sentence in differences(now, then):
        console.print(Text(f"  {sentence}", style="yellow"))
    table = Table(box=None, pad_edge=False)
    table.add_column("figure")
    for title in ("now", "then", "ratio", "spread"):
        table.add_column(title, justify="right")
    for one in ratios(now, then):
        table.add_row(one.what, f"{one.now:,.2f}", f"{one.then:,.2f}", f"{one.ratio:.2f}", spread_of(one))
    console.print(table)


def spread_of(one: Ratio) -> str:
    """The spread in words."""
    return "–" if one.least is None else f"{one.least:.2f} … {one.most:.2f}"


def _values(operation: Json, key: str) -> list[float]:
    return [point[key] for point in operation["timeline"]]


def _spread(now: Sequence[float], then: Sequence[float]) -> tuple[float | None, float | None]:
    if len(now) < 4 or len(then) < 4:
        return None, None
    low, _, high = statistics.quantiles(now, n=4)
    its_low, _, its_high = statistics.quantiles(then, n=4)
    if its_low <= 0 or its_high <= 0:
        return None, None
    return low / its_high, high / its_low
