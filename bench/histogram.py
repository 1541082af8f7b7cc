"""Latencies: recorded in each generator, merged where all of them meet, never averaged.

HDR histograms of whole microseconds, exact to three digits up to ten minutes. A generator counts within an
interval of the timeline and hands over the encoded histogram; merging adds counts, so a percentile of the
whole run over all generators is a percentile and no mean of percentiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hdrh.histogram import HdrHistogram

LONGEST_US = 600_000_000
DIGITS = 3
POINTS = (50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 100.0)


def empty() -> HdrHistogram:
    """A histogram for microseconds."""
    return HdrHistogram(1, LONGEST_US, DIGITS)


class Recorder:
    """What one generator measured in the present interval, by the name of the operation."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[int, int]] = {}
        self._scratch = empty()

    def record(self, operation: str, seconds: float) -> None:
        """Count one latency. Counting is a tenth of the cost of the histogram, which is filled by `take`."""
        counts = self._counts.get(operation)
        if counts is None:
            counts = self._counts[operation] = {}
        us = int(seconds * 1e6)
        counts[us] = counts.get(us, 0) + 1

    def take(self) -> dict[str, bytes]:
        """The interval's histograms, encoded, and a new interval."""
        taken = {name: self._encoded(counts) for name, counts in self._counts.items()}
        self._counts = {}
        return taken

    def _encoded(self, counts: Mapping[int, int]) -> bytes:
        self._scratch.reset()
        for us, count in counts.items():
            self._scratch.record_value(min(max(us, 1), LONGEST_US), count)
        return bytes(self._scratch.encode())


@dataclass(slots=True)
class Operation:
    """All generators' latencies of one operation: the whole, and by interval."""

    total: HdrHistogram = field(default_factory=empty)
    intervals: dict[int, HdrHistogram] = field(default_factory=dict)

    def add(self, interval: int, encoded: bytes) -> None:
        """Merge what a generator measured in an interval."""
        self.total.decode_and_add(encoded)
        self.intervals.setdefault(interval, empty()).decode_and_add(encoded)

    def settle(self, before: int) -> list[tuple[int, dict[str, float]]]:
        """The summaries of the intervals before this one, whose histograms are then forgotten."""
        done = sorted(number for number in self.intervals if number < before)
        return [(number, summary(self.intervals.pop(number))) for number in done]


def summary(histogram: HdrHistogram) -> dict[str, float]:
    """Count, mean, least and the percentiles of `POINTS` (p50, p99.9, max…), milliseconds."""
    found = histogram.get_percentile_to_value_dict(list(POINTS))
    told = {"max" if point == 100 else f"p{point:g}": found[point] / 1000 for point in POINTS}
    return {
        "count": histogram.get_total_count(),
        "mean": round(histogram.get_mean_value() / 1000, 3),
        "min": histogram.get_min_value() / 1000,
        **told,
    }


def curve(histogram: HdrHistogram) -> list[list[float]]:
    """[percentile, milliseconds] from the least to the most, denser towards the end: what is plotted."""
    points = [
        [item.percentile_level_iterated_to, item.value_iterated_to / 1000]
        for item in histogram.get_percentile_iterator(5)
    ]
    return [point for place, point in enumerate(points) if place == 0 or point != points[place - 1]]


def merged(encoded: Iterable[bytes]) -> HdrHistogram:
    """Several encoded histograms as one."""
    total = empty()
    for one in encoded:
        total.decode_and_add(one)
    return total


def text(histogram: HdrHistogram) -> str:
    """The histogram itself, in the interchange format of HdrHistogram (V2, compressed, base64)."""
    encoded: Any = histogram.encode()
    return bytes(encoded).decode()
