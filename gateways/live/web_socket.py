"""One client's WebSocket, from the moment that aiohttp has read its handshake.

aiohttp keeps for each WebSocket a request, a response, a parser and two tasks; all of them end here. What is
left is the transport with this protocol on it: bytes that come are parsed by aiohttp's reader and handed on
in the transport's own callback, packets that leave are written straight into the transport.

**Written.** A packet is framed once, however many sockets get it, and what one socket gets in one turn of the
loop leaves in one write. `ready` is false from the moment that the transport holds more than `HIGH` bytes
until it holds less than `LOW`: what comes meanwhile waits in the outgoing queue, which is bounded and has an
owner who is told.

**Read.** At most `TURN` messages are taken at once; the transport is not read while more of them wait. So a
client that floods gets its share of the loop, and the kernel holds the rest back.

**Ended.** By whichever side, with a close frame where one is due; what has not gone by then is cut after
`PATIENCE_S`. The owner hears `lost` once, as soon as nothing more can be said.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections import deque
from typing import Any, Protocol

import structlog
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http import WS_KEY, WebSocketError, WebSocketReader
from engineio.packet import CLOSE as PACKET_CLOSE
from engineio.packet import Packet as Transport

from fitai.gateways.live.frames import Message, framed

_log = structlog.get_logger(__name__)

HIGH = 64 * 1024  # bytes that the transport may hold before `ready` is false,
LOW = 16 * 1024  # and that are left when it is true again
TURN = 64  # messages of one client that are taken before others have their turn
PATIENCE_S = 2.0  # for the client to answer a close, and to take what was written before it

_BINARY, _TEXT, _PING, _PONG, _CLOSE = (
    WSMsgType.BINARY,
    WSMsgType.TEXT,
    WSMsgType.PING,
    WSMsgType.PONG,
    WSMsgType.CLOSE,
)


class Owner(Protocol):
    """Whose WebSocket it is."""

    def hear(self, data: str | bytes) -> None:
        """A message has come."""

    def writable(self) -> None:
        """`ready` is true again."""

    def lost(self) -> None:
        """The client is gone, or was told to go."""


class Turn:
    """The sockets of one server: those whose transports are there, and those that have something to write
    when the loop has had its turn, in one callback for all."""

    def __init__(self) -> None:
        self.there: set[WebSocket] = set()
        self._due: list[WebSocket] = []
        self._quiet: asyncio.Event | None = None

    def gone(self, socket: WebSocket) -> None:
        """Its transport is there no more."""
        self.there.discard(socket)
        if self._quiet is not None and not self.there:
            self._quiet.set()

    async def quiet(self) -> None:
        """Return when no transport is there any more. A process that ends before its clients have answered
        its close frames takes its last words from them: what they still send finds nobody, and the system
        tells them then that the connection broke."""
        self._quiet = asyncio.Event()
        if self.there:
            await self._quiet.wait()

    def add(self, socket: WebSocket) -> None:
        if not self._due:
            asyncio.get_running_loop().call_soon(self._flush)
        self._due.append(socket)

    def _flush(self) -> None:
        due, self._due = self._due, []
        for socket in due:
            try:
                socket.flush()
            except Exception:  # the others are not to blame
                _log.exception("write_failed")
                socket.abort()


class _Inbound(WebSocketDataQueue):
    """Where aiohttp's reader puts what it has parsed: no queue, but the socket itself.

    The base's initializer makes what a queue needs, for each idle client, and is left out.
    """

    __slots__ = ("_socket",)

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    def feed_data(self, data: Any, size: int) -> None:
        self._socket.take(data)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        code = exc.code if isinstance(exc, WebSocketError) else WSCloseCode.PROTOCOL_ERROR
        self._socket.end(code)
        self._socket.close()  # an answer could not be read

    def feed_eof(self) -> None:
        """aiohttp says so when it lets go of the transport, which goes on."""


class WebSocket(asyncio.Protocol):
    """The protocol on the transport; made by `accept`."""

    __slots__ = (
        "_ended",
        "_held",
        "_left",
        "_owner",
        "_pending",
        "_pending_bytes",
        "_reader",
        "_timer",
        "_transport",
        "_turn",
        "ready",
    )

    def __init__(self, owner: Owner, turn: Turn, transport: asyncio.Transport, max_bytes: int) -> None:
        self.ready = True
        self._owner = owner
        self._turn = turn
        self._transport = transport
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._reader = WebSocketReader(_Inbound(self), max_bytes, compress=False, decode_text=True)
        self._held: deque[Any] | None = None
        self._left = TURN
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        transport.set_write_buffer_limits(HIGH, LOW)

    # -- outgoing ---------------------------------------------------------------------------------

    def write(self, packet: Transport | Message | None) -> None:
        """Send a packet; None says goodbye."""
        if self._ended:
            return
        if packet is None:
            self.end(WSCloseCode.OK)
        elif packet.packet_type != PACKET_CLOSE:  # a stock Python client would never come back after it
            self._write(framed(packet))

    def _write(self, frame: bytes) -> None:
        if not self._pending:
            self._turn.add(self)
        self._pending.append(frame)
        self._pending_bytes += len(frame)
        if self._pending_bytes > HIGH:
            self.flush()

    def flush(self) -> None:
        """Hand what was written in this turn to the transport."""
        if self._pending:
            frames, self._pending, self._pending_bytes = self._pending, [], 0
            self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def end(self, code: int) -> None:
        """Send a close frame, and take nothing more."""
        if not self._ended:
            self._write(b"\x88\x02" + code.to_bytes(2))
            self.flush()
            self._finish()

    def end_soon(self) -> None:
        """Let it end by itself, but not for ever."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._transport.abort)

    def close(self) -> None:
        """End it when what was written has gone."""
        self._transport.close()

    def abort(self) -> None:
        """End it without the client's help."""
        self._transport.abort()

    def _finish(self) -> None:
        self._ended = True
        self.ready = False
        self._held = None
        self._pending = []
        self.end_soon()
        self._owner.lost()

    # -- incoming ---------------------------------------------------------------------------------

    def take(self, message: Any) -> None:
        """A message that was parsed: now, or when its turn comes."""
        if self._ended:
            if message.type is _CLOSE:
                self._transport.close()
        elif self._held is not None:
            self._held.append(message)
        elif self._left:
            self._left -= 1
            self._handle(message)
        else:
            self._held = deque((message,))
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        for _ in range(TURN):
            if not self._held:
                break
            self._handle(self._held.popleft())
        if self._held:
            asyncio.get_running_loop().call_soon(self._go_on)
        elif self._held is not None:
            self._held = None
            self._transport.resume_reading()

    def _handle(self, message: Any) -> None:
        kind = message.type
        if kind is _TEXT or kind is _BINARY:
            self._owner.hear(message.data)
        elif kind is _PING:
            if self.ready:  # who does not read what was sent gets no more of it
                self._write(bytes((0x8A, len(message.data))) + message.data)
        elif kind is _CLOSE:
            self.end(message.data or WSCloseCode.OK)
            self._transport.close()

    # -- what the transport calls ------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._left = TURN
        self._reader.feed_data(data)

    def pause_writing(self) -> None:
        self.ready = False

    def resume_writing(self) -> None:
        if not self._ended:
            self.ready = True
            self._owner.writable()

    def connection_lost(self, exc: BaseException | None) -> None:
        if not self._ended:
            self._finish()
        if self._timer is not None:
            self._timer.cancel()
        self._turn.gone(self)
        del self._reader  # it holds on to this


