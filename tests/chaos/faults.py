"""The faults, drawn from a seed, and what each of them is seen to do.

A fault that nobody felt did not strike. So each looks at its effect: connections that broke, pushes that were
on their way, bytes that were swallowed or came late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from tests.chaos.links import FAIR, Link, Weather
from tests.chaos.stack import to_its_end

if TYPE_CHECKING:
    from tests.chaos.world import World

FIRST_S = 2.0  # before the first fault, so that there is something to disturb
GAP_S = 0.5  # between two faults that meet one target

# How long each kind lasts, seconds, at least and at most.
LASTS = {
    "kill": (1.0, 8.0),
    "pause": (3.0, 20.0),
    "redis restarted": (0.0, 4.0),
    "redis frozen": (3.0, 12.0),
    "redis silent to one": (3.0, 15.0),
    "redis slow": (3.0, 12.0),
    "dropped": (0.0, 0.0),
    "postgres stopped": (1.0, 10.0),
    "slow links": (4.0, 15.0),
}
KINDS = tuple(LASTS)
_LOCAL = frozenset({"dropped", "slow links"})  # two of these at once are no contradiction


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: seconds from the start at which it begins, how long it lasts, and whom it meets (the number
    of a node, if it is about one)."""

    kind: str
    at: float
    lasts: float
    node: int

    @property
    def target(self) -> object:
        if self.kind in ("kill", "pause"):
            return ("node", self.node)
        if self.kind in ("redis restarted", "redis frozen"):
            return "redis"
        if self.kind in ("redis slow", "redis silent to one"):
            return ("link", self.node)
        return self.kind


