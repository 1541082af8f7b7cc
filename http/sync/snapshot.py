"""The snapshot: every workout as it was at one position, in pages, for a device with nothing yet.

A first request pins the present head. What the cursor holds (epoch, position, place) makes every page true
to that position, however far the log has moved on, and lets it be asked for again from any node. The device
takes over what it has loaded, then pulls the tail after `at`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any, NamedTuple

import orjson

from fitai.engine.workout import state
from fitai.gateways.identity import Identity
from fitai.gateways.live.host import Host
from fitai.gateways.live.hosts import Hosts
from fitai.http.sync.schemas import SnapshotQuery
from fitai.http.sync.service import check_epoch
from fitai.persistence import cursors
from fitai.persistence.database import Database, ReadSession
from fitai.persistence.log import Log
from fitai.persistence.projections import happened_at
from fitai.persistence.snapshots import Place, Snapshots
from fitai.sync.fold import fold
from fitai.sync.wire import Refusal

PAGE_BYTES = 1024 * 1024  # of states in one page, which holds at least one
PINS = 64  # positions whose places are kept in mind

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class _Pin(NamedTuple):
    """The position that pages are true to, and the place after which the next one goes on."""

    at: int
    after: Place | None


class SnapshotService:
    """Pages of every user's workouts at a position."""

    def __init__(self, db: Database, hosts: Hosts) -> None:
        self._db = db
        self._hosts = hosts
        # (stream, epoch, at) -> {workout: its place then}: the log never changes, so this can not go stale.
        self._places: OrderedDict[tuple[int, str, int], dict[str, Place]] = OrderedDict()

    async def page(self, caller: Identity, query: SnapshotQuery) -> dict[str, Any]:
        """One page; raises Refusal bad_request (a strange cursor, a position beyond the head) or epoch."""
        host = await self._hosts.open(caller.user)
        check_epoch(host, query.epoch)
        await host.reach(query.at or 0)
        pin = _pin(host, query)
        await host.flush()
        async with self._db.read() as session:
            workouts, following = await self._page(session, host, pin, query.limit)
        return {
            "ok": True,
            "epoch": host.epoch,
            "at": pin.at,
            "head": host.head,
            "workouts": workouts,
            "next": None if following is None else _cursor(host.epoch, pin.at, following),
        }

    async def _page(
        self, session: ReadSession, host: Host, pin: _Pin, limit: int
    ) -> tuple[list[dict[str, Any]], Place | None]:
        """The states of the next workouts, and the last one's place when there are more."""
        found: dict[Place, dict[str, Any] | None] = {
            place: await self._then(session, host, place.workout, pin.at) if document is None else document
            for place, document in await Snapshots(session).unchanged(
                host.stream, pin.at, pin.after, limit + 1
            )
        }
        for place in await self._moved(session, host, pin.at):
            if pin.after is None or place < pin.after:
                found[place] = None
        workouts: list[dict[str, Any]] = []
        size, last = 0, None
        for place in sorted(found, reverse=True):
            if len(workouts) == limit or (workouts and size >= PAGE_BYTES):
                return workouts, last
            document = found[place] or await self._then(session, host, place.workout, pin.at)
            workouts.append(document)
            size += len(orjson.dumps(document))
            last = place
        return workouts, None

    async def _moved(self, session: ReadSession, host: Host, at: int) -> list[Place]:
        """The places at that time of the workouts that have changed since."""
        pin = (host.stream, host.epoch, at)
        known = self._places.setdefault(pin, {})
        self._places.move_to_end(pin)
        if len(self._places) > PINS:
            self._places.popitem(last=False)
        names = await Snapshots(session).moved(host.stream, at)
        for name in names:
            if name not in known:
                document = await self._then(session, host, name, at)
                known[name] = Place(happened_at(document), name)
        return [known[name] for name in names]

    async def _then(self, session: ReadSession, host: Host, name: str, at: int) -> dict[str, Any]:
        """A workout's state at a position, from the log."""
        records = await Log(session).workout_records(host.stream, name, upto=at)
        return state(fold(name, host.user, records).workout)


def _pin(host: Host, query: SnapshotQuery) -> _Pin:
    if query.after is None:
        at = host.head if query.at is None else query.at
        if at > host.head:
            raise Refusal("bad_request", f"at {at} is beyond the head {host.head}", head=host.head)
        return _Pin(at, None)
    epoch, pin = _read_cursor(query.after)
    check_epoch(host, epoch)
    if pin.at > host.head or query.at not in (None, pin.at):
        raise _strange()
    return pin


def _cursor(epoch: str, at: int, place: Place) -> str:
    return cursors.write(epoch, at, *place)


def _read_cursor(cursor: str) -> tuple[str, _Pin]:
    try:
        parts = cursors.read(cursor)
    except cursors.BadCursor:
        raise _strange() from None
    match parts:
        case [str() as epoch, int() as at, int() as happened, str() as workout] if (
            0 <= at < 2**53 and abs(happened) < 2**62 and _UUID.fullmatch(workout)
        ):
            return epoch, _Pin(at, Place(happened, workout))
    raise _strange()


def _strange() -> Refusal:
    return Refusal("bad_request", "this cursor is none of this snapshot's")
