"""How many hints a second go from one node to another, beside a plain `redis.publish` for each?

**Question.** A group commit ends, and hints of many users' streams are published in one turn of the loop. How
many messages a second come from `publish` on one node to a listener on another, through one Redis?

**Peers.** redis-py's asyncio client on the same server, with the same topics and messages in msgpack,
neither signed nor watched: a `publish` awaited for each message, and those of a turn awaited together. The
listener is its `pubsub`.

**Control.** Each topic's messages arrive once and in order, from ours and from the peers.

    python -m fitai.bench.micro bus [--runs 5] [--messages 20000]
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import msgpack
from redis.asyncio import Redis

from fitai.bench import stores
from fitai.bench.micro import report
from fitai.bench.micro.report import Figure
from fitai.gateways.bus.redis import RedisBus

TOPICS = 200
TURN = 100  # messages that are published in one turn of the loop
ASKED = 5.0

Said = tuple[str, dict[str, Any]]
Publish = Callable[[Sequence[Said]], Awaitable[None]]


def messages(count: int) -> list[Said]:
    """Heads of streams, as a node hints them."""
    node = "f" * 32
    return [
        (f"user:{n % TOPICS}", {"kind": "head", "epoch": 1, "head": n, "node": node}) for n in range(count)
    ]


class Heard:
    """What came, by topic, and whether that was all."""

    def __init__(self, expected: int) -> None:
        self.heads: dict[str, list[int]] = defaultdict(list)
        self.all = asyncio.Event()
        self._missing = expected

    def take(self, topic: str, message: dict[str, Any]) -> None:
        self.heads[topic].append(message["head"])
        self._missing -= 1
        if not self._missing:
            self.all.set()


@asynccontextmanager
async def ours(url: str, heard: Heard) -> AsyncIterator[Publish]:
    """Two nodes' buses."""
    here, there = (RedisBus(url, secret=b"bench" * 8, prefix="ours") for _ in range(2))
    await here.start()
    await there.start()
    standing = asyncio.Semaphore(0)
    for topic in (f"user:{n}" for n in range(TOPICS)):
        there.subscribe(topic, partial(heard.take, topic), standing.release)
    for _ in range(TOPICS):
        await standing.acquire()

    async def publish(turn: Sequence[Said]) -> None:
        for topic, message in turn:
            here.publish(topic, message)
        await asyncio.sleep(0)

    yield publish
    await here.close()
    await there.close()


@asynccontextmanager
async def plain(url: str, heard: Heard, *, together: bool) -> AsyncIterator[Publish]:
    """redis-py alone."""
    async with Redis.from_url(url) as here, Redis.from_url(url) as there, there.pubsub() as pubsub:
        await pubsub.subscribe(*(f"user:{n}" for n in range(TOPICS)))
        for _ in range(TOPICS):
            assert (await pubsub.get_message(timeout=5))["type"] == "subscribe"

        async def listen() -> None:
            async for said in pubsub.listen():
                heard.take(said["channel"].decode(), msgpack.unpackb(said["data"]))

        async def publish(turn: Sequence[Said]) -> None:
            sends = [here.publish(topic, msgpack.packb(message)) for topic, message in turn]
            if together:
                await asyncio.gather(*sends)
            else:
                for send in sends:
                    await send

        listener = asyncio.get_running_loop().create_task(listen())
        yield publish
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


CONTENDERS: dict[str, Callable[[str, Heard], AbstractAsyncContextManager[Publish]]] = {
    "ours": ours,
    "redis-py, one by one": lambda url, heard: plain(url, heard, together=False),
    "redis-py, a turn together": lambda url, heard: plain(url, heard, together=True),
}


def measured(url: str, name: str, count: int) -> Callable[[int], float]:
    """Measures one contender: seconds until the last message was heard."""

    async def measure() -> float:
        said = messages(count)
        heard = Heard(count)
        async with CONTENDERS[name](url, heard) as publish:
            began = time.perf_counter()
            for at in range(0, count, TURN):
                await publish(said[at : at + TURN])
            await asyncio.wait_for(heard.all.wait(), 60)
            spent = time.perf_counter() - began
        check(heard, count)
        return spent

    return lambda _: asyncio.run(measure())


def check(heard: Heard, count: int) -> None:
    """Raise AssertionError unless each message came once, in the order of its topic."""
    expected = {f"user:{n}": list(range(n, count, TOPICS)) for n in range(min(TOPICS, count))}
    assert heard.heads == expected, "a message was lost, doubled or came out of order"


def measure(runs: int, count: int) -> list[Figure]:
    """Messages a second of each, and ours as a multiple of the peers'."""
    with stores.redis() as url:
        found = report.interleaved(runs, {name: measured(url, name, count) for name in CONTENDERS})
    figures = [Figure.of(name, "msg/s", [count / spent for spent in all_]) for name, all_ in found.items()]
    for peer in list(CONTENDERS)[1:]:
        ratios = [theirs / own for own, theirs in zip(found["ours"], found[peer], strict=True)]
        asked = f"≥ {ASKED:.0f}" if peer.endswith("one by one") else ""
        figures.append(Figure.of(f"ours to {peer}", "ratio", ratios, asked))
    return figures


def main(arguments: Sequence[str]) -> None:
    """Run with the options of the command line."""
    parser = report.parser("bus", "Hints beside plain publishes.")
    parser.add_argument("--messages", type=int, default=20_000)
    options = parser.parse_args(arguments)
    figures = measure(options.runs, options.messages)
    question = f"{options.messages} hints on {TOPICS} topics, {TURN} a turn, from node to node."
    report.tell("bus", question, figures, report.machine(["redis", "msgpack"]), options.into)
