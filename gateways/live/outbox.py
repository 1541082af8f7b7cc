"""The outgoing queue of one connection: bounded by bytes, in order, and honest about being full.

Engine.IO asks its server for a queue per socket; ours is this one. It offers the part of asyncio.Queue
that Engine.IO uses, counts the bytes that wait, and tells its owner when they pass the cap or have
drained. It never drops a packet: the owner closes the connection, and the client resumes by its cursor.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from engineio.packet import Packet as Transport

OVERHEAD = 64  # bytes of bookkeeping counted for each waiting packet
LOW = 64 * 1024  # bytes below which more may be fetched for a connection that is catching up
BURST = 64 * 1024  # bytes that the writer takes at once; what it holds is no longer counted here


def weight(packet: Transport | None) -> int:
    """Bytes that a waiting packet is counted with."""
    if packet is None or not isinstance(packet.data, str | bytes):
        return OVERHEAD
    return len(packet.data) + OVERHEAD


class Outbox:
    """A queue of Engine.IO packets; None ends the writer."""

    __slots__ = ("_cap", "_full", "_items", "_taken", "_waiter", "bytes", "on_drained", "on_full")

    def __init__(self, cap: int) -> None:
        self._items: deque[Transport | None] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._cap = cap
        self._full = False
        self._taken = 0
        self.bytes = 0
        self.on_full: Callable[[], None] | None = None
        self.on_drained: Callable[[], None] | None = None

    def push(self, packet: Transport | None) -> None:
        """Append a packet. Passing the cap calls `on_full` once; the packet is kept all the same.

        A client that has taken all but a little of what came before is not slow, however large the packet.
        """
        waiting = self.bytes
        self._items.append(packet)
        self.bytes += weight(packet)
        self._wake()
        if self.bytes > self._cap and waiting > LOW and not self._full:
            self._full = True
            if self.on_full is not None:
                self.on_full()

    def replace(self, packets: list[Transport | None]) -> None:
        """Drop what waits and leave only these: the last words to a connection that is being closed."""
        self._items.clear()
        self.bytes = 0
        for packet in packets:
            self.push(packet)

    async def put(self, packet: Transport | None) -> None:
        self.push(packet)

    def put_nowait(self, packet: Transport | None) -> None:
        self.push(packet)

    async def get(self) -> Transport | None:
        while not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._taken = 0
        return self._pop()

    def get_nowait(self) -> Transport | None:
        """The next packet of this burst; the writer sends a burst before it asks for more."""
        if not self._items or self._taken >= BURST:
            raise asyncio.QueueEmpty
        return self._pop()

    def task_done(self) -> None:
        """Engine.IO counts tasks only to wait for them in `join`."""

    async def join(self) -> None:
        """Engine.IO waits here when it closes a socket politely; closing is bounded elsewhere."""

    def empty(self) -> bool:
        return not self._items

    def _pop(self) -> Transport | None:
        packet = self._items.popleft()
        size = weight(packet)
        self.bytes -= size
        self._taken += size
        if self.bytes <= LOW and self.on_drained is not None:
            self.on_drained()
        return packet

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
