"""The bus over Redis (6.2 or newer): pub/sub, a channel per topic, sharded where the server is a cluster.

    publish ──▶ queue (bytes are bounded, the oldest give way)
                  └ a batch: all that waits, one frame per topic ──▶ publishing connection   ─┐ one Link,
    subscribe ──▶ on the first listener, off a grace after the last ──▶ listening connection ─┤ remade whole
    beat ──▶ every `beat_s` a message to ourselves; none within `silence_s`: the link is dead ─┘ after a fault

One task keeps the link: it connects, subscribes to all that is wanted, hears a beat, tells who waits for it,
and works until something fails; then it begins anew, after a pause that grows and is jittered.

Our own listeners get a message at once, not by way of Redis, and what comes back from there is passed over.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError

from fitai.gateways.bus.contract import Hook, Listener, Message, Unsubscribe
from fitai.gateways.bus.frames import SENDER_BYTES, Forged, Seal, pack, unpack
from fitai.gateways.bus.link import Link
from fitai.gateways.bus.listeners import Listeners, guarded
from fitai.gateways.bus.redis_url import RedisUrl
from fitai.gateways.tasks import spawn

_log = structlog.get_logger(__name__)

QUEUE_BYTES = 8 * 1024 * 1024
BATCH_BYTES = 1024 * 1024
STAND_PER_S = 2_000  # subscriptions that are confirmed in a second at the very least
FLUSH_S = 1.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: between beats; until a beat that does not come back means a dead link; that a topic stays
    subscribed after its last listener; for finding the servers, and for connecting to them; and the shortest
    and the longest pause before the next try.
    """

    beat_s: float = 2.0
    silence_s: float = 4.0
    grace_s: float = 30.0
    connect_s: float = 3.0
    pause_s: tuple[float, float] = (0.05, 2.0)


@dataclass(slots=True)
class Stats:
    """What the bus has done since it was made; `round_trip_s` is of the last beat (None while it is away).

    dropped      messages that gave way in the queue, or that could not be packed
    lost         messages that were on their way when the link broke: nobody knows whether they arrived
    forged       frames with a wrong secret; another node has another key, or somebody plays tricks
    unreadable   frames of a version that we do not know
    """

    published: int = 0
    frames: int = 0
    received: int = 0
    dropped: int = 0
    lost: int = 0
    forged: int = 0
    unreadable: int = 0
    connects: int = 0
    round_trip_s: float | None = None


