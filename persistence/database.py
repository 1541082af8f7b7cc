"""The database: how it is opened, who may write, and what its absence looks like.

SQLite and PostgreSQL behind one small surface. Two kinds of session, two types:

- `read()` gives a `ReadSession`: one unchanging picture of the data for as long as it is open. The
  database itself refuses writes in it. `glance()` is for a single statement that reads.
- `write()` gives a `WriteSession`, and is **the one place that commits**: at the end of its block, or it
  rolls back when the block raises. `stroke()` is for a single statement that commits by itself.

An error that means "the database is away" leaves here as `Unavailable`; nothing of the block is stored
then. Its special case `CommitUnknown` is the only doubt that there can be: the connection was lost while
the commit was on its way, so the block is stored whole or not at all, and only reading can tell.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Self, TypeVar

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker

from fitai.persistence import engines, schema
from fitai.persistence.absence import CommitUnknown, Locked, Unavailable, translated
from fitai.persistence.engines import BadUrl, normalise_url
from fitai.persistence.meters import RETRIES
from fitai.persistence.slow import Slow, SlowLog, postgres_plan, sqlite_plan

# What the database may answer belongs to its surface.
__all__ = ["BadUrl", "CommitUnknown", "Database", "Locked", "ReadSession", "Unavailable", "WriteSession"]

CLOSE_S = 2.0  # the longest wait for a rollback when a session ends
RETRY_S = (0.02, 0.1)  # about how long a transaction pauses before it is made again


T = TypeVar("T")


class ReadSession(AsyncSession):
    """A session that sees one unchanging picture of the data."""


class WriteSession(ReadSession):
    """A session whose work is committed by `Database.write`, nowhere else."""

    def announce(self, what: str) -> None:
        """Once this is committed, and only then, tell those in this process who listen for `what`."""
        self.info.setdefault(_ANNOUNCED, set()).add(what)


_ANNOUNCED = "announced"

Asked = ReadSession | AsyncConnection
"""What a statement that reads can be put to: it is part of a session, or all of a glance."""


class Database:
    """An opened database; connections are made when first needed and again after they are lost."""

    def __init__(self, url: URL, engine: AsyncEngine, reader: AsyncEngine, writer: AsyncEngine) -> None:
        self.url = url
        self.engine = engine
        self._reader = async_sessionmaker(reader, class_=ReadSession, expire_on_commit=False)
        self._glancer = engines.without_transactions(engine)
        self._writer = async_sessionmaker(writer, class_=WriteSession, expire_on_commit=False)
        self._engines = {engine, writer}
        self._listeners: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
        self._stroker = writer.execution_options(isolation_level="AUTOCOMMIT")
        self._slow_log: SlowLog | None = None

    @classmethod
    def open(
        cls, url: str, *, pool_size: int = 5, statement_s: float | None = None, slow: Slow | None = None
    ) -> Self:
        """Prepare a database by URL (see `engines.normalise_url`).

        pool_size    the most connections
        statement_s  the longest that PostgreSQL may work on one statement, seconds
        slow         which statements are logged as slow; none without it

        Connects to nothing yet. SQLite: the file's folder is created. Raises BadUrl.
        """
        db = cls._of(url, pool_size, statement_s)
        if slow is not None:
            db._log_slow(slow)
        return db

    @classmethod
    def _of(cls, url: str, pool_size: int, statement_s: float | None) -> Self:
        parsed = normalise_url(url)
        if parsed.get_backend_name() == "sqlite":
            engines.make_folder(parsed)
            reader = engines.sqlite_engine(parsed, pool_size, writes=False)
            writer = engines.sqlite_engine(parsed, 1)
            return cls(parsed, reader, reader, writer)
        engine = engines.postgres_engine(parsed, pool_size, statement_s or engines.STATEMENT_S)
        reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        return cls(parsed, engine, reader, engine)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.url.get_backend_name()

    def _log_slow(self, slow: Slow) -> None:
        plan = sqlite_plan if self.dialect == "sqlite" else postgres_plan
        self._slow_log = SlowLog(slow, partial(plan, self.engine))
        for engine in self._engines:
            self._slow_log.listen(engine)

    async def close(self) -> None:
        """Close every connection."""
        if self._slow_log is not None:
            await self._slow_log.close()
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
    async def glance(self) -> AsyncIterator[AsyncConnection]:
        """A connection for one statement that reads. It sees one picture of the data by itself: nothing is
        begun and ended around it, which would be ways to the database and back. Raises Unavailable.
        """
        with _translating(writes=False):
            connection = await self._glancer.connect()
            try:
                yield connection
            finally:
                await _closed(connection)

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
            self._tell(session)
        finally:
            await _closed(session)

    def on_commit(self, what: str, listener: Callable[[], None]) -> None:
        """Call `listener`, which must not raise, after each commit of this process that announced `what`.

        Only a hint: what was committed with an unknown outcome, or by another process, is told to nobody.
        """
        self._listeners[what].append(listener)

    def _tell(self, session: WriteSession) -> None:
        for what in session.info.get(_ANNOUNCED, ()):
            for listener in self._listeners.get(what, ()):
                listener()

    async def transact(self, work: Callable[[WriteSession], Awaitable[T]]) -> T:
        """Do `work` in a write session and commit; once or twice more when another transaction was in the way
        (a deadlock, a serialization failure, SQLite held by another process). So `work` does nothing that it
        may not do twice. Raises as `write` does.
        """
        for pause in RETRY_S:
            try:
                async with self.write() as session:
                    return await work(session)
            except Unavailable as error:
                if not error.again:
                    raise
            RETRIES.inc()
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # not in step with the other one
        async with self.write() as session:
            return await work(session)

    @asynccontextmanager
    async def stroke(self) -> AsyncIterator[AsyncConnection]:
        """A connection for one statement that writes and is a transaction by itself, with no way to the
        database and back to begin and none to commit. PostgreSQL only.

        Raises Locked (nothing stored), Unavailable (no connection, nothing stored), CommitUnknown (stored
        whole or not at all), or what the block raised.
        """
        with _translating():
            connection = await self._stroker.connect()
        try:
            try:
                with _translating():
                    yield connection
            except Locked:
                raise
            except Unavailable as error:
                raise CommitUnknown(str(error)) from error
        finally:
            await _closed(connection)

    async def migrate(self) -> None:
        """Bring the schema to the newest version, under a lock, in one transaction; raises Unavailable.

        Processes that migrate at the same time wait for one another; the later ones find nothing to do.
        """
        for pause in RETRY_S:
            try:
                return await self._migrate()
            except Unavailable as error:
                if not error.again:
                    raise
            await asyncio.sleep(pause)
        return await self._migrate()

    async def _migrate(self) -> None:
        async with self.alone() as engine, engine.begin() as connection:
            await connection.run_sync(schema.upgrade)

    async def check(self) -> None:
        """Raise `schema.WrongSchema` when the schema is older than this code needs."""
        with _translating():
            async with self.engine.connect() as connection:
                await connection.run_sync(schema.check)

    async def revision(self) -> str | None:
        """The schema's revision, None for an empty database; raises Unavailable."""
        with _translating():
            async with self.engine.connect() as connection:
                return await connection.run_sync(schema.current)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[AsyncEngine]:
        """An engine of its own for work that may take long: no statement timeout. Raises Unavailable."""
        if self.dialect == "sqlite":
            engine = engines.sqlite_engine(self.url, 1, busy_s=schema.LOCK_WAIT_S)
        else:
            engine = engines.patient_postgres_engine(self.url)
        try:
            with _translating():
                yield engine
        finally:
            await engine.dispose()


@contextmanager
def _translating(*, writes: bool = True) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        away = translated(error, writes=writes)
        if away is error:
            raise
        raise away from error


async def _closed(session: AsyncSession | AsyncConnection) -> None:
    """Give the connection back, rolled back; when even that fails in time the pool drops it."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await session.close()
    except (DBAPIError, OSError, TimeoutError):
        await _dropped(session)


async def _dropped(session: AsyncSession | AsyncConnection) -> None:
    """Close the session's connection for good instead of giving it back."""
    with suppress(DBAPIError, OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await session.invalidate()
