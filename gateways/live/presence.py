"""Which of a user's devices are here, on any node. Derived, never in the log.

A device joins with its first connection and leaves, after a grace, when its last one has gone: a phone
that changes from one network to the next was never away.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fitai.gateways.live.frames import Frame

if TYPE_CHECKING:
    from fitai.gateways.live.connection import Connection
    from fitai.gateways.live.host import Host


class Presence:
    """The devices of one user, as one node knows them."""

    def __init__(self, host: Host, grace_s: float) -> None:
        self._host = host
        self._grace_s = grace_s
        self._here: dict[int, dict[str, Any]] = {}
        self._leaving: dict[int, asyncio.TimerHandle] = {}
        self._elsewhere: dict[str, list[dict[str, Any]]] = {}

    @property
    def busy(self) -> bool:
        """Somebody is here, or was a moment ago."""
        return bool(self._here)

    def joined(self, connection: Connection) -> None:
        """A connection came; every device hears of it when its device was not here."""
        device = connection.identity.device
        timer = self._leaving.pop(device, None)
        if timer is not None:
            timer.cancel()
        if device in self._here:
            connection.send(Frame("presence", self._payload()))
            return
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
        self._leaving[device] = loop.call_later(self._grace_s, self._gone, device)

    def heard(self, node: str, devices: list[dict[str, Any]]) -> None:
        """Another node told who is there."""
        self._elsewhere[node] = devices
        self._spread()

    def close(self) -> None:
        """Forget everyone."""
        for timer in self._leaving.values():
            timer.cancel()
        self._leaving.clear()
        self._here.clear()

    def _gone(self, device: int) -> None:
        self._leaving.pop(device, None)
        if self._here.pop(device, None) is not None:
            self._changed()

    def _changed(self) -> None:
        self._host.tell_nodes({"kind": "presence", "devices": list(self._here.values())})
        self._spread()

    def _spread(self) -> None:
        self._host.broadcast(Frame("presence", self._payload()))

    def _payload(self) -> dict[str, Any]:
        known: dict[int, dict[str, Any]] = {}
        for devices in [*self._elsewhere.values(), list(self._here.values())]:
            for entry in devices:
                mine = known.get(entry["device"])
                if mine is None or entry["since"] < mine["since"]:
                    known[entry["device"]] = entry
        return {"devices": [known[device] for device in sorted(known)]}
