"""Counters that forget: ours in memory does what the library's does in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from fitai.gateways.bus.redis_counts import RedisCounts
from fitai.gateways.counts import Counts, Memory, MemoryCounts, Storage
from tests.redis_servers import RedisServer, Wire


@pytest.fixture(params=["memory", "redis"])
async def counts(request: pytest.FixtureRequest) -> AsyncIterator[Counts]:
    if request.param == "memory":
        yield MemoryCounts(lambda: 90_000)
        return
    shared = RedisCounts(
        request.getfixturevalue("redis_url"),
        prefix=f"test-{id(request)}",
        alone=MemoryCounts(lambda: 0),
        within_s=5,
    )
    yield shared
    await shared.close()


async def test_a_sum_is_kept_and_can_be_taken_back_and_forgotten(counts: Counts) -> None:
    async def story(storage: Storage) -> list[Any]:
        told: list[Any] = [await storage.incr("a", 60), await storage.incr("a", 60, 2)]
        told.append(await storage.incr("a", 60, -1))
        told.append(await storage.get("b"))
        left = await storage.get_expiry("a") - await storage.get_expiry("b")
        told.append(55 < left <= 60)
        await storage.clear("a")
        return [*told, await storage.get("a")]

    assert await counts.ask(story) == [1, 3, 2, 0, True, 0]


async def test_a_window_has_room_for_so_many(counts: Counts) -> None:
    async def story(storage: Storage) -> list[bool]:
        return [await storage.acquire_sliding_window_entry("w", 3, 60) for _ in range(5)]

    assert await counts.ask(story) == [True, True, True, False, False]
    before, _, now, left = await counts.ask(lambda storage: storage.get_sliding_window("w", 60))
    assert (before, now) == (0, 3)
    assert 60 < left <= 120


async def test_the_window_before_weighs_as_much_as_is_left_of_it() -> None:
    now = 0
    memory = Memory(lambda: now)
    assert [await memory.acquire_sliding_window_entry("w", 10, 60) for _ in range(11)].count(True) == 10
    now = 60_000  # a new window, and all of the old one still weighs
    assert not await memory.acquire_sliding_window_entry("w", 10, 60)
    now = 90_000
    assert [await memory.acquire_sliding_window_entry("w", 10, 60) for _ in range(10)].count(True) == 5
    now = 180_000
    assert await memory.get_sliding_window("w", 60) == (0, 60, 0, 120)


async def test_memory_forgets_in_time_and_keeps_a_bounded_number() -> None:
    now = 0
    memory = Memory(lambda: now, many=3)
    await memory.incr("a", 10)
    now = 9_000
    assert await memory.incr("a", 10) == 2
    now = 10_000
    assert await memory.get("a") == 0
    assert await memory.incr("a", 10) == 1
    for key in ("b", "c", "a", "d"):
        await memory.incr(key, 10)
    assert [await memory.get(key) for key in "abcd"] == [2, 0, 1, 1]
    assert await memory.reset() == 3
    assert await memory.get("a") == 0


async def test_a_silent_redis_answers_by_memory_within_a_bound_and_is_asked_again_later(
    redis_server: RedisServer,
) -> None:
    async with Wire(redis_server.port).laid() as wire:
        counts = RedisCounts(wire.url, prefix="t", alone=MemoryCounts(lambda: 0), within_s=0.25, rest_s=0.5)
        try:
            assert await counts.ask(lambda storage: storage.incr("a", 60)) == 1
            wire.swallows = True
            with capture_logs() as lines:
                asked = [counts.ask(lambda storage: storage.incr("a", 60)) for _ in range(40)]
                told = await asyncio.wait_for(asyncio.gather(*asked), 20)
            assert sorted(told) == list(range(1, 41))
            assert {line["event"] for line in lines} == {"counts_not_shared"}
            wire.swallows = False
            await asyncio.sleep(0.6)
            for _ in range(50):  # what was swallowed is gone; Redis itself still knows its one, or more
                if await counts.ask(lambda storage: storage.incr("a", 60)) < 40:
                    break
                await asyncio.sleep(0.1)
            else:
                raise AssertionError("Redis was not asked again")
        finally:
            await counts.close()


async def test_a_dead_redis_answers_by_memory(redis_server: RedisServer) -> None:
    redis_server.kill()
    counts = RedisCounts(redis_server.url, prefix="t", alone=MemoryCounts(lambda: 0))
    assert [await counts.ask(lambda storage: storage.incr("a", 60)) for _ in range(3)] == [1, 2, 3]
    await counts.close()
