"""Messages that somebody reported, or that moderation holds: what admins look at.

A row has the message's text as it was, so that it can be judged when it was taken away meanwhile. Who
reported stays between them and the admins.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import BigInteger, Select, Tuple, delete, func, literal, select, tuple_, update

from fitai.engine.ops import Dot
from fitai.persistence import cursors
from fitai.persistence.database import ReadSession
from fitai.persistence.group_models import IS_OPEN, GroupDevice, GroupMember, GroupReport
from fitai.persistence.models import Id

Outcome = Literal["dismissed", "hidden"]

_BLIND = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A report of the message `dot`; see `GroupReport`. Times are Unix ms."""

    id: str
    group: str
    device: int
    n: int
    text: str
    reporter: str | None
    reason: str
    created_at: int
    resolved_at: int | None
    outcome: str | None

    @property
    def dot(self) -> Dot:
        """The message's name in the group's stream."""
        return Dot(self.device, self.n)


@dataclass(frozen=True, slots=True)
class Reported:
    """A page of reports, and the cursor of the next one (None on the last)."""

    items: Sequence[ReportRow]
    next_cursor: str | None


class GroupReports:
    """Reports; finding takes any session, what changes something a write session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def add(
        self, group: str, dot: Dot, text: str, *, reporter: str | None, reason: str, now: int
    ) -> str | None:
        """Report a message: the report's id, that of the first when the same person reports it again. None
        reports: moderation holds it. Returns None when its author is nobody any more: then its text is gone
        as well."""
        if not await self._said_by_somebody(group, dot.device):
            return None
        if reporter is not None:
            before = select(GroupReport.id).where(
                GroupReport.group_id == group,
                GroupReport.device == dot.device,
                GroupReport.n == dot.n,
                GroupReport.reporter == reporter,
            )
            known = (await self._session.execute(before)).scalar_one_or_none()
            if known is not None:
                return known
        row = GroupReport(
            id=str(uuid.uuid4()),
            group_id=group,
            device=dot.device,
            n=dot.n,
            text=text,
            reporter=reporter,
            reason=reason,
            created_at=now,
            resolved_at=None,
            outcome=None,
        )
        self._session.add(row)
        await self._session.flush()
        return row.id

    async def get(self, id: str) -> ReportRow | None:
        """A report by its id (a UUID)."""
        row = (await self._session.execute(_ROW.where(GroupReport.id == id))).one_or_none()
        return None if row is None else ReportRow(*row)

    async def page(self, *, open: bool | None = None, after: str | None = None, limit: int = 20) -> Reported:
        """Reports, the newest first; `open` only those that nobody resolved yet, or only others. Raises
        cursors.BadCursor."""
        query = _ROW
        if open is not None:
            query = query.where(IS_OPEN if open else GroupReport.resolved_at.is_not(None))
        if after is not None:
            query = query.where(_read(after) > _PLACE)
        newest = query.order_by(GroupReport.created_at.desc(), GroupReport.id.desc())
        rows = [ReportRow(*row) for row in (await self._session.execute(newest.limit(limit + 1))).all()]
        items = rows[:limit]
        following = cursors.write(items[-1].created_at, items[-1].id) if len(rows) > limit else None
        return Reported(items, following)

    async def waiting(self) -> int:
        """How many messages are there that nobody has decided about."""
        messages = select(GroupReport.group_id, GroupReport.device, GroupReport.n).where(IS_OPEN).distinct()
        return await self._session.scalar(select(func.count()).select_from(messages.subquery())) or 0

    async def resolve(self, id: str, outcome: Outcome, now: int) -> ReportRow | None:
        """Settle all open reports of the message that a report is about; returns that one as it was. None
        when it is resolved already, or there is none."""
        report = await self.get(id)
        if report is None or report.resolved_at is not None:
            return None
        of_message = update(GroupReport).where(
            GroupReport.group_id == report.group,
            GroupReport.device == report.device,
            GroupReport.n == report.n,
            GroupReport.resolved_at.is_(None),
        )
        settled = of_message.values(resolved_at=now, outcome=outcome).returning(GroupReport.id)
        ids = (await self._session.execute(settled, execution_options=_BLIND)).scalars().all()
        return report if id in ids else None

    async def forget(self, group: str, devices: Collection[int]) -> None:
        """Delete the reports of what these devices said."""
        gone = delete(GroupReport).where(GroupReport.group_id == group, GroupReport.device.in_(devices))
        await self._session.execute(gone, execution_options=_BLIND)

    async def _said_by_somebody(self, group: str, device: int) -> bool:
        """Holds the author's row, so that nobody erases them before the report is there to be found."""
        author = (
            select(GroupMember.user_id)
            .join(
                GroupDevice,
                (GroupDevice.group_id == GroupMember.group_id) & (GroupDevice.member == GroupMember.member),
            )
            .where(GroupDevice.group_id == group, GroupDevice.device == device)
            .with_for_update(read=True, of=GroupMember)
        )
        return (await self._session.execute(author)).scalar_one_or_none() is not None


_ROW: Select[*tuple[Any, ...]] = select(
    GroupReport.id,
    GroupReport.group_id,
    GroupReport.device,
    GroupReport.n,
    GroupReport.text,
    GroupReport.reporter,
    GroupReport.reason,
    GroupReport.created_at,
    GroupReport.resolved_at,
    GroupReport.outcome,
)
_PLACE: Any = tuple_(GroupReport.created_at, GroupReport.id)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _read(cursor: str) -> Tuple:
    match cursors.read(cursor):
        case [int() as created_at, str() as id_] if abs(created_at) < 2**62 and _UUID.fullmatch(id_):
            return tuple_(literal(created_at, BigInteger), literal(id_, Id))
    raise cursors.BadCursor
