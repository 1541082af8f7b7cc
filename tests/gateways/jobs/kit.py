"""A clock that stands still, and kinds of jobs that do what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel, ConfigDict

from fitai.gateways.jobs.contract import Attempt, Kind
from fitai.persistence.jobs import JobList, Jobs

NOW = 1_795_600_000_000


class Clock:
    """Unix ms, moved by hand."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class Note(BaseModel):
    """The payload of the test's jobs."""

    model_config = ConfigDict(extra="forbid")

    n: int


def kind(
    handle: Callable[[Attempt, Note], Awaitable[None]], name: str = "note", **options: Any
) -> Kind[Note]:
    return Kind(name, Note, handle, **options)


async def put(db, n: int = 1, name: str = "note", now: int = NOW, **options: Any) -> str:
    async with db.write() as session:
        job = await Jobs(session).put(name, {"n": n}, now=now, **options)
    assert job is not None
    return job


async def rows(db) -> dict[str, Any]:
    """All jobs by id."""
    async with db.read() as session:
        return {job.id: job for job in await JobList(session).find(now=NOW, limit=10_000)}


async def until(true: Callable[[], bool], what: str = "what was waited for", within_s: float = 15.0) -> None:
    deadline = asyncio.get_running_loop().time() + within_s
    while not true():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen"
        await asyncio.sleep(0.01)
