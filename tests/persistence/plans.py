"""How the databases would answer: the statements that some work sends, and the plans for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
from sqlalchemy import Engine, event, text

from fitai.persistence.database import Database

Statement = tuple[str, Sequence[Any]]


@contextmanager
def statements() -> Iterator[list[Statement]]:
    """A list that grows by each statement of the process and its parameters."""
    seen: list[Statement] = []

    def note(
        connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        if statement.lstrip().split(" ", 1)[0].strip() in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE"):
            seen.append((statement, parameters[0] if executemany else parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def postgres_scans(
    url: str, statement: Statement, *, generic: bool, executed: bool = False
) -> list[tuple[str, str]]:
    """(how, table) of every table that PostgreSQL would read for the statement, with a plan for these
    parameters or for any; with `executed` of those that it did read, if it is a question."""
    analyse = executed and statement[0].lstrip().startswith("SELECT")
    nodes = await _explained(url, statement, generic, analyse)
    return [(node["Node Type"], node["Relation Name"]) for node in nodes if _scans(node)]


async def postgres_rows(url: str, statement: Statement) -> dict[str, float]:
    """{table: how many rows PostgreSQL read of it} for a question."""
    read: dict[str, float] = {}
    for node in await _explained(url, statement, generic=False, analyse=True):
        if _scans(node):
            rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            table = node["Relation Name"]
            read[table] = read.get(table, 0) + rows * node["Actual Loops"]
    return read


async def _explained(url: str, statement: Statement, generic: bool, analyse: bool) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"SET plan_cache_mode = force_{'generic' if generic else 'custom'}_plan")
        await connection.execute(f"PREPARE asked AS {statement[0]}")
        values = ", ".join(map(_literal, statement[1]))
        execute = f"EXECUTE asked({values})" if values else "EXECUTE asked"
        found = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON, ANALYZE {analyse}) {execute}"))
    finally:
        await connection.close()
    return list(_nodes(found[0]["Plan"]))


async def sqlite_plan(db: Database, statement: Statement) -> list[str]:
    """The steps in which SQLite would go."""
    async with db.engine.connect() as connection:
        rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement[0]}", tuple(statement[1]))
        return [row[-1] for row in rows]


async def analyse(db: Database) -> None:
    async with db.write() as session:
        await session.execute(text("ANALYZE"))


def _scans(node: dict[str, Any]) -> bool:
    read = node.get("Actual Loops") != 0
    return read and "Relation Name" in node and node["Node Type"].endswith("Scan")


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    if isinstance(value, list | tuple):
        return "'{" + ", ".join(map(_element, value)).replace("'", "''") + "}'"
    return "'" + str(value).replace("'", "''") + "'"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    words = f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)
    return '"' + words.replace("\\", "\\\\").replace('"', '\\"') + '"'
