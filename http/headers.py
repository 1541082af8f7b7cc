"""What every answer tells a browser to leave alone: REST, errors, pages, sockets, metrics.

An answer that needs more than the strictest policy says so itself (the pages in `docs.py`), and keeps what it
said. Nothing here protects a caller that is no browser; for those that are, an answer is data: it is not
sniffed, framed, embedded, cached, or told about to other sites.

    Strict-Transport-Security   only where callers come by TLS: when `FITAI_PUBLIC_URL` begins with https, or
                                a trusted proxy says so of this request. It holds for subdomains too.
    Server                      names no library and no version
"""

from __future__ import annotations

from aiohttp import web
from multidict import CIMultiDict

SECURE: web.RequestKey[bool] = web.RequestKey("fitai_secure", bool)
"""A trusted proxy said that the caller came by TLS."""

BY_TLS: web.AppKey[bool] = web.AppKey("fitai_by_tls", bool)
"""All callers come by TLS."""

_UNUSED = ("camera", "display-capture", "geolocation", "microphone", "payment", "usb")

SHUT = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The end of every content policy."""

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; {SHUT}",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _UNUSED),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_MERGED = CIMultiDict(SECURITY_HEADERS)

HSTS = "max-age=63072000; includeSubDomains"  # two years


def install(app: web.Application, *, public_url: str = "") -> None:
    """Put them on every answer of the application."""
    by_tls = app[BY_TLS] = public_url.startswith("https://")

    async def sign(request: web.Request, response: web.StreamResponse) -> None:
        protect(response.headers, hsts=by_tls or request.get(SECURE, False))

    app.on_response_prepare.append(sign)


def protect(headers: CIMultiDict[str], *, hsts: bool = False) -> None:
    """Add to an answer's headers what it does not say itself."""
    headers.merge(_MERGED)
    if hsts:
        headers["Strict-Transport-Security"] = HSTS
    headers["Server"] = "FitAI"
