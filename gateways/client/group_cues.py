"""What a device shows of a group at a moment, and when that changes next, without a message.

Times are the server's, Unix ms; `group_clock` turns them into the device's. A device sets one alarm, for
`next_change`, and asks `cue` then; whenever a record comes it does both anew. That is all it takes to switch
together with everybody, through pauses, and while no server can be reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fitai.engine.groups import formats
from fitai.engine.groups.formats import Phase
from fitai.engine.groups.group import Group
from fitai.engine.groups.machine import LIVE


class Cue(NamedTuple):
    """status, and while it is live the phase; `runs`: the clock does (after a resume it waits a moment)."""

    status: str
    phase: Phase | None = None
    runs: bool = False


def cue(g: Group, at: float) -> Cue:
    """Where the group is at a moment from its last record on."""
    moment = int(at)
    status = g.status_at(moment)
    if status != LIVE:
        return Cue(status)
    runs = bool(g.clock.runs) and moment >= g.clock.runs[-1].from_
    return Cue(status, formats.current(g.phases, g.clock.elapsed(moment)), runs)


def next_change(g: Group, at: float) -> int | None:
    """The next moment at which the cue may be another one; None where nothing is planned."""
    return min((moment for moment in _moments(g) if moment > at), default=None)


def _moments(g: Group) -> Iterator[int]:
    if g.live_at is not None:
        yield g.live_at
    for run in g.clock.runs:
        yield run.from_
    for deadline in formats.deadlines(g.phases, g.clock):
        yield from (moment for moment in (deadline.at, deadline.until) if moment is not None)
    if g.clock.ends_at is not None:
        yield g.clock.ends_at
