"""Refused records as a table for people."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from fitai.engine.ops import Record
from fitai.http import tables

COLUMNS = (
    "seq",
    "time",
    "device",
    "n",
    "kind",
    "workout",
    "entity",
    "code",
    "detail",
    "op",
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def head() -> bytes:
    """The line that names the columns; `op` is the op as it came, JSON."""
    return tables.lines([COLUMNS])


def lines(records: Iterable[Record]) -> bytes:
    """One line for each record."""
    return tables.lines([_row(record) for record in records])


def _row(record: Record) -> tuple[Any, ...]:
    op = record.op
    return (
        record.seq,
        _time(record.te),
        record.device,
        op.n,
        op.kind,
        op.workout,
        op.entity or "",
        record.code or "",
        "" if record.detail is None else orjson.dumps(record.detail).decode(),
        orjson.dumps(op.raw).decode(),
    )


def _time(ms: int) -> str:
    """Effective time, ISO 8601 in UTC; as a number where the calendar ends."""
    try:
        return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")
    except OverflowError:
        return str(ms)
