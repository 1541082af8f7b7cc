"""The database: how it is opened, who may write, and what its absence looks like.

SQLite and PostgreSQL behind one small surface. Two kinds of session, two types:

- `read()` gives a `ReadSession`: one unchanging picture of the data for as long as it is open. The
  database itself refuses writes in it.
- `write()` gives a `WriteSession`, and is **the one place that commits**: at the end of its block, or it
  rolls back when the block raises.

An error that means "the database is away" leaves here as `Unavailable`; nothing of the block is stored
then. Its special case `CommitUnknown` is the only doubt that there can be: the connection was lost while
the commit was on its way, so the block is stored whole or not at all, and only reading can tell.

SQLite has one writer: writers of this process queue for one connection, and `BEGIN IMMEDIATE` with a busy
timeout holds them apart from other processes. WAL keeps readers out of their way; `synchronous=FULL`
puts each commit on the disk before it is acknowledged.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import NullPool

from fitai.persistence import schema

OLDEST_SQLITE = (3, 35, 0)  # RETURNING
LOCK_WAIT_S = 2.0  # the longest wait for a row lock, or for SQLite's write lock
STATEMENT_S = 10.0  # the longest single statement before the database counts as away
CONNECT_S = 5.0
POOL_WAIT_S = 5.0
CLOSE_S = 2.0  # the longest wait for a rollback when a session ends

# SQLSTATEs that say "not now", by class and by code (PostgreSQL, appendix A).
_AWAY_CLASSES = ("08", "53", "57P", "58")
_AWAY_CODES = frozenset({"40001", "25P03"})
_READ_ONLY_CODE = "25006"
_LOCKED_CODES = frozenset({"55P03", "40P01"})
_SQLITE_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
    }
)


class Unavailable(Exception):
    """The database is away; nothing is known to be stored."""


class Locked(Unavailable):
    """A lock that another transaction holds was not given up in time; nothing is stored."""


class CommitUnknown(Unavailable):
    """The connection was lost during the commit: all of it is stored, or nothing."""


class BadUrl(ValueError):
    """The database URL cannot be used; the message says why in one sentence and shows no password."""


class ReadSession(AsyncSession):
    """A session that sees one unchanging picture of the data."""


class WriteSession(ReadSession):
    """A session whose work is committed by `Database.write`, nowhere else."""


class Database:
    """An opened database; connections are made when first needed and again after they are lost."""

    def __init__(self, url: URL, engine: AsyncEngine, reader: AsyncEngine, writer: AsyncEngine) -> None:
        self.url = url
        self.engine = engine
        self._reader = async_sessionmaker(reader, class_=ReadSession, expire_on_commit=False)
        self._writer = async_sessionmaker(writer, class_=WriteSession, expire_on_commit=False)
        self._engines = {engine, writer}

    @classmethod
    def open(cls, url: str, *, pool_size: int = 5) -> Self:
        """Prepare a database by URL (see `normalise_url`) with at most `pool_size` connections.

        Connects to nothing yet. SQLite: the file's folder is created. Raises BadUrl.
        """
        parsed = normalise_url(url)
        if parsed.get_backend_name() == "sqlite":
            _make_folder(parsed)
            reader = _sqlite_engine(parsed, pool_size, writes=False)
            writer = _sqlite_engine(parsed, 1)
            return cls(parsed, reader, reader, writer)
        engine = _postgres_engine(parsed, pool_size)
        reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        return cls(parsed, engine, reader, engine)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.url.get_backend_name()

    async def close(self) -> None:
        """Close every connection."""
        for engine in self._engines:
            await engine.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        """A read session; raises Unavailable."""
        session = self._reader()
        try:
            with _translating(writes=False):
                yield session
        finally:
            await _closed(session)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteSession]:
        """A write session that commits at the end of the block and rolls back when the block raises.

        Raises Unavailable (nothing stored), CommitUnknown (stored whole or not at all), or what the block
        raised.
        """
        session = self._writer()
        try:
            with _translating():
                yield session
                await session.flush()
            try:
                with _translating():
                    await session.commit()
            except BaseException as error:
                # The driver counts the transaction as over; SQLite may still be in it. Keep neither.
                await _dropped(session)
                if isinstance(error, Unavailable):
                    raise CommitUnknown(str(error)) from error
                raise
        finally:
            await _closed(session)

    async def migrate(self) -> None:
        """Bring the schema to the newest version, under a lock, in one transaction; raises Unavailable.

        Processes that migrate at the same time wait for one another; the later ones find nothing to do.
        """
        async with self._alone() as engine, engine.begin() as connection:
            await connection.run_sync(schema.upgrade)

    async def check(self) -> None:
        """Raise `schema.WrongSchema` when the schema is older than this code needs."""
        with _translating():
            async with self.engine.connect() as connection:
                await connection.run_sync(schema.check)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[AsyncEngine]:
        """An engine of its own for work that may take long: no statement timeout."""
        if self.dialect == "sqlite":
            engine = _sqlite_engine(self.url, 1, busy_s=schema.LOCK_WAIT_S)
        else:
            url, connect = _postgres_arguments(self.url)
            connect |= {"command_timeout": None, "server_settings": {"lock_timeout": "0"}}
            engine = create_async_engine(url, poolclass=NullPool, connect_args=connect)
        try:
            with _translating():
                yield engine
        finally:
            await engine.dispose()


def normalise_url(url: str) -> URL:
    """The URL with the driver that FitAI uses, whichever driver or none it named.

    `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgres://…`, `postgresql+any://…`, and
    `postgresql:///name?host=/socket/dir`. Of libpq's parameters `sslmode`, `connect_timeout` and
    `application_name` are understood. Raises BadUrl.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise BadUrl("the database URL is unreadable: give sqlite:///file or postgresql://…") from None
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite_url(parsed)
        case "postgres" | "postgresql":
            return parsed.set(drivername="postgresql+asyncpg")
        case other:
            raise BadUrl(f"no support for {other} databases: give sqlite:///file or postgresql://…")


