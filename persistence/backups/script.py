r"""The data of a PostgreSQL backup: a script of COPY blocks, as `pg_dump --data-only` writes them. No I/O.

    COPY users (id, email, …) FROM stdin;
    0192f3c4-…	ann@example.org	…
    \.

Only such blocks are read back; whatever else such a file says is never run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_COPY = re.compile(rb"COPY (\w+) \((\w+(?:, \w+)*)\) FROM stdin;")
_END = b"\\."


class BadScript(ValueError):
    """These are not COPY blocks, or the last of them has no end."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Rows of a table follow, of these columns."""

    table: str
    columns: Sequence[str]


@dataclass(frozen=True, slots=True)
class Rows:
    """Some whole rows, each with its newline."""

    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The table's rows are all there."""


Event = Begin | Rows | End


def begin(table: str, columns: Sequence[str]) -> bytes:
    """The first line of a block."""
    return f"COPY {table} ({', '.join(columns)}) FROM stdin;\n".encode()


END = _END + b"\n\n"
"""The last lines of a block."""


class Script:
    """Takes a script in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""
        self._within = False

    def feed(self, piece: bytes) -> Iterator[Event]:
        """What the piece brings; raises BadScript."""
        whole, newline, self._rest = (self._rest + piece).rpartition(b"\n")
        yield from self._blocks(whole + newline)

    def close(self) -> None:
        """Raise BadScript when something is missing."""
        if self._within or self._rest.strip():
            raise BadScript("it ends within a table")

    def _blocks(self, text: bytes) -> Iterator[Event]:
        while text:
            if self._within:
                rows, found, text = _until_end(text)
                if rows:
                    yield Rows(rows)
                if found:
                    self._within = False
                    yield End()
            else:
                head, _, text = text.partition(b"\n")
                if head.startswith(b"COPY "):
                    match = _COPY.fullmatch(head)
                    if match is None:
                        raise BadScript("a table's first line is unreadable")
                    self._within = True
                    yield Begin(match[1].decode(), match[2].decode().split(", "))


def _until_end(text: bytes) -> tuple[bytes, bool, bytes]:
    """(rows, whether they end here, what follows them)."""
    if text.startswith(_END + b"\n"):
        return b"", True, text[len(_END) + 1 :]
    rows, found, rest = text.partition(b"\n" + _END + b"\n")
    return (rows + b"\n", True, rest) if found else (text, False, b"")
