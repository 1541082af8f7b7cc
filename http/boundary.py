"""The outermost ring of the REST surface: request ids, errors into problems, and what is told of each
request: one log line, its meters, a span when it is traced.

Every response carries `X-Request-Id`. A sane one from the caller is kept, so that a proxy's log and ours
can be read together; anything else is replaced. All that is logged while the request is served tells it.

The path is told as its template (`/workouts/shared/{share}`), never as sent: it may hold a secret. What asks
over and over whether the server is well is logged at level `debug` while it is.
"""

from __future__ import annotations

import re
import uuid

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from fitai.gateways import occasion
from fitai.http import metrics
from fitai.http.blame import blame, of_status
from fitai.http.problems import Problem, translate
from fitai.persistence import tracing

_log = structlog.get_logger(__name__)
_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")

_WATCHED = ("/health", "/v1/health", metrics.PATH)  # who watches the server asks here, again and again

REQUEST_ID: web.RequestKey[str] = web.RequestKey("fitai_request_id", str)
SITE: web.AppKey[str] = web.AppKey("fitai_site", str)
"""What links to this server begin with, such as https://fit.example.com; absent: they are paths."""

EXTRA: web.RequestKey[dict[str, str]] = web.RequestKey("fitai_extra_headers", dict)
"""What the answer to a request is to carry besides, whichever it will be."""


def install(app: web.Application) -> None:
    """Put the ring around every handler of `app`."""
    app.middlewares.append(boundary)
    app.on_response_prepare.append(_sign)


@web.middleware
async def boundary(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Serve one request as the occasion of all that it causes; whatever it raises becomes a response."""
    request[REQUEST_ID] = request_id(request)
    request[EXTRA] = {}
    route = _template(request)
    now = occasion.Request(request[REQUEST_ID], request.method, route)
    before = occasion.NOW.set(now)
    parent = request.headers.get("traceparent")
    try:
        with (
            metrics.served(route, request.method) as served,
            tracing.server(f"{request.method} {route}", parent, request_id=now.id) as span,
        ):
            response = await _answered(request, handler)
            received, sent = request.content_length or 0, _size(request, response)
            seconds = served.end(response.status, received, sent)
            tracing.told(span, status=response.status, **now.told())
            _tell(route, response, round(seconds * 1000, 1), received, sent)
    finally:
        occasion.NOW.reset(before)
    return response


def _tell(route: str, response: web.StreamResponse, ms: float, received: int, sent: int | None) -> None:
    """The one line of a request. How an unavailable part looks from here is told as such."""
    whose = of_status(response.status)
    log = _log.warning if whose == "away" else _log.info
    if route.startswith(_WATCHED):
        log = _log.debug if whose is None else _log.info
    fault = {} if whose is None else {"blame": whose}
    log("request", status=response.status, ms=ms, received=received, sent=sent, **fault)


def _size(request: web.Request, response: web.StreamResponse) -> int | None:
    """Bytes of the answer's body; None for one that is made while it is sent, after this."""
    if response.prepared:
        return response.body_length
    if request.method == "HEAD" or not isinstance(response, web.Response) or response.body is None:
        return 0
    return response.content_length


def request_id(request: web.Request) -> str:
    """The caller's X-Request-Id if it is 1 to 64 plain characters, else a new one."""
    given = request.headers.get("X-Request-Id", "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _problem(request, error)
    except Exception as error:
        if blame(error) == "gone" and _gone(request):
            return web.Response(status=499)  # for the log alone
        return _problem(request, error)


def _gone(request: web.Request) -> bool:
    """Whether the caller has hung up: nobody will hear the answer."""
    return request.transport is None or request.transport.is_closing()


def _problem(request: web.Request, error: Exception) -> web.Response:
    problem = translate(error)
    if problem is None:
        # The traceback is ours alone; the caller gets the request id to tell us.
        _log.exception("request_failed", blame=blame(error))
        problem = Problem("internal")
    return problem.response(request[REQUEST_ID], request.app.get(SITE, ""))


def _template(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "(unknown)"


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Request-Id"] = request.get(REQUEST_ID) or request_id(request)
    for name, value in request.get(EXTRA, {}).items():
        response.headers.setdefault(name, value)
