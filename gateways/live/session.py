"""What the server knows of one Engine.IO socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fitai.gateways.live.connection import Connection
from fitai.gateways.live.engine_io import Socket
from fitai.gateways.live.frames import Codec
from fitai.gateways.live.outbox import Outbox
from fitai.gateways.tasks import spawn


class Session:
    """One Engine.IO socket: which codec it speaks, where it comes from (an address, or empty), and the live
    connection on it, if any."""

    __slots__ = (
        "_deadline",
        "_socket",
        "address",
        "codec",
        "connecting",
        "connection",
        "gone",
        "outbox",
        "overdue",
    )

    def __init__(self, socket: Socket, codec: Codec, address: str = "") -> None:
        self.codec = codec
        self.address = address
        self.outbox: Outbox = socket.queue
        self.connection: Connection | None = None
        self.connecting = False
        self.overdue = False
        self.gone = False
        self._socket = socket
        self._deadline: asyncio.TimerHandle | None = None

    def expect(self, within_s: float, otherwise: Callable[[], None]) -> None:
        """Call `otherwise` unless the client has authenticated by then."""
        self.at_ease()
        self._deadline = asyncio.get_running_loop().call_later(within_s, otherwise)

    def at_ease(self) -> None:
        """The client has authenticated, or is gone."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def hang_up(self, after_s: float) -> None:
        """Cut the transport if the client has not gone by itself by then."""
        asyncio.get_running_loop().call_later(after_s, self._cut)

    def _cut(self) -> None:
        if not self.gone:
            spawn("live.cut", self._socket.cut())
