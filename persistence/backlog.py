"""How far the outbox is behind: what `/health` tells of it."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, select

from fitai.persistence.database import Database
from fitai.persistence.identity_models import IS_PENDING, JobRow


class Backlog(NamedTuple):
    """Jobs that are due and not done, and for how long the oldest of them has been due, ms."""

    waiting: int
    oldest_ms: int


async def backlog(db: Database, now: int) -> Backlog:
    """The backlog at a moment (Unix ms), by the index of what is due; raises Unavailable."""
    due = select(func.count(), func.min(JobRow.due_at)).where(IS_PENDING, JobRow.due_at <= now)
    async with db.read() as session:
        waiting, oldest = (await session.execute(due)).one()
    return Backlog(waiting, 0 if oldest is None else now - oldest)
