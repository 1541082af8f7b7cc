"""`/metrics`: what the server measures of itself, as Prometheus reads it.

It is there on the main port for who knows the token, and on an address of its own for whoever reaches that
(`FITAI_METRICS_TOKEN`, `FITAI_METRICS_BIND`). It is for operators, so the documents of the API do not name
it, and without a token the main port answers as for any path that does not exist.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from fitai.http import headers
from fitai.http.problems import Problem

Report = Callable[[], Awaitable[bytes]]
"""All meters at this moment, in Prometheus' text format."""

PATH = "/metrics"


def install(app: web.Application, report: Report, token: str) -> None:
    """Serve the report on the application to who sends `Authorization: Bearer <token>`."""

    async def metrics(request: web.Request) -> web.Response:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(errors="replace"), token.encode())
        if scheme.lower() != "bearer" or not right:
            raise Problem("unauthorized", headers={"WWW-Authenticate": 'Bearer realm="metrics"'})
        return await _answer(report)

    app.router.add_get(PATH, metrics)


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
