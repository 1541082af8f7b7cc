"""The person as they are shown to themselves, and their security log."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from fitai.engine.units import from_ug, to_ug
from fitai.gateways.identity import Identity
from fitai.http.auth.confirmation import gone
from fitai.http.frame import Reply, encode
from fitai.http.users.schemas import Kilograms, LogEntry, LogPage, LogQuery, Profile, ProfileEdit
from fitai.persistence import cursors
from fitai.persistence.database import Asked, Database
from fitai.persistence.security_log import SecurityLog
from fitai.persistence.users import Users, with_new_email


class ProfileService:
    """Shows the profile, edits it, and pages through the log. `on_weighed(user)`: what they tell of
    their body is something else now."""

    def __init__(self, db: Database, now_ms: Callable[[], int], on_weighed: Callable[[str], None]) -> None:
        self._db = db
        self._now_ms = now_ms
        self._on_weighed = on_weighed

    async def profile(self, caller: Identity) -> Reply:
        """The caller's profile, with an ETag of what it says."""
        async with self._db.glance() as asked:
            return await self._shown(asked, caller.user)

    async def edit(self, caller: Identity, body: ProfileEdit) -> Reply:
        """Change what is named."""
        named = {field: getattr(body, field) for field in body.model_fields_set}
        if "body_weight" in named:
            weight = named.pop("body_weight")
            named["body_weight_ug"] = None if weight is None else to_ug(weight.value, weight.unit)
        async with self._db.write() as session:
            if named:
                await Users(session).edit(caller.user, **named)
            shown = await self._shown(session, caller.user)
        if named.keys() & {"body_weight_ug", "sex"}:
            self._on_weighed(caller.user)
        return shown

    async def log(self, caller: Identity, query: LogQuery) -> LogPage:
        """A page of the caller's log; raises BadCursor."""
        before = None if query.cursor is None else _place(query.cursor)
        async with self._db.read() as session:
            rows = await SecurityLog(session).page(caller.user, before, query.limit + 1)
        shown = rows[: query.limit]
        return LogPage(
            events=[
                LogEntry(
                    kind=row.kind,
                    at=row.at,
                    device=row.device,
                    address=row.address,
                    agent=row.agent,
                    data=dict(row.data),
                )
                for row in shown
            ],
            next_cursor=cursors.write(shown[-1].id) if len(rows) > query.limit else None,
        )

    async def _shown(self, asked: Asked, id: str) -> Reply:
        found = await with_new_email(asked, id, self._now_ms())
        if found is None:
            raise gone()
        user, new_email = found
        profile = Profile(
            id=user.id,
            email=user.email,
            email_verified=user.email_verified_at is not None,
            new_email=new_email,
            display_name=user.display_name,
            locale=user.locale,
            role=user.role,
            second_factor=user.totp_confirmed_at is not None,
            created_at=user.created_at,
            password_changed_at=user.password_changed_at,
            delete_after=user.delete_after,
            body_weight=_weight(user.body_weight_ug),
            sex=user.sex,
        )
        return Reply(profile, etag=f'"{hashlib.sha256(encode(profile)).hexdigest()[:32]}"')


def _weight(ug: int | None) -> Kilograms | None:
    return None if ug is None else Kilograms(value=from_ug(ug, "kg"), unit="kg")


def _place(cursor: str) -> int:
    """The event before which a page ends; raises BadCursor."""
    match cursors.read(cursor):
        case [int(id)] if type(id) is int and 0 < id < 2**63:
            return id
        case _:
            raise cursors.BadCursor
