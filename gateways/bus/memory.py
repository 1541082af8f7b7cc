"""The bus of a single process, and the twin of the Redis bus in tests.

Several nodes in one process share one `MemoryHub`, each with a bus of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from fitai.gateways.bus.contract import Listener, Message, Unsubscribe

_log = structlog.get_logger(__name__)


class MemoryHub:
    """What the buses of one process share: topic -> listeners."""

    def __init__(self) -> None:
        self.topics: dict[str, dict[Listener, None]] = {}

    def deliver(self, topic: str, message: Message) -> None:
        """Call every listener of the topic; one that raises harms no other."""
        for listener in list(self.topics.get(topic, ())):
            try:
                listener(message)
            except Exception:
                _log.exception("bus_listener_failed", topic=topic)


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
        asyncio.get_running_loop().call_soon(self._hub.deliver, topic, message)

    def subscribe(self, topic: str, listener: Listener) -> Unsubscribe:
        """Listen until the returned function is called."""
        self._hub.topics.setdefault(topic, {})[listener] = None
        self._mine[topic, listener] = None
        return lambda: self._drop(topic, listener)

    def on_reconnect(self, listener: Callable[[], None]) -> Unsubscribe:
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

    def _drop(self, topic: str, listener: Listener) -> None:
        self._mine.pop((topic, listener), None)
        listeners = self._hub.topics.get(topic)
        if listeners is None:
            return
        listeners.pop(listener, None)
        if not listeners:
            del self._hub.topics[topic]
