"""The schema's version: where it stands, and how it is brought to the newest.

Alembic runs from inside the installed package (`migrations/`), without an ini file and on a connection
that is handed to it, in one transaction on both engines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

LOCK_WAIT_S = 60.0  # how long a process waits on SQLite while another one migrates
_LOCK = 0x46697441_49000001  # "FitAI": the advisory lock of migrations on PostgreSQL


class WrongSchema(Exception):
    """The database's schema is older than the one that this code needs; `fitai migrate` brings it up."""


def newest() -> str:
    """The revision that this code expects."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None, "the package holds its migrations"
    return head


def current(connection: Connection) -> str | None:
    """The revision that the database is at; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def standing(found: str | None) -> Literal["current", "behind", "ahead"]:
    """How a database's revision stands to this code; `ahead`, of a newer release, is one that it can use."""
    if found == newest():
        return "current"
    return "ahead" if is_newer(found) else "behind"


def check(connection: Connection) -> None:
    """Raise WrongSchema unless the database is at the newest revision, or beyond it."""
    found = current(connection)
    if standing(found) == "behind":
        raise WrongSchema(f"the database is at schema {found or 'none'}, this version needs {newest()}")


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the missing migrations in the caller's transaction, alone among processes.

    A database that a newer release has migrated is left as it is.
    """
    lock(connection)
    if is_newer(current(connection)):
        return
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def lock(connection: Connection) -> None:
    """Be the only process that changes the schema, until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def is_newer(found: str | None) -> bool:
    """Whether a newer release made this revision: ours are all known here, and migrations go forward only.
    Each leaves the release before able to run, so what we do not know is no reason to stand still."""
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    return found is not None and found not in known


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config
