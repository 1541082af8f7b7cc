"""One-time tokens: what a mailed link proves, once.

A token is bound to a person, to one purpose and to the address that it was sent to. Only its SHA-256 is kept.
Of several uses at once one wins: the use is a single UPDATE of a row that was not used yet. A used row stays
until it expires, so that a link that is opened twice can be told from one that never was.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import delete, select, update

from fitai.persistence.database import ReadSession
from fitai.persistence.identity_models import OneTimeToken
from fitai.persistence.tokens import hashed


class Purpose(StrEnum):
    """What a token is good for."""

    RESET_PASSWORD = "reset_password"
    VERIFY_EMAIL = "verify_email"  # the account's address
    KEEP_ACCOUNT = "keep_account"  # which was to be erased
    CHANGE_EMAIL = "change_email"  # another one, which then becomes the account's


@dataclass(frozen=True, slots=True)
class Proof:
    """What a token says: whose it is, what for, and the address that it was sent to."""

    user: str
    purpose: Purpose
    email: str
    used: bool


class OneTimeTokens:
    """One-time tokens; times in Unix ms. `find` takes any session, the rest a write session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def issue(self, user: str, purpose: Purpose, email: str, *, now: int, life_ms: int) -> str:
        """A new token; earlier ones of this person and purpose are worth nothing from now on. The caller
        holds the user (`Users.locked`), so that of two that are asked for at once the later one is the
        one."""
        await self.retire(user, purpose)
        token = secrets.token_urlsafe(32)
        self._session.add(
            OneTimeToken(
                hash=hashed(token),
                user_id=user,
                purpose=purpose,
                email=email,
                created_at=now,
                expires_at=now + life_ms,
            )
        )
        await self._session.flush()
        return token

    async def find(self, token: str, *, now: int) -> Proof | None:
        """What a token says, used or not; None for an unknown, retired or expired one."""
        query = select(OneTimeToken).where(OneTimeToken.hash == hashed(token), OneTimeToken.expires_at > now)
        return _proof((await self._session.execute(query)).scalar_one_or_none())

    async def use(self, token: str, purpose: Purpose, *, now: int) -> Proof | None:
        """Use a token up; None when it is not good for that, or not any more."""
        used = (
            update(OneTimeToken)
            .where(
                OneTimeToken.hash == hashed(token),
                OneTimeToken.purpose == purpose,
                OneTimeToken.used_at.is_(None),
                OneTimeToken.expires_at > now,
            )
            .values(used_at=now)
            .returning(OneTimeToken)
        )
        return _proof((await self._session.execute(used)).scalar_one_or_none())

    async def retire(self, user: str, *purposes: Purpose) -> None:
        """Make a person's tokens for these purposes worthless."""
        await self._session.execute(
            delete(OneTimeToken).where(OneTimeToken.user_id == user, OneTimeToken.purpose.in_(purposes))
        )


def _proof(row: OneTimeToken | None) -> Proof | None:
    if row is None:
        return None
    return Proof(row.user_id, Purpose(row.purpose), row.email or "", row.used_at is not None)
