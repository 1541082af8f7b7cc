"""What a room and the rooms of the same group on other nodes tell each other, besides what was committed.

    live       {…}       what the other node's stage has to say, see `stage`

How it is told and heard, and what becomes of records in hints, is `fitai.gateways.live.hints`'.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from fitai.gateways.bus.contract import Message
from fitai.gateways.bus.topics import group_topic
from fitai.gateways.live.hints import Hints

if TYPE_CHECKING:
    from fitai.gateways.groups.room import Room
    from fitai.gateways.live.hosts import Hosts

LATELY_S: Final = 30.0


class Siblings(Hints):
    """The other rooms of one group, seen from this one."""

    def __init__(self, room: Room, hosts: Hosts) -> None:
        self._room = room
        self._heard_at = -LATELY_S  # anything from another node, by the loop's clock
        super().__init__(room, hosts, group_topic(room.id))

    def contended(self) -> bool:
        return asyncio.get_running_loop().time() - self._heard_at < LATELY_S

    def devices(self) -> int:
        return len(self._room.seats)

    def _heard(self, message: Message) -> None:
        if message["node"] != self._hosts.node:
            self._heard_at = asyncio.get_running_loop().time()
        super()._heard(message)

    def of_worker(self, kind: str, message: Message) -> None:
        if kind == "live":
            self._room.stage.heard(message)
