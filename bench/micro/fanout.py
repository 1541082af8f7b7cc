"""What does it cost to hand one event to many connections?

**Question.** A user with 10, 50 and 200 live devices: how many deliveries a second get from a commit into the
queues of the connections, each at its place in the order, with its bytes counted?

**Peer.** The same encoded packet appended to as many plain deques: the least that handing it on costs.

**Figure.** Our rate as a part of the peer's. First measured: 0.18 for 50 devices (0.10 … 0.28), on
two busy cores in November 2026. After the queue got a writer to go straight to, on quiet ones: 0.19 (0.16 …
0.22), and 2.9 million deliveries a second.

**Control.** Each queue holds every event once, in order, and its count of bytes is that of what it holds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fitai.bench.micro import report
from fitai.bench.micro.encode import payloads
from fitai.bench.micro.push import NOW, database, node
from fitai.bench.micro.report import Figure
from fitai.gateways.live.connection import PENDING, Connection
from fitai.gateways.live.frames import CODECS, OpsFrame
from fitai.gateways.live.limits import LiveLimits
from fitai.gateways.live.outbox import Outbox, weight

SIZES = (10, 50, 200)
CAP = 2**31  # the queues are never full: a slow reader is another question


async def _handler(connection: Connection, event: str, args: list[Any], ack: int | None) -> Any:
    return PENDING


@asynccontextmanager
async def connections(count: int) -> AsyncIterator[tuple[list[Connection], list[Outbox]]]:
    """So many live connections of one user, and their queues."""
    async with database() as db, node(db) as server:
        who = await server.person()
        host = await server.hosts.open(who.user)
        queues = [Outbox(CAP) for _ in range(count)]
        made = [
            Connection(
                sid=str(number),
                name="phone",
                codec=CODECS["json"],
                outbox=queue,
                identity=who,
                host=host,
                handler=_handler,
                limits=LiveLimits(rates=False),
                now_ms=lambda: NOW,
                hang_up=lambda _: None,
            )
            for number, queue in enumerate(queues)
        ]
        try:
            yield made, queues
        finally:
            for connection in made:
                connection.close()


def ours(size: int, deliveries: int) -> Callable[[int], float]:
    async def measure(run: int) -> float:
        frames = _frames(deliveries // size, run)

        def offer() -> None:
            for frame in frames:
                for connection in made:
                    connection.offer(frame)

        async with connections(size) as (made, queues):
            seconds, _ = report.timed(offer)
            for queue in queues:
                check(queue, frames)
        return len(frames) * size / seconds

    return lambda run: asyncio.run(measure(run))


def peer(size: int, deliveries: int) -> Callable[[int], float]:
    def measure(run: int) -> float:
        frames = _frames(deliveries // size, run)
        queues: list[deque[Any]] = [deque() for _ in range(size)]

        def append() -> None:
            for frame in frames:
                packet = frame.packet(CODECS["json"])
                for queue in queues:
                    queue.append(packet)

        seconds, _ = report.timed(append)
        return len(frames) * size / seconds

    return measure


def _frames(events: int, run: int) -> list[OpsFrame]:
    return [OpsFrame("e", seq, seq, records) for seq, records in payloads(events, run)]


def check(queue: Outbox, frames: Sequence[OpsFrame]) -> None:
    """Raise AssertionError unless the queue holds each event once, in order, and counts it."""
    expected = [frame.packet(CODECS["json"]) for frame in frames]
    assert queue.bytes == sum(weight(packet) for packet in expected), "the bytes are counted wrongly"
    held = []
    while not queue.empty():
        held.append(queue._pop())
    assert held == expected, "the queue holds other events"


def measure(runs: int, deliveries: int, sizes: Sequence[int] = SIZES) -> list[Figure]:
    """The rates by the number of devices, each beside the peer's."""
    contenders = {f"ours {size}": ours(size, deliveries) for size in sizes}
    contenders |= {f"peer {size}": peer(size, deliveries) for size in sizes}
    found = report.interleaved(runs, contenders)
    figures = []
    for size in sizes:
        mine, its = found[f"ours {size}"], found[f"peer {size}"]
        figures += [
            Figure.of(f"deliveries, {size} devices", "1/s", mine),
            Figure.of(f"plain deques, {size}", "1/s", its),
            Figure.of(f"ours to deques, {size}", "ratio", [a / b for a, b in zip(mine, its, strict=True)]),
        ]
    return figures


def main(arguments: Sequence[str]) -> None:
    """Run with the options of the command line."""
    parser = report.parser("fanout", "One event to many connections, beside plain deques.")
    parser.add_argument("--deliveries", type=int, default=100_000)
    options = parser.parse_args(arguments)
    question = f"About {options.deliveries} deliveries of encoded events into the queues of connections."
    figures = measure(options.runs, options.deliveries)
    report.tell("fanout", question, figures, report.machine(["python-engineio"]), options.into)
