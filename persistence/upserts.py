"""The statements that write projections: on each engine in as few ways there and back as it allows.

What the tables hold of some workouts is replaced without being read. A row that is there and equal is not
written again: it would make work, and marks wrong that are right (`fitai.persistence.histories`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from fitai.persistence.log import Place
from fitai.persistence.models import Base, ExerciseBests, SetRow, Snapshot, WorkoutRow, array_type
from fitai.persistence.projected import Projected, Row, bests_rows, set_rows, snapshot_row

Move = tuple[int, int]
"""(stream, place in it up to which everything is projected)."""


@dataclass(frozen=True, slots=True)
class Filling:
    """All that the other tables are to hold of workouts whose rows of `workouts` are written."""

    places: list[Place] = field(default_factory=list)
    snapshots: list[Row] = field(default_factory=list)
    sets: list[Row] = field(default_factory=list)
    bests: list[Row] = field(default_factory=list)

    def add(self, stream: int, projected: Projected) -> None:
        """Add a workout's."""
        self.places.append((stream, projected.workout))
        self.snapshots.append(snapshot_row(stream, projected))
        self.sets.extend(set_rows(stream, projected))
        self.bests.extend(bests_rows(stream, projected))


class Table:
    """A table's names, and what its statements have in common."""

    def __init__(self, model: type[Base]) -> None:
        table = model.__table__
        self.name = model.__tablename__
        self.columns = [column.name for column in table.columns]
        self.types = [array_type(column) for column in table.columns]
        self.keys = [column.name for column in table.primary_key]
        self.rest = [name for name in self.columns if name not in self.keys]
        self.into = f"INSERT INTO {self.name} ({', '.join(self.columns)})"
        values = ", ".join(f"{name} = excluded.{name}" for name in self.rest)
        self.over = f"ON CONFLICT ({', '.join(self.keys)}) DO UPDATE SET {values}"


WORKOUTS, SNAPSHOTS, SETS, BESTS = map(Table, (WorkoutRow, Snapshot, SetRow, ExerciseBests))
_NEWER = "WHERE excluded.seq >= workouts.seq"  # what has seen less never replaces what has seen more


def _row(names: Iterable[str], of: str = "") -> str:
    return f"({', '.join(of + name for name in names)})"


