"""The database of a command that is not a server: opened, at the right schema, closed again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fitai.app.settings import Settings
from fitai.persistence.database import Database


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
    db = Database.open(
        settings.database_url,
        pool_size=settings.database_pool,
        statement_s=settings.database_statement_seconds,
    )
    try:
        yield db
    finally:
        await db.close()