def translated(error: Exception, *, writes: bool = True) -> Exception:
    """`error` as Unavailable or Locked when it means that the database is away, else as it is.

    A database that has become read-only (a standby after a failover, a remounted disk) is away for those
    who write; in a read session a write is a mistake of ours.
    """
    if isinstance(error, Unavailable):
        return error
    if isinstance(error, (PoolTimeout, OSError, TimeoutError)):
        return Unavailable(f"the database cannot be reached: {type(error).__name__}: {error}")
    if not isinstance(error, DBAPIError):
        return error
    state = getattr(error.orig, "sqlstate", None)
    if state in _LOCKED_CODES:
        return Locked(f"locked by another transaction: {error.orig}")
    if (
        error.connection_invalidated
        or _says_away(error.orig, state)
        or (writes and _is_read_only(error.orig))
    ):
        return Unavailable(f"the database is away: {error.orig}")
    return error


def _says_away(original: BaseException | None, state: str | None) -> bool:
    if state is not None:
        return state in _AWAY_CODES or state.startswith(_AWAY_CLASSES)
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF in _SQLITE_AWAY
    cause = original.__cause__ if original is not None else None
    return isinstance(cause, (OSError, TimeoutError))


def _is_read_only(original: BaseException | None) -> bool:
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY
    return getattr(original, "sqlstate", None) == _READ_ONLY_CODE


def _sqlite_url(url: URL) -> URL:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise BadUrl("SQLite needs a file: give sqlite:///relative/path.db or sqlite:////absolute/path.db")
    return url.set(drivername="sqlite+aiosqlite")


def _make_folder(url: URL) -> None:
    folder = Path(url.database or "").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadUrl(f"the database's folder {folder} cannot be made: {error.strerror}") from None


def _sqlite_engine(
    url: URL, pool_size: int, *, writes: bool = True, busy_s: float | None = None
) -> AsyncEngine:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise BadUrl(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")
    busy_s = LOCK_WAIT_S if busy_s is None else busy_s
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        # Transactions are begun below, in words: Python's own way would begin them late and deferred.
        connect_args={"isolation_level": None, "timeout": busy_s},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        # The order matters: with the timeout set, several processes may turn WAL on at once.
        cursor.execute(f"PRAGMA busy_timeout = {int(busy_s * 1000)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        if not writes:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgres_engine(url: URL, pool_size: int) -> AsyncEngine:
    url, connect = _postgres_arguments(url)
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        isolation_level="READ COMMITTED",
        connect_args=connect,
    )


def _postgres_arguments(url: URL) -> tuple[URL, dict[str, Any]]:
    """The URL without libpq's parameters, and what they mean to the driver, with our own timeouts.

    A transaction that lost its client must not hold its rows for long, hence the idle limit.
    """
    query = dict(url.query)
    settings = {
        "lock_timeout": str(int(LOCK_WAIT_S * 1000)),
        "idle_in_transaction_session_timeout": "15000",
        "application_name": str(query.pop("application_name", "fitai")),
    }
    connect: dict[str, Any] = {
        "timeout": float(str(query.pop("connect_timeout", CONNECT_S))),
        "command_timeout": STATEMENT_S,
        "server_settings": settings,
    }
    if "sslmode" in query:
        connect["ssl"] = query.pop("sslmode")
    query.pop("channel_binding", None)
    return url.set(query=query), connect


@contextmanager
def _translating(*, writes: bool = True) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        away = translated(error, writes=writes)
        if away is error:
            raise
        raise away from error


async def _closed(session: AsyncSession) -> None:
    """Give the connection back, rolled back; when even that fails in time the pool drops it."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await session.close()
    except (DBAPIError, OSError, TimeoutError):
        await _dropped(session)


async def _dropped(session: AsyncSession) -> None:
    """Close the session's connection for good instead of giving it back."""
    with suppress(DBAPIError, OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await session.invalidate()
