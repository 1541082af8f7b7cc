"""The statements that write a batch of appends: on each engine in as few ways there and back as it allows."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from fitai.persistence.log import COLUMNS
from fitai.persistence.models import RecordRow, array_type

LOCK_WAIT_MS = 100  # the longest that a whole batch waits for a row of another transaction

Move = tuple[int, str, int, int, int]
"""(stream, epoch and head that were seen, head to come, receipt time)."""

Row = tuple[Any, ...]
"""A record as `log.row_of` makes it; its stream comes first."""


class Fate(Enum):
    """What became of a stream: its head was moved and its rows are written, or it was elsewhere or began anew
    (its epoch is another one), or another transaction holds it."""

    WON = "won"
    MOVED = "moved"
    BUSY = "busy"


def _array_types() -> list[str]:
    columns = RecordRow.__table__.columns
    return [array_type(columns[name]) for name in COLUMNS]


class Sqlite:
    """The database has one writer at a time, so no stream can be busy; a batch of moves travels as one JSON
    text."""

    whole = False

    insert = f"INSERT INTO records ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    cas = """
        UPDATE streams SET head = w.head, last_rt = max(last_rt, w.rt)
        FROM (
            SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS epoch,
                json_extract(value, '$[2]') AS seen, json_extract(value, '$[3]') AS head,
                json_extract(value, '$[4]') AS rt
            FROM json_each(?)
        ) AS w
        WHERE streams.id = w.id AND streams.epoch = w.epoch AND streams.head = w.seen
        RETURNING streams.id
    """

    @classmethod
    async def write(
        cls, connection: AsyncConnection, moves: Sequence[Move], rows: Sequence[Row]
    ) -> dict[int, Fate]:
        """Compare and set every head, and write the rows of the winners."""
        sent = orjson.dumps(moves).decode()
        won = set((await connection.exec_driver_sql(cls.cas, (sent,))).scalars())
        theirs = [row for row in rows if row[0] in won]
        if theirs:
            await connection.exec_driver_sql(cls.insert, theirs)
        return {move[0]: Fate.WON if move[0] in won else Fate.MOVED for move in moves}


class Postgres:
    """One statement, one way to the server and back: arrays of moves and of the rows' columns.

    Streams are locked in order, and those that others hold are passed over: a batch waits for no stream, so
    two nodes' batches can neither block nor deadlock each other. Nor for a row of `records`: whoever writes
    one holds its stream. What a companion waits for is bounded more tightly than other waits are, for the
    rest of this transaction (`brief`).
    """

    whole = True  # one statement is all of it

    statement = f"""
        WITH brief AS MATERIALIZED (
            SELECT set_config('lock_timeout', '{LOCK_WAIT_MS}', true)
        ), w AS (
            SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
                AS w(id, epoch, seen, head, rt)
        ), held AS MATERIALIZED (
            SELECT s.id, s.epoch, s.head FROM streams s WHERE s.id = ANY($1::bigint[])
            ORDER BY s.id FOR UPDATE SKIP LOCKED
        ), won AS (
            UPDATE streams s SET head = w.head, last_rt = greatest(s.last_rt, w.rt)
            FROM held JOIN w ON w.id = held.id AND w.epoch = held.epoch AND w.seen = held.head
            WHERE s.id = held.id
            RETURNING s.id
        ), written AS (
            INSERT INTO records ({", ".join(COLUMNS)})
            SELECT r.*
            FROM unnest({", ".join(f"${i}::{type_}[]" for i, type_ in enumerate(_array_types(), 6))})
                AS r({", ".join(COLUMNS)})
            JOIN won ON won.id = r.stream
        )
        SELECT held.id, won.id IS NOT NULL FROM brief, held LEFT JOIN won ON won.id = held.id
    """

    @classmethod
    async def write(
        cls, connection: AsyncConnection, moves: Sequence[Move], rows: Sequence[Row]
    ) -> dict[int, Fate]:
        """Compare and set every head, and write the rows of the winners."""
        arrays = (*map(list, zip(*moves, strict=True)), *map(list, zip(*rows, strict=True)))
        held: Sequence[Any] = (await connection.exec_driver_sql(cls.statement, arrays)).all()
        fates = {stream: Fate.WON if won else Fate.MOVED for stream, won in held}
        return {move[0]: fates.get(move[0], Fate.BUSY) for move in moves}


STATEMENTS: dict[str, type[Sqlite] | type[Postgres]] = {"sqlite": Sqlite, "postgresql": Postgres}
