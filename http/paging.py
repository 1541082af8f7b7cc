"""Lists in pages: one way for every route.

    query     cursor, limit            class ThingQuery(PageQuery): …
    answer    the items, next_cursor   class ThingPage(Paged): things: list[Thing]

The cursor is opaque (`persistence.cursors`); a strange one raises BadCursor, which is answered by 422.
Twins of live events (`/sync/…`) page as the protocol says: `after`, `next`.
"""

from __future__ import annotations

from pydantic import Field

from fitai.http.frame import Query, Schema

LONGEST = 100


class PageQuery(Query):
    """Which page of a list."""

    cursor: str | None = Field(None, max_length=512, description="`next_cursor` of the page before.")
    limit: int = Field(20, ge=1, le=LONGEST, description="Items on the page.")


class Paged(Schema):
    """A page of a list; without `next_cursor` it is the last."""

    next_cursor: str | None
