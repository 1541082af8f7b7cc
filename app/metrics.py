"""What `/metrics` says: the meters of this process, or of all workers that share its port.

Behind one port any of the workers may be asked. Each therefore tells its own meters on a Unix socket that
its siblings know, and whoever is asked puts all of them together, told apart by a label `worker`. A worker
that does not answer is left out, and `fitai_workers` says how many are in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import structlog
from prometheus_client import REGISTRY, disable_created_metrics, generate_latest
from prometheus_client.core import CollectorRegistry, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from fitai.gateways.bus.redis import Stats
from fitai.gateways.jobs import meters as _of_jobs  # noqa: F401 - they register themselves
from fitai.gateways.meters import HostCounts, NodeMeters
from fitai.http.metrics import PATH

_log = structlog.get_logger(__name__)

ANSWER_S = 1.0  # the longest that a sibling may take

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series for each series, which nobody reads


@dataclass(frozen=True, slots=True)
class Siblings:
    """The workers behind one port: this one's number, how many there are, where their sockets lie."""

    own: int
    count: int
    folder: Path

    def socket(self, worker: int) -> Path:
        """Where a worker tells its own meters."""
        return self.folder / f"{worker}.sock"


class Meters:
    """All meters of a node."""

    def __init__(
        self,
        node: Collector,
        siblings: Siblings | None = None,
        measure: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._node = node
        self._siblings = siblings
        self._measure = measure  # what has to be asked for before it is told

    async def own(self) -> bytes:
        """Those of this process."""
        if self._measure is not None:
            await self._measure()
        return _text([*REGISTRY.collect(), *self._node.collect()])

    async def report(self) -> bytes:
        """Those of this process and of its siblings."""
        if self._siblings is None:
            return await self.own() + _text([_workers(1)])
        asked = [self._ask(self._siblings, worker) for worker in range(self._siblings.count)]
        told = {worker: text for worker, text in enumerate(await asyncio.gather(*asked)) if text is not None}
        return _text([*_merged(told), _workers(len(told))])

    async def _ask(self, siblings: Siblings, worker: int) -> str | None:
        if worker == siblings.own:
            return (await self.own()).decode()
        try:
            connector = aiohttp.UnixConnector(str(siblings.socket(worker)))
            timeout = aiohttp.ClientTimeout(total=ANSWER_S)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
                http.get(f"http://worker{PATH}") as response,
            ):
                return await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            _log.warning("worker_not_measured", sibling=worker, error=f"{type(error).__name__}: {error}")
            return None


def _workers(count: int) -> Metric:
    return GaugeMetricFamily("fitai_workers", "Processes whose meters are in this answer.", value=count)


def _merged(told: dict[int, str]) -> Iterable[Metric]:
    """The meters of several processes as one: each series gets its process's number as a label."""
    merged: dict[str, Metric] = {}
    for worker, text in told.items():
        for family in text_string_to_metric_families(text):
            into = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                labels = {**sample.labels, "worker": str(worker)}
                into.samples.append(sample._replace(labels=labels))
    return merged.values()


def _text(families: Iterable[Metric]) -> bytes:
    class Once(Collector):
        def collect(self) -> Iterator[Metric]:
            return iter(families)

    registry = CollectorRegistry()
    registry.register(Once())
    return generate_latest(registry)


def meters_table() -> str:
    """The meters of FitAI as a Markdown table: name, kind, labels, meaning."""
    import fitai.gateways.jobs.meters  # noqa: F401 - nothing else here brings them

    families = [*REGISTRY.collect(), *NodeMeters(list, HostCounts, Stats()).collect(), _workers(1)]
    rows = sorted(
        f"| `{f.name}{'_total' if f.type == 'counter' else ''}` | {f.type} | {f.documentation} |"
        for f in families
        if f.name.startswith("fitai_")
    )
    return "\n".join(["| meter | kind | meaning |", "|---|---|---|", *rows]) + "\n"
