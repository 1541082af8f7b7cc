"""Counters that all nodes keep together, in Redis. Never why anybody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog
from limits.aio.storage import RedisClusterStorage, RedisStorage

from fitai.gateways.bus.redis_url import RedisUrl
from fitai.gateways.counts import Counts, Storage

_log = structlog.get_logger(__name__)

AT_ONCE = 16  # questions to Redis at one time

T = TypeVar("T")


class RedisCounts:
    """The counters of all nodes with the same `prefix`.

    An answer is waited for `within_s` seconds. Without one `alone`, the node's own counters, answer, and for
    `rest_s` seconds nothing more is asked of Redis.
    """

    def __init__(
        self, url: str, *, prefix: str, alone: Counts, within_s: float = 0.25, rest_s: float = 2.0
    ) -> None:
        self._alone = alone
        self._within_s = within_s
        self._rest_s = rest_s
        self._resting_until = 0.0
        self._parts: list[Any] = []  # which are to be closed
        self._prepare: Callable[[], Awaitable[object]] | None = None
        self._preparing = asyncio.Lock()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._prefix = f"{prefix}:rate"
        where = RedisUrl.parse(url)
        self._storage: Any = self._in_cluster(where) if where.kind == "cluster" else self._in_pool(where)

    async def ask(self, question: Callable[[Storage], Awaitable[T]]) -> T:
        """What Redis answers, else what the node's own counters do."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._resting_until:
            return await self._alone.ask(question)
        try:
            async with asyncio.timeout(self._within_s), self._turns:
                await self._prepared()
                return await question(self._storage)
        except Exception as error:
            self._resting_until = loop.time() + self._rest_s
            _log.warning("counts_not_shared", why=f"{type(error).__name__}: {error}")
        return await self._alone.ask(question)

    async def _prepared(self) -> None:
        """A cluster's client is cut off when two first questions let it find the nodes at one time."""
        if self._prepare is not None:
            async with self._preparing:
                await self._prepare()

    async def close(self) -> None:
        """Close the connections."""
        for part in self._parts:
            await part.aclose()

    # `limits` hands its options on to redis-py, which takes more than their type says.

    def _in_cluster(self, url: RedisUrl) -> RedisStorage:
        options: Any = url.cluster_options(self._within_s)
        uri = "redis+cluster://named.in.options:1"
        storage = RedisClusterStorage(uri, implementation="redispy", key_prefix=self._prefix, **options)
        bridge: Any = storage.bridge
        self._parts = [bridge.storage]
        self._prepare = bridge.storage.initialize
        return storage

    def _in_pool(self, url: RedisUrl) -> RedisStorage:
        pool: Any = url.pool(self._within_s)
        self._parts = [pool, pool.sentinel_manager] if url.kind == "sentinel" else [pool]
        return RedisStorage(
            "redis://", implementation="redispy", key_prefix=self._prefix, connection_pool=pool
        )
