"""A route that is on its way out, and how its callers are told: in every answer, and in the documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Deprecated:
    """Since when a route should not be used, until when it can be, and where to read what to do.

    since    told as `Deprecation: @<Unix seconds>` (RFC 9745)
    sunset   told as `Sunset: <HTTP date>` (RFC 8594); None: it is not decided
    link     told as `Link: <link>; rel="deprecation"`
    """

    since: datetime
    sunset: datetime | None = None
    link: str | None = None

    def __post_init__(self) -> None:
        """Dates have a zone, and nothing goes before it was said that it would."""
        if self.since.tzinfo is None or (self.sunset is not None and self.sunset.tzinfo is None):
            raise ValueError("dates need a time zone")
        if self.sunset is not None and self.sunset < self.since:
            raise ValueError("a route is not gone before it is deprecated")

    def headers(self) -> Mapping[str, str]:
        """What every answer of the route carries."""
        told = {"Deprecation": f"@{int(self.since.timestamp())}"}
        if self.sunset is not None:
            told["Sunset"] = format_datetime(self.sunset.astimezone(UTC), usegmt=True)
        if self.link is not None:
            told["Link"] = f'<{self.link}>; rel="deprecation"; type="text/html"'
        return told
