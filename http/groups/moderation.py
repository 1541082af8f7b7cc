"""What admins do about messages: they look at those that were reported or are held, and decide.

A decision is an op of the server's in the group's stream, so that every member hears of it: `hidden` takes
the message away, `dismissed` lets one that was held out. The op is written first and the decision noted then:
who decides again after a crash in between writes nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from fitai.engine.groups.group import Group
from fitai.engine.ops import Record
from fitai.engine.timers import ServerOp
from fitai.gateways.groups.room import Room
from fitai.gateways.groups.rooms import Rooms
from fitai.gateways.identity import Identity
from fitai.gateways.live.hosts import LogReader
from fitai.http.groups.schemas import Decision, Report, ReportPage, ReportsQuery
from fitai.http.problems import Problem, forbidden, not_found
from fitai.persistence.database import Database
from fitai.persistence.group_reports import GroupReports, ReportRow
from fitai.persistence.users import ADMIN, Users

_log = structlog.get_logger(__name__)


class ModerationService:
    """Shows reports to admins and does what they decide."""

    def __init__(self, db: Database, rooms: Rooms, log: LogReader, now_ms: Callable[[], int]) -> None:
        self._db = db
        self._rooms = rooms
        self._log = log
        self._now_ms = now_ms

    async def page(self, caller: Identity, query: ReportsQuery) -> ReportPage:
        """A page of reports, newest first; raises Problem forbidden for who is no admin."""
        await self._check(caller)
        only = True if query.open else None
        async with self._db.read() as session:
            page = await GroupReports(session).page(open=only, after=query.cursor, limit=query.limit)
        return ReportPage(reports=[_shown(row) for row in page.items], next_cursor=page.next_cursor)

    async def decide(self, caller: Identity, id: str, body: Decision) -> Report:
        """Decide a report, and with it every other one of the same message. The same decision again changes
        nothing; raises Problem illegal_edge for another one, forbidden, not_found."""
        await self._check(caller)
        async with self._db.read() as session:
            report = await GroupReports(session).get(id)
        if report is None:
            raise not_found()
        if report.outcome is None:
            await self._act(report, body)
            now = self._now_ms()
            async with self._db.write() as session:
                await GroupReports(session).resolve(id, body.outcome, now)
                report = await GroupReports(session).get(id)
            if report is None:  # its author's account went meanwhile, and the message with it
                raise not_found()
            _log.info("message_decided", user=caller.user, group=report.group, outcome=report.outcome)
        if report.outcome != body.outcome:
            raise Problem("illegal_edge", extra={"from": report.outcome, "trigger": body.outcome})
        return _shown(report)

    async def _check(self, caller: Identity) -> None:
        async with self._db.read() as session:
            user = await Users(session).get(caller.user)
        if user is None or user.role != ADMIN:
            raise forbidden(None)

    async def _act(self, report: ReportRow, body: Decision) -> None:
        room = await self._rooms.open(report.group)
        if body.outcome == "hidden":
            reason = {} if body.reason is None else {"reason": body.reason}
            await room.serve(lambda g, now: _hidden(g, now, report, reason))
        else:
            said = await self._said(room, report)
            await room.serve(lambda g, now: _released(g, now, report, said))

    async def _said(self, room: Room, report: ReportRow) -> str:
        """The message as the log has it; empty when its author's account is gone."""
        found: list[Record] = await self._log.find(room.stream, report.device, report.n, report.n)
        return str(found[0].op.value.get("text", "")) if found else ""


def _hidden(g: Group, now: int, report: ReportRow, reason: dict[str, str]) -> ServerOp | None:
    if report.dot in g.hidden:
        return None
    return ServerOp("chat.hide", {"dot": [*report.dot], **reason}, now)


def _released(g: Group, now: int, report: ReportRow, text: str) -> ServerOp | None:
    if report.dot not in g.held or not text:
        return None
    return ServerOp("chat.release", {"dot": [*report.dot], "text": text}, now)


def _shown(row: ReportRow) -> Report:
    return Report.model_validate(
        {
            "id": row.id,
            "group": row.group,
            "dot": [*row.dot],
            "text": row.text,
            "reason": row.reason,
            "held": row.reporter is None,
            "created_at": row.created_at,
            "resolved_at": row.resolved_at,
            "outcome": row.outcome,
        }
    )
