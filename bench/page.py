"""A run as one HTML page that needs nothing else: the verdict, what was asked, the figures, the plots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from fitai.bench import against, growth, plot, screen
from fitai.bench.plot import Axis, Series

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chart:
    """A plot with its title, what it shows in a sentence, and its lines for the legend."""

    title: str
    told: str
    svg: str
    series: Sequence[Series]


def html(told: Json, earlier: Json | None = None) -> str:
    """The page; with an earlier run its lines are drawn faintly beside, and the ratios stand below."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = screen.number
    return environment.get_template("page.html.j2").render(
        told=told,
        asked=screen.asked(told),
        where=screen.where(told),
        server=screen.server(told),
        charts=list(charts(told, earlier)),
        missing=_missing(told),
        grown=None if "growth" not in told else growth.cells(told["growth"]),
        columns=growth.COLUMNS,
        growth_note=growth.NOTE,
        earlier=earlier,
        differences=[] if earlier is None else against.differences(told, earlier),
        ratios=[] if earlier is None else list(against.ratios(told, earlier)),
        spread_of=against.spread_of,
    )


def charts(told: Json, earlier: Json | None) -> Iterator[Chart]:
    """All plots of which there is something to show."""
    operations = told["operations"]
    main = [name for name in operations if name.startswith(told["main"])] or list(operations)[:1]
    if "growth" in told:
        yield from _growth(told["growth"]["rows"])
    keys = ("p50", "p99", "max") if len(main) <= 3 else ("p99",)
    yield _over_time(
        f"Latency: {main[0]}" if len(main) == 1 else "Latency",
        "Milliseconds from the intended moment, by the time of the answer.",
        [
            Series(f"{name if len(main) > 1 else ''} {key}".strip(), _timed(operations[name], key), place)
            for place, (name, key) in enumerate((name, key) for name in main for key in keys)
        ],
        lambda values: plot.logarithmic(values, " ms"),
    )
    yield _percentiles(operations, earlier)
    yield _over_time(
        "Throughput",
        "Operations done per second.",
        [Series(name, _timed(one, "per_s"), place) for place, (name, one) in enumerate(operations.items())],
        _from_zero,
    )
    yield _over_time(
        "p99 of everything",
        "Milliseconds below which 99 of 100 were done, in each interval.",
        [Series(name, _timed(one, "p99"), place) for place, (name, one) in enumerate(operations.items())],
        lambda values: plot.logarithmic(values, " ms"),
    )
    yield from _server(told)


def _growth(rows: Sequence[Json]) -> Iterator[Chart]:
    """What a group costs by its size: latencies, and each participant's part beside what changed."""
    first, x = rows[0], plot.logarithmic([row["participants"] for row in rows])
    told = [(what, key) for what in ("heart", "set") for key in ("p50", "p99")]
    latencies = [
        Series(f"{what} {key}", [(row["participants"], row[what][key]) for row in rows if what in row], place)
        for place, (what, key) in enumerate(told)
    ]
    y = plot.logarithmic([value for one in latencies for _, value in one.points], " ms")
    yield Chart(
        "Ticks by participants",
        "Milliseconds from the moment at which something was to be sent to its arrival at the others.",
        plot.svg("Ticks by participants", latencies, x, y),
        latencies,
    )
    lines = (
        ("what changed", "changes_per_s"),
        ("bytes to each", "bytes_per_s"),
        ("server CPU of each", "cpu_ms_per_s"),
        ("bytes a change", "bytes_per_change"),
    )
    costs = [
        Series(name, [(row["participants"], row[key] / first[key]) for row in rows if key in row], place)
        for place, (name, key) in enumerate(lines)
        if first.get(key)
    ]
    y = plot.logarithmic([value for one in costs for _, value in one.points], " ×")
    yield Chart(
        "Growth",
        "Per second, as a multiple of the smallest group's. A cost below the line of what changed grows less "
        "than linearly in it.",
        plot.svg("Growth", costs, x, y),
        costs,
    )


_SERVER = (
    (
        "Server CPU",
        "Cores that the server's processes took.",
        (("server", "cpu", 1.0), ("machine", "system_cpu", 1.0)),
        "",
    ),
    ("Server memory", "Resident, of all its processes.", (("server", "rss", 2.0**-20),), " MiB"),
    (
        "Event loop lag of the server",
        "p99 in each interval, as coarse as the meter.",
        (("p99", "loop_lag_p99_ms", 1.0),),
        " ms",
    ),
    (
        "Batches of the log",
        "Means in each interval: records, and users' streams, in one transaction.",
        (("records", "batch_rows", 1.0), ("streams", "batch_streams", 1.0)),
        "",
    ),
)


def _server(told: Json) -> Iterator[Chart]:
    for title, sentence, lines, unit in _SERVER:
        series = []
        for place, (name, key, factor) in enumerate(lines):
            points = [
                (one["t"], one[key] * factor) for one in told["timeline"] if key in one and one["t"] >= 0
            ]
            if points:
                series.append(Series(name, points, place))
        if any(one.name != "machine" for one in series):
            yield _over_time(title, sentence, series, _from_zero_in(unit))


def _missing(told: Json) -> list[str]:
    """What could not be measured, and why, for who looks for it."""
    known = {key for point in told["timeline"] for key in point}
    found = []
    if "rss" not in known:
        found.append("CPU and memory of the server: it is not on this machine, or may not be looked at.")
    if not {"loop_lag_p99_ms", "batch_rows"} & known:
        found.append(
            "Loop lag and batch sizes: the server has no /metrics, or --metrics-token is not its token."
        )
    return found


def _percentiles(operations: Json, earlier: Json | None) -> Chart:
    series = [Series(name, _curve(one), place) for place, (name, one) in enumerate(operations.items())]
    before = {} if earlier is None else earlier["operations"]
    series += [
        Series(f"{name}, before", _curve(before[name]), place, faint=True)
        for place, name in enumerate(operations)
        if name in before
    ]
    x = plot.percentiles(at for one in series for at, _ in one.points)
    y = plot.logarithmic((value for one in series for _, value in one.points), " ms")
    told = "Milliseconds by percentile; each nine has the same room."
    return Chart("Percentiles", told, plot.svg("Percentiles", series, x, y), series)


def _curve(operation: Json) -> list[tuple[float, float]]:
    """The most stands where the last percentile below it would be: there is no place for 100 %."""
    points = [(at, value) for at, value in operation["curve"] if at < 100]
    count = max(2, operation["ms"]["count"])
    return [*points, (max(100 - 100 / count, points[-1][0] if points else 0.0), operation["ms"]["max"])]


def _timed(operation: Json, key: str) -> list[tuple[float, float]]:
    return [(point["t"], point[key]) for point in operation["timeline"]]


def _over_time(
    title: str, told: str, series: Sequence[Series], scale: Callable[[Sequence[float]], Axis]
) -> Chart:
    x = plot.linear([at for one in series for at, _ in one.points], " s", least=0.0)
    y = scale([value for one in series for _, value in one.points])
    return Chart(title, told, plot.svg(title, series, x, y), series)


def _from_zero(values: Sequence[float]) -> Axis:
    return plot.linear(values, least=0.0)


def _from_zero_in(unit: str) -> Callable[[Sequence[float]], Axis]:
    return lambda values: plot.linear(values, unit, least=0.0)
