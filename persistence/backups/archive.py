"""The file of a backup: a ZIP with the data and `backup.json`, which says what it is.

    backup.json      what `Manifest` has
    database.sqlite  SQLite: the database itself
    database.sql     PostgreSQL: its rows, as `pg_dump --data-only` writes them, for psql or for us

The file appears whole or not at all, under its name only when it is on the disk, and for its owner's eyes
only: it holds password hashes.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

FORMAT = 1
PIECE = 1 << 20  # bytes that are read at once
PAYLOADS = {"sqlite": "database.sqlite", "postgresql": "database.sql"}
_MANIFEST = "backup.json"
_MANIFEST_BYTES = 1 << 20
_LEVEL = 3  # of deflate: a sixth of the time of the highest for a tenth more bytes


class BadBackup(Exception):
    """The file is no backup, is damaged, or can not be used here; the message says why in one sentence."""


class Table(msgspec.Struct, frozen=True):
    """What a table held: rows, and their digest (`tally`)."""

    rows: int
    digest: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup says of itself.

    format    how to read it
    engine    sqlite | postgresql
    schema    revision of the migrations
    made_at   Unix ms, when it was begun: nothing that was committed before is missing
    fitai     version that made it
    sha256    of the data's bytes
    """

    format: int
    engine: str
    schema: str
    made_at: int
    fitai: str
    sha256: str
    tables: dict[str, Table]


class Written:
    """The data's entry, while it is being written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Add to it."""
        self._hash.update(data)
        self._file.write(data)

    @property
    def sha256(self) -> str:
        """Of all that was written."""
        return self._hash.hexdigest()


class New:
    """A backup that is being made. First the data, then the manifest."""

    def __init__(self, archive: zipfile.ZipFile, engine: str) -> None:
        self._archive = archive
        self._engine = engine
        self.sha256 = ""

    @contextmanager
    def payload(self) -> Iterator[Written]:
        """The data's entry."""
        with self._archive.open(PAYLOADS[self._engine], "w", force_zip64=True) as file:
            written = Written(file)
            yield written
        self.sha256 = written.sha256

    def describe(self, manifest: Manifest) -> None:
        """Add the manifest."""
        self._archive.writestr(_MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))


@contextmanager
def new(path: Path, engine: str) -> Iterator[New]:
    """Make the file at `path` when the block ends; raises OSError. What was begun is taken away when the
    block raises, and after a kill when it is begun once more."""
    part = part_of(path)
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
                yield New(archive, engine)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def part_of(path: Path) -> Path:
    """Where a file is while it is not whole."""
    return path.with_name(path.name + ".part")


class Archive:
    """A backup to read; raises BadBackup wherever it is not what it says."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.manifest = self._manifest()

    def _manifest(self) -> Manifest:
        try:
            if self._archive.getinfo(_MANIFEST).file_size > _MANIFEST_BYTES:
                raise BadBackup("its description is too long")
            said = self._archive.read(_MANIFEST)
            format_: int = msgspec.json.decode(said, type=_Format).format
            if format_ != FORMAT:
                raise BadBackup(f"a newer release made it: its format is {format_}, {FORMAT} is known here")
            return msgspec.json.decode(said, type=Manifest)
        except (KeyError, msgspec.DecodeError) as error:
            raise BadBackup("it is no backup of FitAI") from error

    def pieces(self) -> Iterator[bytes]:
        """The data; at its end it has been held against its digest."""
        found = hashlib.sha256()
        try:
            with self._archive.open(PAYLOADS[self.manifest.engine]) as file:
                while piece := file.read(PIECE):
                    found.update(piece)
                    yield piece
        except KeyError as error:
            raise BadBackup("its data are missing") from error
        if found.hexdigest() != self.manifest.sha256:
            raise BadBackup("its data are not those that it was made with")

    def extract(self, path: Path) -> None:
        """Write the data to a file, for its owner's eyes only."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for piece in self.pieces():
                file.write(piece)


class _Format(msgspec.Struct):
    format: int


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Read the backup at `path`; raises BadBackup, OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield Archive(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise BadBackup("it is damaged, or no backup at all") from error


def compare(said: Mapping[str, Table], found: Mapping[str, Table]) -> None:
    """Raise BadBackup unless the tables hold what the manifest says."""
    for name in sorted(said.keys() | found.keys()):
        if said.get(name) != found.get(name):
            raise BadBackup(f"the rows of {name} are not those that it was made with")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
