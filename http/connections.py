"""The connections below the application: what aiohttp leaves open is closed here.

    a head that does not come whole   closed after `head_s`: from the start of a connection, and from the
                                      first byte of each later request. Bytes that trickle in win no time.
    a connection without a request    closed after `idle_s`
    bytes that are no HTTP            answered as a problem, with the headers of every other answer

Bodies have a bound of their own (`reading.BODY_S`); once it is a WebSocket, a connection is no longer here.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from fitai.http.headers import BY_TLS, protect
from fitai.http.problems import Problem

_log = structlog.get_logger(__name__)

HEAD_S = 10.0  # seconds that a request's line and headers may take to arrive
IDLE_S = (
    75.0  # seconds without a request: longer than load balancers keep theirs, which are the ones to end it
)


class Runner(web.AppRunner):
    """Runs an application on such connections. Compressed bodies reach it as they are sent (see `media`)."""

    def __init__(
        self, app: web.Application, *, head_s: float = HEAD_S, idle_s: float = IDLE_S, **options: Any
    ) -> None:
        super().__init__(app, auto_decompress=False, access_log=None, keepalive_timeout=idle_s, **options)
        self._head_s = head_s

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        server = _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
        server.head_s = self._head_s
        server.by_tls = self.app.get(BY_TLS, False)
        return server


class _Server(web.Server):
    head_s: float
    by_tls: bool

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(RequestHandler):
    __slots__ = ("_by_tls", "_head_s", "_head_timer")

    def __init__(self, manager: _Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._by_tls = manager.by_tls
        self._head_s = manager.head_s
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        known = self._request_count
        super().data_received(data)
        if self._request_count != known:
            self._at_ease()
        elif self._head_timer is None and self._waiter is not None:
            self._expect_head()  # nothing is being served, so these bytes begin a head

    def connection_lost(self, exc: BaseException | None) -> None:
        self._at_ease()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The library's own quotes what it could not parse, and logs a traceback each time."""
        id = uuid.uuid4().hex
        told = {"request_id": id, "remote": request.remote, "error": type(exc).__name__}
        if status < 500:
            _log.info("unreadable_request", **told)
        else:
            _log.error("request_failed", exc_info=exc, **told)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        response = Problem("bad_request" if status < 500 else "internal").response(id)
        response.headers["X-Request-Id"] = id
        protect(response.headers, hsts=self._by_tls)
        response.force_close()
        return response

    def _expect_head(self) -> None:
        self._head_timer = self._loop.call_later(self._head_s, self.force_close)

    def _at_ease(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
