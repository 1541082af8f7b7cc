"""SQLite on a thread: one way there and back for a statement.

aiosqlite hands a connection's calls to its thread one by one, and as SQLAlchemy drives it a statement is four
calls (cursor, execute, fetch, close), a transaction one statement more for its BEGIN. Each call wakes the
thread, then the event loop, which costs the loop more than the statement. Here a statement is one call, and
the first of a transaction begins it on the way.

What is named with an underscore is aiosqlite's own; `tests/persistence/test_sqlite.py` counts the calls.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Self

import aiosqlite


class Connection(aiosqlite.Connection):
    """A connection whose cursors bring everything at once.

    begin  how the next statement begins a transaction, if it is to; without it is one by itself
    """

    begin: str | None = None
    _begun = False  # a transaction was, that no commit or rollback came after

    def cursor(self) -> Cursor:  # type: ignore[override]  # no coroutine: it takes no thread
        """A cursor for one statement."""
        return Cursor(self)

    async def commit(self) -> None:
        """Commit, if there is anything to be."""
        if self._begun:
            await super().commit()
        self.begin, self._begun = None, False

    async def rollback(self) -> None:
        """Roll back, if there is anything to be. SQLAlchemy asks for it twice."""
        if self._begun:
            await super().rollback()
        self.begin, self._begun = None, False

    async def run(self, many: bool, statement: str, parameters: Any) -> Ran:
        """Run a statement with its parameters, or for each of many, and fetch all rows."""
        self._begun = self._begun or self.begin is not None
        ran: Ran = await self._execute(self._run, many, statement, parameters)  # type: ignore[no-untyped-call]
        return ran

    def _run(self, many: bool, statement: str, parameters: Any) -> Ran:
        begin, self.begin = self.begin, None
        if begin is not None:
            self._conn.execute(begin)
        run = self._conn.executemany if many else self._conn.execute
        cursor = run(statement, parameters)
        rows = cursor.fetchall() if cursor.description else []
        return rows, cursor.description, cursor.rowcount, cursor.lastrowid


Ran = tuple[list[Any], Any, int, int | None]
"""(rows, description, rowcount, lastrowid) of a statement."""


class Cursor:
    """What SQLAlchemy asks of a driver's cursor. It has all rows as soon as the statement has run."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Self:
        """Run a statement."""
        self._take(await self._connection.run(False, statement, parameters))
        return self

    async def executemany(self, statement: str, parameters: Iterable[Sequence[Any]]) -> Self:
        """Run a statement for each of these."""
        self._take(await self._connection.run(True, statement, parameters))
        return self

    async def fetchall(self) -> list[Any]:
        """The rows."""
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        """Nothing is open."""

    def _take(self, ran: Ran) -> None:
        self._rows, self.description, self.rowcount, self.lastrowid = ran


def connection(path: str, **options: Any) -> Connection:
    """A connection to be awaited, with the options of `sqlite3.connect`."""
    made = Connection(lambda: sqlite3.connect(path, **options), iter_chunk_size=1)
    made._thread.daemon = True  # as SQLAlchemy has it: who forgets to close it does not keep the process
    return made
