"""The final table of a group: what each member's measure came to, kept when the group is over.

A late sync corrects it (`stale` says whose line it makes another), but for lines that are frozen: whose
account is gone keeps what they did, without a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from sqlalchemy import Table, case, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from fitai.persistence.database import ReadSession
from fitai.persistence.group_models import GroupMember, GroupResult, GroupRow
from fitai.persistence.models import RecordRow, Stream

_TABLE = cast("Table", GroupResult.__table__)
_BLIND = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class Result:
    """A member's line; see `GroupResult` for the fields."""

    member: int
    rank: int | None
    amount: int | None
    time_ms: int | None
    sets: int
    reps: int
    distance_mm: int
    duration_ms: int
    volume_ug: int
    rev: int
    frozen: bool = False


class GroupResults:
    """Results, asked and written in the caller's session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def of(self, group: str) -> list[Result]:
        """The lines by rank, those without one last; empty while nothing is written."""
        query = select(*_COLUMNS).where(GroupResult.group_id == group)
        rows = (await self._session.execute(query.order_by(*_IN_ORDER))).all()
        return [Result(*row) for row in rows]

    async def write(self, group: str, results: Sequence[Result], now: int) -> None:
        """Make these the table, which is then written as of `now` (Unix ms). Frozen lines stay whether they
        are among `results` or not, and of those that are only the rank changes: it is a question of all. So
        whoever ranks takes them along as they are stored."""
        nobody = select(GroupMember.member).where(
            GroupMember.group_id == group, GroupMember.user_id.is_(None)
        )
        erased = set((await self._session.execute(nobody)).scalars())
        rows = [
            {**asdict(result), "group_id": group, "frozen": result.member in erased} for result in results
        ]
        left_out = delete(GroupResult).where(GroupResult.group_id == group, ~GroupResult.frozen)
        if rows:
            await (await self._session.connection()).execute(self._upsert(), rows)
            given = {result.member for result in results}
            held = select(GroupResult.member).where(GroupResult.group_id == group, ~GroupResult.frozen)
            gone = set((await self._session.execute(held)).scalars()) - given
            left_out = left_out.where(GroupResult.member.in_(gone))
        await self._session.execute(left_out, execution_options=_BLIND)
        written = update(GroupRow).where(GroupRow.id == group).values(results_at=now, due_at=None)
        await self._session.execute(written, execution_options=_BLIND)

    async def freeze(self, group: str, member: int) -> None:
        """Nobody will know any more whose line it is: it stays as it is."""
        line = update(GroupResult).where(GroupResult.group_id == group, GroupResult.member == member)
        await self._session.execute(line.values(frozen=True, rev=0), execution_options=_BLIND)

    async def stale(self, group: str) -> Sequence[int]:
        """The members whose workout has come further than their line knows, or is another one."""
        now = (
            select(func.max(RecordRow.rev))
            .where(RecordRow.stream == Stream.id, RecordRow.workout == GroupMember.workout)
            .correlate(Stream, GroupMember)
            .scalar_subquery()
        )
        query = (
            select(GroupResult.member)
            .join(
                GroupMember,
                (GroupMember.group_id == GroupResult.group_id) & (GroupMember.member == GroupResult.member),
            )
            .join(Stream, Stream.owner == GroupMember.user_id)
            .where(
                GroupResult.group_id == group, ~GroupResult.frozen, func.coalesce(now, 0) != GroupResult.rev
            )
            .order_by(GroupResult.member)
        )
        return (await self._session.execute(query)).scalars().all()

    def _upsert(self) -> Any:
        postgres = self._session.get_bind().dialect.name == "postgresql"
        insert: Any = (postgresql if postgres else sqlite).insert(_TABLE)
        kept = {
            column.name: case((_TABLE.c.frozen, column), else_=insert.excluded[column.name])
            for column in _TABLE.columns
            if column.name not in ("group_id", "member", "rank", "frozen")
        }
        return insert.on_conflict_do_update(
            index_elements=["group_id", "member"], set_={**kept, "rank": insert.excluded.rank}
        )


_COLUMNS = (
    GroupResult.member,
    GroupResult.rank,
    GroupResult.amount,
    GroupResult.time_ms,
    GroupResult.sets,
    GroupResult.reps,
    GroupResult.distance_mm,
    GroupResult.duration_ms,
    GroupResult.volume_ug,
    GroupResult.rev,
    GroupResult.frozen,
)
_IN_ORDER = (GroupResult.rank.is_(None), GroupResult.rank, GroupResult.member)
