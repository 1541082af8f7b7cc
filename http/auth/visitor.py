"""Where a request comes from, as a person is told of it: an address and a browser's or app's name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiohttp import web

_AGENT = 256  # characters of it that are kept
_ADDRESS = 45  # the longest address as text, IPv4 in IPv6
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Visitor:
    """`address` is the client's (behind proxies that are trusted), `agent` what it calls itself."""

    address: str | None = None
    agent: str | None = None


NOBODY = Visitor()


def visitor(request: web.Request) -> Visitor:
    """Who sends this request."""
    agent = _CONTROL.sub(" ", request.headers.get("User-Agent", "")).strip()[:_AGENT]
    return Visitor((request.remote or "")[:_ADDRESS] or None, agent or None)
