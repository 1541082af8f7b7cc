"""Whether the second factor that somebody shows is the person's.

A code is used up by being right, whichever of several requests at once shows it first. Wrong ones are counted
in the person's security log, so that the bound holds for all nodes together and the person sees that somebody
who knows the password tries; another password starts the count anew, so that the owner has a way out.

What comes out is a value and not an exception: the use, and the failure, must be committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import structlog

from fitai.http.auth import otp
from fitai.http.auth.notices import note
from fitai.http.auth.visitor import Visitor
from fitai.persistence.database import WriteSession
from fitai.persistence.sealed import Seal, Unsealable
from fitai.persistence.second_factors import SecondFactors
from fitai.persistence.security_log import SecurityLog
from fitai.persistence.users import UserRow

_log = structlog.get_logger(__name__)

MINUTE_MS = 60_000
DAY_MS = 86_400_000
FAILED = "second_factor_failed"

BOUNDS = ((5, 15 * MINUTE_MS), (20, DAY_MS))
"""So many wrong codes of one account in so long. At three codes that are right at a time, 20 a day find one
in 45 years on average."""


class Shown(Enum):
    """What became of what was shown."""

    GOOD = "good"
    MISSING = "missing"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Later:
    """Too many wrong codes: nothing was looked at, and nothing will be for so long."""

    wait_ms: int


class SecondFactorCheck:
    """Checks codes, within a transaction that holds the user (`Users.locked`)."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    async def check(
        self, session: WriteSession, user: UserRow, code: str | None, now: int, by: Visitor
    ) -> Shown | Later:
        """GOOD for who has no second factor, whatever is shown. `now` in Unix ms."""
        if user.totp_confirmed_at is None:
            return Shown.GOOD
        if code is None:
            return Shown.MISSING
        wait_ms = await self._wait_ms(session, user, now)
        if wait_ms > 0:
            return Later(wait_ms)
        if await self._used(session, user, otp.compacted(code), now, by):
            return Shown.GOOD
        await note(session, user.id, FAILED, now, by=by)
        return Shown.WRONG

    def secret(self, user: UserRow) -> str | None:
        """The secret of the person's app, confirmed or not. None for none, and for one that was sealed with
        another secret key of the installation: what is left then are the recovery codes."""
        if user.totp_secret is None:
            return None
        try:
            return self._seal.open(user.totp_secret, user.id).decode()
        except Unsealable:
            _log.error("second_factor_unsealable", user=user.id)
            return None

    def sealed(self, user: str, secret: str) -> bytes:
        """A secret as it is stored."""
        return self._seal.seal(secret.encode(), user)

    async def _used(self, session: WriteSession, user: UserRow, code: str, now: int, by: Visitor) -> bool:
        factors = SecondFactors(session, user.id)
        if otp.is_totp(code):
            secret = self.secret(user)
            step = None if secret is None else otp.matching_step(secret, code, now)
            return step is not None and await factors.use_step(step)
        if not await factors.use_code(otp.recovery_hash(user.id, code), now):
            return False
        await note(session, user.id, "recovery_code_used", now, by=by, left=await factors.codes_left())
        return True

    async def _wait_ms(self, session: WriteSession, user: UserRow, now: int) -> int:
        since = max(user.password_changed_at or 0, now - DAY_MS)
        failed = await SecurityLog(session).moments(user.id, FAILED, since)
        return max(_wait_ms(failed, most, span_ms, now) for most, span_ms in BOUNDS)


def _wait_ms(failed: Sequence[int], most: int, span_ms: int, now: int) -> int:
    """How long until fewer than `most` lie within the span again."""
    return 0 if len(failed) < most else failed[-most] + span_ms - now
