"""People: an account and, made in the same transaction, its stream."""

from __future__ import annotations

import secrets
import unicodedata
import uuid
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite

from fitai.persistence.database import ReadSession
from fitai.persistence.models import Stream, User, clean


class EmailTaken(Exception):
    """Another account has this address."""


@dataclass(frozen=True, slots=True)
class UserRow:
    """An account. `id` is a UUID, `created_at` Unix ms, `email` as the person wrote it."""

    id: str
    email: str
    password_hash: str
    display_name: str | None
    created_at: int


def email_key(email: str) -> str:
    """The address as compared: two that differ in case or in the spelling of a character are one."""
    return clean(unicodedata.normalize("NFKC", email.strip()).casefold())


class Users:
    """Accounts. Finding takes any session, `create` and `set_password` a write session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def get(self, user: str) -> UserRow | None:
        """The account with this id (a UUID)."""
        return _row(await self._session.get(User, user))

    async def by_email(self, email: str) -> UserRow | None:
        """The account with this address."""
        query = select(User).where(User.email_key == email_key(email))
        return _row((await self._session.execute(query)).scalar_one_or_none())

    async def create(
        self, *, email: str, password_hash: str, display_name: str | None, now: int, id: str | None = None
    ) -> UserRow:
        """A new account with an empty stream in a fresh epoch; raises EmailTaken. `now` in Unix ms."""
        values = {
            "id": id or str(uuid.uuid4()),
            "email": email,
            "email_key": email_key(email),
            "password_hash": password_hash,
            "display_name": display_name,
            "next_device": 1,
            "created_at": now,
        }
        # ON CONFLICT, so that a taken address leaves the transaction usable on PostgreSQL too.
        insert = (postgresql if self._session.get_bind().dialect.name == "postgresql" else sqlite).insert
        made = (
            insert(User)
            .values(values)
            .on_conflict_do_nothing(index_elements=["email_key"])
            .returning(User.id)
        )
        if (await self._session.execute(made)).scalar_one_or_none() is None:
            raise EmailTaken(email)
        self._session.add(Stream(owner=values["id"], epoch=new_epoch(), head=0, projected=0, last_rt=0))
        await self._session.flush()
        row = await self.get(str(values["id"]))
        assert row is not None, "it was inserted above"
        return row

    async def set_password(self, user: str, password_hash: str) -> None:
        """Replace the password's hash (after a change, or when the hash's cost was raised)."""
        await self._session.execute(update(User).where(User.id == user).values(password_hash=password_hash))


def new_epoch() -> str:
    """A name for a stream's history that no other history has."""
    return secrets.token_hex(8)


def _row(user: User | None) -> UserRow | None:
    if user is None:
        return None
    return UserRow(user.id, user.email, user.password_hash, user.display_name, user.created_at)
