"""SQLite: the database's file, copied in and out while others use it.

Out: by the online backup, within a read transaction, so that all pages are of one moment however long it
takes and whoever writes meanwhile. In: the other way round, which is one transaction of the database's: those
who have it open see all of it or nothing, and after a kill it is as it was.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from fitai.persistence.backups.archive import BadBackup, Table
from fitai.persistence.backups.tally import Tally, line

PAGES = 4096  # copied at once
BUSY_S = 30.0  # the longest wait for the database's writers


class Busy(Exception):
    """The database's write lock was not given up in time; nothing is changed."""


def copy_out(database: Path, copy: Path) -> None:
    """Copy a database that may be in use; raises sqlite3.Error, BadBackup when there is none."""
    if not database.exists():
        raise BadBackup(f"there is no database at {database}")
    copy.unlink(missing_ok=True)
    copy.touch(0o600)
    with closing(_open(database)) as source, closing(_open(copy)) as target:
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        source.backup(target, pages=PAGES)
        source.execute("ROLLBACK")
        # One file, without a journal beside it.
        target.execute("PRAGMA journal_mode = DELETE")


def copy_in(copy: Path, database: Path) -> None:
    """Make the database what the copy is, in one transaction; raises sqlite3.Error, Busy."""
    with closing(_open(copy)) as source, closing(_open(database)) as target:
        target.execute("PRAGMA journal_mode = WAL")
        target.execute("PRAGMA synchronous = FULL")
        until = time.monotonic() + BUSY_S

        def watch(status: int, _left: int, _all: int) -> None:
            if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > until:
                raise Busy("others write to the database and do not pause")

        source.backup(target, pages=-1, progress=watch, sleep=0.05)


def tables(database: Path) -> dict[str, Table]:
    """What each table holds. Raises BadBackup when the file's structure is damaged."""
    with _reading(database) as connection:
        [(state,), *_] = connection.execute("PRAGMA integrity_check(1)").fetchall()
        if state != "ok":
            raise BadBackup("the database in it is damaged")
        found: dict[str, Table] = {}
        for (name,) in connection.execute(_TABLES).fetchall():
            tally = Tally()
            for row in connection.execute(f'SELECT * FROM "{name}"'):
                tally.feed(line(row))
            found[name] = Table(tally.rows, tally.digest)
        return found


def revision(database: Path) -> str | None:
    """The schema's revision; None without any."""
    with _reading(database) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:
            return None
        return None if row is None else str(row[0])


def has_people(database: Path) -> bool:
    """Whether there is a database with accounts in it."""
    if not database.exists():
        return False
    with _reading(database) as connection:
        try:
            return connection.execute("SELECT 1 FROM users LIMIT 1").fetchone() is not None
        except sqlite3.OperationalError:
            return False


def remove(database: Path) -> None:
    """Take a database's files away."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"


@contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(_open(database)) as connection:
        connection.execute("PRAGMA query_only = ON")
        yield connection


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, isolation_level=None, timeout=BUSY_S)