class RedisBus:
    """See contract.Bus.

    url       what RedisUrl.parse takes; raises BadRedisUrl
    secret    shared by the nodes of the installation
    prefix    what the names of its channels begin with, so that two installations do not meet
    """

    def __init__(
        self, url: str, *, secret: bytes, prefix: str = "fitai", timing: Timing | None = None
    ) -> None:
        self.url = RedisUrl.parse(url)
        self.stats = Stats()
        self._timing = timing or Timing()
        self._prefix = prefix
        self._sender = secrets.token_bytes(SENDER_BYTES)
        self._seal = Seal(secret, self._sender)
        self._listeners = Listeners()
        self._leaving: dict[str, float] = {}  # topic -> loop time, in this order
        self._reconnected: dict[Hook, None] = {}
        self._queue: deque[tuple[str, bytes]] = deque()
        self._queued = 0
        self._waiting = asyncio.Event()  # something is in the queue
        self._flushed = asyncio.Event()  # nothing is in the queue or on its way
        self._flushed.set()
        self._changed: set[str] = set()  # topics whose subscription may not be what is wanted
        self._changes = asyncio.Event()
        self._probes: list[asyncio.Future[bool]] = []
        self._probed = asyncio.Event()
        self._link: Link | None = None
        self._tried = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._told_forged = False

    async def start(self) -> None:
        """Connect; returns when that is done or has failed once, or after a moment."""
        self._keeper = spawn("bus.redis", self._keep())
        try:
            await asyncio.wait_for(self._tried.wait(), self._timing.connect_s)
        except TimeoutError:
            _log.warning("bus_slow", redis=str(self.url))

    async def close(self) -> None:
        """Send what waits, for a moment, and end."""
        if self._link is not None:
            try:
                await asyncio.wait_for(self._flushed.wait(), FLUSH_S)
            except TimeoutError:
                _log.warning("bus_not_flushed", messages=len(self._queue))
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._listeners = Listeners()
        self._leaving.clear()

    # -- the contract ------------------------------------------------------------------------------

    def publish(self, topic: str, message: Message) -> None:
        """Deliver here soon, and send with all that is published in the same turn of the loop."""
        try:
            packed = pack(message)
        except Exception:
            self.stats.dropped += 1
            _log.exception("bus_message_unsendable", topic=topic)
            return
        self.stats.published += 1
        if topic in self._listeners:
            asyncio.get_running_loop().call_soon(self._deliver, topic, packed)
        self._queue.append((topic, packed))
        self._queued += len(packed)
        while self._queued > QUEUE_BYTES:
            self._queued -= len(self._queue.popleft()[1])
            self.stats.dropped += 1
        self._flushed.clear()
        self._waiting.set()

    def subscribe(self, topic: str, listener: Listener, ready: Hook | None = None) -> Unsubscribe:
        """Listen until the returned function is called."""
        if self._listeners.add(topic, listener, ready) and self._leaving.pop(topic, None) is None:
            self._change(topic)
        elif self._link is not None and self._link.standing(topic):
            asyncio.get_running_loop().call_soon(self._listeners.stands, topic)
        return lambda: self._drop(topic, listener)

    def on_reconnect(self, listener: Hook) -> Unsubscribe:
        """Call `listener` when Redis is back and all subscriptions stand again."""
        self._reconnected[listener] = None
        return lambda: self._reconnected.pop(listener, None)

    async def probe(self, timeout: float) -> bool:
        """True when a message went to every server and came back in time: a beat, at once."""
        if self._link is None:
            return False
        heard: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._probes.append(heard)
        self._probed.set()
        try:
            async with asyncio.timeout(timeout):
                return await heard
        except TimeoutError:
            return False

    # -- subscriptions -----------------------------------------------------------------------------

    def _drop(self, topic: str, listener: Listener) -> None:
        if self._listeners.drop(topic, listener):
            self._leaving[topic] = asyncio.get_running_loop().time() + self._timing.grace_s

    def _wanted(self, topic: str) -> bool:
        return topic in self._listeners or topic in self._leaving

    def _change(self, topic: str) -> None:
        self._changed.add(topic)
        self._changes.set()

    def _leave(self) -> None:
        """End what nobody has listened to for the grace."""
        now = asyncio.get_running_loop().time()
        for topic in [topic for topic, until in self._leaving.items() if until <= now]:
            del self._leaving[topic]
            self._change(topic)

    # -- the link ----------------------------------------------------------------------------------

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        shortest, longest = self._timing.pause_s
        pause, away = shortest, False
        while True:
            began = loop.time()
            try:
                async with self._connected() as link, asyncio.TaskGroup() as tasks:
                    for shard in link.shards:
                        tasks.create_task(link.read(shard))
                    await self._stand(link)
                    self._link = link
                    self._arrived(away)
                    away = False
                    tasks.create_task(self._publish_all(link))
                    tasks.create_task(self._follow_all(link))
                    tasks.create_task(self._beat(link))
            except Exception as error:
                if not away:
                    _tell(error, str(self.url))
                away = True
            finally:
                self._link = None
                self.stats.round_trip_s = None
                self._tried.set()
            pause = shortest if loop.time() - began > longest else min(longest, pause * 2)
            await asyncio.sleep(random.uniform(pause / 2, pause))

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Link]:
        async with asyncio.timeout(self._timing.connect_s):
            servers = await self.url.servers(self._timing.connect_s / 3)
        link = Link(
            self.url,
            servers,
            prefix=self._prefix,
            name=self._sender.hex(),
            heard=self._heard,
            stands=self._listeners.stands,
        )
        try:
            async with asyncio.timeout(self._timing.connect_s):
                await link.connect()
            yield link
        finally:
            await link.close()

    async def _stand(self, link: Link) -> None:
        """Subscribe to all that is wanted, and hear ourselves."""
        self._leave()
        self._changed.clear()
        topics = [*self._listeners, *self._leaving]
        async with asyncio.timeout(self._timing.silence_s + len(topics) / STAND_PER_S):
            await link.stand(topics)
            await link.echo()

    def _arrived(self, away: bool) -> None:
        self._told_forged = False
        self.stats.connects += 1
        _log.info("bus_connected", redis=str(self.url))
        self._tried.set()
        if away:
            for hook in list(self._reconnected):
                guarded(hook, "reconnect")

    async def _follow_all(self, link: Link) -> None:
        while True:
            await self._changes.wait()
            self._changes.clear()
            topics, self._changed = self._changed, set()
            await link.follow(topics, self._wanted)

    async def _beat(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        while True:
            probes, self._probes = self._probes, []
            self._probed.clear()
            sent = loop.time()
            heard = False
            try:
                async with asyncio.timeout(self._timing.silence_s):
                    await link.echo()
                heard = True
            finally:
                for probe in probes:
                    if not probe.done():
                        probe.set_result(heard)
            self.stats.round_trip_s = loop.time() - sent
            with suppress(TimeoutError):
                await asyncio.wait_for(self._probed.wait(), self._timing.beat_s)
            self._leave()

    # -- messages ----------------------------------------------------------------------------------

    async def _publish_all(self, link: Link) -> None:
        while True:
            await self._waiting.wait()
            count, frames = self._batch(link)
            try:
                await link.publish(frames)
            except BaseException:
                self.stats.lost += count
                raise
            self.stats.frames += len(frames)
            if not self._queue:
                self._waiting.clear()
                self._flushed.set()

    def _batch(self, link: Link) -> tuple[int, list[tuple[bytes, bytes]]]:
        """The oldest messages of the queue: how many, and as one frame per topic."""
        topics: dict[str, list[bytes]] = {}
        size = count = 0
        while self._queue and size < BATCH_BYTES:
            topic, packed = self._queue.popleft()
            topics.setdefault(topic, []).append(packed)
            size += len(packed)
            count += 1
        self._queued -= size
        frames = []
        for topic, messages in topics.items():
            channel = link.channel(topic)
            frames.append((channel, self._seal.close(channel, messages)))
        return count, frames

    def _deliver(self, topic: str, packed: bytes) -> None:
        if topic in self._listeners:
            self._listeners.deliver(topic, unpack(packed))

    def _heard(self, topic: str, frame: bytes) -> None:
        if topic not in self._listeners or self._seal.own(frame):
            return
        try:
            messages = self._seal.open(f"{self._prefix}:{topic}".encode(), frame)
        except Forged:
            self.stats.forged += 1
            if not self._told_forged:
                self._told_forged = True
                _log.warning("bus_frame_forged", topic=topic, redis=str(self.url))
            return
        except Exception:
            self.stats.unreadable += 1
            return
        self.stats.received += len(messages)
        for message in messages:
            self._listeners.deliver(topic, message)


def _tell(error: BaseException, redis: str) -> None:
    """Log what went wrong first, in a group of what went wrong; what is no fault of Redis, with its place."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    expected = isinstance(error, (RedisError, OSError))
    why = f"{type(error).__name__}: {error}"
    _log.warning("bus_away", redis=redis, why=why, exc_info=None if expected else error)
