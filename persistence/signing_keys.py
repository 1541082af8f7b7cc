"""The keys that sign access tokens, as rows: one ring for all nodes.

What a key is good for at a moment, and when another one takes over, is `fitai.http.auth.keys`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, or_, select, update

from fitai.persistence.database import ReadSession
from fitai.persistence.identity_models import SigningKey
from fitai.persistence.models import RefreshToken


@dataclass(frozen=True, slots=True)
class SigningKeyRow:
    """A key; `public` is a JWK, `private` sealed, times Unix ms. It signs from `signs_from` until
    `signs_until`, and what it signed is honoured until `honoured_until`; None: until another takes over."""

    kid: str
    algorithm: str
    public: dict[str, Any]
    private: bytes
    created_at: int
    signs_from: int
    signs_until: int | None = None
    honoured_until: int | None = None


class SigningKeys:
    """The ring. Reading takes any session, all else a write session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def all(self) -> Sequence[SigningKeyRow]:
        """Every key that is kept, in the order in which they sign."""
        query = select(SigningKey).order_by(SigningKey.signs_from, SigningKey.kid)
        found = (await self._session.execute(query.execution_options(populate_existing=True))).scalars()
        return [
            SigningKeyRow(
                key.kid,
                key.algorithm,
                key.public,
                key.private,
                key.created_at,
                key.signs_from,
                key.signs_until,
                key.honoured_until,
            )
            for key in found
        ]

    async def add(self, row: SigningKeyRow) -> None:
        """Add a key."""
        self._session.add(
            SigningKey(
                kid=row.kid,
                algorithm=row.algorithm,
                public=row.public,
                private=row.private,
                created_at=row.created_at,
                signs_from=row.signs_from,
                signs_until=row.signs_until,
                honoured_until=row.honoured_until,
            )
        )
        await self._session.flush()

    async def retire(self, kids: Collection[str], *, signs_until: int, honoured_until: int) -> None:
        """None of these keys signs, or is honoured, any longer than this."""
        ends = ((SigningKey.signs_until, signs_until), (SigningKey.honoured_until, honoured_until))
        for column, until in ends:
            longer = (SigningKey.kid.in_(kids), or_(column.is_(None), column > until))
            await self._session.execute(update(SigningKey).where(*longer).values({column: until}))

    async def sweep(self, before: int) -> None:
        """Delete the keys that were honoured until a moment, or less."""
        await self._session.execute(delete(SigningKey).where(SigningKey.honoured_until <= before))

    async def anybody_signed_in(self, now: int) -> bool:
        """Whether access tokens can be about: somebody holds a refresh token that has not expired."""
        held = exists().where(RefreshToken.expires_at > now, RefreshToken.revoked_at.is_(None))
        return bool((await self._session.execute(select(held))).scalar_one())
