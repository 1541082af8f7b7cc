"""`fitai backup`, `fitai restore` and `fitai begin-anew`: what they say and when they refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from fitai.app.failures import Refused, shown_url
from fitai.app.settings import Settings
from fitai.app.stores import opened
from fitai.persistence.backups import whole
from fitai.persistence.backups.whole import BadBackup, Manifest

Confirm = Callable[[str], bool]
"""Whether the person at the terminal wants what the sentence says; False without a terminal."""


async def back_up(settings: Settings, path: Path, now: int) -> str:
    """Write a backup; what to tell of it. Raises Refused, Unavailable."""
    if await asyncio.to_thread(path.exists):
        raise Refused(f"{path} is there already; give another name, or take it away.")
    with _refusing(f"{shown_url(settings.database_url)}"), _file_errors(path):
        async with opened(settings) as db:
            manifest = await whole.make(db, path, fitai=version("fitai"), now=now)
    return f"Backed up {_held(manifest)} to {path} ({_size(path)})."


def verify(path: Path) -> str:
    """Hold a backup against itself; what to tell of it. Raises Refused."""
    with _refusing(str(path)), _file_errors(path):
        manifest = whole.verify(path)
    made = datetime.fromtimestamp(manifest.made_at / 1000, UTC)
    return (
        f"{path} is whole: {_held(manifest)}, {manifest.engine}, schema {manifest.schema},"
        f" made by fitai {manifest.fitai} at {made:%Y-%m-%d %H:%M:%S} UTC."
    )


async def restore(settings: Settings, path: Path, now: int, confirm: Confirm) -> str:
    """Replace the database's content by a backup; what to tell of it. Raises Refused, Unavailable."""
    url = shown_url(settings.database_url)
    with _refusing(str(path)), _file_errors(path):
        async with opened(settings) as db:
            if await whole.has_people(db) and not confirm(f"{url} holds data, which this replaces."):
                raise Refused(f"{url} holds data; --yes replaces it.")
            restored = await whole.restore(db, path, now=now)
    return (
        f"Restored {restored.people} accounts with {restored.records} records to {url}.\n"
        "Every log has a new epoch: devices offer their own ops again. Everybody has to sign in again."
    )


async def begin_anew(settings: Settings, now: int, confirm: Confirm) -> str:
    """Begin every log of the database anew; what to tell of it. Raises Refused, Unavailable."""
    url = shown_url(settings.database_url)
    if not confirm(f"Every log in {url} gets a new epoch, and everybody has to sign in again."):
        raise Refused(f"Everybody in {url} would have to sign in again; --yes says that it is meant.")
    async with opened(settings) as db:
        people = await whole.begin_anew(db, now=now)
    return f"The logs of {people} accounts in {url} have begun anew."


def _held(manifest: Manifest) -> str:
    rows = {name: table.rows for name, table in manifest.tables.items()}
    return f"{rows.get('users', 0)} accounts with {rows.get('records', 0)} records"


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    try:
        yield
    except BadBackup as error:
        raise Refused(f"{what}: {error}.") from error


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Refused(f"{error.filename or path}: {error.strerror or error}.") from error
