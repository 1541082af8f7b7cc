"""`fitai backup` or `fitai restore` that is killed (SIGKILL, by itself) at the moment that is named first.

python dying.py MOMENT backup|restore FILE …
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from typing import Any

from fitai.app.command import app
from fitai.persistence.backups import anew, archive, postgres, sqlite_file


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def then_die(what: Callable[..., Any]) -> Callable[..., Any]:
    def done(*arguments: Any, **named: Any) -> Any:
        what(*arguments, **named)
        die()

    return done


class Connection(sqlite3.Connection):
    """Dies in the middle of a copy."""

    def backup(self, target: Any, **named: Any) -> None:
        super().backup(target, **{**named, "pages": 20, "progress": die})


def dying_copy(connect: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments, **named: connect(*arguments, factory=Connection, **named)


MOMENTS: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
    "while data are written": (archive.Written, "write", then_die),
    "before it has its name": (archive.New, "describe", then_die),
    "while it is looked at": (sqlite_file, "tables", lambda _: die),
    "before it is in its place": (anew, "people", lambda _: die),
    "with some pages copied": (sqlite3, "connect", dying_copy),
    "with all rows loaded": (postgres, "_passed", lambda _: die),
    "before the commit": (anew, "people", lambda _: die),
}


if __name__ == "__main__":
    where, name, changed = MOMENTS[sys.argv[1]]
    setattr(where, name, changed(getattr(where, name)))
    app(sys.argv[2:])
