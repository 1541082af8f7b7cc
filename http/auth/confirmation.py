"""What a stolen access token must not be enough for: the person shows the password again, and the second
factor where there is one. One way for all such routes, which take a `Confirmed` body.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fitai.gateways.identity import Identity, NotAuthenticated
from fitai.http.auth.passwords import Passwords
from fitai.http.auth.schemas import KnownPassword, Otp
from fitai.http.auth.second_factor import Later, SecondFactorCheck, Shown
from fitai.http.auth.visitor import Visitor
from fitai.http.frame import Schema
from fitai.http.problems import Problem
from fitai.persistence.database import Database, WriteSession
from fitai.persistence.users import UserRow, Users

T = TypeVar("T")

ERRORS = ("confirmation_failed", "later")
"""What a route that asks for confirmation may answer because of it."""


class Confirmed(Schema):
    """The person's password once more, and a code where there is a second factor."""

    password: KnownPassword
    otp: Otp | None = None


class Confirmation:
    """Confirms that it is the person who asks."""

    def __init__(
        self, db: Database, passwords: Passwords, factor: SecondFactorCheck, now_ms: Callable[[], int]
    ) -> None:
        self._db = db
        self._passwords = passwords
        self._factor = factor
        self._now_ms = now_ms

    async def password(self, caller: Identity, password: str) -> UserRow:
        """The caller, if this is their password; raises Problem confirmation_failed, later."""
        async with self._db.read() as session:
            user = await Users(session).get(caller.user)
        encoded = None if user is None else user.password_hash
        if not await self._passwords.verify(encoded, password) or user is None:
            raise Problem("confirmation_failed", "The password is wrong.", extra={"failed": "password"})
        return user

    async def then(
        self,
        user: UserRow,
        otp: str | None,
        by: Visitor,
        work: Callable[[WriteSession, UserRow], Awaitable[T]],
    ) -> T:
        """What `work` returns for the user as it is now, in a transaction in which the code was used up; a
        wrong code is counted. Raises Problem confirmation_failed, later, or what `work` raises."""
        async with self._db.write() as session:
            now = await Users(session).locked(user.id)
            if now is None:
                raise gone()
            if now.password_changed_at != user.password_changed_at:  # while we looked
                raise Problem("confirmation_failed", "The password is wrong.", extra={"failed": "password"})
            shown = await self._factor.check(session, now, otp, self._now_ms(), by)
            if shown is Shown.GOOD:
                return await work(session, now)
        raise _unconfirmed(shown)


def gone() -> NotAuthenticated:
    """The caller's account was erased at this moment: no token of theirs is good any more."""
    return NotAuthenticated("device_revoked", "This account is no longer here.")


def _unconfirmed(shown: Shown | Later) -> Problem:
    if isinstance(shown, Later):
        return too_many(shown)
    detail = "A code is needed." if shown is Shown.MISSING else "The code is wrong or was used before."
    return Problem("confirmation_failed", detail, extra={"failed": "otp"})


def too_many(later: Later) -> Problem:
    """The problem `later` of too many wrong codes."""
    retry = {"Retry-After": str(max(1, math.ceil(later.wait_ms / 1000)))}
    return Problem("later", "Too many wrong codes.", headers=retry)
