"""Who listens to which topic: the part of a bus that is the same whatever carries its messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import structlog

from fitai.gateways.bus.contract import Hook, Listener, Message

_log = structlog.get_logger(__name__)


class Listeners:
    """Topic -> listeners, and those that wait to hear that their subscription stands."""

    def __init__(self) -> None:
        self._topics: dict[str, dict[Listener, None]] = {}
        self._unready: dict[str, dict[Listener, Hook]] = {}

    def __contains__(self, topic: str) -> bool:
        return topic in self._topics

    def __iter__(self) -> Iterator[str]:
        return iter(self._topics)

    def add(self, topic: str, listener: Listener, ready: Hook | None) -> bool:
        """True when nobody listened to the topic before."""
        first = topic not in self._topics
        self._topics.setdefault(topic, {})[listener] = None
        if ready is not None:
            self._unready.setdefault(topic, {})[listener] = ready
        return first

    def drop(self, topic: str, listener: Listener) -> bool:
        """True when it was there and nobody listens to the topic any more."""
        there = self._topics.get(topic, {})
        if listener not in there:
            return False
        del there[listener]
        self._unready.get(topic, {}).pop(listener, None)
        if there:
            return False
        del self._topics[topic]
        self._unready.pop(topic, None)
        return True

    def stands(self, topic: str) -> None:
        """Tell those that wait for it that the topic is subscribed."""
        for hook in self._unready.pop(topic, {}).values():
            guarded(hook, topic)

    def deliver(self, topic: str, message: Message) -> None:
        """Call every listener of the topic; one that raises harms no other."""
        for listener in list(self._topics.get(topic, ())):
            guarded(listener, topic, message)


def guarded(call: Callable[..., None], topic: str, *arguments: Message) -> None:
    """Call somebody else's function; what it raises is logged."""
    try:
        call(*arguments)
    except Exception:
        _log.exception("bus_listener_failed", topic=topic)
