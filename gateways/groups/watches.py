"""The workouts of a group's members as one node follows them, wherever their hosts are.

What a host here commits, or a hint brings, is folded at once (`fitai.gateways.groups.watch`). What is
lacking, at the beginning all of it, is read from the log by one task for the whole room, of many members at
once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

from fitai.engine.entities import Workout
from fitai.engine.ops import Record
from fitai.gateways.groups.watch import Watch
from fitai.gateways.tasks import spawn
from fitai.persistence.database import Unavailable
from fitai.persistence.families import read_families

if TYPE_CHECKING:
    from fitai.gateways.bus.contract import Unsubscribe
    from fitai.gateways.live.hosts import Hosts

_log = structlog.get_logger(__name__)

AT_ONCE: Final = 50  # members whose workouts are read in one go,
TURN: Final = 5  # and folded in one turn of the loop
RETRY_S: Final = 1.0  # until the log is asked again that was out of reach


class _Watcher:
    """One member's watch, as `Hosts.watch` tells it."""

    def __init__(self, watches: Watches, member: int, watch: Watch) -> None:
        self.watch = watch
        self.member = member
        self.unwatch: Unsubscribe
        self._watches = watches

    @property
    def stream(self) -> int | None:
        return self.watch.stream

    def committed(self, epoch: str, records: Sequence[Record]) -> None:
        if self.watch.take(epoch, records):
            self._watches.changed(self)

    def reached(self, epoch: str, head: int) -> None:
        if self.watch.reached(epoch, head):
            self._watches.changed(self)

    def measured(self, payload: Mapping[str, Any]) -> None:
        if self.watch.holds(payload.get("workout", "")):
            self._watches.on_measured(self.member, payload)


class Watches:
    """The watches of one room. `on_changed(member)`: their workout may be another one now;
    `on_measured(member, payload)`: their newest telemetry in it."""

    def __init__(
        self,
        hosts: Hosts,
        on_changed: Callable[[int], None],
        on_measured: Callable[[int, Mapping[str, Any]], None],
    ) -> None:
        self._hosts = hosts
        self._on_changed = on_changed
        self.on_measured = on_measured
        self._watchers: dict[int, _Watcher] = {}
        self._lacking: dict[_Watcher, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def follow(self, member: int, user: str | None, workout: str | None) -> None:
        """This is the workout of a member from now on; None: there is none, or nobody to be followed."""
        watcher = self._watchers.get(member)
        if watcher is not None and (watcher.watch.user, watcher.watch.workout) == (user, workout):
            return
        if watcher is not None:
            self._drop(watcher)
        if user is not None and workout is not None:
            watcher = self._watchers[member] = _Watcher(self, member, Watch(user, workout))
            watcher.unwatch = self._hosts.watching.watch(user, watcher)
            self.changed(watcher)

    def workout(self, member: int) -> Workout | None:
        """A member's workout, as far as it was read."""
        watcher = self._watchers.get(member)
        return None if watcher is None else watcher.watch.view()

    def changed(self, watcher: _Watcher) -> None:
        """What a member's workout is has changed, or is to be read first."""
        if watcher.watch.lacks:
            self._lacking[watcher] = None
            if self._task is None:
                self._task = spawn("groups.watches", self._work())
        else:
            self._on_changed(watcher.member)

    async def quiet(self) -> None:
        """Return when nothing is being read."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def close(self) -> None:
        """Follow nobody any more."""
        self._closing.set()
        for watcher in list(self._watchers.values()):
            self._drop(watcher)

    def _drop(self, watcher: _Watcher) -> None:
        watcher.unwatch()
        self._lacking.pop(watcher, None)
        del self._watchers[watcher.member]
        self._on_changed(watcher.member)

    async def _work(self) -> None:
        try:
            while self._lacking and not self._closing.is_set():
                some = list(self._lacking)[:AT_ONCE]
                try:
                    await self._load(some)
                except Unavailable:
                    _log.warning("workouts_not_read", members=len(self._lacking))
                    await self._pause()
                except Exception:
                    _log.exception("workouts_not_read")
                    await self._pause()
        finally:
            self._task = None

    async def _load(self, watchers: Sequence[_Watcher]) -> None:
        async with self._hosts.db.read() as session:
            wanted = [(watcher.watch.user, watcher.watch.workout) for watcher in watchers]
            families = await read_families(session, wanted)
        for index, (watcher, family) in enumerate(zip(watchers, families, strict=True)):
            if watcher not in self._lacking:
                continue  # is followed no more
            del self._lacking[watcher]
            if family is not None:  # else the account is gone; the group's log will say so
                watcher.watch.load(family)
                self._on_changed(watcher.member)
                if watcher.watch.lacks:
                    self._lacking[watcher] = None
            if index % TURN == TURN - 1:
                await asyncio.sleep(0)

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), RETRY_S)
