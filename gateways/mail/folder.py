"""The mailer of an installation without a mail server: letters land as files in a folder, and `fitai mail`
shows them.

A file is there whole or not at all, and belongs to this user alone: links in it open accounts. The newest are
kept. Who has the same Message-ID replaces the one before, so that a letter that was sent twice is there once.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path

from fitai.gateways.jobs.contract import Temporary

KEPT = 500  # letters

_NAME = re.compile(r"(?P<at>\d{13})-(?P<id>[\w-]{1,64})\.eml")


@dataclass(frozen=True, slots=True)
class Kept:
    """A letter in the folder: its file, and when it came (Unix ms)."""

    file: Path
    at: int

    def read(self) -> EmailMessage:
        """The message."""
        with self.file.open("rb") as file:
            return BytesParser(_class=EmailMessage, policy=default).parse(file)


class FolderMailer:
    """Writes messages into `folder`, which is made when it is needed; keeps the newest `kept`."""

    def __init__(self, folder: Path, now_ms: Callable[[], int], kept: int = KEPT) -> None:
        self._folder = folder
        self._now_ms = now_ms
        self._kept = kept

    async def send(self, message: EmailMessage) -> None:
        """Write one message; raises Temporary when the disk does not take it."""
        try:
            await asyncio.to_thread(self._write, message)
        except OSError as error:
            raise Temporary(f"the folder of letters takes none: {error.strerror or error}") from error

    def _write(self, message: EmailMessage) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        job = re.sub(r"[^\w-]", "", str(message["Message-ID"]).strip("<>").partition("@")[0])[:64] or "letter"
        for before in self._folder.glob(f"*-{job}.eml"):
            before.unlink(missing_ok=True)
        handle, half = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".half")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(message.as_bytes())
                file.flush()
                os.fsync(file.fileno())
            Path(half).replace(self._folder / f"{self._now_ms():013d}-{job}.eml")
        finally:
            with suppress(FileNotFoundError):
                Path(half).unlink()
        for old in letters(self._folder)[self._kept :]:
            old.file.unlink(missing_ok=True)


def letters(folder: Path) -> list[Kept]:
    """What lies in the folder, the newest first; nothing when there is none."""
    files = folder.iterdir() if folder.is_dir() else ()
    found = [(match, file) for file in files if (match := _NAME.fullmatch(file.name))]
    return sorted((Kept(file, int(match["at"])) for match, file in found), key=_newest_first)


def _newest_first(kept: Kept) -> tuple[int, str]:
    return (-kept.at, kept.file.name)
