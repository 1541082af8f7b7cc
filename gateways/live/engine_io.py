"""The transport below Socket.IO: python-engineio, with the parts replaced that would not hold a flood.

    queue        Outbox: bounded by bytes
    WebSocket    no per-message deflate; a malformed frame ends the socket as a close by the client would,
                 where the library would raise past itself and leave its writer behind
    socket       a timer instead of a sleeping task for each ping; a POST that is no payload is refused;
                 gone from the server's table as soon as it is closed; can be cut off

What goes over the wire is the stock protocol.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import engineio
from aiohttp import WSMsgType, web
from engineio.async_drivers import aiohttp as driver
from engineio.async_socket import AsyncSocket
from engineio.exceptions import ContentTooLongError, QueueEmpty, UnknownPacketError
from engineio.packet import NOOP, OPEN, PING, Packet
from engineio.payload import Payload

from fitai.gateways.live.outbox import Outbox

_TEXT_PACKETS = frozenset("1235")  # close, ping, pong, upgrade; a message is checked further


class PlainWebSocket(driver.WebSocket):  # type: ignore[misc]  # the library ships no types
    """The driver's WebSocket; see the module's first lines."""

    async def __call__(self, environ: dict[str, Any]) -> web.WebSocketResponse:
        self._sock = web.WebSocketResponse(
            max_msg_size=self.server.max_http_buffer_size, compress=False, timeout=2.0
        )
        await self._sock.prepare(environ["aiohttp.request"])
        self.environ = environ
        await self.handler(self)
        return self._sock

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            await self._sock.send_bytes(message)
        else:
            await self._sock.send_str(message)

    async def wait(self) -> str | bytes | None:
        message = await self._sock.receive()
        if message.type is WSMsgType.BINARY:
            return bytes(message.data)
        if message.type is WSMsgType.TEXT and _is_packet(message.data):
            return str(message.data)
        return None


def _is_packet(text: str) -> bool:
    """Whether a text frame is an Engine.IO packet that the library decodes without raising."""
    if text[:1] == "4":
        return "0" <= text[1:2] <= "9"
    return text[:1] in _TEXT_PACKETS and len(text) <= 64


class Socket(AsyncSocket):  # type: ignore[misc]
    """One client's transport, whichever it uses at the moment."""

    last_ping: float | None

    def __init__(self, server: Engine, sid: str, request: web.Request) -> None:
        super().__init__(server, sid)
        self._request = request
        self._next_ping: asyncio.TimerHandle | None = None

    def schedule_ping(self) -> None:
        if self.last_ping:  # else the answer to the last one is still due
            self.last_ping = None
            loop = asyncio.get_running_loop()
            self._next_ping = loop.call_later(self.server.ping_interval, self._ping)

    def _ping(self) -> None:
        if not self.closing and not self.closed:
            self.last_ping = time.time()  # noqa: TID251 - the library compares it with this clock
            self.queue.push(Packet(PING))

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        for packet in _payload(await self._body(environ)):
            await self.receive(packet)

    async def _body(self, environ: dict[str, Any]) -> bytes:
        length = environ.get("CONTENT_LENGTH", "0")
        if not length.isdigit():
            raise UnknownPacketError
        if int(length) > self.server.max_http_buffer_size:
            raise ContentTooLongError
        body: bytes = await environ["wsgi.input"].read(int(length))
        return body

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:
        self._request = environ["aiohttp.request"]
        return await super()._upgrade_websocket(environ)

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        if self._next_ping is not None:
            self._next_ping.cancel()
        await super().close(wait=wait, abort=abort, reason=reason)
        self.queue.push(None)  # ends the writer, and with it a WebSocket that the client leaves open
        self.server.sockets.pop(self.sid, None)

    async def cut(self) -> None:
        """End it without the client's help."""
        if self._request.transport is not None:
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
    start_service_task: bool
    _async: dict[str, Any]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._async = {**self._async, "websocket": PlainWebSocket}

    def create_queue(self, *_: Any, **__: Any) -> Outbox:
        return Outbox(self.queue_bytes)

    async def _handle_connect(
        self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None
    ) -> Any:
        """As the library's, with our socket."""
        if self.start_service_task:
            self.start_service_task = False
            self.service_task_handle = self.start_background_task(self._service_task)
        sid = self.generate_id()
        socket = self.sockets[sid] = Socket(self, sid, environ["aiohttp.request"])
        socket.queue.push(Packet(OPEN, self._greeting(sid, transport)))
        await self._trigger_event("connect", sid, environ, run_async=False)
        socket.schedule_ping()
        if transport == "websocket":
            return await socket.handle_get_request(environ)
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
