"""What groups come to for one person: their list, newest first, and the group of a workout.

Who was kicked or banned has no group any more: for them it answers as if it did not exist.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Tuple, and_, literal, or_, select, tuple_

from fitai.engine.groups.machine import COUNTDOWN, FINISHED, LIVE
from fitai.engine.groups.roles import STRANGER
from fitai.persistence import cursors
from fitai.persistence.database import ReadSession
from fitai.persistence.group_models import GroupMember, GroupRow
from fitai.persistence.groups import AT, GroupAt
from fitai.persistence.models import Id

_NAMED = 500  # workouts in one question


@dataclass(frozen=True, slots=True)
class Mine:
    """A group as one of its members, or one who left, lists it."""

    group: GroupAt
    member: int
    role: str
    gone: str | None
    share: str
    workout: str | None


@dataclass(frozen=True, slots=True)
class MyGroups:
    """A page of a person's groups, and the cursor of the next one (None on the last)."""

    items: Sequence[Mine]
    next_cursor: str | None


class GroupLists:
    """Questions of one person about their groups, asked in one session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def of_user(
        self, user: str, *, now: int, status: str | None = None, after: str | None = None, limit: int = 20
    ) -> MyGroups:
        """The groups that a user is in, or left by themselves: the newest first.

        status  only those that are in this one at `now` (Unix ms)
        after   a page's `next_cursor`; raises cursors.BadCursor
        """
        query = _MINE.where(GroupMember.user_id == user, _WELCOME)
        if status is not None:
            query = query.where(_status(status, now))
        if after is not None:
            query = query.where(_read(after) > _PLACE)
        newest = query.order_by(GroupMember.created_at.desc(), GroupMember.group_id.desc())
        rows = (await self._session.execute(newest.limit(limit + 1))).all()
        items = [_mine(row) for row in rows[:limit]]
        return MyGroups(items, _cursor(items[-1]) if len(rows) > limit else None)

    async def mine(self, user: str, group: str) -> Mine | None:
        """A group that a user is in, or left by themselves; None for all others."""
        query = _MINE.where(GroupMember.user_id == user, GroupMember.group_id == group, _WELCOME)
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else _mine(row)

    async def of_workout(self, user: str, workout: str) -> str | None:
        """The group that one of the user's workouts is for; of several the newest."""
        return (await self.of_workouts(user, [workout])).get(workout)

    async def of_workouts(self, user: str, workouts: Collection[str]) -> dict[str, str]:
        """{workout: the group that it is for}, of those that have one."""
        found: dict[str, str] = {}
        named = sorted(workouts)
        for start in range(0, len(named), _NAMED):
            its = GroupMember.workout.in_(named[start : start + _NAMED])
            # Put in order here: SQLite would walk all of a person's groups to find some in order.
            query = select(GroupMember.created_at, GroupMember.group_id, GroupMember.workout)
            query = query.where(GroupMember.user_id == user, its, _WELCOME)
            rows = (await self._session.execute(query)).all()
            for _, group, workout in sorted(rows, key=lambda row: (row.created_at, row.group_id)):
                found[str(workout)] = group
        return found


# Who was let in and never joined is a stranger still, and no more in it than who had to go.
_WELCOME = or_(GroupMember.role != STRANGER, GroupMember.gone == "left")
_PLACE = tuple_(GroupMember.created_at, GroupMember.group_id)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OF_MINE = (
    GroupMember.member,
    GroupMember.role,
    GroupMember.gone,
    GroupMember.share,
    GroupMember.workout,
)
_MINE = AT.add_columns(*_OF_MINE).join(GroupMember, GroupMember.group_id == GroupRow.id)


def _mine(row: Sequence[Any]) -> Mine:
    columns = len(_OF_MINE)
    return Mine(GroupAt(*row[:-columns]), *row[-columns:])


def _status(status: str, now: int) -> ColumnElement[bool]:
    """`GroupAt.status_at`, asked of the rows."""
    begun = or_(
        GroupRow.status == LIVE,
        and_(GroupRow.status == COUNTDOWN, GroupRow.live_at.is_not(None), GroupRow.live_at <= now),
    )
    over = and_(begun, GroupRow.ends_at.is_not(None), GroupRow.ends_at <= now)
    if status == FINISHED:
        return or_(GroupRow.status == FINISHED, over)
    if status == LIVE:
        return and_(begun, ~over)
    return and_(GroupRow.status == status, ~begun)


def _cursor(item: Mine) -> str:
    return cursors.write(item.group.created_at, item.group.id)


def _read(cursor: str) -> Tuple:
    match cursors.read(cursor):
        case [int() as created_at, str() as group] if abs(created_at) < 2**62 and _UUID.fullmatch(group):
            return tuple_(literal(created_at, BigInteger), literal(group, Id))
    raise cursors.BadCursor
