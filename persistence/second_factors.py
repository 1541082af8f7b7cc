"""The second factor as it is stored: a sealed secret that counts once it is confirmed, the last step whose
code was used, and recovery codes by their hashes.

Each use is a single UPDATE of what was not used yet, so that of two at once one wins.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete, func, insert, or_, select, update

from fitai.persistence.database import ReadSession
from fitai.persistence.identity_models import RecoveryCode
from fitai.persistence.models import User


class SecondFactors:
    """One person's second factor; times in Unix ms. Changes take a write session."""

    def __init__(self, session: ReadSession, user: str) -> None:
        self._session = session
        self._user = user

    async def propose(self, secret: bytes) -> None:
        """Keep a sealed secret that is not confirmed yet, instead of an earlier one."""
        await self._set(totp_secret=secret, totp_confirmed_at=None, totp_step=None)

    async def confirm(self, step: int, now: int) -> None:
        """The person's app has the secret: it showed the code of `step`, which is used by that."""
        await self._set(totp_confirmed_at=now, totp_step=step)

    async def use_step(self, step: int) -> bool:
        """Use the code of a step; False when that one or a later one was used before."""
        used = (
            update(User)
            .where(User.id == self._user, or_(User.totp_step.is_(None), User.totp_step < step))
            .values(totp_step=step)
            .returning(User.id)
            .execution_options(synchronize_session=False)
        )
        return (await self._session.execute(used)).scalar_one_or_none() is not None

    async def use_code(self, hash: bytes, now: int) -> bool:
        """Use a recovery code by its hash; False when there is no such one, or it was used before."""
        used = (
            update(RecoveryCode)
            .where(RecoveryCode.user_id == self._user, RecoveryCode.hash == hash)
            .where(RecoveryCode.used_at.is_(None))
            .values(used_at=now)
            .returning(RecoveryCode.hash)
            .execution_options(synchronize_session=False)
        )
        return (await self._session.execute(used)).scalar_one_or_none() is not None

    async def set_codes(self, hashes: Iterable[bytes]) -> None:
        """Recovery codes instead of all that there were."""
        await self._session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == self._user))
        rows = [{"user_id": self._user, "hash": hash} for hash in hashes]
        if rows:
            await self._session.execute(insert(RecoveryCode), rows)

    async def codes_left(self) -> int:
        """How many recovery codes are still good."""
        query = select(func.count()).where(RecoveryCode.user_id == self._user, RecoveryCode.used_at.is_(None))
        return (await self._session.execute(query)).scalar_one()

    async def drop(self) -> None:
        """No second factor any more."""
        await self._set(totp_secret=None, totp_confirmed_at=None, totp_step=None)
        await self.set_codes(())

    async def _set(self, **values: object) -> None:
        await self._session.execute(
            update(User)
            .where(User.id == self._user)
            .values(**values)
            .execution_options(synchronize_session=False)
        )
