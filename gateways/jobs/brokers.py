"""What carries tickets from the relay to whoever runs jobs: the memory of this process, or Redis Streams.

Both are brokers of `taskiq`, whose receiver takes tickets from them. A ticket that is lost is sent anew
(`relay.SENT_MS`), one that comes twice or late finds its claim gone. So nothing has to be acknowledged, and
the brokers of `taskiq-redis` read here in a way of our own: without a list of what is pending, and without
looking through those of consumers that died.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import RedisError
from taskiq import BrokerMessage
from taskiq.abc.broker import AsyncBroker
from taskiq_redis import RedisStreamBroker, RedisStreamClusterBroker

from fitai.gateways.bus.redis_url import RedisUrl

STREAM = "jobs"  # after the installation's prefix
GROUP = "workers"
KEPT = 10_000  # messages, about: a hundred are on their way at most
BLOCK_MS = 2_000
ANSWER_S = 5.0  # the longest silence of Redis; longer than it may block
CONSUMER_IDLE_MS = 86_400_000  # a consumer that was not heard of for so long is one that died


class MemoryBroker(AsyncBroker):
    """A queue in this process. (taskiq's own runs everything at once, and forgets what runs at its end.)"""

    def __init__(self) -> None:
        super().__init__()
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()

    async def kick(self, message: BrokerMessage) -> None:
        """Append."""
        self._queue.put_nowait(message.message)

    async def listen(self) -> AsyncGenerator[bytes, None]:
        """Take, for ever."""
        while True:
            yield await self._queue.get()


class StreamBroker(RedisStreamBroker):
    """A stream on one Redis, or on the master that Sentinels name."""

    def __init__(self, url: RedisUrl, *, prefix: str, node: str, at_a_time: int) -> None:
        super().__init__(
            "redis://",  # which the pool below has an own and better idea of
            xread_count=at_a_time,
            **_options(prefix, node),
        )
        pool: Any = url.pool(ANSWER_S)
        self.connection_pool = pool
        self._others = [pool.sentinel_manager] if url.kind == "sentinel" else []

    async def listen(self) -> AsyncGenerator[Any, None]:
        """Take, for ever; raises what Redis or the network does."""
        async with Redis(connection_pool=self.connection_pool) as redis:
            while True:
                for data in await _read(redis, self.queue_name, self.consumer_name, self.count):
                    yield data

    async def startup(self) -> None:
        """Join the group, and put those out of it that died."""
        await super().startup()
        async with Redis(connection_pool=self.connection_pool) as redis:
            await _tidy(redis, self.queue_name)

    async def shutdown(self) -> None:
        """Leave the group and close the connections."""
        async with Redis(connection_pool=self.connection_pool) as redis:
            await _leave(redis, self.queue_name, self.consumer_name)
        await super().shutdown()
        for other in self._others:
            await other.aclose()


class ClusterBroker(RedisStreamClusterBroker):
    """A stream on one node of a cluster, wherever that is."""

    def __init__(self, url: RedisUrl, *, prefix: str, node: str, at_a_time: int) -> None:
        super().__init__("redis://nowhere", **_options(prefix, node))
        self.redis = RedisCluster(**url.cluster_options(ANSWER_S))
        self._at_a_time = at_a_time

    async def listen(self) -> AsyncGenerator[Any, None]:
        """Take, for ever; raises what Redis or the network does."""
        while True:
            for data in await _read(self.redis, self.queue_name, self.consumer_name, self._at_a_time):
                yield data

    async def startup(self) -> None:
        """Join the group, and put those out of it that died."""
        await super().startup()
        await _tidy(self.redis, self.queue_name)

    async def shutdown(self) -> None:
        """Leave the group and close the connections."""
        await _leave(self.redis, self.queue_name, self.consumer_name)
        await super().shutdown()


def open_broker(redis_url: str | None, *, prefix: str, node: str, at_a_time: int) -> AsyncBroker:
    """The broker of an installation: Redis when there is one. `node` is this process's name in the group."""
    if redis_url is None:
        return MemoryBroker()
    url = RedisUrl.parse(redis_url)
    if url.kind == "cluster":
        return ClusterBroker(url, prefix=prefix, node=node, at_a_time=at_a_time)
    return StreamBroker(url, prefix=prefix, node=node, at_a_time=at_a_time)


def _options(prefix: str, node: str) -> dict[str, Any]:
    return {
        "queue_name": f"{prefix}:{STREAM}",
        "consumer_group_name": GROUP,
        "consumer_name": node,
        # From the beginning: after Redis has forgotten all, what was sent before the group was made anew.
        "consumer_id": "0",
        "maxlen": KEPT,
    }


async def _read(redis: Any, stream: str, node: str, count: int | None) -> list[bytes]:
    """The next messages, if there come any soon; what is none of ours is left out."""
    fetched = await redis.xreadgroup(GROUP, node, {stream: ">"}, count=count, block=BLOCK_MS, noack=True)
    return [fields[b"data"] for _, messages in fetched for _, fields in messages if b"data" in fields]


async def _tidy(redis: Any, stream: str) -> None:
    for consumer in await redis.xinfo_consumers(stream, GROUP):
        if consumer["idle"] > CONSUMER_IDLE_MS:
            await redis.xgroup_delconsumer(stream, GROUP, consumer["name"])


async def _leave(redis: Any, stream: str, node: str) -> None:
    try:
        await redis.xgroup_delconsumer(stream, GROUP, node)
    except (RedisError, OSError, TimeoutError):
        pass  # found idle some day
