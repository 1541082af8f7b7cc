"""Backups, made, held against what they say, and restored, on either engine."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from fitai.persistence import schema
from fitai.persistence.backups import anew, archive, postgres, sqlite_file
from fitai.persistence.backups.archive import Archive, BadBackup, Manifest
from fitai.persistence.database import Database, Unavailable

# What may come of a restore belongs to its surface.
__all__ = ["BadBackup", "Manifest", "Restored", "begin_anew", "has_people", "make", "restore", "verify"]


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, from which backup, and how many accounts and records there are now."""

    manifest: Manifest
    people: int
    records: int


async def make(db: Database, path: Path, *, fitai: str, now: int) -> Manifest:
    """Write a backup of a database that may be in use; `now` is Unix ms, `fitai` this version.

    Raises BadBackup when there is nothing to back up, Unavailable, OSError. The file is there whole or not at
    all.
    """
    with archive.new(path, db.dialect) as new, _told():
        if db.dialect == "sqlite":
            revision, tables = await asyncio.to_thread(_copy_out, db, path, new)
        else:
            revision, tables = await _dump(db, new)
        manifest = Manifest(
            format=archive.FORMAT,
            engine=db.dialect,
            schema=_some(revision),
            made_at=now,
            fitai=fitai,
            sha256=new.sha256,
            tables=tables,
        )
        new.describe(manifest)
    return manifest


def verify(path: Path) -> Manifest:
    """Hold a backup's data against what it says of them, without any database; raises BadBackup, OSError."""
    with archive.opened(path) as backup, _told():
        if backup.manifest.engine == "sqlite":
            copy = path.with_name(path.name + ".checked")
            try:
                backup.extract(copy)
                _check_copy(backup, copy)
            finally:
                sqlite_file.remove(copy)
        else:
            archive.compare(backup.manifest.tables, postgres.read(backup.pieces()))
        return backup.manifest


async def has_people(db: Database) -> bool:
    """Whether a restore would replace somebody's data."""
    if db.dialect == "sqlite":
        with _told():
            return await asyncio.to_thread(sqlite_file.has_people, _file(db))
    async with db.alone() as engine, engine.begin() as connection:
        return await postgres.has_people(await postgres.driver_connection(connection))


async def restore(db: Database, path: Path, *, now: int) -> Restored:
    """Replace all that a database holds by a backup, brought to the newest schema and begun anew (`anew`).

    One transaction: whatever stops it, the database is as it was. Servers may run meanwhile; what they are
    asked to write waits. Raises BadBackup, Unavailable, OSError.
    """
    with archive.opened(path) as backup, _told():
        manifest = backup.manifest
        _check_fits(manifest, db)
        if db.dialect == "sqlite":
            people = await _copy_in(db, backup, now)
        else:
            async with db.alone() as engine, engine.begin() as connection:
                await postgres.load(connection, manifest.schema, backup.pieces(), manifest.tables)
                await anew.begin_anew(connection, now)
                people = await anew.people(connection)
    return Restored(manifest, people, manifest.tables["records"].rows)


async def begin_anew(db: Database, *, now: int) -> int:
    """What a restore does besides, for a database that was restored by other means; returns how many accounts
    there are. Migrates. Raises Unavailable."""
    await db.migrate()
    async with db.alone() as engine, engine.begin() as connection:
        await anew.begin_anew(connection, now)
        return await anew.people(connection)


def _check_fits(manifest: Manifest, db: Database) -> None:
    if manifest.engine != db.dialect:
        raise BadBackup(f"it was made of {manifest.engine}, and the database is {db.dialect}")
    if schema.is_newer(manifest.schema):
        raise BadBackup(f"a newer release made it (fitai {manifest.fitai}, schema {manifest.schema})")


def _some(revision: str | None) -> str:
    if revision is None:
        raise BadBackup("there is nothing to back up: the database is empty")
    return revision


# -- SQLite -------------------------------------------------------------------------------------------


def _copy_out(db: Database, path: Path, new: archive.New) -> tuple[str | None, dict[str, archive.Table]]:
    copy = path.with_name(path.name + ".copy")
    try:
        sqlite_file.copy_out(_file(db), copy)
        with new.payload() as payload, copy.open("rb") as file:
            while piece := file.read(archive.PIECE):
                payload.write(piece)
        return sqlite_file.revision(copy), sqlite_file.tables(copy)
    finally:
        sqlite_file.remove(copy)


async def _copy_in(db: Database, backup: Archive, now: int) -> int:
    """Make it ready beside the database, then put it in its place."""
    database = _file(db)
    copy = database.with_name(database.name + ".restoring")
    sqlite_file.remove(copy)
    try:
        await asyncio.to_thread(backup.extract, copy)
        await asyncio.to_thread(_check_copy, backup, copy)
        ready = Database.open(f"sqlite:///{copy}")
        try:
            people = await begin_anew(ready, now=now)
        finally:
            await ready.close()
        await asyncio.to_thread(sqlite_file.copy_in, copy, database)
        return people
    finally:
        sqlite_file.remove(copy)


def _check_copy(backup: Archive, copy: Path) -> None:
    archive.compare(backup.manifest.tables, sqlite_file.tables(copy))
    if sqlite_file.revision(copy) != backup.manifest.schema:
        raise BadBackup("its schema is not the one that it was made with")


def _file(db: Database) -> Path:
    return Path(db.url.database or "")


# -- PostgreSQL ---------------------------------------------------------------------------------------


async def _dump(db: Database, new: archive.New) -> tuple[str | None, dict[str, archive.Table]]:
    async with db.alone() as engine:
        frozen = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        async with frozen.begin() as connection:
            raw = await postgres.driver_connection(connection)
            with new.payload() as payload:
                tables = await postgres.dump(raw, payload.write)
            return await postgres.revision(raw), tables


@contextmanager
def _told() -> Iterator[None]:
    """Turn what the drivers raise into what is expected of a database."""
    try:
        yield
    except sqlite_file.Busy as error:
        raise Unavailable(str(error)) from error
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise BadBackup(f"a database file is damaged: {error}") from error
        raise Unavailable(f"the database is away: {error}") from error
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
        raise BadBackup("it is damaged: the database refuses its data") from error
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
        raise Unavailable(f"the database is away: {error}") from error
