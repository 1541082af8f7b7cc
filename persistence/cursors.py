"""Where the next page of a list begins, as one opaque word.

It holds the place of the last item that was shown, so that pages neither repeat nor leave out what was there
all the time, and cost the same however far they are. It is a place among what the reader may see anyway, and
so needs no seal; whoever reads it checks each part of it.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson


class BadCursor(ValueError):
    """The cursor is none of this list's."""

    def __init__(self) -> None:
        super().__init__("this cursor is none of ours")


def write(*place: Any) -> str:
    """A place, as numbers and texts, in words that fit a URL."""
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


def read(cursor: str) -> Any:
    """What `write` was given, as a list, or whatever JSON somebody made up; raises BadCursor."""
    try:
        return orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        raise BadCursor from None
