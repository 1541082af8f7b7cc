"""`/metrics`: what the server measures of itself, as Prometheus reads it; and what requests are measured by.

It is there on the main port for who knows the token, and on an address of its own for whoever reaches that
(`FITAI_METRICS_TOKEN`, `FITAI_METRICS_BIND`). It is for operators, so the documents of the API do not name
it, and without a token the main port answers as for any path that does not exist.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram

from fitai.gateways.meters import SECONDS
from fitai.http import headers
from fitai.http.problems import Problem

Report = Callable[[], Awaitable[bytes]]
"""All meters at this moment, in Prometheus' text format."""

PATH = "/metrics"


def install(app: web.Application, report: Report, token: str) -> None:
    """Serve the report on the application to who sends `Authorization: Bearer <token>`."""

    async def metrics(request: web.Request) -> web.Response:
        if not knows(request, token):
            raise Problem("unauthorized", headers={"WWW-Authenticate": 'Bearer realm="metrics"'})
        return await _answer(report)

    app.router.add_get(PATH, metrics)


def knows(request: web.Request, token: str) -> bool:
    """Whether the request shows the operators' token."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode(errors="replace"), token.encode())
    return right and scheme.lower() == "bearer"


def open_application(report: Report) -> web.Application:
    """An application that serves the report and nothing else, to everybody."""

    async def metrics(_: web.Request) -> web.Response:
        return await _answer(report)

    app = web.Application()
    headers.install(app)
    app.router.add_get(PATH, metrics)
    return app


async def _answer(report: Report) -> web.Response:
    return web.Response(body=await report(), headers={"Content-Type": CONTENT_TYPE_LATEST})


# -- requests --------------------------------------------------------------------------------------

REQUESTS = Counter(
    "fitai_http_requests_total",
    "Requests that were answered, by template of the path (`(unknown)` for none), method and status; 499: the"
    " caller had hung up.",
    ["route", "method", "status"],
)
REQUEST_SECONDS = Histogram(
    "fitai_http_request_seconds",
    "From a request's arrival to its answer, before that is sent.",
    ["route", "method"],
    buckets=SECONDS,
)
IN_FLIGHT = Gauge("fitai_http_requests_in_flight", "Requests that are being answered.")
BYTES = Counter(
    "fitai_http_body_bytes_total",
    "Bytes of bodies, `received` as announced and `sent`, by template of the path; not of those that are made"
    " while they are sent.",
    ["route", "direction"],
)
READY = Gauge(
    "fitai_ready",
    "1 while a part answers as it must for this server to be ready (`database`, `bus`), and `node` while it"
    " was not asked to end; by the last check, which a question for the meters brings about.",
    ["part"],
)

DISK_FREE = Gauge(
    "fitai_disk_free_bytes", "Bytes that are left on the data folder's disk; asked for like `fitai_ready`."
)
DISK_TOTAL = Gauge("fitai_disk_total_bytes", "Bytes of the data folder's disk.")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # else a caller made it up


class Served:
    """A request while it is served, for its meters."""

    __slots__ = ("_method", "_route", "_started")

    def __init__(self, route: str, method: str) -> None:
        self._route = route
        self._method = method if method in _METHODS else "other"
        self._started = time.perf_counter()

    def end(self, status: int, received: int, sent: int | None) -> float:
        """It was answered; returns the seconds that this took."""
        seconds = time.perf_counter() - self._started
        REQUESTS.labels(self._route, self._method, str(status)).inc()
        REQUEST_SECONDS.labels(self._route, self._method).observe(seconds)
        BYTES.labels(self._route, "received").inc(received)
        BYTES.labels(self._route, "sent").inc(sent or 0)
        return seconds


@contextmanager
def served(route: str, method: str) -> Iterator[Served]:
    """Measure a request."""
    IN_FLIGHT.inc()
    try:
        yield Served(route, method)
    finally:
        IN_FLIGHT.dec()
