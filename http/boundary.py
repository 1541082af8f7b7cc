"""The outermost ring of the REST surface: request ids, one log line per request, errors into problems.

Every response carries `X-Request-Id`. A sane one from the caller is kept, so that a proxy's log and ours
can be read together; anything else is replaced. The id is bound to the log context of all that happens
while the request is served.

The path is logged as its template (`/workouts/shared/{share}`), never as sent: it may hold a secret.
"""

from __future__ import annotations

import re
import time
import uuid

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from fitai.http.problems import Problem, translate

_log = structlog.get_logger(__name__)
_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")

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
    """Serve one request inside its log context; whatever it raises becomes a response."""
    request[REQUEST_ID] = request_id(request)
    request[EXTRA] = {}
    started = time.perf_counter()
    with structlog.contextvars.bound_contextvars(request_id=request[REQUEST_ID]):
        response = await _answered(request, handler)
        _log.info(
            "request",
            method=request.method,
            path=_template(request),
            status=response.status,
            ms=round((time.perf_counter() - started) * 1000, 1),
        )
    return response


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
        if isinstance(error, ConnectionResetError) and _gone(request):
            return web.Response(status=499)  # for the log alone
        return _problem(request, error)


def _gone(request: web.Request) -> bool:
    """Whether the caller has hung up: nobody will hear the answer."""
    return request.transport is None or request.transport.is_closing()


def _problem(request: web.Request, error: Exception) -> web.Response:
    problem = translate(error)
    if problem is None:
        # The traceback is ours alone; the caller gets the request id to tell us.
        _log.exception("request_failed", method=request.method, path=_template(request))
        problem = Problem("internal")
    return problem.response(request[REQUEST_ID], request.app.get(SITE, ""))


def _template(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "(unknown)"


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Request-Id"] = request.get(REQUEST_ID) or request_id(request)
    for name, value in request.get(EXTRA, {}).items():
        response.headers.setdefault(name, value)
