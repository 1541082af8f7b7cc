"""Pages of other origins: which may call this server from a browser.

Calls carry their token in a header and no cookie, so allowing an origin gives its pages nothing but the
right to ask; credentials of the browser stay out of it. Paths that answer OPTIONS themselves (the socket)
are left alone.
"""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_EXPOSED = "ETag, Idempotency-Replayed, Location, Retry-After, X-Request-Id"
_ACCEPTED = (
    "Authorization, Content-Encoding, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-Id"
)
_KEPT_S = 3600  # how long a browser may remember the answer to a preflight


def install(app: web.Application, origins: Collection[str]) -> None:
    """Let the pages of `origins` ("*": of all) call; with none nothing is added."""
    if not origins:
        return
    allowed = frozenset(origins)

    async def allow(request: web.Request, response: web.StreamResponse) -> None:
        origin = request.headers.get("Origin")
        if origin is None or not allowed & {origin, "*"} or "Access-Control-Allow-Origin" in response.headers:
            return
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        response.headers.add("Vary", "Origin")

    app.on_response_prepare.append(allow)
    app.middlewares.append(_preflight(allowed))


def _preflight(allowed: frozenset[str]) -> Middleware:
    @web.middleware
    async def preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed as error:
            asked = request.headers.get("Access-Control-Request-Method")
            origin = request.headers.get("Origin", "")
            if request.method != "OPTIONS" or asked is None or not allowed & {origin, "*"}:
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
