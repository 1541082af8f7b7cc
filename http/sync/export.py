"""Refused records as a table for people: CSV by RFC 4180, safe to open in a spreadsheet.

A cell that begins like a formula would be computed by the spreadsheet (CSV injection), and what stands in
an op is whatever its author wrote: such text gets an apostrophe in front, which spreadsheets show as text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from fitai.engine.ops import Record

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

# How a formula begins, also for spreadsheets that take full-width signs or skip white space first.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def head() -> bytes:
    """The line that names the columns; `op` is the op as it came, JSON."""
    return _csv([COLUMNS])


def lines(records: Iterable[Record]) -> bytes:
    """One line for each record."""
    return _csv([_row(record) for record in records])


def safe(cell: Any) -> Any:
    """Text that no spreadsheet takes for a formula; numbers as they are."""
    if isinstance(cell, str) and cell.lstrip(" \u00a0\ufeff").startswith(_FORMULA):
        return f"'{cell}"
    return cell


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


def _csv(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([[safe(cell) for cell in row] for row in rows])
    return text.getvalue().encode()
