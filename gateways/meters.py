"""What this layer measures of itself, for `/metrics`. No label ever names a user, a device or a workout."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from prometheus_client import Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fitai.engine.ops import Verdict
from fitai.gateways.bus.contract import Bus
from fitai.gateways.bus.redis import Stats

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

OPS = Counter("fitai_ops_total", "Ops that were answered, by verdict.", ["verdict"])
PUSHES_REFUSED = Counter(
    "fitai_pushes_refused_total", "Pushes of which nothing was stored, by code.", ["code"]
)
RESUMES = Counter(
    "fitai_resumes_total",
    "Connections made, by outcome: `resumed` at a cursor, `anew` when the cursor was of no use, `first`"
    " without one.",
    ["outcome"],
)
BYES = Counter(
    "fitai_byes_total", "Connections that the server ended, by the code that they were told.", ["code"]
)
BUS_PROBE_SECONDS = Histogram(
    "fitai_bus_probe_seconds", "Round trip of a probe over the bus that came back.", buckets=SECONDS
)
BUS_PROBES_LOST = Counter(
    "fitai_bus_probes_lost_total", "Probes over the bus that did not come back in time."
)
BUS_HINT_AGE_SECONDS = Histogram(
    "fitai_bus_hint_age_seconds",
    "Age of another node's hint when it arrived, by both clocks.",
    buckets=SECONDS,
)
LOOP_LAG_SECONDS = Histogram(
    "fitai_loop_lag_seconds", "How much later than asked for the event loop woke a timer.", buckets=SECONDS
)
TIMERS_LATE_SECONDS = Histogram(
    "fitai_timers_late_seconds", "How long after its deadline a workout's timer fired.", buckets=SECONDS
)
MODERATIONS = Counter(
    "fitai_moderations_total",
    "Messages of groups that the moderation hook was asked about, by what it said: `pass`, `hold`, `drop`, or"
    " `unavailable` (held as well).",
    ["outcome"],
)

# A series is there from the start, so that its first count is seen as one.
ANSWERED = {verdict: OPS.labels(verdict.value) for verdict in Verdict}
DUPLICATES = ANSWERED[Verdict.DUPLICATE]

for _outcome in ("resumed", "anew", "first"):
    RESUMES.labels(_outcome)
for _outcome in ("pass", "hold", "drop", "unavailable"):
    MODERATIONS.labels(_outcome)


def resumed(had_cursor: bool, at_cursor: bool) -> None:
    """A connection was made."""
    RESUMES.labels("resumed" if at_cursor else "anew" if had_cursor else "first").inc()


def heard_hint(at: object, now: int) -> None:
    """A hint of another node came, sent at `at` by its clock (Unix ms)."""
    if isinstance(at, int):
        BUS_HINT_AGE_SECONDS.observe(max(0, now - at) / 1000)


async def probe(bus: Bus, timeout: float) -> bool:
    """`bus.probe`, measured."""
    started = time.perf_counter()
    came_back = await bus.probe(timeout)
    if came_back:
        BUS_PROBE_SECONDS.observe(time.perf_counter() - started)
    else:
        BUS_PROBES_LOST.inc()
    return came_back


class Queue(Protocol):
    """What waits to be sent on one connection."""

    bytes: int


class HostCounts(NamedTuple):
    """A node's session hosts: how many there are, the races for a head that they lost, and how often one
    found in the log what no hint of another node had brought."""

    hosts: int = 0
    lost_races: int = 0
    gaps_healed: int = 0


class NodeMeters(Collector):
    """What is counted when it is asked for: connections, the bytes that wait on them, hosts."""

    def __init__(
        self, queues: Callable[[], Iterable[Queue]], hosts: Callable[[], HostCounts], bus: Stats
    ) -> None:
        self._queues = queues
        self._hosts = hosts
        self._bus = bus

    def collect(self) -> Iterator[Metric]:
        waiting = [queue.bytes for queue in self._queues()]
        yield GaugeMetricFamily("fitai_connections", "Live connections.", value=len(waiting))
        yield GaugeMetricFamily(
            "fitai_queue_bytes", "Bytes that wait to be sent, over all connections.", value=sum(waiting)
        )
        yield GaugeMetricFamily(
            "fitai_queue_max_bytes",
            "Bytes that wait on the connection that is most behind.",
            value=max(waiting, default=0),
        )
        yield self._messages()
        yield GaugeMetricFamily("fitai_tasks", "Tasks of the event loop.", value=_tasks())
        hosts = self._hosts()
        yield GaugeMetricFamily("fitai_hosts", "Users whose session host is in memory.", value=hosts.hosts)
        yield CounterMetricFamily(
            "fitai_lost_races",
            "Batches that were placed again since another node was faster.",
            value=hosts.lost_races,
        )
        yield CounterMetricFamily(
            "fitai_gaps_healed",
            "Times that a host found in the log what no hint of another node had brought.",
            value=hosts.gaps_healed,
        )

    def _messages(self) -> Metric:
        messages = CounterMetricFamily(
            "fitai_bus_messages",
            "Messages on the bus, by fate: `published`, `received`, `dropped` for want of room, `lost` with a"
            " connection, `forged` (sealed with another secret), `unreadable`.",
            labels=["fate"],
        )
        for fate in ("published", "received", "dropped", "lost", "forged", "unreadable"):
            messages.add_metric([fate], getattr(self._bus, fate))
        return messages


def _tasks() -> int:
    """Tasks that are not done, of the loop that asks; none where there is no loop."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0
