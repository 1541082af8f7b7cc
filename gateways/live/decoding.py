"""Reading the payload of an event: strict, and normal before it is read."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from fitai.sync.wire import Refusal, normal

T = TypeVar("T", bound=msgspec.Struct)

_DEPTH: Final = 4  # of every payload but a push


def decode(payload: Any, into: type[T]) -> T:
    """The payload as the type of its event; raises Refusal bad_request."""
    try:
        return msgspec.convert(normal(payload, _DEPTH), into)
    except msgspec.ValidationError as error:
        raise Refusal("bad_request", str(error)) from None
