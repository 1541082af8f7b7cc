"""How the server was during the run: CPU and memory of its processes, and what its /metrics say."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psutil  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

LOOP_LAG = "fitai_loop_lag_seconds"
BATCH_ROWS = "fitai_append_batch_rows"
BATCH_STREAMS = "fitai_append_batch_streams"
ASK_S = 1.0

Point = dict[str, float]


class Processes:
    """A process and its children: a server's workers count as the server."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._known: dict[int, Any] = {}
        self._used: dict[int, float] = {}
        self._at = time.monotonic()

    def sample(self) -> Point | None:
        """CPU since the last sample as parts of a core, resident memory in bytes; None when it is gone."""
        now = time.monotonic()
        try:
            children = self._root.children(recursive=True)
        except psutil.NoSuchProcess:
            return None
        used, rss = 0.0, 0
        for process in [self._root, *children]:
            process = self._known.setdefault(process.pid, process)
            try:
                times = process.cpu_times()
                rss += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            total = times.user + times.system
            used += total - self._used.get(process.pid, total)
            self._used[process.pid] = total
        elapsed, self._at = max(1e-9, now - self._at), now
        return {"cpu": used / elapsed, "rss": float(rss)}


@dataclass(frozen=True, slots=True)
class Meter:
    """A Prometheus histogram at a moment, all its series added: counts by upper bound, sum and count."""

    buckets: Mapping[float, float]
    sum: float
    count: float

    def since(self, before: Meter) -> Meter:
        """What was observed between the two."""
        buckets = {bound: count - before.buckets.get(bound, 0.0) for bound, count in self.buckets.items()}
        return Meter(buckets, self.sum - before.sum, self.count - before.count)

    @property
    def mean(self) -> float:
        """The mean of what was observed, 0 when there was nothing."""
        return self.sum / self.count if self.count > 0 else 0.0

    def quantile(self, part: float) -> float:
        """The bound below which so large a part lies: no finer than the buckets, never too small."""
        bounds = sorted(self.buckets)
        for bound in bounds:
            if self.buckets[bound] >= part * self.count:
                return bound if bound != float("inf") else bounds[-2]
        return 0.0


def meters(text: str, names: Iterable[str]) -> dict[str, Meter]:
    """The histograms of these names in Prometheus' text; those that are not there are left out."""
    wanted = set(names)
    found = {}
    for family in text_string_to_metric_families(text):
        if family.name not in wanted:
            continue
        buckets: dict[float, float] = {}
        totals = {"_sum": 0.0, "_count": 0.0}
        for sample in family.samples:
            suffix = sample.name.removeprefix(family.name)
            if suffix == "_bucket":
                bound = float(sample.labels["le"])
                buckets[bound] = buckets.get(bound, 0.0) + sample.value
            elif suffix in totals:
                totals[suffix] += sample.value
        found[family.name] = Meter(buckets, totals["_sum"], totals["_count"])
    return found


class Watch:
    """Samples a server in a thread, every so many seconds, while it is entered. `points` are {t, cpu, rss,
    loop_lag_p99_ms, batch_rows, batch_streams, system_cpu}, each as far as it can be had; `t` is Unix
    seconds."""

    def __init__(self, url: str, pid: int | None, token: str | None, every_s: float) -> None:
        self.points: list[Point] = []
        self._every_s = every_s
        self._processes = None if pid is None else Processes(pid)
        self._request = urllib.request.Request(
            f"{url}/metrics", headers={"Authorization": f"Bearer {token or ''}"}
        )
        self._asks = token is not None
        self._before: dict[str, Meter] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name="bench.watch", daemon=True)

    def __enter__(self) -> Watch:
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._sample()

    def _work(self) -> None:
        while not self._end.wait(self._every_s):
            self._sample()

    def _sample(self) -> None:
        point: Point = {
            "t": time.time(),
            "system_cpu": psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1),
        }
        if self._processes is not None:
            point |= self._processes.sample() or {}
        if self._asks:
            point |= dict(self._metrics())
        self.points.append(point)

    def _metrics(self) -> Iterator[tuple[str, float]]:
        try:
            with urllib.request.urlopen(self._request, timeout=ASK_S) as response:
                now = meters(response.read().decode(), (LOOP_LAG, BATCH_ROWS, BATCH_STREAMS))
        except urllib.error.HTTPError:
            self._asks = False  # a server without /metrics, or another token: it will not change its mind
            return
        except (OSError, ValueError):
            return
        since = {name: meter.since(self._before.get(name, meter)) for name, meter in now.items()}
        self._before = now
        for name, meter in since.items():
            if meter.count <= 0:
                continue
            if name == LOOP_LAG:
                yield "loop_lag_p99_ms", meter.quantile(0.99) * 1000
            else:
                yield ("batch_rows" if name == BATCH_ROWS else "batch_streams"), meter.mean
