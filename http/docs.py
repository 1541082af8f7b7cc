"""The documents that the server tells about itself, as data and as pages.

    /openapi.json   the REST surface          /docs        Swagger UI over it
    /asyncapi.json  the live surface          /docs/live   one readable page
                                              /docs/errors every code of an error

The pages need nothing from other hosts: Swagger UI's files come from the installed `swagger-ui-py`, and a
content policy that allows this origin alone holds every page to it. The live page is rendered once, at the
start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from fitai.http import live_page
from fitai.http.headers import SHUT

Page = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Swagger UI draws its icons from data URLs. What it styles from its script needs no permission: only styles
# in the text of a page do.
_REST_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    f"connect-src 'self'; {SHUT}"
)
_LIVE_POLICY = f"default-src 'none'; style-src 'self'; {SHUT}"

# Of the package's folder only what the page asks for; it holds an editor of many megabytes besides.
_ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}

_PAGES = Path(__file__).parent / "pages"


def install(app: web.Application, *, openapi: dict[str, Any], asyncapi: dict[str, Any], errors: str) -> None:
    """Serve the documents and their pages, as written and with `/v1` in front; `errors` is a page."""
    # The pages link by relative paths only, so one rendering serves both prefixes, and any proxy's.
    live = live_page.render(asyncapi, document="../asyncapi.json", style="ui/live.css").encode()
    pages = {
        "/openapi.json": _fixed(orjson.dumps(openapi), "application/json"),
        "/asyncapi.json": _fixed(orjson.dumps(asyncapi), "application/json"),
        "/docs": _fixed((_PAGES / "rest.html").read_bytes(), "text/html", _REST_POLICY),
        "/docs/live": _fixed(live, "text/html", _LIVE_POLICY),
        "/docs/errors": _fixed(errors.encode(), "text/html", _LIVE_POLICY),
        "/docs/ui/live.css": _fixed((_PAGES / "live.css").read_bytes(), "text/css"),
        "/docs/ui/initializer.js": _fixed((_PAGES / "initializer.js").read_bytes(), "text/javascript"),
    }
    folder = swagger_folder()
    for name, content_type in _ASSETS.items():
        pages[f"/docs/ui/{name}"] = _asset(folder / name, content_type)
    for path, handler in pages.items():
        app.router.add_get(path, handler)
        app.router.add_get("/v1" + path, handler)


def swagger_folder() -> Path:
    """Where the installed package keeps Swagger UI. It is only located: importing it would import the
    web frameworks that it has adapters for. Raises RuntimeError when it is not installed."""
    spec = find_spec("swagger_ui")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package swagger-ui-py is not installed; /docs needs its files")
    return Path(spec.origin).parent / "static"


def _fixed(body: bytes, content_type: str, policy: str | None = None) -> Page:
    headers = {"Cache-Control": "no-cache"}
    if policy is not None:
        headers["Content-Security-Policy"] = policy
    text = content_type.startswith("text/")

    async def page(request: web.Request) -> web.Response:
        return web.Response(
            body=body, content_type=content_type, charset="utf-8" if text else None, headers=headers
        )

    return page


def _asset(file: Path, content_type: str) -> Page:
    async def asset(request: web.Request) -> web.FileResponse:
        # The names carry no version, so a copy is asked for again each time; unchanged answers 304.
        return web.FileResponse(file, headers={"Content-Type": content_type, "Cache-Control": "no-cache"})

    return asset
