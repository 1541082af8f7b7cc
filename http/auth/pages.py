"""The two pages that links in letters lead to, for people without an app at hand.

They hold nothing of the request but, escaped, the token or the address that its letter was sent to. The page
that asks for a new password sends JSON, so it has a script; the policy allows this one by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from aiohttp import hdrs, web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fitai.http.problems import Problem

_PAGES = Path(__file__).parent.parent / "pages"
_TEMPLATES = Environment(
    loader=FileSystemLoader(_PAGES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_STYLE = (_PAGES / "account.css").read_text("utf-8")
_SCRIPT = (_PAGES / "password.js").read_text("utf-8")
_POLICY = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def wants_page(request: web.Request) -> bool:
    """Whether a browser asks: it names HTML, programs do not."""
    return "text/html" in request.headers.get(hdrs.ACCEPT, "").lower()


def page(name: str, status: int = 200, **values: Any) -> web.Response:
    """A page of this server's, such as `verify`; `values` are what its template shows."""
    html = _TEMPLATES.get_template(f"{name}.html").render(style=_STYLE, script=_SCRIPT, **values)
    return web.Response(
        status=status,
        text=html,
        content_type="text/html",
        headers={"Cache-Control": "no-store", "Content-Security-Policy": _POLICY},
    )


def refusal(problem: Problem) -> web.Response:
    """The page of a link that can not be honoured."""
    return page("verify", problem.kind.status, title="Sorry", text=f"{problem.kind.title}.", token=None)
