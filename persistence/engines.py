"""Engines: which URLs are understood, and how connections to SQLite and PostgreSQL are made and kept.

SQLite has one writer: writers of this process queue for one connection, and `BEGIN IMMEDIATE` with a busy
timeout holds them apart from other processes. WAL keeps readers out of their way; `synchronous=FULL`
puts each commit on the disk before it is acknowledged.

PostgreSQL's connections are kept without being asked before each use whether they are alive. The first that
is found leading nowhere (`absence.is_gone`) takes all older ones with it, so that after a restart or a
failover one error leads to the new primary, by name or as another host of the URL.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, PoolProxiedConnection

from fitai.persistence import sqlite
from fitai.persistence.absence import is_gone
from fitai.persistence.meters import POOL_OUT, POOL_SIZE, POOL_TIMEOUTS, POOL_WAIT, POOL_WAITING

OLDEST_SQLITE = (3, 35, 0)  # RETURNING
LOCK_WAIT_S = 2.0  # the longest wait for a row lock, or for SQLite's write lock
STATEMENT_S = 10.0  # the longest single statement before the database counts as away
SERVER_SHARE = 0.9  # of that: after so long the server gives up by itself, and the connection stays whole
# After so long without a word inside a transaction PostgreSQL ends it: a node that was paused, or whose
# machine is gone, holds its rows no longer. Shorter than an append's patience, so that others get through.
IDLE_S = 5.0
IDLE_MIGRATION_S = 60.0  # the same while migrating
CONNECT_S = 5.0
_ALONE = "fitai_alone"  # an option of SQLite's engine, see `without_transactions`
POOL_WAIT_S = 5.0


class BadUrl(ValueError):
    """The database URL cannot be used; the message says why in one sentence and shows no password."""


class MeasuredPool(AsyncAdaptedQueuePool):
    """A pool that tells how long checkouts wait, and which wait in vain."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        _POOLS.add(self)

    def connect(self) -> PoolProxiedConnection:
        """Check a connection out."""
        with POOL_WAIT.time(), POOL_WAITING.track_inprogress():
            try:
                return super().connect()
            except PoolTimeout:
                POOL_TIMEOUTS.inc()
                raise


_POOLS: WeakSet[MeasuredPool] = WeakSet()


def connections_out() -> int:
    """How many connections of this process are in use."""
    return sum(pool.checkedout() for pool in _POOLS)


POOL_OUT.set_function(connections_out)
POOL_SIZE.set_function(lambda: sum(pool.size() for pool in _POOLS))


def normalise_url(url: str) -> URL:
    """The URL with the driver that FitAI uses, whichever driver or none it named.

    `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgres://…`, `postgresql+any://…`,
    `postgresql:///name?host=/socket/dir`, and several hosts as in `postgresql://one:5432,two:5432/name`, of
    which the primary is taken. Of libpq's parameters `sslmode`, `connect_timeout`, `application_name` and
    `target_session_attrs` are understood. Raises BadUrl.
    """
    try:
        parsed = parsed_url(url)
    except (ArgumentError, ValueError):
        raise BadUrl("the database URL is unreadable: give sqlite:///file or postgresql://…") from None
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite_url(parsed)
        case "postgres" | "postgresql":
            return parsed.set(drivername="postgresql+asyncpg")
        case other:
            raise BadUrl(f"no support for {other} databases: give sqlite:///file or postgresql://…")


_SEVERAL_HOSTS = re.compile(r"(?P<before>[\w+]+://(?:[^@/?]*@)?)(?P<hosts>[^/?@]*,[^/?@]*)(?P<after>.*)")


def parsed_url(url: str) -> URL:
    """The URL with its own driver; several hosts become parameters, as SQLAlchemy wants them. Raises
    ValueError or ArgumentError."""
    several = _SEVERAL_HOSTS.fullmatch(url)
    if several is None:
        return make_url(url)
    hosts = [_with_port(host) for host in several["hosts"].split(",")]
    return make_url(several["before"] + several["after"]).update_query_dict({"host": hosts})


