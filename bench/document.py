"""A run as a document: what was asked, on which machine, what came out, and whether it is valid."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fitai.bench import growth, histogram, validity
from fitai.bench.crew import SAID
from fitai.bench.fleet import Measured
from fitai.bench.generator import LAG
from fitai.bench.micro.report import machine
from fitai.bench.pace import LATE
from fitai.bench.plan import Plan
from fitai.bench.scenarios import SCENARIOS
from fitai.bench.validity import Facts
from fitai.bench.watch import Point

FORMAT = 1
PACKAGES = ("fitai", "aiohttp", "python-socketio", "uvloop", "picows", "sqlalchemy", "aiosqlite", "asyncpg")

Json = dict[str, Any]


def document(
    plan: Plan,
    target: Mapping[str, Any],
    measured: Measured,
    points: Sequence[Point],
    *,
    load_before: float,
    interrupted: bool,
    notes: Sequence[str],
) -> Json:
    """Everything that is known of a run, as JSON has it. Latencies are milliseconds, memory bytes, CPU parts
    of a core, `t` seconds from the start."""
    ours = {name: one for name, one in measured.operations.items() if not name.startswith("generator ")}
    facts = _facts(plan, measured, points, len(ours), load_before, interrupted)
    wrong = validity.reasons(facts)
    seconds = _seconds(plan, measured)
    return {
        "format": FORMAT,
        "scenario": plan.scenario,
        "question": SCENARIOS[plan.scenario].question,
        "main": SCENARIOS[plan.scenario].main,
        "at": datetime.fromtimestamp(measured.began or time.time(), UTC).isoformat(timespec="seconds"),
        "valid": not wrong,
        "reasons": wrong,
        "notes": [*validity.doubts(facts), *notes],
        "asked": plan.document(),
        "machine": {**machine(PACKAGES), "memory": _memory()},
        "server": {**target, **_server(plan, measured, points)},
        "client": _client(measured, facts),
        "seconds": seconds,
        "counts": {name: count for name, count in sorted(measured.counts.items()) if SAID not in name},
        "said": sorted(name for name in measured.counts if SAID in name),
        "failures": dict(sorted(measured.failures.items())),
        **_growth(plan, measured, points),
        "operations": {name: _operation(plan, measured, name, seconds) for name in sorted(ours)},
        "timeline": _timeline(measured, points),
    }


def _facts(
    plan: Plan,
    measured: Measured,
    points: Sequence[Point],
    operations: int,
    load_before: float,
    interrupted: bool,
) -> Facts:
    late = measured.operations.get(LATE)
    during = _during(measured, points)
    cores = os.cpu_count() or 1
    return Facts(
        measured=operations,
        failures=measured.failures,
        cpu=[_busy(plan, measured, shares) for _, shares in sorted(measured.cpu.items())],
        lag_ms=_p99(measured, LAG),
        late_ms=None if late is None else _p99(measured, LATE),
        cores=cores,
        load_before=load_before,
        system=statistics.fmean([one["system_cpu"] for one in during]) / cores if during else 0.0,
        interrupted=interrupted,
    )


def _busy(plan: Plan, measured: Measured, shares: Sequence[float]) -> float:
    """The mean CPU of a generator while it sent, in the busiest part of the run: what comes before and after
    is idle time."""
    began, length = measured.began, plan.interval_s
    spans = [(one.began - began, one.ended - began) for one in measured.stretches]
    means = []
    for start, end in spans or [(0.0, plan.duration_s)]:
        first = min(round(start / length), len(shares) - 1)
        means.append(statistics.fmean(shares[first : max(first + 1, round(end / length))]))
    return max(means)


def _p99(measured: Measured, name: str) -> float:
    operation = measured.operations.get(name)
    return 0.0 if operation is None else operation.total.get_value_at_percentile(99) / 1000


def _seconds(plan: Plan, measured: Measured) -> float:
    """How long was measured: at least the duration; longer when the last answers came late."""
    last = max(
        (rows[-1][0] for name, rows in measured.timeline.items() if rows and name[:9] != "generator"),
        default=0,
    )
    return max(plan.duration_s, last * plan.interval_s)


def _operation(plan: Plan, measured: Measured, name: str, seconds: float) -> Json:
    total = measured.operations[name].total
    rows = measured.timeline[name]
    return {
        "per_s": round(total.get_total_count() / seconds, 3),
        "ms": histogram.summary(total),
        "curve": histogram.curve(total),
        "histogram": histogram.text(total),
        "timeline": [
            {
                "t": round(number * plan.interval_s, 3),
                "per_s": round(row["count"] / plan.interval_s, 3),
                "p50": row["p50"],
                "p99": row["p99"],
                "max": row["max"],
            }
            for number, row in rows
        ],
    }


def _client(measured: Measured, facts: Facts) -> Json:
    return {
        "generators": len(measured.cpu),
        "cpu": [round(cpu, 3) for cpu in facts.cpu],
        "loop_lag_p99_ms": facts.lag_ms,
        "sent_late_p99_ms": facts.late_ms,
    }


def _growth(plan: Plan, measured: Measured, points: Sequence[Point]) -> Json:
    """By size, where the run had parts that differ by it."""
    if not measured.stretches:
        return {}
    latencies = {name: histogram.summary(one.total) for name, one in measured.operations.items()}
    return {"growth": growth.document(measured.stretches, points, plan.interval_s, latencies)}


def _during(measured: Measured, points: Sequence[Point]) -> list[Point]:
    return [point for point in points if point["t"] >= measured.began]


def _server(plan: Plan, measured: Measured, points: Sequence[Point]) -> Json:
    during = [point for point in _during(measured, points) if "rss" in point]
    before = [point for point in points if "rss" in point and point["t"] < measured.began]
    if not during or not before:
        return {}
    told: Json = {
        "cpu": round(statistics.fmean(point["cpu"] for point in during), 3),
        "rss_before": before[-1]["rss"],
        "rss_after": during[-1]["rss"],
        "rss_most": max(point["rss"] for point in during),
    }
    connected = measured.counts.get("connected", 0)
    if connected == plan.users * max(plan.devices):  # those that were refused took memory too
        told["bytes_per_connection"] = round((told["rss_after"] - told["rss_before"]) / connected)
    if plan.duration_s >= 60 and not measured.stretches:  # whose load grows by itself
        told["rss_growth_per_hour"] = round(slope([(one["t"], one["rss"]) for one in during]) * 3600)
    return told


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The growth per unit of x by the line that lies nearest; 0 when there is none."""
    if len({x for x, _ in points}) < 2:
        return 0.0
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def _timeline(measured: Measured, points: Sequence[Point]) -> list[Json]:
    return [
        {
            "t": round(point["t"] - measured.began, 3),
            **{name: round(value, 4) for name, value in point.items() if name != "t"},
        }
        for point in points
    ]


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
