"""PostgreSQL: rows out of one picture of the data, and in within one transaction.

The rows come and go by COPY over our own connection, so no tool of PostgreSQL's has to be there, of
whichever version. The tables themselves come from the migrations: a backup is loaded into the schema that it
was made at, and brought to the newest from there. Tables that are at that schema already are emptied and
kept, with the partitions, indexes and grants that an operator gave them; otherwise they are made anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from fitai.persistence import group_models, identity_models, schema  # noqa: F401  (tables of Base.metadata)
from fitai.persistence.backups import script
from fitai.persistence.backups.archive import BadBackup, Table
from fitai.persistence.backups.tally import Tally
from fitai.persistence.models import Base

_TABLES = """
    SELECT c.relname, array_agg(a.attname ORDER BY a.attnum)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
        AND NOT c.relispartition AND c.relname = ANY($1::text[])
    GROUP BY c.relname
"""
_FUNCTIONS = """
    SELECT DISTINCT t.tgfoid::regprocedure::text
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace
        AND c.relname = ANY($1::text[])
"""
VERSION = "alembic_version"


async def revision(connection: asyncpg.Connection) -> str | None:
    """The schema's revision; None without any."""
    if await connection.fetchval("SELECT to_regclass($1)", VERSION) is None:
        return None
    found = await connection.fetchval(f"SELECT version_num FROM {VERSION}")
    return None if found is None else str(found)


async def has_people(connection: asyncpg.Connection) -> bool:
    """Whether there are accounts."""
    if await connection.fetchval("SELECT to_regclass('users')") is None:
        return False
    return await connection.fetchval("SELECT 1 FROM users LIMIT 1") is not None


async def dump(connection: asyncpg.Connection, write: Callable[[bytes], None]) -> dict[str, Table]:
    """Write the rows of all tables, within the caller's transaction, which is to be REPEATABLE READ; returns
    what they are."""
    await connection.execute("SET LOCAL bytea_output = 'hex'")
    found: dict[str, Table] = {}
    for table, columns in (await _tables(connection)).items():
        write(script.begin(table, columns))
        found[table] = await _passed(connection, table, columns, write)
        write(script.END)
    return found


async def load(
    connection: AsyncConnection, revision_of_it: str, pieces: Iterator[bytes], said: Mapping[str, Table]
) -> None:
    """Make the tables hold what a backup says, at the newest schema, within the caller's transaction.

    said  what they must hold then, before they are migrated

    Raises BadBackup, and what the database raises.
    """
    raw = await driver_connection(connection)
    await connection.run_sync(schema.lock)
    if await revision(raw) != revision_of_it:
        await _drop_all(raw)
        await connection.run_sync(schema.upgrade, revision_of_it)
    tables = await _tables(raw)
    await raw.execute(f"TRUNCATE {', '.join(tables)}")
    for table in tables:
        await raw.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    await _copy_in(raw, pieces, tables)
    for table in tables:
        await raw.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    await raw.execute("SET LOCAL bytea_output = 'hex'")
    for table, columns in tables.items():
        found = await _passed(raw, table, columns, _nowhere)
        if found != said.get(table):
            raise BadBackup(f"the rows of {table} are not those that it was made with")
    await connection.run_sync(schema.upgrade)
    await raw.execute("ANALYZE")


def read(pieces: Iterator[bytes]) -> dict[str, Table]:
    """What a backup's tables hold, without any server; raises BadBackup."""
    tallies: dict[str, Tally] = {}
    tally = Tally()
    for event in _events(pieces):
        match event:
            case script.Begin(table):
                tally = tallies[table] = Tally()
            case script.Rows(data):
                tally.feed(data)
    return {table: Table(tally.rows, tally.digest) for table, tally in tallies.items()}


async def driver_connection(connection: AsyncConnection) -> asyncpg.Connection:
    """The driver's connection, in the same transaction, which has begun."""
    await connection.execute(text("SELECT 1"))
    raw = (await connection.get_raw_connection()).driver_connection
    assert isinstance(raw, asyncpg.Connection)
    return raw


async def _tables(connection: asyncpg.Connection) -> dict[str, Sequence[str]]:
    """Our tables that are there, each after those that it refers to, with their columns in order."""
    ours = [table.name for table in Base.metadata.sorted_tables]
    found = dict(await connection.fetch(_TABLES, ours))
    return {name: found[name] for name in ours if name in found}


async def _drop_all(connection: asyncpg.Connection) -> None:
    tables = await _tables(connection)
    functions = [row[0] for row in await connection.fetch(_FUNCTIONS, list(tables))]
    if tables:
        await connection.execute(f"DROP TABLE {', '.join(tables)}")
    for function in functions:
        await connection.execute(f"DROP FUNCTION {function}")
    await connection.execute(f"DROP TABLE IF EXISTS {VERSION}")


async def _passed(
    connection: asyncpg.Connection, table: str, columns: Sequence[str], write: Callable[[bytes], None]
) -> Table:
    """Hand a table's rows over; returns what they are."""
    tally = Tally()

    async def take(data: bytes) -> None:
        tally.feed(data)
        write(data)

    # A query, since COPY of a table knows nothing of its partitions.
    names = ", ".join(columns)
    await connection.copy_from_query(f"SELECT {names} FROM {table}", output=take)
    return Table(tally.rows, tally.digest)


def _nowhere(_: bytes) -> None: ...


async def _copy_in(
    connection: asyncpg.Connection, pieces: Iterator[bytes], tables: Mapping[str, Sequence[str]]
) -> None:
    events = _events(pieces)
    for event in events:
        if isinstance(event, script.Begin):
            if set(event.columns) != set(tables.get(event.table, ())):
                raise BadBackup(f"its table {event.table} is not one of its schema")
            await connection.copy_to_table(event.table, source=_rows(events), columns=event.columns)


async def _rows(events: Iterator[script.Event]) -> AsyncIterator[bytes]:
    """The rows up to the table's end."""
    for event in events:
        if not isinstance(event, script.Rows):
            return
        yield event.data


def _events(pieces: Iterator[bytes]) -> Iterator[script.Event]:
    parser = script.Script()
    try:
        for piece in pieces:
            yield from parser.feed(piece)
        parser.close()
    except script.BadScript as error:
        raise BadBackup(str(error)) from error
