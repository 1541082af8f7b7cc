"""What a node does in a group when nobody does it: name another host, write the final table. Which of it is
due, `fitai.engine.groups.timers` says; here it is only done, one after the other.

Every node of which somebody is in the room may find the same thing due: the op names what it was decided on,
and the table is a function of the logs, so doing it twice is doing it once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

import structlog

from fitai.engine.groups import timers
from fitai.engine.groups.group import Group
from fitai.engine.timers import ServerOp
from fitai.gateways.groups import results
from fitai.gateways.groups.presence import Presence
from fitai.gateways.tasks import spawn
from fitai.persistence.database import Unavailable
from fitai.sync.wire import Refusal

if TYPE_CHECKING:
    from fitai.gateways.groups.room import Room

_log = structlog.get_logger(__name__)

PAUSE_MS: Final = 1_000  # between two attempts
PROBE_S: Final = 1.0  # how long the bus may take to show that it is there
CORRECT_MS: Final = 2_000  # how soon a workout that changed after the end corrects the table


class Duties:
    """The duties of one room on this node. `now`: Unix ms."""

    def __init__(self, room: Room, presence: Presence) -> None:
        self._room = room
        self._presence = presence
        self._task: asyncio.Task[None] | None = None
        self._next_at = 0  # not before
        self._tabled = False  # the table was looked at since it is due,
        self._correct_at: int | None = None  # and is to be looked at again

    @property
    def busy(self) -> bool:
        """Something is being done."""
        return self._task is not None

    async def quiet(self) -> None:
        """Return when nothing is being done."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def moved(self, now: int) -> None:
        """A workout has changed: once the group is over, the table may have."""
        if self._tabled and self._correct_at is None:
            self._correct_at = now + CORRECT_MS

    def turn(self, now: int) -> None:
        """Do what is due."""
        if self._task is None and now >= self._next_at and (work := self._due(now)) is not None:
            self._next_at = now + PAUSE_MS
            self._task = spawn("groups.duty", self._do(work))

    def due_at(self, now: int) -> int | None:
        """When something is due next, as far as is known now, which has had its turn."""
        g = self._room.group
        moments = [self._correct_at, None if self._tabled else timers.due(g, now).results_at]
        if (since := self._host_gone_since(g)) is not None and self._presence.busy:
            moments.append(since + self._room.host_grace_ms)
        # What is past and was not done now waits for something to change, or for its next attempt.
        known = [max(at, self._next_at) for at in moments if at is not None]
        return min((at for at in known if at > now), default=None)

    def _due(self, now: int) -> Coroutine[Any, Any, None] | None:
        g = self._room.group
        if self._succession(g, now) is not None:
            return self._succeed()
        if results.is_due(g, now) and (
            not self._tabled or (self._correct_at is not None and now >= self._correct_at)
        ):
            return self._table()
        return None

    def _succession(self, g: Group, now: int) -> ServerOp | None:
        if g.host is not None and self._presence.is_here(g.host):
            return None  # mostly; the rest is asked rarely
        since = self._host_gone_since(g)
        return timers.succession(g, self._presence.present(), since, now, self._room.host_grace_ms)

    def _host_gone_since(self, g: Group) -> int | None:
        return None if g.host is None else self._presence.gone_since(g.host)

    async def _succeed(self) -> None:
        """Name another host, unless it is this node that hears nobody."""
        hosts = self._room.hosts
        if hosts.alone or await hosts.bus.probe(PROBE_S):
            await self._room.serve(self._succession)

    async def _table(self) -> None:
        self._correct_at = None
        await results.results(self._room)
        self._tabled = True

    async def _do(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (Unavailable, Refusal) as error:
            _log.warning("group_duty_postponed", group=self._room.id, error=str(error))
        finally:
            self._task = None
            self._room.stage.tick()