def _with_port(host: str) -> str:
    name, _, port = host.partition(":")
    if not name or (port and not port.isdigit()):
        raise ValueError(host)
    return f"{name}:{port or 5432}"


def _sqlite_url(url: URL) -> URL:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise BadUrl("SQLite needs a file: give sqlite:///relative/path.db or sqlite:////absolute/path.db")
    return url.set(drivername="sqlite+aiosqlite")


def make_folder(url: URL) -> None:
    """Make the folder of an SQLite file; raises BadUrl."""
    folder = Path(url.database or "").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadUrl(f"the database's folder {folder} cannot be made: {error.strerror}") from None


def sqlite_engine(
    url: URL, pool_size: int, *, writes: bool = True, busy_s: float | None = None
) -> AsyncEngine:
    """An engine that writes, or one that can only read; raises BadUrl."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise BadUrl(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")
    busy_s = LOCK_WAIT_S if busy_s is None else busy_s
    engine = create_async_engine(
        url,
        poolclass=MeasuredPool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        hide_parameters=True,  # an error tells its statement, not what somebody logged
        # Transactions are begun in words, see below: Python's own way would begin them deferred.
        connect_args={"async_creator_fn": sqlite.connection, "isolation_level": None, "timeout": busy_s},
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
    def start(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite.Connection)
        if not connection.get_execution_options().get(_ALONE, False):
            driver.begin = "BEGIN IMMEDIATE" if writes else "BEGIN"

    return engine


def without_transactions(engine: AsyncEngine) -> AsyncEngine:
    """The same engine, each statement of which is a transaction by itself. On PostgreSQL it is none with an
    isolation level of its own, which would be set after this one."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**{_ALONE: True})
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def postgres_engine(url: URL, pool_size: int, statement_s: float) -> AsyncEngine:
    """An engine whose statements end after `statement_s` seconds, and whose waits for locks do."""
    url, connect = _postgres_arguments(url)
    connect["command_timeout"] = statement_s
    connect["server_settings"] |= {
        "lock_timeout": _ms(LOCK_WAIT_S),
        "statement_timeout": _ms(statement_s * SERVER_SHARE),
        "idle_in_transaction_session_timeout": _ms(IDLE_S),
    }
    engine = create_async_engine(
        url,
        poolclass=MeasuredPool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        hide_parameters=True,  # an error tells its statement, not what somebody logged
        isolation_level="READ COMMITTED",
        connect_args=connect,
    )

    @event.listens_for(engine.sync_engine, "handle_error")
    def judge(context: ExceptionContext) -> None:
        # SQLAlchemy drops this connection then, and each older one when it is next asked for.
        if is_gone(context.original_exception):
            context.is_disconnect = True

    return engine


def patient_postgres_engine(url: URL) -> AsyncEngine:
    """An engine for work that may take long, such as migrations: no statement ends by the clock."""
    url, connect = _postgres_arguments(url)
    connect["server_settings"] |= {
        "lock_timeout": "0",
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": _ms(IDLE_MIGRATION_S),
    }
    return create_async_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=connect)


def _postgres_arguments(url: URL) -> tuple[URL, dict[str, Any]]:
    """The URL without libpq's parameters, and what they mean to the driver."""
    query = dict(url.query)
    connect: dict[str, Any] = {
        "timeout": float(str(query.pop("connect_timeout", CONNECT_S))),
        "server_settings": {"application_name": str(query.pop("application_name", "fitai"))},
    }
    if "sslmode" in query:
        connect["ssl"] = query.pop("sslmode")
    if _is_several(query.get("host", "")):
        query.setdefault("target_session_attrs", "read-write")
    query.pop("channel_binding", None)
    return url.set(query=query), connect


def _is_several(hosts: str | tuple[str, ...]) -> bool:
    return "," in hosts if isinstance(hosts, str) else len(hosts) > 1


def _ms(seconds: float) -> str:
    return str(int(seconds * 1000))
