"""Reading and changing groups on behalf of a caller.

Every change goes through the group's room as an op of the caller's API device, so it has its place in the one
order that all members see. To who is no member a group does not exist: the answer is `not_found`, whether the
id is of another group or of none. Who left by themselves still sees it, and its results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from fitai.engine.groups import timers
from fitai.engine.groups.document import document
from fitai.engine.groups.group import Group, Member
from fitai.engine.groups.machine import ENDED
from fitai.engine.groups.measure import measured
from fitai.engine.groups.roles import COACH, HOST
from fitai.engine.ops import Dot
from fitai.gateways.groups.codes import Codes
from fitai.gateways.groups.reports import report
from fitai.gateways.groups.room import Room
from fitai.gateways.groups.rooms import Rooms, UnknownGroup
from fitai.gateways.identity import Identity
from fitai.gateways.live.jobs import Key
from fitai.http.groups import results
from fitai.http.groups.schemas import (
    GroupCreate,
    GroupJoin,
    GroupPage,
    GroupQuery,
    GroupSummary,
    Invite,
    Me,
    RecordsQuery,
    Results,
    You,
)
from fitai.http.problems import not_found
from fitai.persistence.blocks import Blocks
from fitai.persistence.database import Database
from fitai.persistence.group_lists import GroupLists, Mine
from fitai.persistence.groups import Groups
from fitai.persistence.idempotency import Idempotency
from fitai.sync.wire import Refusal

JOIN_PAGE: Final = "/join"
APP: Final = "fitai://join/"
_CREW: Final = frozenset({HOST, COACH})


@dataclass(frozen=True, slots=True)
class Changed:
    """A group after a change, as its author sees it. `replayed`: the same request had been made before."""

    group: dict[str, Any]
    replayed: bool = False


class GroupService:
    """The groups of every user, through their rooms. `now_ms` is the clock (Unix ms), `public_url` what links
    begin with (an origin without a slash at its end; empty: links are paths)."""

    def __init__(
        self, db: Database, rooms: Rooms, codes: Codes, now_ms: Callable[[], int], public_url: str = ""
    ) -> None:
        self._db = db
        self._rooms = rooms
        self._codes = codes
        self._now_ms = now_ms
        self._public_url = public_url

    async def page(self, user: str, query: GroupQuery) -> GroupPage:
        """One page of the user's groups, newest first."""
        now = self._now_ms()
        async with self._db.read() as session:
            page = await GroupLists(session).of_user(
                user, now=now, status=query.status, after=query.cursor, limit=query.limit
            )
        return GroupPage(groups=[_summary(item, now) for item in page.items], next_cursor=page.next_cursor)

    async def room(self, user: str, group: str) -> tuple[Room, Member]:
        """The room of a group that a user may look at, and who they are there; raises Problem not_found."""
        room = await self._open(group)
        member = room.member_of(user)
        if member is None or not (member.here or member.gone == "left"):
            raise not_found()
        return room, member

    async def state(self, user: str, group: str) -> dict[str, Any]:
        """The group as this user sees it; raises Problem not_found."""
        return self._shown(*await self.room(user, group))

    async def create(self, caller: Identity, body: GroupCreate, key: Key | None) -> Changed:
        """A new group, which the caller hosts; raises what the room refuses."""
        replayed = key is not None and await self._was_used(caller.user, key)
        room = await self._rooms.create(caller, body.given(), key=key)
        return Changed(await self.state(caller.user, room.id), replayed)

    async def join(
        self, caller: Identity, group: str, code: str | None, body: GroupJoin, address: str, key: Key | None
    ) -> Changed:
        """Join by a code, or without one as who was there before. Who is a member stays what they are. Raises
        Problem not_found, also for a code of another group, and what the room refuses."""
        if code is not None and await self._find(code, caller, address) != group:
            raise not_found()
        return await self._join(caller, group, code, body, key)

    async def _join(
        self, caller: Identity, group: str, code: str | None, body: GroupJoin, key: Key | None
    ) -> Changed:
        room = await self._open(group)
        member = room.member_of(caller.user)
        if member is None and code is None:
            raise not_found()
        if member is not None and member.here:
            return Changed(self._shown(room, member))
        with _one_answer():
            done = await room.act(caller, "member.join", body.value(), key=key, code=code)
        return Changed(await self.state(caller.user, group), done.replayed)

    async def join_by_code(
        self, caller: Identity, code: str, body: GroupJoin, address: str, key: Key | None
    ) -> Changed:
        """Join the group that a code opens."""
        group = await self._find(code, caller, address)
        return await self._join(caller, group, code, body, key)

    async def act(
        self, caller: Identity, group: str, kind: str, value: Mapping[str, Any], key: Key | None = None
    ) -> Changed:
        """Append an op of the caller's; raises Problem not_found, and what the room refuses."""
        room, _ = await self.room(caller.user, group)
        done = await room.act(caller, kind, value, key=key)
        return Changed(await self.state(caller.user, group), done.replayed)

    async def edit(self, caller: Identity, group: str, body: You) -> dict[str, Any]:
        """Change what is the caller's own in a group: only what differs is written."""
        room, member = await self.room(caller.user, group)
        for field in sorted(body.model_fields_set):
            wanted = getattr(body, field)
            if wanted != getattr(member, field) and (field, wanted) != ("share", None):
                await room.act(caller, f"member.{field}", {field: wanted})
        return await self.state(caller.user, group)

    async def opens(self, caller: Identity, code: str, address: str) -> dict[str, Any]:
        """What a code opens; raises Problem not_found, also where somebody is in it whom the caller shall not
        meet by joining."""
        room = await self._open(await self._find(code, caller, address))
        me = room.member_of(caller.user)
        if me is None or not me.here:
            await self._check_company(caller, room)
        return self._invitation(room.group)

    async def _check_company(self, caller: Identity, room: Room) -> None:
        users = (room.users.get(member.no) for member in room.group.here())
        here = [user for user in users if user is not None]
        async with self._db.read() as session:
            if await Blocks(session).between(caller.user, here):
                raise not_found()

    async def invite(self, code: str, address: str) -> Invite:
        """What a code opens, for anybody; raises Problem not_found."""
        room = await self._open(await self._find(code, None, address))
        g = room.group
        code = self._codes.code(g.id, g.invite)
        return Invite(title=g.title, host=_host(g), code=code, app=f"{APP}{code}")

    async def records(self, caller: Identity, group: str, query: RecordsQuery) -> dict[str, Any]:
        """A page of the group's log, as it is told to the caller; raises Refusal."""
        room, member = await self.room(caller.user, group)
        page = await room.page(member, query.after, query.limit or room.limits.pull_records)
        return {**page, "group": room.id}

    async def results(self, user: str, group: str) -> Results:
        """The final table; raises Problem not_found."""
        room, _ = await self.room(user, group)
        g, now = room.group, self._now(room.group)
        stored = await room.stage.results()
        async with self._db.read() as session:
            row = await Groups(session).row(group)
        return Results.model_validate(
            {
                "group": g.id,
                "title": g.title,
                "status": g.status_at(now),
                "unit": measured(g.format),
                "at": None if row is None else row.results_at,
                "rows": results.rows(g, stored),
            }
        )

    async def results_table(self, user: str, group: str) -> bytes:
        """The same as CSV."""
        told = await self.results(user, group)
        return results.table(told.unit, told.rows)

    async def report(self, user: str, group: str, dot: Dot, reason: str) -> str:
        """Report a message: the report's id; raises Problem or Refusal not_found."""
        room, member = await self.room(user, group)
        return await report(
            self._db,
            room.group,
            room.stream,
            user=user,
            member=member.no,
            dot=dot,
            reason=reason,
            now=self._now_ms(),
        )

    async def _was_used(self, user: str, key: Key) -> bool:
        async with self._db.read() as session:
            return await Idempotency(session).find(user, key.key) is not None

    async def _find(self, code: str, caller: Identity | None, address: str) -> str:
        with _one_answer():
            return await self._rooms.find(code, caller, address)

    async def _open(self, group: str) -> Room:
        try:
            return await self._rooms.open(group)
        except UnknownGroup:
            raise not_found() from None

    def _shown(self, room: Room, member: Member) -> dict[str, Any]:
        g = room.group
        now = self._now(g)
        status = g.status_at(now)
        told = document(g) | {
            "at": now,
            "status": status,
            "ended_at": timers.ended(g, now),
            "you": _me(member).model_dump(),
        }
        if member.role in _CREW and status not in ENDED:
            code = self._codes.code(g.id, g.invite)
            told |= {"code": code, "link": f"{self._public_url}{JOIN_PAGE}/{code}"}
        return told

    def _invitation(self, g: Group) -> dict[str, Any]:
        return {
            "group": g.id,
            "title": g.title,
            "format": document(g)["format"],
            "status": g.status_at(self._now(g)),
            "members": g.count,
            "capacity": g.capacity,
            "host": _host(g),
        }

    def _now(self, g: Group) -> int:
        """The moment, by a clock that is not behind the group's last record."""
        return max(self._now_ms(), g.te)


@contextmanager
def _one_answer() -> Iterator[None]:
    """What is not there, and what is not for the caller, are told in the same words."""
    try:
        yield
    except Refusal as refusal:
        if refusal.code == "not_found":
            raise not_found() from None
        raise


def _host(g: Group) -> str | None:
    return None if g.host is None else g.members[g.host].name


def _me(member: Member | Mine) -> Me:
    no = member.member if isinstance(member, Mine) else member.no
    return Me.model_validate(
        {"member": no, "role": member.role, "share": member.share, "workout": member.workout}
    )


def _summary(mine: Mine, now: int) -> GroupSummary:
    group = mine.group
    return GroupSummary.model_validate(
        {
            "id": group.id,
            "title": group.title,
            "format": group.format,
            "status": group.status_at(now),
            "members": group.members,
            "capacity": group.capacity,
            "created_at": group.created_at,
            "live_at": group.live_at,
            "ended_at": group.ended_by(now),
            "you": _me(mine),
        }
    )
