"""Line charts as SVG text: no library, no script, no network; a page that is kept for years still shows them.

Pure. Colours are classes (`s0`, `s1`, …) that the page's style fills, so that it can be light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 30

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """A line: its name, its points in order of x, and its colour (0…7). `faint` is for an earlier run."""

    name: str
    points: Sequence[Point]
    colour: int
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale: `place` maps a value into 0…1, `ticks` are values and what is written at them."""

    place: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]


def linear(values: Iterable[float], unit: str = "", *, least: float | None = None) -> Axis:
    """From `least` (without it the smallest value) to the largest or a bit more, at round numbers."""
    found = list(values)
    low = min(found, default=0.0) if least is None else least
    high = max(found, default=1.0)
    step = _round_step((high - low) / 5 or (abs(high) or 1.0) / 5)
    low = math.floor(low / step) * step
    top = max(low + step, math.ceil(high / step - 1e-9) * step)
    count = round((top - low) / step)
    ticks = [(low + place * step, _short(low + place * step) + unit) for place in range(count + 1)]
    return Axis(lambda value: (value - low) / (top - low), ticks)


def logarithmic(values: Iterable[float], unit: str = "") -> Axis:
    """From a power of ten below the smallest positive value to one above the largest."""
    found = [value for value in values if value > 0] or [1.0]
    low = math.floor(math.log10(min(found)) + 1e-9)
    high = max(low + 1, math.ceil(math.log10(max(found)) - 1e-9))
    ticks = [(10.0**power, _short(10.0**power) + unit) for power in range(low, high + 1)]

    def place(value: float) -> float:
        return (math.log10(max(value, 10.0**low)) - low) / (high - low)

    return Axis(place, ticks)


def percentiles(values: Iterable[float]) -> Axis:
    """Percentiles so that each nine takes the same room: what matters is at the far end."""
    most = max((value for value in values if value < 100), default=90.0)
    nines = max(2, math.ceil(math.log10(100 / (100 - most)) - 1e-9))
    marks = [0.0, 50.0, 90.0, *(100 - 10.0 ** (2 - nine) for nine in range(2, nines + 1))]

    def place(value: float) -> float:
        return min(1.0, math.log10(100 / max(100 - value, 1e-12)) / nines)

    return Axis(place, [(mark, f"{mark:.10g} %") for mark in marks])


def svg(title: str, series: Sequence[Series], x: Axis, y: Axis) -> str:
    """The chart. What a page may read off its lines is in their `data-values`: [x, y, place in the chart]."""
    parts = [f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    floor = HEIGHT - BOTTOM
    for value, label in y.ticks:
        at = _y(y.place(value))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{escape(label)}</text>'
        )
    for value, label in x.ticks:
        at = _x(x.place(value))
        anchor = "end" if at > WIDTH - RIGHT - 20 else "middle"
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{floor}" y2="{floor + 4}"/>')
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{floor + 18}" text-anchor="{anchor}">{escape(label)}</text>'
        )
    parts += [_line(one, x, y) for one in series]
    parts.append('<line class="cross" y1="0" y2="0" x1="0" x2="0"/></svg>')
    return "\n".join(parts)


def _line(one: Series, x: Axis, y: Axis) -> str:
    places = [(_x(x.place(at)), _y(y.place(value))) for at, value in one.points]
    kind = f"line s{one.colour % 8}{' faint' if one.faint else ''}"
    values = (
        "["
        + ",".join(
            f"[{at:.4g},{value:.4g},{px:.1f}]"
            for (at, value), (px, _) in zip(one.points, places, strict=True)
        )
        + "]"
    )
    data = f'data-name="{escape(one.name)}" data-values="{values}"'
    if len(places) == 1:
        return f'<circle class="{kind} dot" cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3" {data}/>'
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
    return f'<polyline class="{kind}" points="{path}" {data}/>'


def _x(place: float) -> float:
    return LEFT + place * (WIDTH - LEFT - RIGHT)


def _y(place: float) -> float:
    return HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)


def _round_step(step: float) -> float:
    """The next of 1, 2, 5 × 10ⁿ."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def _short(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:,.10g}k"
    return f"{value:.6g}"
