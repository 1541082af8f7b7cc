"""Tables for people: CSV by RFC 4180 in UTF-8, safe to open in a spreadsheet.

A cell that begins like a formula would be computed by the spreadsheet (CSV injection), and names, notes and
ops are whatever somebody wrote: such text gets an apostrophe in front, which spreadsheets show as text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

CSV = "text/csv"

# How a formula begins, also for spreadsheets that take full-width signs or skip white space first.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def lines(rows: Iterable[Iterable[Any]]) -> bytes:
    """One line for each row; None is an empty cell."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([[safe(cell) for cell in row] for row in rows])
    return text.getvalue().encode()


def safe(cell: Any) -> Any:
    """Text that no spreadsheet takes for a formula; numbers as they are."""
    if isinstance(cell, str) and cell.lstrip(" \u00a0\ufeff").startswith(_FORMULA):
        return f"'{cell}"
    return cell


def headers(filename: str) -> dict[str, str]:
    """Of an answer that is saved as a file of this name (plain ASCII)."""
    return {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{filename}"',
        "Vary": "Accept",
    }
