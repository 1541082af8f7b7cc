"""Browser mode: the refresh token in a cookie that no script can read.

A page that sends `X-FitAI-Mode: browser` gets the refresh token as a cookie instead of in the body, and its
refreshes and its logout need no token in theirs. The access token stays in the page's memory and goes in a
header, as everywhere: no other route reads a cookie, so there is nothing else to forge.

What a hostile page could do with the cookie is refused three times: the browser does not send it from
another site (`SameSite=Strict`); a form or an image can not set the header, and a script of another origin
may only after a preflight; and `Origin`, which is required here, must be ours or one that is allowed by name.
`__Host-` binds the cookie to this host, over TLS, so that no sibling domain can plant one.
"""

from __future__ import annotations

from aiohttp import web

from fitai.gateways.origins import Origins
from fitai.http.auth.schemas import Session
from fitai.http.frame import Reply
from fitai.http.problems import Problem

MODE = "X-FitAI-Mode"
BROWSER = "browser"
COOKIE = "__Host-fitai_refresh"

ORIGINS: web.AppKey[Origins] = web.AppKey("fitai_origins", Origins)
LIFETIME_S: web.AppKey[int] = web.AppKey("fitai_cookie_lifetime", int)


def is_browser(request: web.Request) -> bool:
    """Whether a page asks for browser mode; raises Problem origin_refused if it may not."""
    if request.headers.get(MODE, "").strip().lower() != BROWSER:
        return False
    if not request.app[ORIGINS].may_use_cookies(
        request.headers.get("Origin"), request.headers.get("Host", "")
    ):
        raise Problem("origin_refused")
    return True


def shown(request: web.Request, in_body: str | None) -> str | None:
    """The refresh token that a request shows: in its body, or else, in browser mode, as a cookie."""
    return request.cookies.get(COOKIE) if is_browser(request) and in_body is None else in_body


def handed(request: web.Request, session: Session) -> Reply:
    """A session as it is handed out: in browser mode its refresh token becomes the cookie."""
    if not is_browser(request) or session.refresh_token is None:
        return Reply(session)
    cookie = _cookie(session.refresh_token, request.app[LIFETIME_S])
    return Reply(session.model_copy(update={"refresh_token": None}), headers={"Set-Cookie": cookie})


def forgotten(request: web.Request) -> dict[str, str]:
    """The headers that take the cookie away again; none outside of browser mode."""
    return {"Set-Cookie": _cookie("", 0)} if is_browser(request) else {}


def _cookie(value: str, max_age: int) -> str:
    return f"{COOKIE}={value}; Max-Age={max_age}; Path=/; Secure; HttpOnly; SameSite=Strict"
