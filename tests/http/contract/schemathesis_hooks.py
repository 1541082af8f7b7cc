"""What schemathesis has to be told of this API. It runs in its own process, which loads this by its path."""

from __future__ import annotations

import re
import uuid
from typing import Any

import msgpack
import schemathesis

_KEY = re.compile(r"[!-~]{1,255}")


@schemathesis.serializer("application/msgpack")
def to_msgpack(context: Any, value: Any) -> bytes:
    """Bodies of the sync routes."""
    return msgpack.packb(_within(value))


def _within(value: Any) -> Any:
    """What msgpack has no number for is told as a float: the server must not mind."""
    if isinstance(value, dict):
        return {key: _within(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_within(item) for item in value]
    huge = type(value) is int and not -(2**63) <= value < 2**64
    return float(str(value)) if huge else value


@schemathesis.deserializer("application/msgpack")
def from_msgpack(context: Any, response: Any) -> Any:
    """Their answers."""
    return msgpack.unpackb(response.content)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Each request has a key of its own: one that stands for another request is refused, as it should be."""
    key = case.headers.get("Idempotency-Key") if case.headers else None
    if key and _KEY.fullmatch(str(key)):
        case.headers["Idempotency-Key"] = uuid.uuid4().hex
