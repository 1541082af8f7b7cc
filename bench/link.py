"""One Socket.IO connection of a generator: handshake, heartbeats, events, acks. No task, no queue."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from fitai.bench import wire
from fitai.bench.wire import Codec, Packet

HANDSHAKE_S = 20.0
SMALL = 4096  # bytes that the kernel takes for a connection that reads nothing,
USUAL = 128 * 1024  # and for one that reads

Hear = Callable[[str, Any], None]
Answered = Callable[[Any], None]


class NotConnected(Exception):
    """The server did not take the connection; the message says why."""


class Memory:
    """The last frame that came to any of several sockets, read: what is sent to many is decoded once."""

    __slots__ = ("frame", "packet")

    def __init__(self) -> None:
        self.frame = b""
        self.packet = Packet(-1, None, None)

    def read(self, codec: Codec, frame: bytes) -> Packet:
        """The packet in the frame; raises ValueError."""
        if frame != self.frame:
            self.packet = codec.read(frame)
            self.frame = frame
        return self.packet


class Socket(WSListener):
    """Made by `connect`. `hear(name, payload)` is called for each event, `gone()` once when the connection
    ends. Acks call what `emit` was given. `received` counts the bytes that frames carried."""

    def __init__(self, codec: Codec, auth: Any, memory: Memory, hear: Hear, gone: Callable[[], None]) -> None:
        self._codec = codec
        self._kind = WSMsgType.BINARY if codec.binary else WSMsgType.TEXT
        self._auth = auth
        self._memory = memory
        self._hear = hear
        self._gone = gone
        self._acks: dict[int, Answered] = {}
        self._next_ack = 0
        self._parts: list[bytes] = []
        self._transport: WSTransport | None = None
        self.received = 0
        self.accepted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def emit(self, name: str, payload: Any, answered: Answered | None = None) -> None:
        """Send an event; `answered(answer)` is called with its ack."""
        assert self._transport is not None, "connected"
        ack = None
        if answered is not None:
            ack = self._next_ack
            self._next_ack += 1
            self._acks[ack] = answered
        self._transport.send(self._kind, self._codec.write(wire.EVENT, [name, payload], ack))

    def close(self) -> None:
        """Say goodbye and go."""
        if self._transport is not None:
            self._transport.send(self._kind, self._codec.write(wire.DISCONNECT, None))
            self._transport.disconnect()

    def cut(self) -> None:
        """Go without a word, as a phone does in a lift."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def stall(self) -> None:
        """Read nothing more, and let the kernel take no more than it has to."""
        assert self._transport is not None, "connected"
        link = self._transport.underlying_transport
        link.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        link.pause_reading()

    def wake(self) -> None:
        """Read again, and let the kernel take what it usually does."""
        assert self._transport is not None, "connected"
        link = self._transport.underlying_transport
        kernel = link.get_extra_info("socket")
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, USUAL)
        # What was shrunk stays clamped on Linux, and would only trickle.
        if hasattr(socket, "TCP_WINDOW_CLAMP"):
            kernel.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, USUAL)
        link.resume_reading()

    # -- what the library calls --------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if not self.accepted.done():
            self.accepted.set_exception(NotConnected("the connection ended in its handshake"))
        self._acks.clear()
        self._gone()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()
            return
        data = frame.get_payload_as_bytes()
        self.received += len(data)
        if self._parts or not frame.fin:
            self._parts.append(data)
            if not frame.fin:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        if data == wire.PING:
            transport.send(WSMsgType.TEXT, wire.PONG)
        elif data[:1] == wire.OPEN and not self.accepted.done():
            transport.send(self._kind, self._codec.write(wire.CONNECT, self._auth))
        else:
            self._take(self._memory.read(self._codec, data))

    def _take(self, packet: Packet) -> None:
        if packet.kind == wire.EVENT:
            self._hear(packet.data[0], packet.data[1])
        elif packet.kind == wire.ACK:
            answered = self._acks.pop(packet.ack if packet.ack is not None else -1, None)
            if answered is not None:
                answered(packet.data[0])
        elif packet.kind == wire.CONNECT and not self.accepted.done():
            self.accepted.set_result(packet.data)
        elif packet.kind == wire.CONNECT_ERROR and not self.accepted.done():
            self.accepted.set_exception(NotConnected(str(packet.data)))


async def connect(
    url: str, codec: Codec, auth: Any, *, memory: Memory, hear: Hear, gone: Callable[[], None]
) -> Socket:
    """Open a socket at a server's address (`http://…`) and have it accepted; raises NotConnected."""
    address = f"ws{url.removeprefix('http')}/socket.io/?EIO=4&transport=websocket{codec.query}"
    try:
        _, made = await ws_connect(
            lambda: Socket(codec, auth, memory, hear, gone),
            address,
            websocket_handshake_timeout=HANDSHAKE_S,
            read_buffer_init_size=1024,
        )
    except (WSError, OSError, TimeoutError) as error:
        raise NotConnected(f"{type(error).__name__}: {error}") from error
    assert isinstance(made, Socket)
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            await made.accepted
    except TimeoutError:
        made.cut()
        raise NotConnected(f"not accepted within {HANDSHAKE_S:g} s") from None
    return made
