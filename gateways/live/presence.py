"""Which of a user's devices are here, on any node. Derived, never in the log.

A device joins with its first connection and leaves, after a grace, when its last one has gone: a phone
that changes from one network to the next was never away.

Each host tells the others who is with it, at each change and when it is asked. What a node told holds until
it tells something else, dies (`fitai.gateways.live.nodes`), or does not answer when we ask.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from fitai.gateways.live.frames import Frame

if TYPE_CHECKING:
    from fitai.gateways.live.connection import Connection
    from fitai.gateways.live.host import Host
    from fitai.gateways.live.hosts import Hosts

ANSWER_S = 5.0  # the longest that an answer to "who is there?" takes


class Told(NamedTuple):
    """What another node told: its `n`-th word, and the devices there."""

    n: int
    devices: list[dict[str, Any]]


class Presence:
    """The devices of one user, as one node knows them."""

    def __init__(self, host: Host, hosts: Hosts) -> None:
        self._host = host
        self._hosts = hosts
        self._here: dict[int, dict[str, Any]] = {}
        self._leaving: dict[int, asyncio.TimerHandle] = {}
        self._elsewhere: dict[str, Told] = {}
        self._doubted: set[str] = set()
        self._asking: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Somebody is here, or was a moment ago."""
        return bool(self._here)

    @property
    def elsewhere(self) -> bool:
        """Some device is on another node, as far as is known here."""
        return any(told.devices for told in self._elsewhere.values())

    def joined(self, connection: Connection) -> None:
        """A connection came; every device hears of it when its device was not here."""
        device = connection.identity.device
        timer = self._leaving.pop(device, None)
        if timer is not None:
            timer.cancel()
        if device in self._here:
            connection.send(Frame("presence", self._payload()))
            return
        if not self._here:
            self.ask()
        self._here[device] = {"device": device, "name": connection.name, "since": self._host.now_ms()}
        self._changed()

    def named(self, device: int, name: str) -> None:
        """The person calls a device by this name; every device hears of it when it is here."""
        entry = self._here.get(device)
        if entry is not None and entry["name"] != name:
            self._here[device] = {**entry, "name": name}
            self._changed()

    def left(self, connection: Connection) -> None:
        """A connection went; its device leaves after the grace unless another one is there or comes."""
        device = connection.identity.device
        if device in self._leaving or any(c.identity.device == device for c in self._host.connections):
            return
        loop = asyncio.get_running_loop()
        grace_s = self._hosts.limits.presence_grace_s
        self._leaving[device] = loop.call_later(grace_s, self._gone, device)

    def close(self) -> None:
        """Forget everyone."""
        for timer in self._leaving.values():
            timer.cancel()
        if self._asking is not None:
            self._asking.cancel()
        self._leaving.clear()
        self._here.clear()

    def _gone(self, device: int) -> None:
        self._leaving.pop(device, None)
        if self._here.pop(device, None) is not None:
            self._changed()

    # -- other nodes -------------------------------------------------------------------------------

    def tell(self) -> None:
        """Tell the other nodes who is here."""
        devices = list(self._here.values())
        self._host.neighbours.tell("presence", n=next(self._hosts.words), devices=devices)

    def ask(self) -> None:
        """Ask the other nodes who is there. Who was there and is not named again, is not any more."""
        self._host.neighbours.tell("who")
        self._doubted |= self._elsewhere.keys()
        if self._asking is None and self._doubted:
            self._asking = asyncio.get_running_loop().call_later(ANSWER_S, self._not_answered)

    def asked(self) -> None:
        """Another node asks who is here."""
        if self._here:
            self.tell()

    def heard(self, node: str, n: int, devices: list[dict[str, Any]]) -> None:
        """Another node told who is there."""
        self._hosts.heard(node)
        self._doubted.discard(node)
        before = self._elsewhere.get(node, Told(-1, []))
        if n > before.n:
            self._elsewhere[node] = Told(n, devices)
            if devices != before.devices:
                self._spread()

    def lost(self, *nodes: str) -> None:
        """These nodes are no more, or have nobody here."""
        before = self._elsewhere
        self._elsewhere = {node: told for node, told in before.items() if node not in nodes}
        if any(told.devices for node, told in before.items() if node in nodes):
            self._spread()

    def _not_answered(self) -> None:
        self._asking = None
        doubted, self._doubted = self._doubted, set()
        self.lost(*doubted)

    # -- telling devices ---------------------------------------------------------------------------

    def _changed(self) -> None:
        self.tell()
        self._spread()

    def _spread(self) -> None:
        self._host.broadcast(Frame("presence", self._payload()))

    def _payload(self) -> dict[str, Any]:
        known: dict[int, dict[str, Any]] = {}
        for devices in [*(told.devices for told in self._elsewhere.values()), list(self._here.values())]:
            for entry in devices:
                mine = known.get(entry["device"])
                if mine is None or entry["since"] < mine["since"]:
                    known[entry["device"]] = entry
        return {"devices": [known[device] for device in sorted(known)]}
