"""Who follows the stream of a user on this node without being one of the user's devices: the groups that they
train in.

Where the user has a host here, that tells; else the hints of the hosts on other nodes do, as far as they go.
The slow look (`Hosts.look`) covers these streams as well, so a watcher lives with any hint being lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from fitai.engine.ops import Record
from fitai.gateways.bus.contract import Message, Unsubscribe
from fitai.gateways.bus.topics import user_topic
from fitai.persistence.log import record_of

if TYPE_CHECKING:
    from fitai.gateways.live.hosts import Hosts


class Watcher(Protocol):
    """Is told of a user's stream."""

    @property
    def stream(self) -> int | None:
        """Its number, once the watcher has read it."""

    def committed(self, epoch: str, records: Sequence[Record]) -> None:
        """These are in the log, in its order; some before them may never have been told."""

    def reached(self, epoch: str, head: int) -> None:
        """The log is this one and goes at least so far."""

    def measured(self, payload: Mapping[str, Any]) -> None:
        """Telemetry of one of the user's devices, as the devices send it."""


class Watching:
    """All watchers of a node, by user."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._watchers: dict[str, list[Watcher]] = {}
        self._listening: dict[str, Unsubscribe] = {}

    def watch(self, user: str, watcher: Watcher) -> Unsubscribe:
        """Tell `watcher` of the user's stream until the returned function is called."""
        self._watchers.setdefault(user, []).append(watcher)
        if self._hosts.loaded(user) is None:
            self._listen(user)

        def unwatch() -> None:
            mine = self._watchers.get(user, [])
            if watcher in mine:
                mine.remove(watcher)
            if not mine:
                self._watchers.pop(user, None)
                self._listening.pop(user, _nothing)()

        return unwatch

    # -- from hosts --------------------------------------------------------------------------------

    def opened(self, user: str, epoch: str, head: int) -> None:
        """The user has a host here, which tells from now on."""
        if user in self._watchers:
            self._listening.pop(user, _nothing)()
            self._reached(user, epoch, head)

    def closed(self, user: str) -> None:
        """The user has no host here any more."""
        if user in self._watchers:
            self._listen(user)

    def committed(self, user: str, epoch: str, records: Sequence[Record]) -> None:
        """A host has these in its log."""
        for watcher in self._watchers.get(user, ()):
            watcher.committed(epoch, records)

    def measured(self, user: str, payload: Mapping[str, Any]) -> None:
        """A host passes telemetry on."""
        for watcher in self._watchers.get(user, ()):
            watcher.measured(payload)

    # -- the slow look -----------------------------------------------------------------------------

    def streams(self) -> Iterable[int]:
        """The streams whose position is to be compared with the log."""
        return {watcher.stream for watcher in self._all() if watcher.stream is not None}

    def looked(self, standings: Mapping[int, tuple[str, int]]) -> None:
        """Where the streams are: {stream: (epoch, head)}."""
        for watcher in list(self._all()):
            if watcher.stream is not None and watcher.stream in standings:
                watcher.reached(*standings[watcher.stream])

    def _all(self) -> Iterable[Watcher]:
        return (watcher for watchers in self._watchers.values() for watcher in watchers)

    # -- from other nodes --------------------------------------------------------------------------

    def _listen(self, user: str) -> None:
        """Hear the hints of the user's hosts on other nodes; alone there are none."""
        if not self._hosts.alone and user not in self._listening:
            self._listening[user] = self._hosts.bus.subscribe(
                user_topic(user), lambda message: self._heard(user, message), self._hosts.look_soon
            )

    def _heard(self, user: str, message: Message) -> None:
        if message.get("kind") == "telemetry":
            self.measured(user, message["payload"])
        if "epoch" not in message:  # said by those who have no log at hand
            return
        epoch, rows = message["epoch"], message.get("records", ())
        try:
            records = [record_of(row) for row in rows]
        except (ValueError, TypeError, KeyError):  # of another release: the log has it in our words
            records = []
        if records:
            self.committed(user, epoch, records)
        self._reached(user, epoch, message["head"])

    def _reached(self, user: str, epoch: str, head: int) -> None:
        for watcher in self._watchers.get(user, ()):
            watcher.reached(epoch, head)


def _nothing() -> None:
    """Was not listening."""
