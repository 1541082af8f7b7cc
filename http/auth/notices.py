"""What is written beside a change, in its transaction: a line of the person's security log, and a letter."""

from __future__ import annotations

from typing import Any

from fitai.gateways.mail.letters import Letter, letter
from fitai.http.auth.visitor import NOBODY, Visitor
from fitai.persistence.database import WriteSession
from fitai.persistence.jobs import Jobs
from fitai.persistence.security_log import SecurityLog
from fitai.persistence.users import UserRow

# Where the links of letters lead: to pages that this server has.
PASSWORD_PAGE = "/auth/reset-password"
VERIFY_PAGE = "/auth/verify-email"
KEEP_PAGE = "/users/profile/keep"


async def note(
    session: WriteSession,
    user: str,
    kind: str,
    now: int,
    *,
    by: Visitor = NOBODY,
    device: int | None = None,
    **data: Any,
) -> None:
    """Write to the person's security log; `data` are what the kind promises (`EVENTS` in users/schemas)."""
    await SecurityLog(session).note(
        user, kind, at=now, device=device, address=by.address, agent=by.agent, data=data
    )


async def post(
    session: WriteSession,
    user: UserRow,
    what: Letter,
    now: int,
    *,
    to: str | None = None,
    key: str | None = None,
) -> bool:
    """Send a letter to the person (or to another address of theirs); False when one with this key was
    sent."""
    mail = letter(to or user.email, what, user.locale)
    return await Jobs(session).put("mail", mail, now=now, key=key) is not None
