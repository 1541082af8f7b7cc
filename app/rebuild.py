"""`fitai rebuild`: every projection written anew from the log.

May run beside serving processes: a row is only ever replaced by one that has seen as much, so lists stay
complete and what happens meanwhile is not undone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fitai.app.limits import Limits
from fitai.persistence.database import Database
from fitai.persistence.projections import Due, Projector, deadlines

PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was written: streams (one per user), their workouts, and how long it took."""

    streams: int
    workouts: int
    seconds: float


async def rebuild(db: Database, limits: Limits, console: Console) -> Rebuilt:
    """Rebuild all projections, with a bar on `console`; raises Unavailable."""
    projector, due = Projector(db), next_deadline(limits)
    started = time.perf_counter()
    streams = await _streams(projector)
    workouts = 0
    with _bar(console) as progress:
        task = progress.add_task("users", total=len(streams), workouts=0)
        for stream in streams:
            workouts += await projector.rebuild(stream, due)
            progress.update(task, advance=1, workouts=workouts)
    return Rebuilt(len(streams), workouts, time.perf_counter() - started)


def next_deadline(limits: Limits) -> Due:
    """When the server has to act next for a folded workout, by these limits; Unix ms or None."""
    return deadlines(int(limits.idle_pause_seconds * 1000), int(limits.idle_finish_seconds * 1000))


async def _streams(projector: Projector) -> list[int]:
    found: list[int] = []
    while page := await projector.streams(found[-1] if found else 0, PAGE):
        found += page
    return found


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[workouts]} workouts"),
        TimeRemainingColumn(),
        console=console,
    )
