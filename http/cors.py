"""Pages of other origins: which may call this server from a browser, and read what it answers.

Which ones is one rule for sockets and REST (`gateways/origins.py`). A page of a listed origin may also send
the cookies that the browser keeps for us; with `*` anybody's page may call, and none with cookies.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from fitai.gateways.origins import ALL, Origins

_EXPOSED = (
    "Deprecation, ETag, Idempotency-Replayed, Link, Location, RateLimit-Limit, RateLimit-Remaining, "
    "RateLimit-Reset, Retry-After, Sunset, X-Request-Id"
)
_ACCEPTED = (
    "Authorization, Content-Encoding, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-FitAI-Mode, "
    "X-Request-Id"
)
_KEPT_S = 3600  # how long a browser may remember the answer to a preflight


def install(app: web.Application, origins: Origins) -> None:
    """Let the pages of these origins call; when there are none nothing is added."""
    if not origins.listed:
        return

    some_by_name = bool(origins.listed - {ALL})

    async def allow(request: web.Request, response: web.StreamResponse) -> None:
        if origins.everyone:
            response.headers["Access-Control-Allow-Origin"] = ALL
        if some_by_name:
            # Also for those who are not allowed: a cache must not hand their answer to others.
            response.headers.add("Vary", "Origin")
        origin = request.headers.get("Origin")
        if not origins.shared_with(origin):
            return
        if origin is not None and origins.trusted(origin):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED

    app.on_response_prepare.append(allow)
    app.middlewares.append(_preflight(origins))


def _preflight(origins: Origins) -> Middleware:
    @web.middleware
    async def preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed as error:
            asked = request.headers.get("Access-Control-Request-Method")
            if request.method != "OPTIONS" or asked is None:
                raise
            if not origins.shared_with(request.headers.get("Origin")):
                raise
            return web.Response(
                status=204,
                headers={
                    "Access-Control-Allow-Methods": ", ".join(sorted(error.allowed_methods)),
                    "Access-Control-Allow-Headers": _ACCEPTED,
                    "Access-Control-Max-Age": str(_KEPT_S),
                },
            )

    return preflight
