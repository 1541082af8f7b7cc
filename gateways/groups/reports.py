"""Messages that somebody reports. Admins are told of them at once, but not more often than once an hour.

`report` is a member's report of what somebody said: a row, and nobody in the group learns of it.
`tell_admins` is called in the transaction that writes such a row, also one of a message that moderation
holds. `kinds` has the job that then writes the letter: it says how many messages wait by then; if none, none
is written.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from pydantic import BaseModel

from fitai.engine.groups.group import Group
from fitai.engine.ops import APPLIED, Dot, Record
from fitai.gateways.jobs.contract import Attempt, Kind
from fitai.gateways.mail.letters import MessagesReported, letter
from fitai.persistence.database import Database, WriteSession
from fitai.persistence.group_reports import GroupReports
from fitai.persistence.jobs import Jobs
from fitai.persistence.log import Log
from fitai.persistence.users import Users
from fitai.sync.wire import Refusal

_log = structlog.get_logger(__name__)

TELL_ADMINS = "tell_admins"
HOUR_MS = 3_600_000
LINK = "/docs#/moderation"  # where the routes of moderation are described, and can be called


async def report(
    db: Database, g: Group, stream: int, *, user: str, member: int, dot: Dot, reason: str, now: int
) -> str:
    """Report a message of a group as one of its members; the report's id, of the first when it is done again.
    Raises Refusal not_found for what is no message of somebody else's that they could read."""
    async with db.read() as session:
        found = await Log(session).find(stream, dot.device, dot.n, dot.n)
    text = _heard(g, found, member)
    if text is None:
        raise Refusal("not_found", "this is no message that you can report")
    async with db.write() as session:
        id_ = await GroupReports(session).add(g.id, dot, text, reporter=user, reason=reason, now=now)
        if id_ is None:
            raise Refusal("not_found", "this is no message that you can report")
        await tell_admins(session, now)
    _log.info("message_reported", group=g.id, user=user)
    return id_


def _heard(g: Group, found: Iterable[Record], member: int) -> str | None:
    """The text of a message of somebody else's, unless it was never told."""
    for record in found:
        author = g.member_of(record.device)
        said = record.op.kind == "chat.say" and (record.verdict is APPLIED or _came_out(g, record))
        if said and author is not None and author.no != member:
            text = record.op.value.get("text")
            return text if isinstance(text, str) and text else None
    return None


def _came_out(g: Group, record: Record) -> bool:
    """A message that was held, and was let out."""
    return record.seq <= g.seq and record.dot not in g.held and record.dot not in g.hidden


async def tell_admins(session: WriteSession, now: int) -> None:
    """Have a letter written: now, or when the hour is over of which there was one."""
    hour = now // HOUR_MS
    jobs = Jobs(session)
    if await jobs.put(TELL_ADMINS, {}, now=now, key=f"{TELL_ADMINS}:{hour}") is None:
        due = (hour + 1) * HOUR_MS
        await jobs.put(TELL_ADMINS, {}, now=now, due=due, key=f"{TELL_ADMINS}:{hour + 1}")


class Nothing(BaseModel):
    """The payload of `tell_admins`: what there is to tell is looked up."""


def kinds(db: Database) -> Iterable[Kind[Nothing]]:
    """The job that writes to every admin; run again, it writes nothing twice."""

    async def tell(attempt: Attempt, nothing: Nothing) -> None:
        async with db.write() as session:
            waiting = await GroupReports(session).waiting()
            for admin in await Users(session).admins() if waiting else ():
                what = MessagesReported(count=waiting, link=LINK, name=admin.display_name)
                key = f"{TELL_ADMINS}:{attempt.job}:{admin.id}"
                mail = letter(admin.email, what, admin.locale)
                await Jobs(session).put("mail", mail, now=attempt.now, key=key)
        if waiting:
            _log.info("admins_told", messages=waiting)

    yield Kind(TELL_ADMINS, Nothing, tell)
