"""Who decides when the next work begins: a schedule (open loop), or the answer to the last (closed loop)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator

from fitai.bench import profiles, schedule
from fitai.bench.crew import Crew, Member
from fitai.bench.schedule import Due

Done = Callable[[], None]
Work = Callable[[Member, float, Done], None]
"""Begin one work of a member, intended at a moment of the crew's clock; call the last argument when it is
done."""

Gap = Callable[[random.Random], float]
"""Seconds from one work of a person to the next."""

LATE = "generator late"
BREATH_S = 0.005  # the longest that sends in a row may keep the loop from reading answers


async def keep(crew: Crew, work: Work, start: float, seconds: float, gap: Gap = profiles.set_gap) -> None:
    """Have the crew do works from `start` (by its clock) for so many seconds, as the plan wants it; people do
    one after a `gap`."""
    if crew.plan.window is not None:
        await in_windows(crew, work, crew.plan.window, start + seconds)
    else:
        await on_schedule(crew, work, due(crew, seconds, gap), start, seconds)


def due(crew: Crew, seconds: float, gap: Gap) -> Iterator[Due]:
    """The intended works of the crew: at the plan's rate, or when people do theirs."""
    users = len(crew.members)
    if crew.rate is not None:
        return schedule.open_loop(crew.rate, seconds, users, crew.rng)
    return schedule.by_gaps(gap, seconds, users, crew.rng)


async def on_schedule(crew: Crew, work: Work, dues: Iterable[Due], start: float, seconds: float) -> None:
    """Begin each work when it is due, never waiting for another to end. What is due already begins at once
    and keeps its intended time; how late it began is measured as `generator late`."""
    clock, breath = crew.clock, crew.clock()
    for due in dues:
        intended = start + due.at
        wait = intended - clock()
        if wait > 0:
            await asyncio.sleep(wait)
            breath = clock()
        elif clock() - breath > BREATH_S:
            await asyncio.sleep(0)
            breath = clock()
        crew.recorder.record(LATE, clock() - intended)
        work(crew.members[due.user], intended, _nothing)
    await asyncio.sleep(max(0.0, start + seconds - clock()))


async def in_windows(crew: Crew, work: Work, window: int, until: float) -> None:
    """Each member keeps `window` works on the way until a moment."""
    loop = asyncio.get_running_loop()

    def another(member: Member) -> None:
        if crew.clock() < until:
            work(member, crew.clock(), lambda: again(member))

    def again(member: Member) -> None:
        loop.call_soon(another, member)

    for member in crew.members:
        for _ in range(window):
            another(member)
        await asyncio.sleep(0)
    await asyncio.sleep(max(0.0, until - crew.clock()))


def _nothing() -> None:
    """Whoever is on a schedule waits for nobody."""
