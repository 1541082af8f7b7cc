"""Personal tokens: what a person gives to an integration, with scopes and an end."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from fitai.gateways.identity import Identity
from fitai.http.auth.confirmation import Confirmation
from fitai.http.auth.door import Door
from fitai.http.auth.notices import note
from fitai.http.auth.schemas import NewPersonalToken, PersonalTokenCreate, PersonalTokenOut
from fitai.http.auth.visitor import Visitor
from fitai.http.problems import FieldError, Problem, invalid, not_found
from fitai.persistence.database import Database, WriteSession
from fitai.persistence.personal_tokens import PER_USER, PersonalTokenRow, PersonalTokens, TooMany
from fitai.persistence.users import UserRow

_log = structlog.get_logger(__name__)

DAY_MS = 86_400_000


class PersonalTokenService:
    """Makes, lists and revokes a person's tokens. Making one takes a `Confirmation`: it outlives sign-ins.
    `scopes` are those that some route asks for."""

    def __init__(
        self,
        db: Database,
        confirmation: Confirmation,
        door: Door,
        now_ms: Callable[[], int],
        scopes: frozenset[str],
    ) -> None:
        self._db = db
        self._confirmation = confirmation
        self._door = door
        self._now_ms = now_ms
        self._scopes = scopes

    async def create(self, caller: Identity, body: PersonalTokenCreate, by: Visitor) -> NewPersonalToken:
        """A new token, shown this once; raises Problem confirmation_failed, limit, later, and
        validation_failed for a scope that no route asks for."""
        unknown = [index for index, scope in enumerate(body.scopes) if scope not in self._scopes]
        if unknown:
            known = f"must be one of {', '.join(sorted(self._scopes))}"
            raise invalid(FieldError("body", f"scopes.{index}", "unknown", known) for index in unknown)
        user = await self._confirmation.password(caller, body.password)
        now = self._now_ms()
        expires_at = None if body.days is None else now + body.days * DAY_MS

        async def work(session: WriteSession, user: UserRow) -> NewPersonalToken:
            made = await PersonalTokens(session).create(
                user.id, name=body.name, scopes=set(body.scopes), now=now, expires_at=expires_at
            )
            await note(
                session,
                user.id,
                "token_created",
                now,
                by=by,
                device=caller.device,
                name=body.name,
                scopes=sorted(made.row.scopes),
            )
            return NewPersonalToken(**dict(_shown(made.row)), token=made.token)

        try:
            made = await self._confirmation.then(user, body.otp, by, work)
        except TooMany:
            raise Problem("limit", extra={"limit": "personal_tokens", "max": PER_USER}) from None
        _log.info("token_created", user=user.id, token=made.id)
        return made

    async def mine(self, caller: Identity) -> list[PersonalTokenOut]:
        """The caller's tokens, expired ones as well, the newest first."""
        async with self._db.read() as session:
            return [_shown(row) for row in await PersonalTokens(session).list(caller.user)]

    async def revoke(self, caller: Identity, token: str, by: Visitor) -> None:
        """Revoke a token by its id: it is dead with the commit. Raises Problem not_found."""
        now = self._now_ms()
        async with self._db.write() as session:
            device = await PersonalTokens(session).revoke(caller.user, token, now)
            if device is not None:
                await note(
                    session, caller.user, "token_revoked", now, by=by, device=caller.device, revoked=device
                )
        if device is None:
            raise not_found()
        _log.info("token_revoked", user=caller.user, token=token)
        self._door.tell_revoked(caller.user, [device])


def _shown(row: PersonalTokenRow) -> PersonalTokenOut:
    return PersonalTokenOut(
        id=row.id,
        name=row.name,
        device=row.device,
        scopes=sorted(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )
