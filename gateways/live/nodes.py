"""The nodes of one installation: which of them are alive.

Each says so every few seconds on one topic. One that has been silent for long is taken for dead, and what it
told is forgotten. A node that was itself away, paused or cut off from the bus, can not tell silence from
deafness: it believes all others for as long again, and asks and tells everything anew.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fitai.gateways.bus.contract import Message, Unsubscribe
from fitai.gateways.bus.topics import NODES
from fitai.gateways.tasks import spawn

if TYPE_CHECKING:
    from fitai.gateways.live.hosts import Hosts

MISSED = 3  # heartbeats that fail to come before something is wrong


class Nodes:
    """The other nodes, as this one hears them. Moments are seconds of any steady clock."""

    def __init__(self, hosts: Hosts) -> None:
        limits = hosts.limits
        self._hosts = hosts
        self._beat_s = limits.heartbeat_s
        # A device leaves with a grace, also when its node dies.
        self._gone_s = max(MISSED * limits.heartbeat_s, limits.presence_grace_s)
        self._heard: dict[str, float] = {}
        self._beats = 0
        self._at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: list[Unsubscribe] = []

    def start(self) -> None:
        """Begin to say that this node is alive, and to miss others."""
        bus = self._hosts.bus
        self._unsubscribe = [bus.subscribe(NODES, self._on_beat), bus.on_reconnect(self._reconnected)]
        self._task = spawn("live.nodes", self._run())

    async def close(self) -> None:
        """Fall silent."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def others(self) -> list[str]:
        """The other nodes that are alive."""
        return list(self._heard)

    def heard(self, node: str, now: float, beats: int | None = None) -> None:
        """A node is alive. Of one that we did not know, and that has been there for some time, we have missed
        what it told before."""
        if node not in self._heard and beats != 0:
            self._hosts.anew()
        self._heard[node] = now

    def beat(self, now: float) -> None:
        """Say that this node is alive, and forget those that were silent for too long."""
        if self._beats and now - self._at > MISSED * self._beat_s:
            self.was_away(now)
        self._at = now
        self._hosts.bus.publish(NODES, {"node": self._hosts.node, "beats": self._beats})
        self._beats += 1
        for node in [node for node, at in self._heard.items() if now - at > self._gone_s]:
            del self._heard[node]
            self._hosts.lost(node)

    def was_away(self, now: float) -> None:
        """This node was paused, or the bus was away: nobody's silence means anything."""
        self._heard = dict.fromkeys(self._heard, now)
        self._hosts.anew()

    def _reconnected(self) -> None:
        self.was_away(asyncio.get_running_loop().time())

    def _on_beat(self, message: Message) -> None:
        if message["node"] != self._hosts.node:
            self.heard(message["node"], asyncio.get_running_loop().time(), message["beats"])

    async def _run(self) -> None:
        while True:
            self.beat(asyncio.get_running_loop().time())
            await asyncio.sleep(self._beat_s)
