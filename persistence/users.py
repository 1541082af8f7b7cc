"""People: an account and, made in the same transaction, its stream."""

from __future__ import annotations

import secrets
import unicodedata
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import bindparam, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from fitai.persistence.database import Asked, ReadSession
from fitai.persistence.identity_models import OneTimeToken
from fitai.persistence.models import Sex, Stream, User, clean
from fitai.persistence.one_time import Purpose

ADMIN = "admin"


class EmailTaken(Exception):
    """Another account has this address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    """An account. `id` is a UUID, times are Unix ms, `email` as the person wrote it.

    `role` is `admin` or None. `totp_secret` is sealed and counts once `totp_confirmed_at` is set; the code of
    step `totp_step` is the last that was used. `delete_after` is when the account is to be erased. `sex` is
    `female`, `male` or None.
    """

    id: str
    email: str
    password_hash: str = field(repr=False)
    display_name: str | None
    created_at: int
    email_verified_at: int | None = None
    password_changed_at: int | None = None
    role: str | None = None
    locale: str | None = None
    delete_after: int | None = None
    totp_secret: bytes | None = field(default=None, repr=False)
    totp_confirmed_at: int | None = None
    totp_step: int | None = None
    body_weight_ug: int | None = field(default=None, repr=False)
    sex: Sex | None = field(default=None, repr=False)


def email_key(email: str) -> str:
    """The address as compared: two that differ in case or in the spelling of a character are one.

    Letters of different scripts stay different, however alike they look: they are different mailboxes.
    """
    return clean(unicodedata.normalize("NFKC", email.strip()).casefold())


class Users:
    """Accounts. Finding takes any session, what changes something a write session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def get(self, user: str) -> UserRow | None:
        """The account with this id (a UUID)."""
        return _row(await self._session.get(User, user))

    async def locked(self, user: str) -> UserRow | None:
        """The account as it is now, held still until the transaction ends."""
        return _row(await self._session.get(User, user, with_for_update=True, populate_existing=True))

    async def by_email(self, email: str) -> UserRow | None:
        """The account with this address."""
        query = select(User).where(User.email_key == email_key(email))
        return _row((await self._session.execute(query)).scalar_one_or_none())

    async def admins(self) -> Sequence[UserRow]:
        """Who looks after this installation."""
        query = select(User).where(User.role == ADMIN).order_by(User.created_at, User.id)
        return [_as_row(user) for user in (await self._session.execute(query)).scalars()]

    async def page(self, after: str, limit: int) -> Sequence[UserRow]:
        """Accounts in the order of their addresses as compared, from the one after `after` on ('': all)."""
        query = select(User).where(User.email_key > after).order_by(User.email_key).limit(limit)
        return [_as_row(user) for user in (await self._session.execute(query)).scalars()]

    async def create(
        self,
        *,
        email: str,
        password_hash: str,
        display_name: str | None,
        now: int,
        id: str | None = None,
        role: str | None = None,
        locale: str | None = None,
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
            "role": role,
            "locale": locale,
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
        """Replace the password's hash by one of the same password (the hash's cost was raised)."""
        await self._set(user, password_hash=password_hash)

    async def change_password(self, user: str, password_hash: str, now: int) -> None:
        """Another password."""
        await self._set(user, password_hash=password_hash, password_changed_at=now)

    async def edit(self, user: str, **fields: str | int | None) -> None:
        """Write what a person says of themselves: `display_name`, `locale`, `body_weight_ug`, `sex`."""
        await self._set(user, **fields)

    async def set_role(self, user: str, role: str | None) -> None:
        """Make somebody an admin (`ADMIN`), or not any more."""
        await self._set(user, role=role)

    async def verify_email(self, user: str, now: int) -> bool:
        """The address is the person's own; False when that was known."""
        verified = (
            update(User)
            .where(User.id == user, User.email_verified_at.is_(None))
            .values(email_verified_at=now)
            .returning(User.id)
        )
        return await self._hit(verified)

    async def change_email(self, user: str, email: str, now: int) -> None:
        """Another address, which is known to be the person's own; raises EmailTaken, after which nothing else
        may be done in the transaction."""
        other = aliased(User)
        taken = exists().where(other.email_key == email_key(email), other.id != user)
        changed = (
            update(User)
            .where(User.id == user, ~taken)
            .values(email=email, email_key=email_key(email), email_verified_at=now)
            .returning(User.id)
        )
        try:
            hit = await self._hit(changed)
        except IntegrityError:  # somebody else took it at this moment
            raise EmailTaken(email) from None
        if not hit:
            raise EmailTaken(email)

    async def delete_after(self, user: str, moment: int | None) -> None:
        """When the account is to be erased, Unix ms; None: it stays."""
        await self._set(user, delete_after=moment)

    async def count(self) -> int:
        """How many there are."""
        return (await self._session.execute(select(func.count()).select_from(User))).scalar_one()

    async def _set(self, user: str, **values: Any) -> None:
        await self._hit(update(User).where(User.id == user).values(**values).returning(User.id))

    async def _hit(self, statement: Any) -> bool:
        # What is already loaded is loaded again where it is asked for: `locked` and `get` in one transaction.
        done = await self._session.execute(statement.execution_options(synchronize_session="fetch"))
        return done.scalar_one_or_none() is not None


def new_epoch() -> str:
    """A name for a stream's history that no other history has."""
    return secrets.token_hex(8)


_FIELDS = [field.name for field in fields(UserRow)]
_NEW_EMAIL = (
    select(OneTimeToken.email)
    .where(
        OneTimeToken.user_id == User.id,
        OneTimeToken.purpose == Purpose.CHANGE_EMAIL,
        OneTimeToken.used_at.is_(None),
        OneTimeToken.expires_at > bindparam("now"),
    )
    .limit(1)
    .scalar_subquery()
)
_WITH_NEW_EMAIL = select(*(getattr(User, name) for name in _FIELDS), _NEW_EMAIL).where(
    User.id == bindparam("user")
)


async def with_new_email(asked: Asked, user: str, now: int) -> tuple[UserRow, str | None] | None:
    """The account with this id, and the address that is to become the person's once it is verified."""
    row = (await asked.execute(_WITH_NEW_EMAIL, {"user": user, "now": now})).one_or_none()
    return None if row is None else (UserRow(**dict(zip(_FIELDS, row, strict=False))), row[-1])


def _row(user: User | None) -> UserRow | None:
    return None if user is None else _as_row(user)


def _as_row(user: User) -> UserRow:
    return UserRow(
        id=user.id,
        email=user.email,
        password_hash=user.password_hash,
        display_name=user.display_name,
        created_at=user.created_at,
        email_verified_at=user.email_verified_at,
        password_changed_at=user.password_changed_at,
        role=user.role,
        locale=user.locale,
        delete_after=user.delete_after,
        totp_secret=user.totp_secret,
        totp_confirmed_at=user.totp_confirmed_at,
        totp_step=user.totp_step,
        body_weight_ug=user.body_weight_ug,
        sex=user.sex,
    )
