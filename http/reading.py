"""What a request says, read strictly: its token, its query, its body.

Everything that is wrong is raised as a Problem, and no value comes back in print: it may be a password.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from fitai.gateways.identity import NotAuthenticated
from fitai.http import media
from fitai.http.problems import FieldError, Problem, invalid, not_found

BODY_BYTES = 1024 * 1024  # the largest request body, after decompression, unless set otherwise
BODY_S = 15.0  # the longest that a body may take to arrive

BODY_SECONDS: web.AppKey[float] = web.AppKey("fitai_body_seconds", float)

_JSON = re.compile(r"application/(?:[!#$&^_.+\w-]+\+)?json", re.ASCII | re.IGNORECASE)


def bearer(request: web.Request) -> str:
    """The token of `Authorization: Bearer …`; raises NotAuthenticated without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("unauthorized", "An access token is needed.")
    return token.strip()


async def read_body(request: web.Request, limit: int | None = None) -> bytes:
    """The whole body, inflated, bounded in size (before and after) and time; raises Problem."""
    limit = limit or request.client_max_size
    if (request.content_length or 0) > limit:
        raise media.too_large(limit)
    raw = bytearray()
    try:
        async with asyncio.timeout(request.app[BODY_SECONDS]):
            while chunk := await request.content.readany():
                raw += chunk
                if len(raw) > limit:
                    raise media.too_large(limit)
    except TimeoutError:
        raise Problem("request_timeout", headers={"Connection": "close"}) from None
    except web.RequestPayloadError as error:
        raise Problem("bad_request", f"The body cannot be read: {error}") from None
    return media.inflated(request, bytes(raw), limit)


def parse_json(request: web.Request, raw: bytes, accepted: str = media.JSON) -> Any:
    """The body as plain values, strictly by RFC 8259 (no NaN, no lone surrogate, at most 1,024 levels).

    An empty body is an empty object, whatever its type. Raises bad_request, or unsupported_media_type with
    the types that are `accepted`.
    """
    if not raw:
        return {}
    if _JSON.fullmatch(request.content_type) is None or (request.charset or "utf-8").lower() not in (
        "utf-8",
        "utf8",
        "us-ascii",
    ):
        raise Problem("unsupported_media_type", headers={"Accept": accepted})
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Problem("bad_request", f"The body is not JSON: {error}.") from None


def flat_query(request: web.Request) -> dict[str, str]:
    """The query as one value per name; raises validation_failed for a name that comes twice."""
    query = request.query
    twice = sorted({name for name in query if len(query.getall(name)) > 1})
    if twice:
        raise invalid(FieldError("query", name, "repeated", "may come once only") for name in twice)
    return dict(query)


def named(model: type[BaseModel], parameters: Mapping[str, str]) -> BaseModel:
    """A path's parameters; what does not fit names nothing: not_found."""
    try:
        return model.model_validate(dict(parameters))
    except ValidationError:
        raise not_found() from None


def validated(model: type[BaseModel], value: Any, where: str) -> BaseModel:
    """A value as its model; raises validation_failed with each field's error."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(_field_errors(error, where)) from None


def _plain(location: Iterable[int | str]) -> Iterator[str]:
    """Without the validators of a union, which pydantic names by their Python."""
    return (part for part in map(str, location) if "[" not in part and "(" not in part)


def _field_errors(error: ValidationError, where: str) -> list[FieldError]:
    """pydantic's errors without its links and without the value: a password must not come back in print."""
    return [
        FieldError(where, ".".join(_plain(item["loc"])), item["type"], item["msg"])
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
