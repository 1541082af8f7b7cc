"""How the parts are that no single request needs: the schema, the disk, the outbox. `health` asks."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from fitai.http import metrics
from fitai.http.health import Found, Look
from fitai.persistence import schema
from fitai.persistence.database import Database
from fitai.persistence.jobs import JobList

LATE_MS = 5 * 60_000  # a job that has been due for so long is not being worked on
DISK_LOW = 512 * 1024 * 1024  # bytes


def migrations(db: Database) -> Look:
    """The schema is the one that this version needs, or a newer one."""

    async def look() -> Found:
        found = await db.revision()
        standing = await asyncio.to_thread(schema.standing, found)
        return Found(standing != "behind", {"revision": found, "standing": standing})

    return look


def disk(folder: Path, low: int) -> Look:
    """The folder's file system has at least `low` bytes left."""

    async def look() -> Found:
        usage = await asyncio.to_thread(_usage, folder)
        metrics.DISK_FREE.set(usage.free)
        metrics.DISK_TOTAL.set(usage.total)
        return Found(usage.free >= low, {"free_bytes": usage.free, "total_bytes": usage.total})

    return look


def _usage(folder: Path) -> shutil._ntuple_diskusage:
    """That of the folder, or of where it would be made: with PostgreSQL there may be none."""
    folder = folder.absolute()
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists()))


def queue(db: Database, now_ms: Callable[[], int]) -> Look:
    """No job has been due for long."""

    async def look() -> Found:
        now = now_ms()
        async with db.read() as session:
            found = await JobList(session).backlog(now)
        late_ms = 0 if found.oldest is None else now - found.oldest
        numbers = {"waiting": found.waiting, "oldest_s": round(late_ms / 1000, 1), "dead": found.dead}
        return Found(late_ms < LATE_MS, numbers)

    return look
