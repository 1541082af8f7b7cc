"""Every way in which a request can fail, in one catalogue, and the one place that turns errors into it.

An error answers as RFC 9457 problem+json. `code` is for programs and never changes; `title` is for
people; `detail` tells this occurrence; further members depend on the code (`errors`, `current`, `from`…).

    domain error (engine, sync, persistence, gateways)  --translate-->  Problem  --response-->  problem+json

Services raise `Problem` where REST itself is the reason (an e-mail address that is taken, a link that has
expired). What the lower layers raise is translated here, so that none of them knows HTTP.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from fitai.engine.kinds import BadValue
from fitai.engine.machine import IllegalEdge
from fitai.gateways.identity import NotAuthenticated
from fitai.gateways.live.hosts import UnknownUser
from fitai.gateways.live.jobs import KeyReuse, RevClash
from fitai.persistence.cursors import BadCursor
from fitai.persistence.database import Unavailable
from fitai.sync.wire import Refusal

CONTENT_TYPE = "application/problem+json"
PAGE = "/docs/errors"  # where the catalogue is shown to people


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """One line of the catalogue: HTTP status, a title for people, and what a client should do about it."""

    status: int
    title: str
    advice: str


CATALOGUE: Mapping[str, ProblemKind] = {
    "bad_request": ProblemKind(
        400, "The request cannot be read", "Correct the request; a retry cannot help."
    ),
    "unauthorized": ProblemKind(
        401, "Not signed in", "Send a valid access token as `Authorization: Bearer`."
    ),
    "token_expired": ProblemKind(401, "The access token has expired", "Refresh the tokens and try again."),
    "device_revoked": ProblemKind(401, "This device was revoked", "Sign in again."),
    "invalid_credentials": ProblemKind(401, "E-mail or password is wrong", "Ask the person again."),
    "second_factor_required": ProblemKind(
        401, "A second factor is needed", "Ask the person for a code of their app and send it as `otp`."
    ),
    "second_factor_invalid": ProblemKind(
        401, "The code is wrong or was used before", "Ask the person for the next code."
    ),
    "invalid_refresh_token": ProblemKind(401, "The refresh token is not valid", "Sign in again."),
    "refresh_token_reused": ProblemKind(
        401,
        "The refresh token was used before",
        "All tokens of this sign-in are revoked, since a copy may be in other hands. Sign in again.",
    ),
    "confirmation_failed": ProblemKind(
        403,
        "The person could not be confirmed",
        "`failed` names what is wrong or missing, `password` or `otp`: ask for it.",
    ),
    "forbidden": ProblemKind(
        403,
        "You may not do that",
        "`scope` is what the token lacks; in a group, `role` may not do `kind`. Without either it takes a"
        " person who has signed in, or an admin. A retry cannot help.",
    ),
    "banned": ProblemKind(403, "You were banned from this group", "Only its host or a coach can lift that."),
    "closed": ProblemKind(403, "This group takes nobody in", "Ask its host to open it."),
    "origin_refused": ProblemKind(
        403,
        "This page may not sign in with cookies",
        "Browser mode is for our own pages and for those of origins that FITAI_ALLOWED_ORIGINS names.",
    ),
    "not_found": ProblemKind(404, "Not found", "It does not exist, or it is not yours."),
    "method_not_allowed": ProblemKind(405, "Method not allowed", "Use a method of the `Allow` header."),
    "request_timeout": ProblemKind(408, "The body came too slowly", "Send the request again."),
    "already_exists": ProblemKind(409, "It exists already", "Change the existing one or choose another id."),
    "email_taken": ProblemKind(409, "This e-mail address is registered", "Sign in instead."),
    "illegal_edge": ProblemKind(
        409, "That cannot be done now", "`from` is the state that it is in, `trigger` what was asked."
    ),
    "full": ProblemKind(409, "The group is full", "`capacity` is how many it takes. Somebody may leave."),
    "gap": ProblemKind(409, "Operations are missing", "Send from `next_n`."),
    "equivocation": ProblemKind(409, "This number was used for another operation", "Fork the device."),
    "base_ahead": ProblemKind(409, "The base lies beyond the log", "Start over from a snapshot."),
    "epoch": ProblemKind(409, "The stream has a new epoch", "Start over from a snapshot."),
    "invite_over": ProblemKind(410, "The invitation is over", "Ask its host or a coach for the code of now."),
    "invalid_link": ProblemKind(
        410, "The link is not valid any more", "It was used, or a newer one was sent, or it is too old."
    ),
    "precondition_failed": ProblemKind(
        412, "It has changed meanwhile", "`current` is the state now; decide again and send its ETag."
    ),
    "too_large": ProblemKind(413, "The request is too large", "Send less at once."),
    "too_many": ProblemKind(413, "Too many items in one request", "Send fewer at once."),
    "unsupported_media_type": ProblemKind(
        415,
        "Unsupported content type or encoding",
        "Send JSON as `application/json`, or what the answer's `Accept` and `Accept-Encoding` name.",
    ),
    "validation_failed": ProblemKind(
        422, "Some fields are not valid", "`errors` names each field and reason."
    ),
    "weak_password": ProblemKind(
        422,
        "The password can be guessed too easily",
        "`warning` says why, `suggestions` what would help.",
    ),
    "bad_value": ProblemKind(422, "A value is not valid", "`field` and `reason` say which and why."),
    "limit": ProblemKind(422, "A limit is reached", "`limit` names it, `max` is its bound."),
    "idempotency_key_reused": ProblemKind(
        422, "The Idempotency-Key belongs to another request", "Use a new key for a new request."
    ),
    "precondition_required": ProblemKind(
        428, "If-Match is required", "Read first, then send the ETag as `If-Match`."
    ),
    "later": ProblemKind(429, "Too much at the moment", "Wait for `Retry-After`, then send the same again."),
    "internal": ProblemKind(500, "Something went wrong here", "Tell us the request id."),
    "unavailable": ProblemKind(503, "Not available at the moment", "Wait, then send the same again."),
}


class Problem(Exception):
    """A request that failed for the reason `code` (a key of `CATALOGUE`).

    `detail` is one sentence on this occurrence, `extra` the members that the code promises, `headers`
    what the response carries besides.
    """

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        kind = CATALOGUE[code]
        super().__init__(detail or kind.title)
        self.code = code
        self.kind = kind
        self.detail = detail
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})

    def as_answer(self) -> Problem:
        """The same with the members that a refused live event has: `ok`, `message` (and `code`)."""
        message = self.extra.get("message") or self.detail or self.kind.title
        extra = {"ok": False, "message": message, **self.extra}
        return Problem(self.code, self.detail, extra=extra, headers=self.headers)

    def document(self, request_id: str, site: str = "") -> dict[str, Any]:
        """The problem+json members; the reserved ones win over `extra`. `type` leads to where people read
        what the code means, at `site` (such as https://fit.example.com), else at wherever the answer came
        from."""
        document = {
            **self.extra,
            "type": type_of(self.code, site),
            "title": self.kind.title,
            "status": self.kind.status,
            "code": self.code,
            "request_id": request_id,
        }
        if self.detail is not None:
            document["detail"] = self.detail
        return document

    def response(self, request_id: str, site: str = "") -> web.Response:
        """The problem as a response; a 401 or 403 carries the challenge that RFC 6750 asks for, unless no
        other token would help: it is the person who may not."""
        headers = {"Cache-Control": "no-store", **self.headers}
        of_the_token = "role" not in self.extra and self.code not in ("banned", "closed")
        if self.kind.status in (401, 403) and of_the_token:
            headers.setdefault("WWW-Authenticate", challenge(self.code, self.extra.get("scope")))
        return web.Response(
            status=self.kind.status,
            body=orjson.dumps(self.document(request_id, site)),
            content_type=CONTENT_TYPE,
            headers=headers,
        )


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field: where it was (`body`, `query`, `header`), its path with dots, why."""

    where: str
    field: str
    code: str
    reason: str

    def document(self) -> dict[str, str]:
        """The error as a member of `errors`."""
        return {"in": self.where, "field": self.field, "code": self.code, "reason": self.reason}


class NotReady(Exception):
    """A readiness check failed; `checks` tells each one's answer."""

    def __init__(self, checks: Mapping[str, str]) -> None:
        super().__init__("not ready")
        self.checks = dict(checks)


def type_of(code: str, site: str = "") -> str:
    """A problem's type by RFC 9457: where people read what it means. Programs go by `code`."""
    return f"{site}{PAGE}#{code}"


def invalid(errors: Iterable[FieldError]) -> Problem:
    """validation_failed with each field's error."""
    return Problem("validation_failed", extra={"errors": [error.document() for error in errors]})


def forbidden(scope: str | None) -> Problem:
    """The answer to a token that lacks `scope`; None: what only a person may do."""
    return Problem("forbidden", extra={} if scope is None else {"scope": scope})


def not_found() -> Problem:
    """The one answer for what does not exist and for what belongs to somebody else: they must not differ."""
    return Problem("not_found")


def challenge(code: str, scope: str | None = None) -> str:
    """The WWW-Authenticate value: an error is named only where a token was sent (RFC 6750, 3.1)."""
    told = 'Bearer realm="fitai"'
    if code == "forbidden":
        told += ', error="insufficient_scope"'
    elif code != "unauthorized":
        told += ', error="invalid_token"'
    return told if scope is None else f'{told}, scope="{scope}"'


def translate(error: Exception) -> Problem | None:
    """The problem that a domain or framework error means; None for one that nobody expected."""
    if isinstance(error, Problem):
        return error
    return next((make(error) for kind, make in _TRANSLATIONS if isinstance(error, kind)), None)


def _clash(error: RevClash) -> Problem:
    current = error.current
    return Problem(
        "precondition_failed",
        extra={"current": current.document},
        headers={"ETag": f'"{current.rev}"'},
    )


def _refusal(error: Refusal) -> Problem:
    code = error.code if error.code in CATALOGUE else "bad_request"
    extra = dict(error.extra)
    extra |= extra.pop("detail", None) or {}  # of an op that could not stand: here it is the problem's own
    headers = {}
    if CATALOGUE[code].status in (429, 503):
        headers["Retry-After"] = str(max(1, math.ceil(error.extra.get("retry_after_ms", 1000) / 1000)))
    return Problem(code, error.message, extra=extra, headers=headers)


_FRAMEWORK = {404: "not_found", 405: "method_not_allowed", 408: "request_timeout", 413: "too_large"}


def _framework(error: web.HTTPException) -> Problem:
    """aiohttp's own errors."""
    allow = error.headers.get("Allow")
    code = _FRAMEWORK.get(error.status, "bad_request" if error.status < 500 else "internal")
    return Problem(code, headers={"Allow": allow} if allow else None)


# The whole catalogue of what the lower layers raise; the first kind that fits wins.
_TRANSLATIONS: tuple[tuple[type[Exception], Callable[[Any], Problem]], ...] = (
    (NotAuthenticated, lambda error: Problem(error.code, error.message)),
    (RevClash, _clash),
    (KeyReuse, lambda error: Problem("idempotency_key_reused")),
    (IllegalEdge, lambda error: Problem("illegal_edge", f"{error}.".capitalize(), extra=error.detail)),
    (BadValue, lambda error: Problem("bad_value", extra=error.detail)),
    (UnknownUser, lambda error: not_found()),
    (Refusal, _refusal),
    (Unavailable, lambda error: Problem("unavailable", headers={"Retry-After": "1"})),
    (BadCursor, lambda error: invalid([FieldError("query", "cursor", "unknown", str(error))])),
    (NotReady, lambda error: Problem("unavailable", "Not all parts answer.", extra={"checks": error.checks})),
    (web.HTTPException, _framework),
)
