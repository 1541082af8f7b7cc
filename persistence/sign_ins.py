"""How sign-ins end, and how everybody learns of it.

A sign-in is a family of refresh tokens, and its access tokens name it. They are verified without the
database and live for minutes, so that an end needs a row that stands for as long as they might: the row is
asked for whenever an access token is used, and the nodes look for new ones to close sockets. A sign-in that
has not ended has no row, so the table stays small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import BigInteger, ColumnElement, Table, delete, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from fitai.persistence.database import ReadSession, WriteSession
from fitai.persistence.identity_models import EndedSignIn
from fitai.persistence.models import RefreshToken


@dataclass(frozen=True, slots=True)
class SignIn:
    """A sign-in: whose, on which device, and its id (of the family of its refresh tokens)."""

    user: str
    device: int
    id: str


async def end(session: WriteSession, now: int, *which: ColumnElement[bool]) -> Sequence[SignIn]:
    """End all sign-ins with a refresh token of `which`: none of their refresh and access tokens is good any
    more. Returns those that had not ended. The caller holds the devices still (`FOR UPDATE`), so that no
    renewal is under way. `now` in Unix ms."""
    dialect: Any = {"sqlite": sqlite, "postgresql": postgresql}[session.get_bind().dialect.name]
    table = cast("Table", EndedSignIn.__table__)
    good = (RefreshToken.revoked_at.is_(None), *which)
    theirs = select(RefreshToken.family, RefreshToken.user_id, RefreshToken.device, literal(now, BigInteger))
    ending = (
        dialect.insert(table)
        .from_select(["id", "user_id", "device", "ended_at"], theirs.where(*good).distinct())
        .on_conflict_do_nothing()
        .returning(table.c.user_id, table.c.device, table.c.id)
    )
    ended = [SignIn(*row) for row in (await session.execute(ending)).all()]
    await session.execute(update(RefreshToken).where(*good).values(revoked_at=now))
    return ended


class EndedSignIns:
    """The sign-ins that ended lately."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def since(self, moment: int) -> Sequence[SignIn]:
        """Those that ended after a moment, Unix ms."""
        query = select(EndedSignIn.user_id, EndedSignIn.device, EndedSignIn.id)
        found = await self._session.execute(query.where(EndedSignIn.ended_at > moment))
        return [SignIn(*row) for row in found.all()]

    async def sweep(self, before: int) -> int:
        """Forget those that ended before a moment, when none of their access tokens can be left; how many."""
        gone = delete(EndedSignIn).where(EndedSignIn.ended_at < before).returning(EndedSignIn.id)
        return len((await self._session.execute(gone)).all())