def due(seed: int) -> Sequence[str]:
    """The kinds that this seed has in any case: two seeds in a row, from an even one on, have all."""
    kinds = list(KINDS)
    Random(seed // 2).shuffle(kinds)
    half = (len(kinds) + 1) // 2
    return kinds[half:] if seed % 2 else kinds[:half]


def plan(seed: int, kinds: Sequence[str], seconds: float, nodes: int, more: int) -> list[Fault]:
    """Faults of each of `kinds`, and up to `more` of any, that begin and end within `seconds`; none meets a
    target that another one holds."""
    random = Random(seed)
    for _ in range(1_000):
        drawn: list[Fault] = []
        for kind in [*kinds, *random.choices(KINDS, k=more)]:
            for _ in range(20):
                fault = _draw(random, kind, seconds, nodes)
                if not any(_clash(fault, other) for other in drawn):
                    drawn.append(fault)
                    break
        if set(kinds) <= {fault.kind for fault in drawn}:
            return sorted(drawn, key=lambda fault: fault.at)
    raise ValueError(f"{seconds} s are too short for {kinds}")


def _draw(random: Random, kind: str, seconds: float, nodes: int) -> Fault:
    least, most = LASTS[kind]
    lasts = random.uniform(least, max(least, min(most, seconds - FIRST_S)))
    return Fault(kind, random.uniform(FIRST_S, max(FIRST_S, seconds - lasts)), lasts, random.randrange(nodes))


def _clash(one: Fault, other: Fault) -> bool:
    apart = one.at > other.at + other.lasts + GAP_S or other.at > one.at + one.lasts + GAP_S
    return one.target == other.target and one.kind not in _LOCAL and not apart


async def strike(world: World, fault: Fault) -> None:
    """Wait for the fault's moment, let it happen, and take it back."""
    await asyncio.sleep(fault.at)
    async with world.holding(fault.target):  # the one before may take longer than it was to
        world.tell(f"{fault.kind} for {fault.lasts:.1f} s, node {fault.node}")
        felt = await _STRIKES[fault.kind](world, fault)
    world.struck[fault.kind] += felt > 0
    world.effects[f"{fault.kind}: {_FELT[fault.kind]}"] += felt
    world.tell(f"{fault.kind} is over: {felt} {_FELT[fault.kind]}")


_FELT = {
    "kill": "connections broken",
    "pause": "pushes held up",
    "redis restarted": "connections broken",
    "redis frozen": "bytes unanswered",
    "redis silent to one": "bytes swallowed",
    "redis slow": "chunks late",
    "dropped": "connections broken",
    "postgres stopped": "pushes held up",
    "slow links": "chunks late",
}


async def _kill(world: World, fault: Fault) -> int:
    node = world.stack.nodes[fault.node]
    broken = sum(each.node == fault.node for each in world.roamers)
    world.effects["kill: pushes in flight"] += _in_flight(world, fault.node)
    node.kill()
    await asyncio.sleep(fault.lasts)
    await node.start()
    return broken


async def _pause(world: World, fault: Fault) -> int:
    node = world.stack.nodes[fault.node]
    node.freeze()
    try:
        held = await _most(fault.lasts, lambda: _in_flight(world, fault.node))
    finally:
        node.thaw()
    return held


async def _redis_restarted(world: World, fault: Fault) -> int:
    broken = sum(link.open for link in world.stack.to_redis)
    await to_its_end(world.stack.redis.kill)
    await asyncio.sleep(fault.lasts)
    await to_its_end(world.stack.redis.start)
    return broken


async def _redis_frozen(world: World, fault: Fault) -> int:
    redis, links = world.stack.redis, world.stack.to_redis
    redis.freeze()
    try:
        before = sum(link.counts["up"] for link in links)
        await asyncio.sleep(fault.lasts)
        return sum(link.counts["up"] for link in links) - before
    finally:
        redis.thaw()


async def _redis_silent(world: World, fault: Fault) -> int:
    link = world.stack.to_redis[fault.node]
    return await _while(Weather(silent=True), [link], fault.lasts, "swallowed")


async def _redis_slow(world: World, fault: Fault) -> int:
    link = world.stack.to_redis[fault.node]
    return await _while(
        Weather(delay_s=0.15, jitter_s=0.3, bytes_per_s=20_000), [link], fault.lasts, "slowed"
    )


async def _slow_links(world: World, fault: Fault) -> int:
    random = Random(fault.at)
    weather = Weather(random.uniform(0, 0.4), random.uniform(0, 0.6), random.choice([None, 5_000, 20_000]))
    return await _while(weather, world.by_ways, fault.lasts, "slowed")


async def _while(weather: Weather, links: Sequence[Link], lasts: float, counted: str) -> int:
    before = sum(link.counts[counted] for link in links)
    for link in links:
        link.weather = weather
    try:
        await asyncio.sleep(lasts)
    finally:
        for link in links:
            link.weather = FAIR
    return sum(link.counts[counted] for link in links) - before


async def _dropped(world: World, fault: Fault) -> int:
    random = Random(fault.at)
    return sum(each.drop() for each in world.roamers if random.random() < 0.4)


async def _postgres_stopped(world: World, fault: Fault) -> int:
    postgres = world.stack.postgres
    await to_its_end(postgres.crash)
    try:
        return await _most(fault.lasts, lambda: _in_flight(world))
    finally:
        await to_its_end(postgres.start)


async def _most(seconds: float, count: Callable[[], int]) -> int:
    """The most that there was at once."""
    loop = asyncio.get_running_loop()
    end, most = loop.time() + seconds, count()
    while loop.time() < end:
        await asyncio.sleep(0.1)
        most = max(most, count())
    return most


def _in_flight(world: World, node: int | None = None) -> int:
    return sum(each.in_flight for each in world.roamers if node is None or each.node == node)


_STRIKES: dict[str, Callable[[World, Fault], Awaitable[int]]] = {
    "kill": _kill,
    "pause": _pause,
    "redis restarted": _redis_restarted,
    "redis frozen": _redis_frozen,
    "redis silent to one": _redis_silent,
    "redis slow": _redis_slow,
    "dropped": _dropped,
    "postgres stopped": _postgres_stopped,
    "slow links": _slow_links,
}
