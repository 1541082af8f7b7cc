"""A network on loopback that can be bad: slow, jittery, narrow, or silent.

A `Link` relays a port to one of its targets. What is done to its bytes can be changed at any time, and
counts: a fault that touched no byte did not strike.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import cast

Port = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to bytes. `silent` swallows all of them, and new connections too: these are accepted and
    hear nothing."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float | None = None
    silent: bool = False


FAIR = Weather()


class Link:
    """Relays connections to `targets`, ports that are asked for at each connection, in turn.

    counts  passed and slowed (chunks), swallowed (bytes), up and down (bytes that were relayed), connections,
            broken (by `cut`, or because the other side was lost)
    """

    def __init__(self, targets: Sequence[Port], seed: int = 0) -> None:
        self.weather = FAIR
        self.counts: Counter[str] = Counter()
        self.port = 0
        self.random = Random(seed)
        self._targets = targets
        self._turn = count(seed)
        self._sides: set[Side] = set()
        self._onward: set[asyncio.Task[None]] = set()

    async def start(self) -> Link:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Side(self, near=True), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        self._server.close()
        for task in self._onward:
            task.cancel()
        self.cut()
        await asyncio.gather(*self._onward, return_exceptions=True)
        await asyncio.sleep(0)

    @property
    def open(self) -> int:
        """Connections there are."""
        return sum(side.near for side in self._sides)

    def cut(self) -> None:
        """Break every connection."""
        self.counts["broken"] += self.open
        for side in list(self._sides):
            side.abort()

    def came(self, side: Side) -> None:
        self._sides.add(side)
        if side.near:
            self.counts["connections"] += 1
            task = asyncio.get_running_loop().create_task(self._go_on(side))
            self._onward.add(task)
            task.add_done_callback(self._onward.discard)

    def left(self, side: Side) -> None:
        self._sides.discard(side)

    async def _go_on(self, near: Side) -> None:
        port = self._targets[next(self._turn) % len(self._targets)]()
        loop = asyncio.get_running_loop()
        try:
            _, far = await loop.create_connection(lambda: Side(self, near=False), "127.0.0.1", port)
        except OSError:
            self.counts["refused"] += 1
            near.abort()
            return
        near.join(far)


class Side(asyncio.Protocol):
    """One end of a relayed connection; `other` is the end to which its bytes go."""

    def __init__(self, link: Link, *, near: bool) -> None:
        self.near = near
        self.other: Side | None = None
        self.transport: asyncio.Transport | None = None
        self._link = link
        self._early: list[bytes] = []
        self._last = 0.0
        self._waiting = 0  # chunks that come late; none overtakes them
        self._deaf = False

    def join(self, other: Side) -> None:
        """Both ends are there."""
        if self.transport is None or self.transport.is_closing():
            other.abort()
            return
        self.other, other.other = other, self
        early, self._early = self._early, []
        for data in early:
            self.data_received(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._link.came(self)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
            return
        weather, link = self._link.weather, self._link
        if weather.silent or self._deaf:
            # A stream that lost a byte is of no use any more: nothing after it is passed on either.
            self._deaf = self.other._deaf = True
            link.counts["swallowed"] += len(data)
            return
        link.counts["up" if self.near else "down"] += len(data)
        link.counts["passed"] += 1
        loop = asyncio.get_running_loop()
        now = loop.time()
        due = now + weather.delay_s + link.random.random() * weather.jitter_s
        if weather.bytes_per_s is not None:
            due = max(due, self._last) + len(data) / weather.bytes_per_s
        if due <= now and not self._waiting:
            self.other.write(data)
            return
        link.counts["slowed"] += 1
        self._waiting += 1
        self._last = max(due, self._last + 1e-6)
        loop.call_at(self._last, self._late, self.other, data)

    def _late(self, other: Side, data: bytes) -> None:
        self._waiting -= 1
        other.write(data)

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._link.left(self)
        if self.other is None or self._deaf or self._link.weather.silent:
            return
        if error is None:
            loop = asyncio.get_running_loop()
            loop.call_at(max(loop.time(), self._last + 1e-6), self.other.close)
        else:
            self.other.abort()

    def close(self) -> None:
        """End it, after what is still to be written."""
        if self.transport is not None and not self.transport.is_closing():
            self._link.counts["broken"] += 1
            self.transport.close()

    def abort(self) -> None:
        """End it at once."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()
