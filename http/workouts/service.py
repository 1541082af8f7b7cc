"""Reading and writing workouts on behalf of a caller.

Every write goes through the user's session host as ops of the caller's API device, so it has its place in
the one order that all devices see, and appears on sockets at once. Another user's workout is simply not in
the caller's stream: nothing here has to tell the two cases of "not found" apart.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

from fitai.gateways.identity import Identity
from fitai.gateways.live.host import Host
from fitai.gateways.live.hosts import Hosts
from fitai.gateways.live.jobs import Done, Key, RevClash, StateAt
from fitai.http.conditional import IfMatch
from fitai.http.ids import new_id
from fitai.http.problems import CATALOGUE, Problem, not_found
from fitai.http.workouts import plans
from fitai.http.workouts.plans import Plan
from fitai.http.workouts.schemas import ListQuery, WorkoutCreate, WorkoutPage, WorkoutSummary
from fitai.persistence import workouts as stored
from fitai.persistence.database import Database
from fitai.persistence.devices import Devices
from fitai.persistence.group_lists import GroupLists

KNOWN_DEVICES = 10_000  # API devices kept in mind


class WorkoutService:
    """The workouts of every user, through their hosts; `now_ms` is the clock (Unix ms)."""

    def __init__(self, db: Database, hosts: Hosts, now_ms: Callable[[], int]) -> None:
        self._db = db
        self._hosts = hosts
        self._now_ms = now_ms
        # (user, device) -> its API device; numbers are never given twice, so this cannot go stale.
        self._api_devices: dict[tuple[str, int], int] = {}

    async def page(self, user: str, query: ListQuery) -> WorkoutPage:
        """One page of the user's workouts, newest first; all that was acknowledged before is in it."""
        host = await self._hosts.open(user)
        await host.flush()
        async with self._db.read() as session:
            page = await stored.Workouts(session).list(
                host.stream,
                status=query.status,
                since=query.from_,
                until=query.to,
                exercise=query.exercise,
                cursor=query.cursor,
                limit=query.limit,
            )
            groups = await GroupLists(session).of_workouts(user, [row.id for row in page.items])
        workouts = [_summary(row, groups.get(row.id)) for row in page.items]
        return WorkoutPage(workouts=workouts, next_cursor=page.next_cursor)

    async def state(self, user: str, workout: str) -> StateAt:
        """The committed state of a workout that is there; raises Problem not_found."""
        return await _state(await self._hosts.open(user), workout)

    async def group_of(self, user: str, workout: str) -> str | None:
        """The group that a workout of the user's is part of."""
        async with self._db.read() as session:
            return await GroupLists(session).of_workout(user, workout)

    async def create(self, caller: Identity, body: WorkoutCreate, key: Key | None) -> Done:
        """A new workout; raises Problem already_exists. The id that is made for a request with a key
        follows from the key, so that its retry finds the workout."""
        workout = body.id or (new_id(self._now_ms()) if key is None else _id_of(caller.user, key))
        return await self.write(caller, workout, plans.create(body), key=key)

    async def write(
        self,
        caller: Identity,
        workout: str,
        plan: Plan,
        *,
        if_match: IfMatch | None = None,
        key: Key | None = None,
    ) -> Done:
        """Append what `plan` makes of the workout's state. Raises what the plan raises, RevClash when
        `if_match` does not hold, KeyReuse, and Problem for what the log refused."""
        host = await self._hosts.open(caller.user)
        expected = None
        if if_match is not None:
            # Unknown comes before changed: a clash would tell that there is something.
            current = await _state(host, workout, removed_too=key is not None)
            expected = if_match.expected(current.rev)
        device = await self._api_device(caller)
        try:
            done = await host.command(device, workout, plan, if_rev=expected, key=key)
        except RevClash as clash:  # what it is held against is shown as when it is read
            group = await self.group_of(caller.user, workout)
            current = replace(clash.current, document={**clash.current.document, "group": group})
            raise RevClash(current) from None
        _raise_void(done)
        return done

    async def _api_device(self, caller: Identity) -> int:
        known = self._api_devices.get((caller.user, caller.device))
        if known is None:
            user, device, now = caller.user, caller.device, self._now_ms()
            known = await self._db.transact(lambda session: Devices(session).api_device(user, device, now))
            if len(self._api_devices) >= KNOWN_DEVICES:
                self._api_devices.clear()
            self._api_devices[caller.user, caller.device] = known
        return known


async def _state(host: Host, workout: str, *, removed_too: bool = False) -> StateAt:
    """`removed_too`: a retried DELETE must still find what it removed."""
    state = await host.state(workout)
    if state is None or (state.document["removed"] and not removed_too):
        raise not_found()
    return state


def _raise_void(done: Done) -> None:
    """A void op is in the log, but not what the caller asked for: tell why."""
    for result in done.results:
        if result["verdict"] == "void":
            code = result.get("code", "bad_value")
            raise Problem(code if code in CATALOGUE else "bad_value", extra=result.get("detail"))


def _id_of(user: str, key: Key) -> str:
    return str(uuid.uuid5(uuid.UUID(user), f"workout:{key.key}"))


def _summary(row: stored.WorkoutSummary, group: str | None) -> WorkoutSummary:
    fields = WorkoutSummary.model_fields.keys() - {"group"}
    return WorkoutSummary(**{name: getattr(row, name) for name in fields}, group=group)
