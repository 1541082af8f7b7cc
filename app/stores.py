"""The database of a command that is not a server: opened, at the right schema, closed again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fitai.app.settings import Settings
from fitai.persistence.database import Database
from fitai.persistence.slow import Slow


@asynccontextmanager
async def open_database(settings: Settings, *, migrate: bool) -> AsyncIterator[Database]:
    """The database of the settings, migrated if asked to, else checked.

    Raises Unavailable, BadUrl, or WrongSchema when it is checked only and is behind.
    """
    async with opened(settings) as db:
        await (db.migrate() if migrate else db.check())
        yield db


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """The database of the settings, whatever its schema; raises Unavailable, BadUrl."""
    db = database_of(settings)
    try:
        yield db
    finally:
        await db.close()


def database_of(settings: Settings) -> Database:
    """The database of the settings, for the caller to close; raises BadUrl."""
    ms = settings.database_slow_ms
    return Database.open(
        settings.database_url,
        pool_size=settings.database_pool,
        statement_s=settings.database_statement_seconds,
        slow=Slow(ms, settings.database_slow_plans) if ms > 0 else None,
    )
