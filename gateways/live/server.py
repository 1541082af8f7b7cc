"""The Socket.IO server of the live namespace: python-socketio, taken apart at its seams.

What a stock server does per event (a task, an unbounded queue, a dictionary of rooms, delivery before
anything is durable) is replaced; the protocol on the wire is untouched, so that stock clients notice
nothing. The seams:

    Engine.IO              engine_io.py: bounded queues, quiet ends
    Socket.IO packets      a codec per connection, named in the handshake's query
    Socket.IO dispatch     `_handle_eio_*` -> Session: CONNECT, then `ready`, then the connection's inbox
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import msgspec
import socketio
import structlog
from aiohttp import web
from engineio.packet import CLOSE
from engineio.packet import Packet as Transport
from socketio import packet as sio

from fitai.gateways import meters
from fitai.gateways.counts import Counts
from fitai.gateways.groups.rooms import Rooms
from fitai.gateways.identity import Authenticator, Identity, NotAuthenticated
from fitai.gateways.live.arrivals import Arrivals
from fitai.gateways.live.connection import Connection
from fitai.gateways.live.drain import say_goodbye
from fitai.gateways.live.engine_io import Engine
from fitai.gateways.live.events import JOIN_SCOPE, Events
from fitai.gateways.live.frames import CODECS, NAMESPACE, Frame, Message, Unreadable
from fitai.gateways.live.host import Host
from fitai.gateways.live.hosts import Hosts, UnknownUser
from fitai.gateways.live.limits import LiveLimits
from fitai.gateways.live.outbox import Outbox
from fitai.gateways.live.schemas import Cursor
from fitai.gateways.live.session import Session
from fitai.gateways.origins import Origins
from fitai.gateways.tasks import spawn
from fitai.persistence.database import Unavailable
from fitai.sync.wire import Refusal

_log = structlog.get_logger(__name__)

PROTOCOL = 1
DRAINING = ("draining", "this node is going away", True)
CROWDED = ("unavailable", "too many connect at once", True)
AT_ONCE = 8  # connections that are let in at the same time


class LiveServer(socketio.AsyncServer):  # type: ignore[misc]
    """The gateway. `attach(app)` adds it to an aiohttp application at /socket.io/. Without `rooms` there are
    no groups."""

    def __init__(
        self,
        hosts: Hosts,
        authenticator: Authenticator,
        *,
        limits: LiveLimits,
        now_ms: Callable[[], int],
        polling: bool = True,
        origins: Origins = Origins(),
        counts: Counts | None = None,
        rooms: Rooms | None = None,
    ) -> None:
        super().__init__(
            async_mode="aiohttp",
            async_handlers=False,
            start_service_task=False,
            namespaces=[NAMESPACE],
            transports=["polling", "websocket"] if polling else ["websocket"],
            ping_interval=limits.ping_interval_s,
            ping_timeout=limits.ping_timeout_s,
            max_http_buffer_size=limits.packet_bytes,
            http_compression=False,
            cors_allowed_origins=[],  # not the library's business: see `_serve`, and http/cors.py
            logger=logging.getLogger("fitai.live"),
            engineio_logger=logging.getLogger("fitai.live.engine"),
        )
        self.eio.queue_bytes = limits.queue_bytes
        self.eio.on_message = self._hear
        self._hosts = hosts
        self._authenticator = authenticator
        self._limits = limits
        self._now_ms = now_ms
        self._polling = polling
        self._origins = origins
        self._events = Events(authenticator, limits, now_ms, rooms)
        self._sessions: dict[str, Session] = {}
        self._arrivals = Arrivals(limits.connects_per_min if limits.rates else None, counts)
        self._draining = False
        self._door = asyncio.Semaphore(AT_ONCE)
        self._empty = asyncio.Event()

    def attach(self, app: web.Application, socketio_path: str = "socket.io") -> None:
        """Serve this application's sockets."""
        path = f"/{socketio_path}/"
        app.router.add_get(path, self._serve)
        app.router.add_post(path, self._serve)
        app.on_shutdown.append(self._cut_all)

    @property
    def connections(self) -> list[Connection]:
        """The live connections of this node."""
        return [s.connection for s in self._sessions.values() if s.connection is not None]

    @property
    def queues(self) -> list[Outbox]:
        """The outgoing queues of the live connections."""
        return [s.outbox for s in self._sessions.values() if s.connection is not None]

    async def drain(self, jitter_ms: int, within_s: float) -> None:
        """Take no more connections and ask those that are here to come back elsewhere, each after at most
        `jitter_ms`; returns when all have gone, or after `within_s`. Once is enough."""
        if self._draining:
            return
        self._draining = True
        for session in list(self._sessions.values()):
            if session.connection is None and not session.connecting:
                self._end(session)
        self._tell_if_empty()
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await say_goodbye(self.connections, within_s, jitter_ms)
                await self._empty.wait()
                await self.eio.turn.quiet()
        for session in list(self._sessions.values()):
            session.hang_up(0)
        await self.eio.shutdown()

    async def _cut_all(self, _: web.Application) -> None:
        """The web server, which ends, no longer knows the transports that became WebSockets."""
        for socket in list(self.eio.sockets.values()):
            await socket.cut()
        for web_socket in list(self.eio.turn.there):  # was told to go, and has not answered
            web_socket.close()

    # -- HTTP --------------------------------------------------------------------------------------

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if not self._origins.admits(request.headers.get("Origin"), request.headers.get("Host", "")):
            body = {"code": "origin_refused", "message": "pages of this origin may not connect here"}
            return web.json_response(body, status=403)
        if "j" in request.query:  # the library would answer with a script, which any page could run
            return web.json_response({"code": "bad_request", "message": "no JSONP"}, status=400)
        if not self._polling and request.query.get("transport", "polling") == "polling":
            body = {"code": "websocket_only", "message": "connect with transports: ['websocket']"}
            return web.json_response(body, status=400)
        if "sid" not in request.query:
            if self._draining:
                return web.json_response({"code": "draining", "message": "going away"}, status=503)
            wait_ms = await self._arrivals.wait_ms(request.remote or "", self._now_ms())
            if wait_ms:
                headers = {"Retry-After": str(-(-wait_ms // 1000))}
                body = {"code": "later", "message": "too many new connections from one address"}
                return web.json_response(body, status=429, headers=headers)
        response: web.StreamResponse = await self.eio.handle_request(request)
        return response

    # -- Engine.IO events --------------------------------------------------------------------------

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        query = parse_qs(environ.get("QUERY_STRING", ""))
        codec = CODECS.get(query.get("codec", ["json"])[0], CODECS["json"])
        request: web.Request = environ["aiohttp.request"]
        socket = self.eio.sockets[eio_sid]
        session = self._sessions[eio_sid] = Session(socket, codec, request.remote or "")
        self._expect_connect(session)

    def _expect_connect(self, session: Session) -> None:
        session.expect(self._limits.auth_s, lambda: self._unauthenticated(session))

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        session = self._sessions.pop(eio_sid, None)
        if session is None:
            return
        session.gone = True
        session.at_ease()
        if session.connection is not None:
            session.connection.close()
            session.connection = None
        self._tell_if_empty()

    def _tell_if_empty(self) -> None:
        if self._draining and not self._sessions:
            self._empty.set()

    async def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> None:
        self._hear(eio_sid, data)  # by long-polling; a WebSocket calls it itself

    def _hear(self, eio_sid: str, data: str | bytes) -> None:
        session = self._sessions.get(eio_sid)
        if session is None:
            return
        try:
            self._dispatch(session, session.codec.decode(data))
        except Unreadable as error:
            self._unreadable(session, error)

    def _dispatch(self, session: Session, packet: sio.Packet) -> None:
        connection = session.connection
        if packet.packet_type == sio.CONNECT:
            self._connect(session, packet)
        elif packet.namespace != NAMESPACE or packet.packet_type == sio.ACK:
            return  # nobody is connected to another namespace, and we ask for no acks
        elif packet.packet_type == sio.DISCONNECT:
            if connection is not None:
                connection.close()
                session.connection = None
                self._expect_connect(session)
        elif packet.packet_type == sio.EVENT:
            event = packet.data
            if not isinstance(event, list) or not event or not isinstance(event[0], str):
                raise Unreadable("an event is a list that begins with its name", packet.id)
            if connection is not None:
                connection.receive(event[0], event[1:], packet.id)
        else:
            raise Unreadable(f"packets of type {packet.packet_type} are not part of this protocol")

    def _unreadable(self, session: Session, error: Unreadable) -> None:
        """An event that can not be read is refused if it can be answered, else the socket is closed."""
        connection = session.connection
        if connection is not None and error.ack is not None:
            connection.answer(
                error.ack, {"ok": False, "code": "bad_request", "message": f"unreadable: {error}"}
            )
        elif connection is not None:
            connection.bye("protocol")
        else:
            self._end(session)

    def _unauthenticated(self, session: Session) -> None:
        if session.connecting:
            session.overdue = True  # it has said who it is: what takes time is ours
        elif session.connection is None:
            self._end(session)

    def _end(self, session: Session) -> None:
        session.outbox.push(Transport(CLOSE))
        session.outbox.push(None)
        session.hang_up(self._limits.bye_s)

    # -- connecting --------------------------------------------------------------------------------

    def _connect(self, session: Session, packet: sio.Packet) -> None:
        if packet.namespace != NAMESPACE:
            refused = type(packet)(
                sio.CONNECT_ERROR, data={"message": "Invalid namespace"}, namespace=packet.namespace
            )
            body = refused.encode()
            text = isinstance(body, str)
            session.outbox.push(Message(body.encode() if text else body, binary=not text))
        elif session.connection is None and not session.connecting:
            session.connecting = True
            spawn("live.connect", self._admit(session, packet.data))

    async def _admit(self, session: Session, data: Any) -> None:
        """Let a client in, or tell it why not. A few at a time: a storm of them would take every connection
        to the database, and the pushes of those who are here would wait behind it."""
        refusal: tuple[str, str, bool] | None = CROWDED
        try:
            async with asyncio.timeout(self._limits.auth_s):
                await self._door.acquire()
            try:
                refusal = await self._try_admit(session, data)
            finally:
                self._door.release()
        except TimeoutError:
            pass
        except (Unavailable, Refusal):
            refusal = ("unavailable", "the database is out of reach", True)
        except Exception:
            _log.exception("connect_failed")
            refusal = ("unavailable", "something went wrong here", True)
        finally:
            session.connecting = False
        if refusal is not None and not session.gone:
            self._refuse(session, *refusal)
            if session.overdue:
                self._end(session)

    async def _try_admit(self, session: Session, data: Any) -> tuple[str, str, bool] | None:
        """Authenticate and join; returns (code, message, retry) when that is refused."""
        if self._draining:
            return DRAINING
        auth = data if isinstance(data, dict) else {}
        token = auth.get("token")
        cursor = _cursor(auth.get("cursor"))
        if not isinstance(token, str):
            return "unauthorized", "connect with auth: {token}", False
        try:
            identity = await self._authenticator.read(token)
            if not identity.may(JOIN_SCOPE):
                return "forbidden", f"this token lacks the scope {JOIN_SCOPE}", False
            name = await self._hosts.device_name(identity.user, identity.device)
            host = await self._hosts.open(identity.user)
            if cursor is not None and cursor.epoch == host.epoch:
                await host.reach(cursor.seq)
            # Last: a revocation that came meanwhile was told to connections, and this was none.
            await self._authenticator.confirm(identity)
        except NotAuthenticated as error:
            return error.code, error.message, error.code == "token_expired"
        except UnknownUser:
            return "unauthorized", "this account is no longer here", False
        if host.ended:
            return "unavailable", "this log is being opened anew", True
        refusal = self._full(host, identity.device)
        if refusal is None and not session.gone:
            self._join(session, identity, name, host, cursor)
        return refusal

    def _full(self, host: Host, device: int) -> tuple[str, str, bool] | None:
        """Why there is no room for one more connection of a device, if there is none."""
        mine = [c for c in host.connections if c.identity.device == device]
        if len(mine) >= self._limits.connections_per_device:
            return "too_many", "too many connections of this device", True
        if len(host.connections) >= self._limits.connections_per_user:
            return "too_many", "too many connections of this user", True
        return None

    def _join(
        self, session: Session, identity: Identity, name: str, host: Host, cursor: Cursor | None
    ) -> None:
        """CONNECT, then `ready`, then the tail: all from one moment, so that no commit falls between."""
        if self._draining:  # since a moment ago
            self._refuse(session, *DRAINING)
            return
        session.at_ease()
        sid = self.eio.generate_id()
        connection = Connection(
            sid=sid,
            name=name,
            codec=session.codec,
            outbox=session.outbox,
            identity=identity,
            host=host,
            handler=self._events.handle,
            limits=self._limits,
            now_ms=self._now_ms,
            hang_up=session.hang_up,
            address=session.address,
        )
        session.connection = connection
        after = _resume_point(cursor, host)
        meters.resumed(cursor is not None, after is not None)
        session.outbox.push(session.codec.packet(sio.CONNECT, {"sid": sid}))
        connection.send(Frame("ready", self._ready(identity, host, after is not None)))
        host.attach(connection)
        connection.expires(identity.expires_at)
        connection.start(host.head if after is None else after)
        host.greet(connection, host.head if after is None else after)

    def _ready(self, identity: Identity, host: Host, resumed: bool) -> dict[str, Any]:
        return {
            "protocol": PROTOCOL,
            "user": identity.user,
            "device": identity.device,
            "next_n": host.position(identity.device).next_n,
            "epoch": host.epoch,
            "head": host.head,
            "resumed": resumed,
            "server_time": self._now_ms(),
            "limits": self._limits.told(),
        }

    def _refuse(self, session: Session, code: str, message: str, retry: bool) -> None:
        _log.info("socket_refused", code=code)
        data = {"message": message, "data": {"code": code, "message": message, "retry": retry}}
        session.outbox.push(session.codec.packet(sio.CONNECT_ERROR, data))


def _cursor(value: Any) -> Cursor | None:
    """The cursor of a CONNECT, or None when it is none; a strange one is never refused."""
    try:
        return None if value is None else msgspec.convert(value, Cursor)
    except msgspec.ValidationError:
        return None


def _resume_point(cursor: Cursor | None, host: Host) -> int | None:
    """The seq after which to go on, or None when the cursor says nothing about this log."""
    known = cursor is not None and cursor.epoch == host.epoch and cursor.seq <= host.head
    return cursor.seq if cursor is not None and known else None
