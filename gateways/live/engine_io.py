"""The transport below Socket.IO: python-engineio, with the parts replaced that would not hold a flood.

    queue        Outbox: bounded by bytes
    WebSocket    web_socket.py: read and written in the transport's callbacks, without a task for anything;
                 no per-message deflate; a malformed frame ends the socket as a close by the client would
    socket       a timer instead of a sleeping task for each ping, and for its answer instead of a task that
                 looks at all sockets; a POST that is no payload is refused; gone from the server's table as
                 soon as it is closed; can be cut off

What goes over the wire is the stock protocol: handshake, long-polling, pings and closing are the library's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import engineio
from aiohttp import WSCloseCode, web
from engineio.async_socket import AsyncSocket
from engineio.exceptions import ContentTooLongError, QueueEmpty, UnknownPacketError
from engineio.packet import NOOP, OPEN, PING, PONG, Packet
from engineio.payload import Payload

from fitai.gateways.live.outbox import Outbox
from fitai.gateways.live.web_socket import Turn, WebSocket, accept, begin
from fitai.gateways.tasks import spawn

BODY_S = 15.0  # the longest that the body of a POST may take to arrive

_PROBE, _PROBED, _UPGRADE = "2probe", Packet(PONG, data="probe"), "5"
_KINDS = frozenset("1235")  # close, ping, pong, upgrade: what a client may say besides messages


class Socket(AsyncSocket):  # type: ignore[misc]  # the library ships no types
    """One client's transport, whichever it uses at the moment."""

    last_ping: float | None
    connected: bool
    upgrading: bool
    upgraded: bool

    def __init__(self, server: Engine, sid: str, request: web.Request) -> None:
        super().__init__(server, sid)
        self._request: web.Request | None = request  # until there is a WebSocket
        self._web_socket: WebSocket | None = None
        self._probed = False
        self._timer: asyncio.TimerHandle | None = None

    # -- pings ------------------------------------------------------------------------------------

    def schedule_ping(self) -> None:
        if self.last_ping:  # else the answer to the last one is still due
            self.last_ping = None
            self._in(self.server.ping_interval, self._ping)

    def _ping(self) -> None:
        self.last_ping = time.time()  # noqa: TID251 - the library compares it with this clock
        self.queue.push(Packet(PING))
        self._in(self.server.ping_timeout, self._unanswered)

    def _unanswered(self) -> None:
        self._close(self.server.reason.PING_TIMEOUT, abort=False)

    def _in(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.closing and not self.closed:
            self._timer = asyncio.get_running_loop().call_later(seconds, then)

    # -- what comes -------------------------------------------------------------------------------

    def hear(self, data: str | bytes) -> None:
        """A message on the WebSocket: an Engine.IO packet."""
        assert self._web_socket is not None
        kind = data[:1]
        if not self.upgraded:
            self._try_to_upgrade(data)
        elif isinstance(data, bytes):
            self.server.on_message(self.sid, data)
        elif kind == "4" and "0" <= data[1:2] <= "9":
            self.server.on_message(self.sid, data[1:])
        elif kind not in _KINDS or len(data) > 64:
            self._web_socket.end(WSCloseCode.PROTOCOL_ERROR)
        elif kind == "3":
            self.schedule_ping()
        elif kind == "1":
            self._close(self.server.reason.CLIENT_DISCONNECT)

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        for packet in _payload(await self._body(environ)):
            await self.receive(packet)

    async def _body(self, environ: dict[str, Any]) -> bytes:
        length = environ.get("CONTENT_LENGTH", "0")
        if not length.isdigit():
            raise UnknownPacketError
        if int(length) > self.server.max_http_buffer_size:
            raise ContentTooLongError
        try:
            async with asyncio.timeout(BODY_S):
                body: bytes = await environ["wsgi.input"].read(int(length))
        except TimeoutError:
            raise UnknownPacketError from None
        return body

    # -- the WebSocket ----------------------------------------------------------------------------

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:
        if self.upgrading or self.upgraded:
            return self.server._bad_request()
        request = environ["aiohttp.request"]
        self.upgrading = self.connected  # by long-polling: then it is tried out first
        try:
            socket, response = await accept(request, self, self.server.turn, self.server.max_http_buffer_size)
        except BaseException:
            self.upgrading = False
            raise
        self._web_socket = socket
        if not self.connected:
            self.connected = True
            self._use(socket)
        begin(socket, request)
        return response

    def _try_to_upgrade(self, data: str | bytes) -> None:
        assert self._web_socket is not None
        if data == _PROBE and not self._probed:
            self._probed = True
            self._web_socket.write(_PROBED)
            self.queue.push(Packet(NOOP))  # ends the poll
        elif data == _UPGRADE and self._probed:
            self.upgrading = False
            self._use(self._web_socket)
        else:
            self._web_socket.end(WSCloseCode.PROTOCOL_ERROR)

    def _use(self, socket: WebSocket) -> None:
        self.upgraded = True
        self._request = None
        self.queue.attach(socket)

    def writable(self) -> None:
        """The WebSocket takes more."""
        self.queue.flush()

    def lost(self) -> None:
        """The WebSocket has ended."""
        if self.upgraded:
            self._close(self.server.reason.TRANSPORT_CLOSE)
        else:
            self.upgrading = self._probed = False
            self._web_socket = None

    # -- the end ----------------------------------------------------------------------------------

    def _close(self, reason: str, abort: bool = True) -> None:
        if not self.closing and not self.closed:
            spawn("live.close", self.close(wait=False, abort=abort, reason=reason))

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await super().close(wait=wait, abort=abort, reason=reason)
        self.queue.push(None)  # ends a poll, or a WebSocket that the client leaves open
        if self._web_socket is not None:
            self._web_socket.end_soon()
        self.server.sockets.pop(self.sid, None)

    async def cut(self) -> None:
        """End it without the client's help."""
        if self._web_socket is not None:
            self._web_socket.abort()
        if self._request is not None and self._request.transport is not None:
            self._request.transport.abort()
        await self.close(wait=False, abort=True)


def _payload(body: bytes) -> list[Packet]:
    """The packets in the body of a POST; raises UnknownPacketError."""
    try:
        packets: list[Packet] = Payload(encoded_payload=body.decode()).packets
    except (ValueError, LookupError, RecursionError):
        raise UnknownPacketError from None
    if any(not OPEN <= packet.packet_type <= NOOP for packet in packets):
        raise UnknownPacketError
    return packets


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """The server of such sockets."""

    queue_bytes = 0
    on_message: Callable[[str, str | bytes], None]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.turn = Turn()

    def create_queue(self, *_: Any, **__: Any) -> Outbox:
        return Outbox(self.queue_bytes)

    async def _handle_connect(
        self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None
    ) -> Any:
        """As the library's, with our socket."""
        sid = self.generate_id()
        socket = self.sockets[sid] = Socket(self, sid, environ["aiohttp.request"])
        socket.queue.push(Packet(OPEN, self._greeting(sid, transport)))
        await self._trigger_event("connect", sid, environ, run_async=False)
        socket.schedule_ping()
        if transport == "websocket":
            answer = await socket.handle_get_request(environ)
            return self._bad_request() if isinstance(answer, list) else answer  # it asked for no upgrade
        socket.connected = True
        try:
            return self._ok(await socket.poll(), jsonp_index=jsonp_index)
        except QueueEmpty:
            return self._bad_request()

    def _greeting(self, sid: str, transport: str) -> dict[str, Any]:
        return {
            "sid": sid,
            "upgrades": self._upgrades(sid, transport),
            "pingTimeout": int(self.ping_timeout * 1000),
            "pingInterval": int(self.ping_interval * 1000),
            "maxPayload": self.max_http_buffer_size,
        }
