"""The bus: how the nodes of one installation whisper to each other.

**The bus is only a hint.** Truth is the log; a message that is lost, late, doubled or reordered may
change latency and nothing else. Whoever listens must be able to live without any single message:
records are delivered by their position in the stream and gaps are read from the log.

Promises that every implementation keeps (tests/gateways/test_bus.py runs against each):

- A message published on a topic reaches every subscription to that topic that was active when
  `publish` returned, on every node, **the publishing node included**, at most once per delivery by the
  transport, in publish order per publisher and topic while the transport is healthy.
- `publish` never waits for the network and never raises: a bus that is down costs latency only.
- Listeners are plain functions, called on the event loop, one after another; one that raises is logged
  and harms no other.
- `subscribe` is idempotent per listener object; the function that it returns ends the subscription and
  may be called more than once.
- After every reconnect `on_reconnect` listeners are called, so that whoever follows streams can check
  its positions against the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Message = dict[str, Any]
Listener = Callable[[Message], None]
Unsubscribe = Callable[[], None]


class Bus(Protocol):
    """Publish and subscribe by topic; see the module's promises."""

    async def start(self) -> None:
        """Connect. Returns even when the other side is down; it goes on trying."""

    async def close(self) -> None:
        """Drop every subscription and connection."""

    def publish(self, topic: str, message: Message) -> None:
        """Send `message` (msgpack-able values only) to every subscription of `topic`."""

    def subscribe(self, topic: str, listener: Listener) -> Unsubscribe:
        """Call `listener` with each message of `topic` until the returned function is called."""

    def on_reconnect(self, listener: Callable[[], None]) -> Unsubscribe:
        """Call `listener` after the bus was away and is back."""

    async def probe(self, timeout: float) -> bool:
        """Send a message to ourselves over the transport; True when it came back in time (seconds)."""