async def accept(
    request: web.Request, owner: Owner, turn: Turn, max_bytes: int
) -> tuple[WebSocket, web.StreamResponse]:
    """Answer a handshake and take the transport over from aiohttp: (the socket, the response to return).

    Messages are at most `max_bytes` long. Nothing is heard before `begin`. Raises HTTPBadRequest for a
    request that is no handshake, ConnectionResetError when the client has gone.
    """
    response = web.StreamResponse(status=101, headers=_handshake(request))
    writer = await response.prepare(request)
    assert writer is not None
    writer.send_headers()
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("gone during its handshake")
    return WebSocket(owner, turn, transport, max_bytes), response


def begin(socket: WebSocket, request: web.Request) -> None:
    """Hear what comes, and what has come already; aiohttp forgets the connection."""
    there = request.protocol
    socket._turn.there.add(socket)
    socket._transport.set_protocol(socket)
    there.set_parser(socket._reader)
    there.transport = None
    there.connection_lost(None)


def _handshake(request: web.Request) -> dict[str, str]:
    headers = request.headers
    if headers.get("Sec-WebSocket-Version") not in ("13", "8", "7"):
        raise web.HTTPBadRequest(text="not a version of WebSocket that is spoken here")
    key = headers.get("Sec-WebSocket-Key", "")
    try:
        sound = len(base64.b64decode(key)) == 16
    except binascii.Error:
        sound = False
    if not sound:
        raise web.HTTPBadRequest(text="not a WebSocket's key")
    proof = base64.b64encode(hashlib.sha1(key.encode() + WS_KEY).digest()).decode()
    return {"Upgrade": "websocket", "Connection": "upgrade", "Sec-WebSocket-Accept": proof}
