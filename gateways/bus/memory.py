"""The bus of a single process, and the twin of the Redis bus in tests.

Several nodes in one process share one `MemoryHub`, each with a bus of its own.
"""

from __future__ import annotations

import asyncio

import structlog

from fitai.gateways.bus.contract import Hook, Listener, Message, Unsubscribe
from fitai.gateways.bus.frames import pack, unpack
from fitai.gateways.bus.listeners import Listeners

_log = structlog.get_logger(__name__)


class MemoryHub(Listeners):
    """What the buses of one process share."""


class MemoryBus:
    """See contract.Bus. Messages are delivered on the next turn of the loop, in publish order."""

    def __init__(self, hub: MemoryHub | None = None) -> None:
        self._hub = hub or MemoryHub()
        self._mine: dict[tuple[str, Listener], None] = {}

    async def start(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """End the subscriptions that were made through this bus."""
        for topic, listener in list(self._mine):
            self._drop(topic, listener)

    def publish(self, topic: str, message: Message) -> None:
        """Deliver soon, never within the caller's own turn."""
        try:
            packed = pack(message)
        except Exception:
            _log.exception("bus_message_unsendable", topic=topic)
            return
        asyncio.get_running_loop().call_soon(self._deliver, topic, packed)

    def subscribe(self, topic: str, listener: Listener, ready: Hook | None = None) -> Unsubscribe:
        """Listen until the returned function is called."""
        self._hub.add(topic, listener, ready)
        self._mine[topic, listener] = None
        asyncio.get_running_loop().call_soon(self._hub.stands, topic)
        return lambda: self._drop(topic, listener)

    def on_reconnect(self, listener: Hook) -> Unsubscribe:
        """Memory is never away."""
        return lambda: None

    async def probe(self, timeout: float) -> bool:
        """True when a message came back."""
        back = asyncio.Event()
        topic = f"probe:{id(back)}"
        unsubscribe = self.subscribe(topic, lambda _: back.set())
        try:
            self.publish(topic, {})
            await asyncio.wait_for(back.wait(), timeout)
        except TimeoutError:
            return False
        finally:
            unsubscribe()
        return True

    def _deliver(self, topic: str, packed: bytes) -> None:
        if topic in self._hub:
            self._hub.deliver(topic, unpack(packed))

    def _drop(self, topic: str, listener: Listener) -> None:
        self._mine.pop((topic, listener), None)
        self._hub.drop(topic, listener)
