"""How what a group costs grows with its size: a row a size, the exponents between them, and the goals. Pure.

What changed is the yardstick, since a tick tells only that. In a group of N something like N things change a
second, and each participant is told of all of them: bytes and CPU *a participant* may grow like N then, and
no faster. So a cost is told as a power of what changed: 1 is linear, 0 is flat.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FULL = 500  # participants for whom the goals of latency and CPU are set
TICK_MS = 250.0
TICKS_PER_S = 4.0
CPU = 0.7  # of a core
LINEAR = 1.0
ALLOWANCE = 0.05  # by which a power that was measured may be beside the true one

Json = Mapping[str, Any]
Points = Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the run, with a group of so many participants, who all joined within `joined_s`; Unix
    seconds. Counts over all of them:

    bytes       of all frames that came, `tick_bytes` of the ticks among them
    ticks       that came
    fields      of members that those changed
    sent        hearts, sets and cheers
    """

    participants: int
    began: float
    ended: float
    joined_s: float
    counts: Mapping[str, int] = field(default_factory=dict)


def document(
    stretches: Sequence[Stretch],
    points: Points,
    interval_s: float,
    latencies: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """Rows, powers and goals. `points` are the server's, each of the interval that it ends; `latencies` the
    summaries of all operations."""
    rows = [_row(stretch, _cpu(stretch, points, interval_s), latencies) for stretch in stretches]
    powers = _powers(rows)
    return {"rows": rows, "powers": powers, "goals": list(_goals(rows, powers))}


def operation(what: str, participants: int) -> str:
    """The name of the operation under which ticks' latencies are measured: of `heart`, `set` or `oldest`."""
    return f"tick to {participants}, {what}"


def _cpu(stretch: Stretch, points: Points, interval_s: float) -> float | None:
    """The part of a core that the server took, None when it was not to be seen."""
    within = [
        point["cpu"]
        for point in points
        if "cpu" in point and stretch.began + interval_s <= point["t"] <= stretch.ended
    ]
    return statistics.fmean(within) if within else None


def _row(stretch: Stretch, cpu: float | None, latencies: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    counts, people = stretch.counts, stretch.participants
    seconds = max(1e-9, stretch.ended - stretch.began)
    told = max(1, counts["fields"])
    row: dict[str, Any] = {
        "participants": people,
        "seconds": round(seconds, 1),
        "joined_s": stretch.joined_s,
        "sent_per_s": counts["sent"] / seconds,
        "changes_per_s": counts["fields"] / people / seconds,
        "ticks_per_s": counts["ticks"] / people / seconds,
        "bytes_per_s": counts["bytes"] / people / seconds,
        "bytes_per_change": counts["tick_bytes"] / told,
    }
    for what in ("heart", "set", "oldest"):
        summary = latencies.get(operation(what, people))
        if summary is not None:
            row[what] = {point: summary[point] for point in ("p50", "p90", "p99", "max")}
    if cpu is not None:
        row["cpu"] = cpu
        row["cpu_ms_per_s"] = cpu * 1000 / people
        row["cpu_us_per_change"] = cpu * seconds * 1e6 / told
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


_COSTS = (("bytes", "bytes_per_s"), ("CPU", "cpu_ms_per_s"))


def _powers(rows: Sequence[Json]) -> dict[str, float]:
    """By which power of what changed each cost of a participant grew, from the smallest to the largest."""
    if len(rows) < 2:
        return {}
    first, last = rows[0], rows[-1]
    changed = last["changes_per_s"] / max(1e-9, first["changes_per_s"])
    if changed <= 1:
        return {}
    return {
        cost: round(math.log(last[key] / first[key]) / math.log(changed), 3)
        for cost, key in _COSTS
        if first.get(key) and last.get(key)
    }


def _goals(rows: Sequence[Json], powers: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    for cost, power in powers.items():
        what = f"{cost} a participant, as a power of what changed"
        yield _goal(what, "at most 1 (linear)", f"{power:.2f}", power <= LINEAR + ALLOWANCE)
    for row in rows:
        people = row["participants"]
        rate = row["ticks_per_s"]
        yield _goal(
            f"ticks to each of {people}", "at most 4 a second", f"{rate:.2f}", rate <= TICKS_PER_S * 1.02
        )
        if people < FULL:
            continue
        for what in ("heart", "set"):
            if what in row:
                p99 = row[what]["p99"]
                asked = f"p99 under {2 * TICK_MS:.0f} ms"
                yield _goal(f"{operation(what, people)}", asked, f"{p99:.0f} ms", p99 < 2 * TICK_MS)
        if "cpu" in row:
            asked = f"at most {CPU:.0%} of a core"
            yield _goal(f"server, {people} participants", asked, f"{row['cpu']:.0%}", row["cpu"] <= CPU)


def _goal(what: str, asked: str, found: str, met: bool) -> dict[str, Any]:
    return {"what": what, "asked": asked, "found": found, "met": met}


NOTE = (
    "A change is a field of a member in a tick, told to one participant; a set changes several, and ranks of "
    "others. Bytes a change are those of ticks with all that is around them. Latencies run from the "
    "moment at which something was to be sent, a set's over its commit, to its arrival at up to 50 of the "
    "receivers; `oldest` is that of the oldest change in each tick, at all of them. What each of them was "
    "shown in the end is held against what was sent."
)
COLUMNS = (
    "participants",
    "joined within s",
    "sent / s",
    "changes to each / s",
    "bytes to each / s",
    "bytes a change",
    "server CPU",
    "CPU each, ms / s",
    "CPU a change, µs",
    "ticks / s",
    "heart p50 / p90 / p99 ms",
    "set p50 / p90 / p99 ms",
)


def cells(grown: Json) -> list[list[str]]:
    """The rows as a table shows them, in the order of `COLUMNS`."""
    return [_cells(row) for row in grown["rows"]]


def _cells(row: Json) -> list[str]:
    return [
        f"{row['participants']:,}",
        f"{row['joined_s']:.2f}",
        f"{row['sent_per_s']:,.1f}",
        f"{row['changes_per_s']:,.1f}",
        f"{row['bytes_per_s']:,.0f}",
        f"{row['bytes_per_change']:.1f}",
        f"{row['cpu']:.1%}" if "cpu" in row else "–",
        f"{row['cpu_ms_per_s']:.2f}" if "cpu" in row else "–",
        f"{row['cpu_us_per_change']:.2f}" if "cpu" in row else "–",
        f"{row['ticks_per_s']:.2f}",
        *(_latencies(row.get(what)) for what in ("heart", "set")),
    ]


def _latencies(summary: Json | None) -> str:
    return "–" if summary is None else " / ".join(f"{summary[point]:.0f}" for point in ("p50", "p90", "p99"))


def verdict(goal: Json) -> str:
    """A goal in a line."""
    return f"{'met' if goal['met'] else 'MISSED'}: {goal['what']}: {goal['found']}, asked {goal['asked']}"
