"""The protocol over a Socket.IO connection, with the stock client.

The client's own reconnecting is off: when to come back is the core's to say. Everything that comes is handed
on at once by plain functions, which the library runs one after another, so that acknowledgements and `ops`
keep the order of the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import socketio

from fitai.gateways.client import messages as m
from fitai.gateways.client.account import Http, Offline
from fitai.gateways.client.messages import Event, Json
from fitai.gateways.client.transport import Hear

NAMESPACE = "/live"
ANSWER_S = 30.0  # after which a connection that does not answer is given up
CONNECT_S = 10.0
HANG_UP_S = 2.0
OTHERS = ("insight", "telemetry", "presence", "group:ops", "group:tick")

Listener = Callable[[str, Json], None]
Listening = Callable[[Json], None]


class SocketTransport:
    """One connection on /live, `codec` json or msgpack; see `Transport`. `listener` hears what the core has
    no use for: insights, telemetry, presence, and what groups tell."""

    def __init__(
        self, http: Http, hear: Hear, now_ms: Callable[[], int], codec: str, listener: Listener
    ) -> None:
        self._http = http
        self._hear = hear
        self._now_ms = now_ms
        self._codec = codec
        self._closed = False
        self._deadline: asyncio.TimerHandle | None = None
        self._sio = socketio.AsyncClient(
            reconnection=False,
            serializer="msgpack" if codec == "msgpack" else "default",
            handle_sigint=False,
            http_session=http.session,
        )
        for event in ("ready", "ops", "bye", "disconnect", "connect_error"):
            self._sio.on(event, getattr(self, f"_on_{event}"), namespace=NAMESPACE)
        self._sio.on("auth:expiring", self._on_expiring, namespace=NAMESPACE)
        for event in OTHERS:
            self._sio.on(event, self._telling(listener, event), namespace=NAMESPACE)

    async def open(self, token: str, cursor: Json | None) -> None:
        """Connect; `ready` makes it Connected."""
        auth: Json = {"token": token}
        if cursor is not None:
            auth["cursor"] = cursor
        query = "?codec=msgpack" if self._codec == "msgpack" else ""
        self._patience(CONNECT_S)
        try:
            await self._sio.connect(
                self._http.url + query,
                auth=auth,
                transports=["websocket"],
                namespaces=[NAMESPACE],
                wait=False,
            )
            # Before the namespace is joined, the library does not tell of a stream that breaks.
            self._sio.eio.read_loop_task.add_done_callback(self._on_disconnect)
        except Exception:  # a stream that breaks in the handshake makes the library raise anything
            self._say(m.Lost())
        finally:
            if self._closed:  # meanwhile, or just now: what was half made must not live on
                await self._hang_up()

    async def push(self, ops: Sequence[Json], epoch: str) -> None:
        """Send ops."""
        payload = {"ops": list(ops), "epoch": epoch, "sent_at": self._now_ms()}
        await self._ask("push", payload, m.Pushed)

    async def pull(self, after: int, limit: int) -> None:
        """Ask for records."""
        await self._ask("pull", {"after": after, "limit": limit}, m.Pulled)

    async def renew(self, token: str) -> None:
        """Tell the new token in place; a refusal ends in a `bye`."""
        with suppress(socketio.exceptions.SocketIOError):
            await self._sio.emit("auth", {"token": token}, namespace=NAMESPACE)

    async def ask(self, event: str, payload: Json) -> Json:
        """An event that is no part of sync, such as workout:get; raises Offline."""
        try:
            answer: Json = await self._sio.call(event, payload, namespace=NAMESPACE, timeout=ANSWER_S)
        except socketio.exceptions.SocketIOError as error:
            raise Offline(str(error) or "the connection is gone") from error
        return answer

    async def send(self, event: str, payload: Json, answered: Listening | None = None) -> None:
        """An event that is no part of sync. `answered` hears the acknowledgement where it comes in the order
        of the connection, and nothing when the connection is lost."""

        def heard(answer: Json) -> None:
            if answered is not None and not self._closed:
                answered(answer)

        try:
            callback = None if answered is None else heard
            await self._sio.emit(event, payload, namespace=NAMESPACE, callback=callback)
        except (socketio.exceptions.SocketIOError, OSError):
            self._on_disconnect()

    async def close(self) -> None:
        """Hang up; afterwards none of the library's tasks runs."""
        self._end()
        await self._hang_up()

    async def _hang_up(self) -> None:
        """The library forgets to end its writer when the server closed first: it waits for a packet that
        nobody will send any more."""
        engine = self._sio.eio
        loops = [task for task in (engine.read_loop_task, engine.write_loop_task) if task is not None]
        with suppress(Exception):  # it is over, however it ends
            await self._sio.disconnect()
        if loops:
            engine.queue.put_nowait(None)
            _, late = await asyncio.wait(loops, timeout=HANG_UP_S)
            for task in late:
                task.cancel()

    async def _ask(self, event: str, payload: Json, into: Callable[[Json], Event]) -> None:
        self._patience(ANSWER_S)

        def answered(answer: Json) -> None:
            self._answered()
            self._say(into(answer))

        try:
            await self._sio.emit(event, payload, namespace=NAMESPACE, callback=answered)
        except (socketio.exceptions.SocketIOError, OSError):
            self._on_disconnect()

    def _patience(self, seconds: float) -> None:
        if not self._closed:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(seconds, self._on_disconnect)

    def _answered(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_ready(self, ready: Json) -> None:
        self._answered()
        self._say(
            m.Connected(
                epoch=ready["epoch"],
                head=ready["head"],
                resumed=ready["resumed"],
                next_n=ready["next_n"],
                server_time=ready["server_time"],
                limits=ready["limits"],
            )
        )

    def _on_ops(self, frame: Json) -> None:
        self._say(m.Told(frame["epoch"], frame["from"], frame["to"], frame["records"]))

    def _on_bye(self, bye: Json) -> None:
        self._say(m.SaidBye(bye["code"], bool(bye["reconnect"]), int(bye.get("after_ms", 0))))

    def _on_expiring(self, _: Json) -> None:
        self._say(m.Expiring())

    def _on_connect_error(self, why: Any = None) -> None:
        """The server's refusal, or words of the library when there was no server to refuse."""
        data = why.get("data") if isinstance(why, dict) else None
        if isinstance(data, dict) and "code" in data:
            self._say(m.Refused(data["code"], bool(data.get("retry"))))

    def _on_disconnect(self, *_: Any) -> None:
        self._say(m.Lost())

    def _say(self, event: Event) -> None:
        if not self._closed:
            if isinstance(event, (m.Lost, m.Refused)):
                self._end()
            self._hear(event)

    def _end(self) -> None:
        self._closed = True
        self._answered()

    def _telling(self, listener: Listener, event: str) -> Listening:
        def tell(payload: Json) -> None:
            if not self._closed:
                listener(event, payload)

        return tell
