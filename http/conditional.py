"""Conditional requests and retries: entity tags, If-Match, Idempotency-Key.

The entity tag of a workout is its revision in quotes, `"17"`; of one that is part of a group the end of that
one's id besides, `"17.9d2f5a6b7c8d"`, since the document names it. A write that could undo somebody else's
names the revision it was decided on (`If-Match`); the revision is compared inside the append, so that two
writers with one revision cannot both win.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from aiohttp import web

from fitai.gateways.live.jobs import Key
from fitai.http.problems import FieldError, Problem, invalid

# One entity tag of RFC 9110, 8.8.3: optionally weak, opaque text in quotes.
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_TAG_LIST = re.compile(rf"\s*{_TAG.pattern}\s*(?:,\s*{_TAG.pattern}\s*)*", re.ASCII)
_REV = re.compile(r"([1-9][0-9]{0,15}|0)(?:\.[0-9a-f]{12})?")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

NEVER = -1
"""A revision that no workout has: what a well-formed tag means that is none of ours."""


def etag(rev: int, group: str | None = None) -> str:
    """The entity tag of revision `rev` of a workout, and of the group (an id) that it is part of."""
    return f'"{rev}"' if group is None else f'"{rev}.{group[-12:]}"'


@dataclass(frozen=True, slots=True)
class IfMatch:
    """The revisions that the caller accepts; None stands for `*`, any that exists."""

    revs: tuple[int, ...] | None

    def expected(self, current: int) -> int | None:
        """The one revision to hold the write to, given that `current` is the present one; None: any."""
        if self.revs is None:
            return None
        return current if current in self.revs else self.revs[0]


def if_match(request: web.Request) -> IfMatch:
    """The If-Match header; raises precondition_required without one, validation_failed if malformed.

    A weak or foreign tag is well formed and matches nothing (RFC 9110, 13.1.1: strong comparison).
    """
    header = ", ".join(request.headers.getall("If-Match", []))
    if not header.strip():
        raise Problem("precondition_required")
    if header.strip() == "*":
        return IfMatch(None)
    if _TAG_LIST.fullmatch(header) is None:
        raise invalid(
            [FieldError("header", "If-Match", "malformed", 'must be an entity tag like "17", or *')]
        )
    return IfMatch(tuple(_rev(weak, text) for weak, text in _TAG.findall(header)))


def _rev(weak: str, text: str) -> int:
    rev = None if weak else _REV.fullmatch(text)
    return NEVER if rev is None else int(rev[1])


def none_match(request: web.Request, tag: str) -> bool:
    """Whether If-None-Match says that the caller holds `tag` already (weak comparison)."""
    header = ", ".join(request.headers.getall("If-None-Match", []))
    return header.strip() == "*" or tag in (f'"{text}"' for _, text in _TAG.findall(header))


def idempotency_key(request: web.Request, body: bytes) -> Key | None:
    """The Idempotency-Key header with a digest of what it stands for: method, path and body.

    `/v1/…` and `/…` are one path. Raises validation_failed if it is no visible ASCII of 1 to 255 characters.
    """
    header = request.headers.get("Idempotency-Key")
    if header is None:
        return None
    if _KEY.fullmatch(header) is None:
        reason = "must be 1 to 255 visible ASCII characters"
        raise invalid([FieldError("header", "Idempotency-Key", "malformed", reason)])
    digest = hashlib.sha256()
    for part in (request.method.encode(), request.path.removeprefix("/v1").encode(), body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return Key(header, digest.hexdigest())
