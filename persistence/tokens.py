"""Refresh tokens: one use each, and a second use ends the whole family.

A login starts a family. Each renewal spends the token and gives the next one of the family. Whoever shows
a token that was spent holds a copy, or is robbed by one: nobody can tell, so the family ends and the person
logs in again (RFC 9700, section 4.14.2). Only hashes are stored.

Outcomes are values and not exceptions: the end of a family must be committed, and an exception would roll
it back.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import delete, select

from fitai.persistence import sign_ins
from fitai.persistence.database import WriteSession
from fitai.persistence.models import Device, RefreshToken, User
from fitai.persistence.sign_ins import SignIn


@dataclass(frozen=True, slots=True)
class Issued:
    """A refresh token and the sign-in that it is of."""

    sign_in: SignIn
    token: str


class Rejected(StrEnum):
    """Why a refresh token was not accepted. `reused` has just ended the family."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"
    REUSED = "reused"


class Tokens:
    """Giving, renewing and ending refresh tokens; times in Unix ms, `ttl` in ms."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def issue(self, user: str, device: int, *, now: int, ttl: int) -> Issued:
        """The first token of a new family."""
        return await self._add(SignIn(user, device, str(uuid.uuid4())), now, ttl)

    async def renew(self, token: str, *, now: int, ttl: int) -> Issued | Rejected:
        """Spend a token and give the next one. Two requests with one token are serial: one of them reuses.

        The device is locked before its token, as revoking does it: a renewal under way can neither block
        a revocation for good nor leave a token behind that it has not seen.
        """
        found = await self._session.get(RefreshToken, hashed(token))
        if found is None:
            return Rejected.UNKNOWN
        device = await self._locked_device(found.user_id, found.device)
        await self._session.refresh(found, with_for_update=True)
        if found.revoked_at is not None:
            return Rejected.REVOKED
        if found.used_at is not None:
            await self._end(found.family, now)
            return Rejected.REUSED
        if found.expires_at <= now:
            return Rejected.EXPIRED
        if device is None or device.revoked_at is not None:
            return Rejected.REVOKED
        found.used_at = now
        return await self._add(SignIn(found.user_id, found.device, found.family), now, ttl)

    async def owner(self, token: str) -> tuple[str, int] | None:
        """(user, device) that a token was given to, good or not; None for an unknown one."""
        found = await self._session.get(RefreshToken, hashed(token))
        return None if found is None else (found.user_id, found.device)

    async def end(self, token: str, *, now: int) -> SignIn | None:
        """End the token's family (logout); None when the token is unknown."""
        found = await self._session.get(RefreshToken, hashed(token))
        if found is None:
            return None
        await self._locked_device(found.user_id, found.device)
        await self._end(found.family, now)
        return SignIn(found.user_id, found.device, found.family)

    async def end_device(self, user: str, device: int, *, now: int) -> Sequence[SignIn]:
        """End every family of one device; returns those that had not ended."""
        await self._locked_device(user, device)
        theirs = (RefreshToken.user_id == user, RefreshToken.device == device)
        return await sign_ins.end(self._session, now, *theirs)

    async def end_user(self, user: str, *, now: int, keep: str | None = None) -> Sequence[SignIn]:
        """End every family of a user but `keep`; returns those that had not ended."""
        # As those do that revoke devices: the user first, then the devices.
        await self._session.execute(select(User.id).where(User.id == user).with_for_update())
        devices = select(Device.id).where(Device.user_id == user).order_by(Device.id).with_for_update()
        await self._session.execute(devices)
        others = () if keep is None else (RefreshToken.family != keep,)
        return await sign_ins.end(self._session, now, RefreshToken.user_id == user, *others)

    async def sweep(self, before: int) -> int:
        """Delete tokens that expired before `before`; returns how many."""
        gone = delete(RefreshToken).where(RefreshToken.expires_at < before).returning(RefreshToken.hash)
        return len((await self._session.execute(gone)).all())

    async def _locked_device(self, user: str, device: int) -> Device | None:
        """The device as it is now, its tokens held still until the transaction ends."""
        return await self._session.get(Device, (user, device), with_for_update=True, populate_existing=True)

    async def _end(self, family: str, now: int) -> None:
        await sign_ins.end(self._session, now, RefreshToken.family == family)

    async def _add(self, sign_in: SignIn, now: int, ttl: int) -> Issued:
        token = secrets.token_urlsafe(32)
        self._session.add(
            RefreshToken(
                hash=hashed(token),
                family=sign_in.id,
                user_id=sign_in.user,
                device=sign_in.device,
                created_at=now,
                expires_at=now + ttl,
            )
        )
        await self._session.flush()
        return Issued(sign_in, token)


def hashed(token: str) -> bytes:
    """What is stored of a token."""
    # A token has 256 random bits, so a plain hash hides it; a slow one would only help the guessable.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
