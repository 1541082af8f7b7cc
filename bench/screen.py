"""What a run shows in a terminal: how it goes, and what came out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fitai.bench import growth, histogram
from fitai.bench.fleet import Measured
from fitai.bench.plan import Plan
from fitai.bench.watch import Point


class Screen:
    """The live view while a run goes on. Where nobody looks (a pipe, a log), it shows nothing."""

    def __init__(self, plan: Plan, measured: Measured, points: Sequence[Point], console: Console) -> None:
        self._plan = plan
        self._measured = measured
        self._points = points
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._console = console

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def update(self) -> None:
        """Show the present state."""
        if self._console.is_terminal:
            self._live.update(self._view(), refresh=True)

    def _view(self) -> Group:
        elapsed = min(self._plan.duration_s, max(0.0, time.time() - self._measured.began))
        rows = []
        for name, operation in sorted(self._measured.operations.items()):
            if not name.startswith("generator "):
                ms = histogram.summary(operation.total)
                rows.append((name, ms["count"] / max(0.25, elapsed), ms))
        told = [f"{elapsed:.0f} of {self._plan.duration_s:g} s"]
        if self._points and "rss" in self._points[-1]:
            told.append(
                f"server {self._points[-1]['cpu']:.0%} CPU, {self._points[-1]['rss'] / 2**20:.0f} MiB"
            )
        failures = sum(self._measured.failures.values())
        if failures:
            told.append(f"{failures:,} failures")
        bar = ProgressBar(total=self._plan.duration_s, completed=elapsed, width=40)
        return Group(bar, Text(" · ".join(told)), operations(rows))


def operations(rows: Sequence[tuple[str, float, Mapping[str, float]]]) -> Table:
    """Operations with their rates (per second) and latencies (milliseconds)."""
    table = Table(box=None, pad_edge=False)
    table.add_column("operation")
    for title in ("count", "per s", "p50 ms", "p90", "p99", "p99.9", "max"):
        table.add_column(title, justify="right")
    for name, per_s, ms in rows:
        latencies = (number(ms[point]) for point in ("p50", "p90", "p99", "p99.9", "max"))
        table.add_row(name, f"{ms['count']:,.0f}", number(per_s), *latencies)
    return table


def show(told: Mapping[str, Any], console: Console) -> None:
    """The summary of a run: first whether it is valid, then what was asked, then the figures."""
    title = "valid" if told["valid"] else "NOT VALID"
    console.print(
        Text.assemble(
            (f"{told['scenario']}: {title}", "bold green" if told["valid"] else "bold red"),
            f"  {told['question']}",
        )
    )
    for reason in told["reasons"]:
        console.print(Text(f"  {reason}", style="red"))
    for said in told["said"]:
        console.print(Text(f"    {said}", style="dim"))
    for note in told["notes"]:
        console.print(Text(f"  {note}", style="yellow"))
    console.print(Text(f"  {asked(told)}"))
    console.print(Text(f"  {where(told)}\n", style="dim"))
    rows = [(name, one["per_s"], one["ms"]) for name, one in told["operations"].items()]
    console.print(operations(rows))
    if "growth" in told:
        console.print(grown(told["growth"]))
        for goal in told["growth"]["goals"]:
            console.print(Text(growth.verdict(goal), style="green" if goal["met"] else "red"))
    console.print(Text(f"\nserver: {server(told)}"))
    if told["counts"].get("checked"):
        console.print(control(told))


def grown(told: Mapping[str, Any]) -> Table:
    """What a group costs by its size, a column a size."""
    table = Table(box=None, pad_edge=False)
    head, *rows = zip(growth.COLUMNS, *growth.cells(told), strict=True)
    table.add_column(head[0])
    for size in head[1:]:
        table.add_column(size, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def control(told: Mapping[str, Any]) -> str:
    """What was held against what was sent, in a line."""
    counts, wrong = told["counts"], sum(told["failures"].values())
    line = f"control: {counts.get('checked', 0):,} records told to devices"
    if "views checked" in counts:
        line += f", {counts['views checked']:,} participants' views"
    return f"{line}, {wrong:,} wrong"


def asked(told: Mapping[str, Any]) -> str:
    """What was asked, in a line."""
    plan = told["asked"]
    pace = {
        "rate": f"open loop, {plan['rate'] or 0:g} per s",
        "window": f"closed loop, {plan['window']} on the way for each user",
        "profile": "at people's own pace",
    }[plan["pace"]]
    devices = ", ".join(map(str, plan["devices"]))
    if plan.get("sizes"):
        devices += f" devices in groups of {', '.join(map(str, plan['sizes']))}"
    else:
        devices += " devices"
    return (
        f"{plan['users']:,} users × {devices}, {plan['duration_s']:g} s, {pace}, {plan['codec']}, "
        f"{told['client']['generators']} generator{'s' if told['client']['generators'] != 1 else ''}"
    )


def where(told: Mapping[str, Any]) -> str:
    """The machine and the server, in a line."""
    machine, target = told["machine"], told["server"]
    if target["started"]:
        kind = f"own server, {target['database']}, Redis {target['redis']}, {target['workers']} process"
        kind += "es" if target["workers"] != 1 else ""
    else:
        kind = f"the server at {target['url']}"
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory']}, {machine['system']}, "
        f"{machine['python']}; FitAI {target['version']}, {kind}"
    )


def server(told: Mapping[str, Any]) -> str:
    """What the server took, in a line."""
    target = told["server"]
    if "cpu" not in target:
        return "not on this machine, or not to be seen"
    line = (
        f"{target['cpu']:.0%} of a core, {target['rss_before'] / 2**20:.1f} MiB before, "
        f"{target['rss_after'] / 2**20:.1f} MiB after"
    )
    if "bytes_per_connection" in target:
        line += f", {target['bytes_per_connection'] / 1024:.1f} KiB a connection"
    if "rss_growth_per_hour" in target:
        line += f", {target['rss_growth_per_hour'] / 2**20:+.1f} MiB an hour"
    return line


def number(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