class Sqlite:
    """A statement takes many rows as so many parameters: with one row each, the thread that runs it would
    wait for the interpreter after each row. There is one writer at a time."""

    most = 256  # rows in a statement: with 21 parameters each, a sixth of what SQLite allows
    gone = """
        DELETE FROM {table} WHERE (stream, workout) IN (
            SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)
        ) AND {key} NOT IN (
            SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
            FROM json_each(?)
        )
    """
    projected = """
        UPDATE streams SET projected = min(head, w.upto)
        FROM (
            SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS upto FROM json_each(?)
        ) AS w
        WHERE streams.id = w.id AND streams.projected < min(head, w.upto)
    """

    @classmethod
    async def workouts(cls, connection: AsyncConnection, rows: Sequence[Row]) -> Sequence[Place]:
        """Write rows of `workouts` where they have seen as much as the stored ones; which were written."""
        won: dict[Place, None] = {}
        for part in cls._parts(rows):
            statement = f"{_values(WORKOUTS, len(part))} {_NEWER} RETURNING stream, workout"
            found = await connection.exec_driver_sql(statement, tuple(chain.from_iterable(part)))
            written: Sequence[Any] = found.all()
            won |= dict.fromkeys((stream, workout) for stream, workout in written)
        return list(won)

    @classmethod
    async def fill(cls, connection: AsyncConnection, filling: Filling) -> None:
        """Make this all that the other tables hold of its workouts."""
        await cls._put(connection, SNAPSHOTS, filling.snapshots)
        places = orjson.dumps(filling.places).decode()
        for table, rows in ((SETS, filling.sets), (BESTS, filling.bests)):
            keys = orjson.dumps([row[:3] for row in rows]).decode()
            gone = cls.gone.format(table=table.name, key=_row(table.keys))
            await connection.exec_driver_sql(gone, (places, keys))
            await cls._put(connection, table, rows)

    @classmethod
    async def watermark(cls, connection: AsyncConnection, moves: Sequence[Move]) -> None:
        """Move the streams' watermarks: never back, and never beyond the head."""
        await connection.exec_driver_sql(cls.projected, (orjson.dumps(moves).decode(),))

    @classmethod
    async def _put(cls, connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
        other = f"WHERE {_row(table.rest, table.name + '.')} IS NOT {_row(table.rest, 'excluded.')}"
        for part in cls._parts(rows):
            statement = f"{_values(table, len(part))} {other}"
            await connection.exec_driver_sql(statement, tuple(chain.from_iterable(part)))

    @classmethod
    def _parts(cls, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
        """The rows in parts of a power of two, so that few statements are ever prepared. The last row is
        repeated to make a part whole: written once more it stays as it is."""
        for start in range(0, len(rows), cls.most):
            part = list(rows[start : start + cls.most])
            yield part + part[-1:] * ((1 << (len(part) - 1).bit_length()) - len(part))


@cache
def _values(table: Table, rows: int) -> str:
    row = f"({', '.join('?' * len(table.columns))})"
    return f"{table.into} VALUES {', '.join([row] * rows)} {table.over}"


class Postgres:
    """Rows travel as arrays of their columns.

    The rows of `workouts` are locked first, in one order everywhere: two nodes that write the same workouts
    wait for each other instead of deadlocking. What they hold besides is written by a second statement, which
    sees what the other node has committed meanwhile. Streams are locked in order as well.
    """

    newer = f"""
        {WORKOUTS.into} SELECT * FROM {{new}} AS n {WORKOUTS.over} {_NEWER}
        RETURNING stream, workout::text
    """
    replaced = """
        new_{name} AS MATERIALIZED (SELECT * FROM {new} AS n{columns}),
        gone_{name} AS (
            DELETE FROM {name} AS old USING place
            WHERE old.stream = place.stream AND old.workout = place.workout
                AND NOT EXISTS (SELECT FROM new_{name} AS n WHERE {new_key} = {old_key})
        ),
        put_{name} AS (
            {into} SELECT n.* FROM new_{name} AS n LEFT JOIN {name} AS old ON {old_key} = {new_key}
            WHERE old.stream IS NULL OR {old_rest} IS DISTINCT FROM {new_rest}
            {over}
        )
    """
    projected = """
        WITH w AS (
            SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS w(id, upto)
        ), held AS MATERIALIZED (
            SELECT s.id, w.upto FROM streams AS s JOIN w ON w.id = s.id
            WHERE s.projected < least(s.head, w.upto) ORDER BY s.id FOR NO KEY UPDATE OF s
        )
        UPDATE streams AS s SET projected = least(s.head, held.upto) FROM held
        WHERE s.id = held.id AND s.projected < least(s.head, held.upto)
    """

    @classmethod
    async def workouts(cls, connection: AsyncConnection, rows: Sequence[Row]) -> Sequence[Place]:
        """Write rows of `workouts` where they have seen as much as the stored ones; which were written."""
        found = await connection.exec_driver_sql(_newer(), _arrays(rows, WORKOUTS))
        written: Sequence[Any] = found.all()
        return [(stream, workout) for stream, workout in written]

    @classmethod
    async def fill(cls, connection: AsyncConnection, filling: Filling) -> None:
        """Make this all that the other tables hold of its workouts."""
        streams, workouts = zip(*filling.places, strict=True)
        arrays = (
            list(streams),
            list(workouts),
            *_arrays(filling.snapshots, SNAPSHOTS),
            *_arrays(filling.sets, SETS),
            *_arrays(filling.bests, BESTS),
        )
        await connection.exec_driver_sql(_filled(), arrays)

    @classmethod
    async def watermark(cls, connection: AsyncConnection, moves: Sequence[Move]) -> None:
        """Move the streams' watermarks: never back, and never beyond the head."""
        await connection.exec_driver_sql(cls.projected, tuple(map(list, zip(*moves, strict=True))))


@cache
def _newer() -> str:
    return Postgres.newer.format(new=_unnest(WORKOUTS, 1))


@cache
def _filled() -> str:
    """One statement for all tables but `workouts`."""
    place, tables = 3, []
    snapshots = (
        f"cached AS ({SNAPSHOTS.into} SELECT * FROM {_unnest(SNAPSHOTS, place)} AS n {SNAPSHOTS.over})"
    )
    place += len(SNAPSHOTS.columns)
    for table in (SETS, BESTS):
        words = {
            "name": table.name,
            "new": _unnest(table, place),
            "columns": _row(table.columns),
            "into": table.into,
            "over": table.over,
            "new_key": _row(table.keys, "n."),
            "old_key": _row(table.keys, "old."),
            "new_rest": _row(table.rest, "n."),
            "old_rest": _row(table.rest, "old."),
        }
        tables.append(Postgres.replaced.format(**words))
        place += len(table.columns)
    places = "place AS (SELECT * FROM unnest($1::bigint[], $2::uuid[]) AS place(stream, workout))"
    return f"WITH {', '.join([places, snapshots, *tables])} SELECT count(*) FROM place"


def _unnest(table: Table, first: int) -> str:
    arrays = (f"${place}::{type_}[]" for place, type_ in enumerate(table.types, first))
    return f"unnest({', '.join(arrays)})"


def _arrays(rows: Sequence[Row], table: Table) -> tuple[list[Any], ...]:
    return tuple(map(list, zip(*rows, strict=True))) if rows else tuple([] for _ in table.columns)


STATEMENTS: Mapping[str, type[Sqlite] | type[Postgres]] = {"sqlite": Sqlite, "postgresql": Postgres}
