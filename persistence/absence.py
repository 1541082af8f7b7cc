"""What the database's absence looks like: errors of drivers and servers, told apart by what they mean.

An error that means "not now" becomes `Unavailable`: whoever asked may ask again. Which of these also say
that the connection, and those beside it, lead nowhere any more, is told by `is_gone`.
"""

from __future__ import annotations

import sqlite3

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

# SQLSTATEs that say "not now", by class and by code (PostgreSQL, appendix A).
_AWAY_CLASSES = ("08", "53", "57P", "58")
_AWAY_CODES = frozenset(
    {
        "40001",  # serialization_failure
        "25P03",  # idle_in_transaction_session_timeout: we were paused
        "57014",  # query_canceled: the statement took longer than it may
    }
)
_GONE_CLASSES = ("08", "57P")
_READ_ONLY_CODE = "25006"
_LOCKED_CODES = frozenset({"55P03", "40P01"})
_AGAIN_CODES = frozenset({"40001", "40P01"})  # the other one has gone on; a lock's time-out has waited enough
_SQLITE_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
    }
)


class Unavailable(Exception):
    """The database is away; nothing is known to be stored.

    again  another transaction was in the way, and the same may go through at once
    """

    again = False


class Locked(Unavailable):
    """A lock that another transaction holds was not given up in time; nothing is stored."""


class CommitUnknown(Unavailable):
    """The connection was lost during the commit: all of it is stored, or nothing."""


def translated(error: Exception, *, writes: bool = True) -> Exception:
    """`error` as Unavailable or Locked when it means that the database is away, else as it is.

    A database that has become read-only (a standby after a failover, a remounted disk) is away for those
    who write; in a read session a write is a mistake of ours.
    """
    if isinstance(error, Unavailable):
        return error
    if isinstance(error, (PoolTimeout, OSError, TimeoutError)):
        return Unavailable(f"the database cannot be reached: {type(error).__name__}: {error}")
    if not isinstance(error, DBAPIError):
        return error
    state = getattr(error.orig, "sqlstate", None)
    if state in _LOCKED_CODES:
        return _marked(Locked(f"locked by another transaction: {error.orig}"), error.orig, state)
    if _is_read_only(error.orig):
        return Unavailable(f"the database is read-only: {error.orig}") if writes else error
    if error.connection_invalidated or _says_away(error.orig, state):
        return _marked(Unavailable(f"the database is away: {error.orig}"), error.orig, state)
    return error


def _marked(away: Unavailable, original: BaseException | None, state: str | None) -> Unavailable:
    code = getattr(original, "sqlite_errorcode", 0) & 0xFF if isinstance(original, sqlite3.Error) else None
    away.again = state in _AGAIN_CODES or code == sqlite3.SQLITE_BUSY
    return away


def is_gone(error: BaseException) -> bool:
    """Whether a PostgreSQL connection on which this happened leads nowhere, and others like it no better: the
    server shuts down, is silent, or has become a standby."""
    state: str | None = getattr(error, "sqlstate", None)
    if state is not None:
        return state == _READ_ONLY_CODE or state.startswith(_GONE_CLASSES)
    return isinstance(error, (OSError, TimeoutError))


def _says_away(original: BaseException | None, state: str | None) -> bool:
    if state is not None:
        return state in _AWAY_CODES or state.startswith(_AWAY_CLASSES)
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF in _SQLITE_AWAY
    cause = original.__cause__ if original is not None else None
    # Of several hosts none is the primary: a failover is under way.
    return isinstance(cause, (OSError, TimeoutError, asyncpg.TargetServerAttributeNotMatched))


def _is_read_only(original: BaseException | None) -> bool:
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY
    return getattr(original, "sqlstate", None) == _READ_ONLY_CODE
