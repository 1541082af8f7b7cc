"""One life of the connections to Redis: opened together, closed together, never mended.

Whatever goes wrong, a lost connection, an error in an answer, a slot that has moved, silence: it is raised,
and the owner (redis.py) makes a new link. So there is one way back from every fault.

On each server there are two connections, since one that listens may send nothing but subscriptions. Both are
watched by the beat: a message to ourselves, out by the one and in by the other, on a channel of its own.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from redis.exceptions import RedisError

from fitai.gateways.bus.redis_url import RedisUrl, Servers

ANSWER_S = 3.0  # for the answers to one batch of commands
_TURN = 64  # messages that are read before others may run

Heard = Callable[[str, bytes], None]
Command = tuple[bytes, ...]


class Moved(RedisError):
    """The server ended a subscription: its channel lives elsewhere now."""


class Shard:
    """One server: a connection to publish on, one to listen on, and the beat between them."""

    def __init__(self, url: RedisUrl, options: Mapping[str, Any], beat: bytes) -> None:
        self.publisher = url.connect(options)
        self.subscriber = url.connect(options)
        self.beat = beat
        self._sending = asyncio.Lock()
        self._beats = 0
        self._awaited: dict[bytes, asyncio.Future[None]] = {}

    async def ask(self, commands: Sequence[Command]) -> None:
        """Send commands in one write and wait for all answers; raises the first that is an error."""
        async with self._sending, asyncio.timeout(ANSWER_S):
            await self.publisher.send_packed_command(self.publisher.pack_commands(commands))
            for _ in commands:
                await self.publisher.read_response(timeout=math.inf)

    async def listen(self, commands: Sequence[Command]) -> None:
        """Send commands about subscriptions; their answers are read with the messages."""
        async with asyncio.timeout(ANSWER_S):
            await self.subscriber.send_packed_command(self.subscriber.pack_commands(commands))

    async def echo(self, publish: bytes) -> None:
        """Send a message to ourselves and wait until it is heard, however long."""
        self._beats += 1
        mark = b"%d" % self._beats
        heard = self._awaited[mark] = asyncio.get_running_loop().create_future()
        try:
            await self.ask([(publish, self.beat, mark)])
            await heard
        finally:
            del self._awaited[mark]

    def beaten(self, mark: bytes) -> None:
        """The beat was heard."""
        heard = self._awaited.get(mark)
        if heard is not None and not heard.done():
            heard.set_result(None)

    async def close(self) -> None:
        await self.publisher.disconnect(nowait=True)
        await self.subscriber.disconnect(nowait=True)


class Link:
    """All connections of one life.

    prefix    what the name of each of our channels begins with
    name      of this node, for its beats
    heard     is called with (topic, frame) for each message
    stands    is called with a topic when its subscription is confirmed
    """

    def __init__(
        self,
        url: RedisUrl,
        servers: Servers,
        *,
        prefix: str,
        name: str,
        heard: Heard,
        stands: Callable[[str], None],
    ) -> None:
        self._servers = servers
        self._prefix = f"{prefix}:".encode()
        self._heard = heard
        self._stands = stands
        self._publish, self._subscribe, self._unsubscribe = (
            (b"SPUBLISH", b"SSUBSCRIBE", b"SUNSUBSCRIBE")
            if servers.sharded
            else (b"PUBLISH", b"SUBSCRIBE", b"UNSUBSCRIBE")
        )
        self.shards = [
            Shard(url, options, self._beat_on(place, name)) for place, options in enumerate(servers.options)
        ]
        self._asked: set[bytes] = set()
        self._standing: set[bytes] = set()
        self._ending: Counter[bytes] = Counter()
        self._settled = asyncio.Event()

    def _beat_on(self, place: int, name: str) -> bytes:
        """A channel of this node's own that lives on a server."""
        tries = (self._prefix + f"beat:{name}:{n}".encode() for n in range(10_000_000))
        return next(channel for channel in tries if self._servers.of(channel) == place)

    async def connect(self) -> None:
        """Open every connection."""
        for shard in self.shards:
            await shard.publisher.connect()
            await shard.subscriber.connect()

    async def close(self) -> None:
        """Close every connection, without waiting for the other side."""
        for shard in self.shards:
            await shard.close()

    # -- subscriptions -----------------------------------------------------------------------------

    def channel(self, topic: str) -> bytes:
        """The channel that carries a topic."""
        return self._prefix + topic.encode()

    def standing(self, topic: str) -> bool:
        """Whether the topic's subscription is confirmed."""
        return self.channel(topic) in self._standing

    async def stand(self, topics: Iterable[str]) -> None:
        """Subscribe to these topics and the beats, and wait until all of them are confirmed."""
        await self._change([*(shard.beat for shard in self.shards), *map(self.channel, topics)], ())
        await self._settled.wait()

    async def follow(self, topics: Iterable[str], wanted: Callable[[str], bool]) -> None:
        """Bring the subscriptions of these topics to what is wanted now."""
        more: list[bytes] = []
        less: list[bytes] = []
        for topic in topics:
            channel = self.channel(topic)
            if wanted(topic) != (channel in self._asked):
                (less if channel in self._asked else more).append(channel)
        await self._change(more, less)

    async def _change(self, more: Sequence[bytes], less: Sequence[bytes]) -> None:
        self._asked.update(more)
        self._asked.difference_update(less)
        self._standing.difference_update(less)
        self._ending.update(less)
        commands: dict[int, list[Command]] = {}
        for command, channels in ((self._subscribe, more), (self._unsubscribe, less)):
            for channel in channels:
                commands.setdefault(self._servers.of(channel), []).append((command, channel))
        for place, these in commands.items():
            await self.shards[place].listen(these)

    # -- what comes in -----------------------------------------------------------------------------

    async def read(self, shard: Shard) -> None:
        """Read what a server tells until something is wrong."""
        while True:
            for _ in range(_TURN):
                kind, channel, told = await shard.subscriber.read_response(timeout=math.inf)
                if kind in {b"message", b"smessage"}:
                    self._message(shard, channel, told)
                elif kind in {b"subscribe", b"ssubscribe"}:
                    self._confirmed(channel)
                elif kind in {b"unsubscribe", b"sunsubscribe"}:
                    self._ended(channel)
            await asyncio.sleep(0)

    def _message(self, shard: Shard, channel: bytes, told: bytes) -> None:
        if channel == shard.beat:
            shard.beaten(told)
        elif channel in self._asked:
            self._heard(self._topic(channel), told)

    def _confirmed(self, channel: bytes) -> None:
        if channel in self._asked:
            self._standing.add(channel)
            self._stands(self._topic(channel))
        if len(self._standing) == len(self._asked):
            self._settled.set()

    def _ended(self, channel: bytes) -> None:
        if not self._ending[channel]:
            raise Moved(f"{channel!r} is no longer served there")
        self._ending[channel] -= 1
        if not self._ending[channel]:
            del self._ending[channel]

    def _topic(self, channel: bytes) -> str:
        return channel[len(self._prefix) :].decode()

    # -- what goes out -----------------------------------------------------------------------------

    async def publish(self, frames: Sequence[tuple[bytes, bytes]]) -> None:
        """Send (channel, frame) pairs, to all servers at once, in their order; returns when all are taken."""
        commands: dict[int, list[Command]] = {}
        for channel, frame in frames:
            commands.setdefault(self._servers.of(channel), []).append((self._publish, channel, frame))
        async with asyncio.TaskGroup() as tasks:
            for place, these in commands.items():
                tasks.create_task(self.shards[place].ask(these))

    async def echo(self) -> None:
        """Send a message to ourselves by every server and wait until all have come back."""
        async with asyncio.TaskGroup() as tasks:
            for shard in self.shards:
                tasks.create_task(shard.echo(self._publish))
