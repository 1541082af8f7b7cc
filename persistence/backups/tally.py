r"""What a table holds, as two figures: how many rows, and a digest that is the same in any order of them.

A row is written as PostgreSQL's COPY writes it (text format), its columns in the table's order: tabs between
values, `\N` for NULL, bytes in hexadecimal. Its SHA-256 is taken as a number, and these are added modulo
2^256. So a stream of rows is enough, from a server, from a file, or from SQLite, where rows are written in
the same way here; the log's rows come to one digest on both engines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

_MODULUS = 2**256
_ESCAPES = str.maketrans(
    {
        "\\": "\\\\",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\v": "\\v",
    }
)


class Tally:
    """Counts rows as they pass by in pieces of any size."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0
        self._rest = b""

    @property
    def digest(self) -> str:
        """Of the whole rows so far, 64 hexadecimal digits."""
        return f"{self._sum:064x}"

    def feed(self, data: bytes) -> None:
        """Take rows, each ended by a newline; a piece may end within one."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._sum += int.from_bytes(hashlib.sha256(line).digest())
        self._sum %= _MODULUS
        self.rows += len(lines)


def line(row: Sequence[Any]) -> bytes:
    """A row of SQLite's as COPY writes it, with its newline."""
    return "\t".join(map(_written, row)).encode() + b"\n"


def _written(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, bytes):
        return "\\\\x" + value.hex()
    return str(value).translate(_ESCAPES)
