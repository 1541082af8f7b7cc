"""The slow-query log: which statements took long, where they came from, and how the database goes about them.

Every statement is heard of, those of the driver's own words too, since SQLAlchemy runs them all. A line has
the statement as it was prepared, never a value that somebody's request brought: not even the plan has any,
since it is asked for without them. Lines are few however much is slow; how many were left out is told by the
next.

The time is the event loop's: what waited for the loop to be free counts as well.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import greenlet  # type: ignore[import-untyped]  # comes with SQLAlchemy
import structlog
from sqlalchemy import Connection, event
from sqlalchemy.engine.interfaces import ExceptionContext, ExecutionContext
from sqlalchemy.ext.asyncio import AsyncEngine

from fitai.persistence.meters import SLOW_STATEMENTS

_log = structlog.get_logger(__name__)

A_MINUTE = 20  # lines at most
LONGEST = 2000  # characters of a statement, and of a plan
PLAN_S = 5.0  # the longest wait for a plan
_BEGAN = "_fitai_began"
_EXPLAINED = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Slow:
    """What counts as slow, in milliseconds, and whether the plan is wanted with it."""

    ms: float
    plans: bool = False


class SlowLog:
    """Listens to the engines of one database.

    explain  asks the database for the plan of a statement with so many values, without any of them
    clock    seconds
    """

    def __init__(
        self,
        slow: Slow,
        explain: Callable[[str, int], Awaitable[str]],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._slow = slow
        self._explain = explain
        self._clock = clock
        self._told: deque[float] = deque(maxlen=A_MINUTE)
        self._left_out = 0
        self._planning: set[asyncio.Task[None]] = set()

    def listen(self, engine: AsyncEngine) -> None:
        """Hear of all that runs on an engine."""
        event.listen(engine.sync_engine, "before_cursor_execute", self._begin)
        event.listen(engine.sync_engine, "after_cursor_execute", self._end)
        event.listen(engine.sync_engine, "handle_error", self._failed)

    async def close(self) -> None:
        """Wait for no more plans."""
        for task in self._planning:
            task.cancel()
        await asyncio.gather(*self._planning, return_exceptions=True)

    def _begin(self, _: Connection, __: Any, ___: str, ____: Any, context: Any, _____: bool) -> None:
        setattr(context, _BEGAN, self._clock())

    def _end(
        self, _: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        ms = (self._clock() - getattr(context, _BEGAN)) * 1000
        if ms >= self._slow.ms:
            self._tell(statement, ms, _values(parameters, many), rows=_rows(cursor))

    def _failed(self, context: ExceptionContext) -> None:
        """What the database gave up is the slowest of all."""
        execution: ExecutionContext | None = context.execution_context
        began = getattr(execution, _BEGAN, None)
        if began is None or context.statement is None:
            return
        ms = (self._clock() - began) * 1000
        if ms >= self._slow.ms:
            values = _values(context.parameters, isinstance(context.parameters, list))
            error = type(context.original_exception).__name__
            self._tell(context.statement, ms, values, error=error)

    def _tell(self, statement: str, ms: float, values: int, **more: Any) -> None:
        if asyncio.current_task() in self._planning:
            return
        SLOW_STATEMENTS.inc()
        now = self._clock()
        if len(self._told) == A_MINUTE and self._told[0] > now - 60:
            self._left_out += 1
            return
        self._told.append(now)
        said = {"statement": _short(" ".join(statement.split())), "ms": round(ms, 1), "by": _whose(), **more}
        if self._left_out:
            said["left_out"], self._left_out = self._left_out, 0
        if self._slow.plans and _EXPLAINED.match(statement):
            task = asyncio.get_running_loop().create_task(self._with_plan(statement, values, said))
            self._planning.add(task)
            task.add_done_callback(self._planning.discard)
        else:
            _log.warning("slow_statement", **said)

    async def _with_plan(self, statement: str, values: int, said: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(PLAN_S):
                said["plan"] = _short(await self._explain(statement, values))
        except Exception as error:  # a plan is an extra: its line is told without it
            said["no_plan"] = type(error).__name__
        _log.warning("slow_statement", **said)


async def sqlite_plan(engine: AsyncEngine, statement: str, values: int) -> str:
    """SQLite's plan."""
    async with engine.connect() as connection:
        asked = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", (None,) * values)
        return "\n".join(str(detail) for *_, detail in asked.all())


async def postgres_plan(engine: AsyncEngine, statement: str, values: int) -> str:
    """PostgreSQL's plan for whichever values: those at hand would be written in it."""
    nulls = f"({', '.join(['NULL'] * values)})" if values else ""
    async with engine.connect() as connection:
        await connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
        await connection.exec_driver_sql(f"PREPARE slow AS {statement}")
        try:
            asked = await connection.exec_driver_sql(f"EXPLAIN EXECUTE slow{nulls}")
            return "\n".join(str(row[0]) for row in asked.all())
        finally:
            await connection.exec_driver_sql("DEALLOCATE slow")


def _values(parameters: Any, many: bool) -> int:
    """How many values the statement takes."""
    one = parameters[0] if many and parameters else parameters
    return len(one or ())


def _rows(cursor: Any) -> int | None:
    """How many rows it brought or wrote, where the driver knows."""
    if cursor.rowcount >= 0:
        return int(cursor.rowcount)
    return len(cursor._rows) if hasattr(cursor, "_rows") else None


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _whose() -> str:
    """Whose statement it is: the innermost function of this package, and the one outside that called it."""
    named = ((frame.f_globals.get("__name__", ""), frame.f_code.co_qualname) for frame in _frames())
    ours = (f"{module[6:]}.{function}" for module, function in named if module.startswith("fitai."))
    names = [name for name in ours if not name.startswith(("persistence.slow.", "persistence.database."))]
    inner = [name for name in names if name.startswith("persistence.")][:1]
    outer = [name for name in names if not name.startswith("persistence.")][:1]
    return " < ".join(inner + outer) or "?"


def _frames() -> Iterator[FrameType]:
    """The stack, from the inside. SQLAlchemy runs its own part of it in a greenlet: what waits for that is
    the stack of its parent."""
    frame: FrameType | None = sys._getframe()
    here: Any = greenlet.getcurrent()
    while frame is not None:
        yield frame
        frame = frame.f_back
        if frame is None and here is not None and here.parent is not None:
            here = here.parent
            frame = here.gr_frame
