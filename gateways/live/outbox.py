"""The outgoing queue of one connection: bounded by bytes, in order, and honest about being full.

Engine.IO asks its server for a queue per socket; ours is this one. For long-polling it offers the part of
asyncio.Queue that Engine.IO uses. Once a WebSocket is there, packets go straight to it, and only what its
transport can not take waits here. It counts the bytes that wait, and tells its owner when they pass the cap
or have drained. It never drops a packet: the owner closes the connection, and the client resumes by its
cursor.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias

from engineio.packet import Packet as Transport

from fitai.gateways.live.frames import Message

OVERHEAD = 64  # bytes of bookkeeping counted for each waiting packet
LOW = 64 * 1024  # bytes below which more may be fetched for a connection that is catching up
BURST = 64 * 1024  # bytes that a poll takes at once; what it holds is no longer counted here

Item: TypeAlias = Transport | Message | None


class Writer(Protocol):
    """What takes packets while it is ready, and None as the last."""

    ready: bool

    def write(self, packet: Item) -> None: ...


def weight(packet: Item) -> int:
    """Bytes that a waiting packet is counted with."""
    if isinstance(packet, Message):
        return len(packet.body) + OVERHEAD
    return OVERHEAD


class Outbox:
    """A queue of Engine.IO packets; None ends what takes them."""

    __slots__ = ("_cap", "_full", "_items", "_taken", "_waiter", "_writer", "bytes", "on_drained", "on_full")

    def __init__(self, cap: int) -> None:
        self._items: deque[Item] | None = None  # an empty one takes more memory than all else here
        self._waiter: asyncio.Future[None] | None = None
        self._writer: Writer | None = None
        self._cap = cap
        self._full = False
        self._taken = 0
        self.bytes = 0
        self.on_full: Callable[[], None] | None = None
        self.on_drained: Callable[[], None] | None = None

    def attach(self, writer: Writer) -> None:
        """From now on the packets go to `writer`; call `flush` whenever it becomes ready."""
        self._writer = writer
        self.flush()

    def flush(self) -> None:
        """Hand over what waits, as long as the writer is ready."""
        while self._items and self._writer is not None and self._writer.ready:
            self._writer.write(self._pop())

    def push(self, packet: Item) -> None:
        """Send a packet, or append it. Passing the cap calls `on_full` once; the packet is kept all the same.

        A client that has taken all but a little of what came before is not slow, however large the packet.
        """
        if self._items is None:
            if self._writer is not None and self._writer.ready:
                self._writer.write(packet)
                return
            self._items = deque()
        waiting = self.bytes
        self._items.append(packet)
        self.bytes += weight(packet)
        self._wake()
        if self.bytes > self._cap and waiting > LOW and not self._full:
            self._full = True
            if self.on_full is not None:
                self.on_full()

    def replace(self, packets: list[Item]) -> None:
        """Drop what waits and leave only these: the last words to a connection that is being closed."""
        self._items = None
        self.bytes = 0
        for packet in packets:
            self.push(packet)

    async def put(self, packet: Item) -> None:
        self.push(packet)

    def put_nowait(self, packet: Item) -> None:
        self.push(packet)

    async def get(self) -> Item:
        while not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._taken = 0
        return self._pop()

    def get_nowait(self) -> Item:
        """The next packet of this burst; a poll is answered with a burst before it asks for more."""
        if not self._items or self._taken >= BURST:
            raise asyncio.QueueEmpty
        return self._pop()

    def task_done(self) -> None:
        """Engine.IO counts tasks only to wait for them in `join`."""

    async def join(self) -> None:
        """Engine.IO waits here when it closes a socket politely; closing is bounded elsewhere."""

    def empty(self) -> bool:
        return not self._items

    def _pop(self) -> Item:
        assert self._items
        packet = self._items.popleft()
        size = weight(packet)
        self.bytes -= size
        self._taken += size
        if not self._items:
            self._items = None
        if self.bytes <= LOW and self.on_drained is not None:
            self.on_drained()
        return packet

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
