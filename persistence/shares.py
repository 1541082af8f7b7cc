"""Links that show one workout, or chosen fields of it, to whoever has them, until they are revoked."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update

from fitai.persistence.database import ReadSession
from fitai.persistence.models import Share


@dataclass(frozen=True, slots=True)
class ShareRow:
    """A link. `id` names it to its owner, `secret` opens it; times in Unix ms, None for never."""

    user: str
    id: str
    secret: str
    workout: str
    fields: Sequence[str]
    created_at: int
    expires_at: int | None
    revoked_at: int | None


class Shares:
    """Shares. Finding takes any session, `create` and `revoke` a write session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def create(
        self, user: str, workout: str, fields: Sequence[str], *, now: int, expires_at: int | None = None
    ) -> ShareRow:
        """A new link to a workout of this user; whether the workout exists is the caller's to check."""
        share = Share(
            user_id=user,
            id=str(uuid.uuid4()),
            secret=secrets.token_urlsafe(24),
            workout=workout,
            fields=list(fields),
            created_at=now,
            expires_at=expires_at,
            revoked_at=None,
        )
        self._session.add(share)
        await self._session.flush()
        return _row(share)

    async def by_secret(self, secret: str, *, now: int) -> ShareRow | None:
        """The live link with this secret; None for an unknown, expired or revoked one alike."""
        if not (secret.isascii() and secret.isprintable()):
            return None
        query = select(Share).where(Share.secret == secret, Share.revoked_at.is_(None))
        share = (await self._session.execute(query)).scalar_one_or_none()
        if share is None or (share.expires_at is not None and share.expires_at <= now):
            return None
        return _row(share)

    async def of_user(self, user: str, *, now: int, workout: str | None = None) -> list[ShareRow]:
        """A user's live links, newest first; only those to one workout when it is given."""
        query = select(Share).where(Share.user_id == user, Share.revoked_at.is_(None))
        if workout is not None:
            query = query.where(Share.workout == workout)
        shares = (await self._session.execute(query.order_by(Share.created_at.desc(), Share.id))).scalars()
        return [_row(share) for share in shares if share.expires_at is None or share.expires_at > now]

    async def revoke(self, user: str, id: str, *, now: int) -> bool:
        """Revoke a live link by its id (a UUID); False when this user has no such link."""
        gone = (
            update(Share)
            .where(Share.user_id == user, Share.id == id, Share.revoked_at.is_(None))
            .values(revoked_at=now)
            .returning(Share.id)
        )
        return (await self._session.execute(gone)).scalar_one_or_none() is not None


def _row(share: Share) -> ShareRow:
    return ShareRow(
        share.user_id,
        share.id,
        share.secret,
        share.workout,
        share.fields,
        share.created_at,
        share.expires_at,
        share.revoked_at,
    )
