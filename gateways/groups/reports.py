"""Admins are told that there are messages to look at: at once, but not more often than once an hour.

    async with db.write() as session:
        await Groups(session).report(…)
        await tell_admins(session, now)       # in the transaction that wrote the report

The letter says how many wait when it is written; when somebody has decided all of them by then, none is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import structlog
from pydantic import BaseModel

from fitai.gateways.jobs.contract import Attempt, Kind
from fitai.gateways.mail.letters import MessagesReported, letter
from fitai.persistence.database import Database, ReadSession, WriteSession
from fitai.persistence.groups import Groups
from fitai.persistence.jobs import Jobs
from fitai.persistence.users import Users

_log = structlog.get_logger(__name__)

TELL_ADMINS = "tell_admins"
HOUR_MS = 3_600_000
LINK = "/docs#/moderation"  # where the routes of moderation are described, and can be called


class Nothing(BaseModel):
    """The payload of `tell_admins`: what there is to tell is looked up."""


async def tell_admins(session: WriteSession, now: int) -> None:
    """Have a letter written: now, or when the hour is over of which there was one."""
    hour = now // HOUR_MS
    jobs = Jobs(session)
    if await jobs.put(TELL_ADMINS, {}, now=now, key=f"{TELL_ADMINS}:{hour}") is None:
        due = (hour + 1) * HOUR_MS
        await jobs.put(TELL_ADMINS, {}, now=now, due=due, key=f"{TELL_ADMINS}:{hour + 1}")


def kinds(db: Database) -> Iterable[Kind[Nothing]]:
    """The job that writes to every admin; run again, it writes nothing twice."""

    async def tell(attempt: Attempt, nothing: Nothing) -> None:
        async with db.write() as session:
            waiting = await Groups(session).open_reports()
            if not waiting:
                return
            for admin in await Users(session).admins():
                what = MessagesReported(count=waiting, link=LINK, name=admin.display_name)
                mail = letter(admin.email, what, admin.locale)
                key = f"{TELL_ADMINS}:{attempt.job}:{admin.id}"
                await Jobs(session).put("mail", mail, now=attempt.now, key=key)
        _log.info("admins_told", messages=waiting)

    yield Kind(TELL_ADMINS, Nothing, tell)
