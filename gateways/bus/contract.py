"""The bus: how the nodes of one installation whisper to each other.

**The bus is only a hint.** Truth is the log; a message that is lost, late, doubled or reordered may
change latency and nothing else. Whoever listens must be able to live without any single message:
records are delivered by their position in the stream and gaps are read from the log.

Promises that every implementation keeps (tests/gateways/test_bus.py runs against each):

- A subscription **stands** from the moment on at which its `ready` is called: soon in one process, over a
  network when the other side has confirmed it. A message reaches every subscription to its topic that
  stood when `publish` was called, on every node, **the publishing node included**, at most once, in publish
  order per publisher and topic, while the transport is healthy. What is published between `subscribe` and
  `ready` may come or not: who must not miss it looks into the log once `ready` is called.
- On its own node a message arrives also while the transport is away.
- `publish` never waits for the network and never raises: a bus that is down costs latency only. While it
  is away a bounded number of messages is kept for its return, the newest ones.
- Listeners are plain functions, called on the event loop, one after another, never within `publish`; one
  that raises is logged and harms no other. Each message is a copy of what was published, as msgpack brings
  it back (a tuple is a list); the listeners of one node share it and change nothing in it.
- `subscribe` is idempotent per topic and listener; the function that it returns ends the subscription and
  may be called more than once.
- After every reconnect, when all subscriptions stand again, `on_reconnect` listeners are called, so that
  whoever follows streams can check its positions against the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Message = dict[str, Any]
Listener = Callable[[Message], None]
Hook = Callable[[], None]
Unsubscribe = Callable[[], None]


class Bus(Protocol):
    """Publish and subscribe by topic; see the module's promises."""

    async def start(self) -> None:
        """Connect. Returns even when the other side is down; it goes on trying."""

    async def close(self) -> None:
        """Send what still waits, within a bound, then drop every subscription and connection."""

    def publish(self, topic: str, message: Message) -> None:
        """Send `message` (msgpack-able values only) to every subscription of `topic`."""

    def subscribe(self, topic: str, listener: Listener, ready: Hook | None = None) -> Unsubscribe:
        """Call `listener` with each message of `topic` until the returned function is called.

        `ready` is called once, soon but never at once, when the subscription stands.
        """

    def on_reconnect(self, listener: Hook) -> Unsubscribe:
        """Call `listener` after the bus was away and is back."""

    async def probe(self, timeout: float) -> bool:
        """Send a message to ourselves over the transport; True when it came back in time (seconds)."""
