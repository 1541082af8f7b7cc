"""Who may speak: the one authenticator, for REST and sockets, of access tokens and of personal tokens.

The database is asked at each use whether the device is enrolled and the sign-in has not ended, so that who
was revoked or has signed out is out at once, whatever the token says.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from fitai.gateways.identity import Identity, NotAuthenticated
from fitai.http.auth.tokens import AccessTokens
from fitai.persistence.database import Database, Unavailable
from fitai.persistence.devices import Standing, standing
from fitai.persistence.personal_tokens import (
    PREFIX,
    USED_MS,
    PersonalTokenRow,
    PersonalTokens,
    looks_right,
)

_log = structlog.get_logger(__name__)

PERSONAL_MS = 24 * 3_600_000  # the longest that a socket may go on without showing its personal token again


class Authority:
    """The `Authenticator` of an installation."""

    def __init__(self, tokens: AccessTokens, db: Database, now_ms: Callable[[], int]) -> None:
        self._tokens = tokens
        self._db = db
        self._now_ms = now_ms

    async def read(self, token: str) -> Identity:
        """Whose token it is; raises NotAuthenticated, Unavailable."""
        return await (self._personal(token) if token.startswith(PREFIX) else self._tokens.read(token))

    async def confirm(self, identity: Identity) -> None:
        """That who was read may speak now; raises NotAuthenticated, Unavailable."""
        async with self._db.glance() as asked:
            now = await standing(asked, identity.user, identity.device, identity.sign_in)
        if now is Standing.REVOKED:
            raise NotAuthenticated("device_revoked", "This device was revoked.")
        if now is Standing.SIGNED_OUT:
            raise NotAuthenticated("unauthorized", "This sign-in has ended.")

    async def authenticate(self, token: str) -> Identity:
        """Both; raises NotAuthenticated, Unavailable."""
        if token.startswith(PREFIX):
            return await self._personal(token)  # it was read from where its standing is
        identity = await self._tokens.read(token)
        await self.confirm(identity)
        return identity

    async def _personal(self, token: str) -> Identity:
        row = None
        if looks_right(token):
            async with self._db.read() as session:
                row = await PersonalTokens(session).find(token)
        if row is None:
            raise NotAuthenticated("unauthorized", "The personal token is not valid.")
        now = self._now_ms()
        if row.expires_at is not None and row.expires_at <= now:
            raise NotAuthenticated("token_expired", "The personal token has expired.")
        await self._note_use(row, now)
        until = now + PERSONAL_MS
        expires_at = until if row.expires_at is None else min(until, row.expires_at)
        return Identity(row.user, row.device, expires_at, scopes=row.scopes)

    async def _note_use(self, row: PersonalTokenRow, now: int) -> None:
        if row.last_used_at is None or row.last_used_at + USED_MS <= now:
            try:
                async with self._db.write() as session:
                    await PersonalTokens(session).touch(row, now)
            except Unavailable:
                _log.warning("use_of_token_not_noted")
