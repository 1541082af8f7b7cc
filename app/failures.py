"""What stops a command, as one sentence for the person who typed it.

An exception that is named here is no bug: a wrong setting, a database that is away, a port that is taken.
Everything else keeps its traceback.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from fitai.app.settings import SettingsError

# What knows the database's errors is imported when there is one: `fitai --help` need not wait for it.

_ERRNO = re.compile(r"^\[Errno -?\d+\] ")

EXIT = 2
"""The exit code of a command that could not do its work for a reason that its sentence tells."""


class Refused(Exception):
    """A command can not do what it was asked to; the message is the sentence."""


@contextmanager
def told() -> Iterator[None]:
    """Turn an expected failure into one sentence on stderr and exit code 2."""
    try:
        yield
    except Exception as error:
        sentence = explained(error)
        if sentence is None:
            raise
        typer.echo(f"fitai: {sentence}", err=True)
        raise typer.Exit(EXIT) from error


def explained(error: Exception) -> str | None:
    """The sentence for an expected failure, None for a bug."""
    if isinstance(error, SettingsError | Refused):
        return _line(str(error))
    return _explained_database(error)


def _explained_database(error: Exception) -> str | None:
    import asyncpg
    from sqlalchemy.exc import DBAPIError

    from fitai.persistence.database import BadUrl, Unavailable
    from fitai.persistence.schema import WrongSchema

    match error:
        case BadUrl():
            return f"FITAI_DATABASE_URL: {_line(str(error))}."
        case Unavailable():
            return f"FITAI_DATABASE_URL: the database cannot be reached ({_reason(error)})."
        case WrongSchema():
            return f"{_line(str(error)).capitalize()}; `fitai migrate` brings it up."
        case DBAPIError() | asyncpg.PostgresError():
            return f"FITAI_DATABASE_URL: the database refuses ({_reason(error)})."
    return None


def not_listening(setting: str, host: str, port: int, error: OSError) -> Refused:
    """Why this address, which `setting` names, can not be listened on."""
    where = f"{host} port {port}"
    if error.errno == errno.EADDRINUSE:
        other = (
            "give another with --port, or 0 for a free one" if setting == "FITAI_HOST" else f"see {setting}"
        )
        return Refused(f"Something else listens on {where} already; {other}.")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return Refused(f"This user may not listen on {where}; ports from 1024 on are free for all.")
    return Refused(f"{setting}: cannot listen on {where} ({error.strerror or error}).")


def shown_url(url: str) -> str:
    """A database URL as it may be shown: without its password."""
    from sqlalchemy.exc import ArgumentError

    from fitai.persistence.engines import parsed_url

    try:
        return parsed_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "(unreadable)"


def _reason(error: BaseException) -> str:
    """The innermost cause that says something, on one line."""
    said = ""
    cause: BaseException | None = error
    while cause is not None:
        said = str(cause) or said
        cause = cause.__cause__ or getattr(cause, "orig", None)
    return _ERRNO.sub("", _line(said)).rstrip(".")


def _line(text: str) -> str:
    return " ".join(text.split())
