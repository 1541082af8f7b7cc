"""Personal access tokens: what a person gives to an integration, with scopes.

    fitai_pat_ + 40 random letters and digits + 6 of checksum

The prefix and the checksum (CRC-32 of what stands before it, in base 62) let secret scanners find a token
that was published by mistake, and let us refuse most of what is none without a look at the database. Only a
hash is stored. Each token speaks for a device of its own, and is revoked with it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import uuid
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select, update

from fitai.persistence.database import ReadSession
from fitai.persistence.devices import Devices
from fitai.persistence.identity_models import PersonalToken
from fitai.persistence.models import Device

PREFIX = "fitai_pat_"
PER_USER = 50  # live ones
USED_MS = 60_000  # `last_used_at` is no more exact than this

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM, _CHECK = 40, 6  # 238 bits; 62**6 is more than 2**32
_SHAPE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_RANDOM + _CHECK}}}", re.ASCII)


class TooMany(Exception):
    """The user has as many live tokens as anybody may have."""


@dataclass(frozen=True, slots=True)
class PersonalTokenRow:
    """A personal token, without its secret; times in Unix ms, `expires_at` None: never."""

    id: str
    user: str
    device: int
    name: str
    scopes: frozenset[str]
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    revoked_at: int | None


@dataclass(frozen=True, slots=True)
class Created:
    """A new token: its row, and the secret that is shown this once."""

    row: PersonalTokenRow
    token: str


def looks_right(token: str) -> bool:
    """Whether a text is a personal token by its shape and checksum."""
    return _SHAPE.fullmatch(token) is not None and token[-_CHECK:] == _checksum(token[:-_CHECK])


class PersonalTokens:
    """Personal tokens. Finding and listing take any session, all else a write session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def create(
        self, user: str, *, name: str, scopes: Collection[str], now: int, expires_at: int | None
    ) -> Created:
        """A new token and its device; raises TooMany. `scopes` were checked by the caller."""
        device = await Devices(self._session).enrol_integration(user, name, now)
        # The user is locked from here on: two requests can not both be the last one that fits.
        mine = (PersonalToken.user_id == user, PersonalToken.revoked_at.is_(None))
        live = or_(PersonalToken.expires_at.is_(None), PersonalToken.expires_at > now)
        count = select(func.count()).select_from(PersonalToken).where(*mine, live)
        if (await self._session.execute(count)).scalar_one() >= PER_USER:
            raise TooMany(user)
        token = _new_token()
        found = PersonalToken(
            id=str(uuid.uuid4()),
            user_id=user,
            device=device,
            name=name,
            hash=_hash(token),
            scopes=sorted(scopes),
            created_at=now,
            expires_at=expires_at,
        )
        self._session.add(found)
        await self._session.flush()
        return Created(_row(found), token)

    async def list(self, user: str) -> Sequence[PersonalTokenRow]:
        """The user's tokens that were not revoked (expired ones as well), the newest first."""
        query = (
            select(PersonalToken)
            .where(PersonalToken.user_id == user, PersonalToken.revoked_at.is_(None))
            .order_by(PersonalToken.created_at.desc(), PersonalToken.id)
        )
        return [_row(found) for found in (await self._session.execute(query)).scalars()]

    async def revoke(self, user: str, token: str, now: int) -> int | None:
        """Revoke the token with this id (a UUID), and its device; returns the device's number, None when the
        user has no such live token."""
        query = select(PersonalToken.device).where(
            PersonalToken.id == token, PersonalToken.user_id == user, PersonalToken.revoked_at.is_(None)
        )
        device = (await self._session.execute(query)).scalar_one_or_none()
        if device is not None:
            await Devices(self._session).revoke(user, device, now)
        return device

    async def find(self, token: str) -> PersonalTokenRow | None:
        """The token with this secret; None when there is none, or it or its device was revoked. It may have
        expired."""
        query = (
            select(PersonalToken)
            .join(Device, (Device.user_id == PersonalToken.user_id) & (Device.id == PersonalToken.device))
            .where(PersonalToken.hash == _hash(token))
            .where(PersonalToken.revoked_at.is_(None), Device.revoked_at.is_(None))
        )
        found = (await self._session.execute(query)).scalar_one_or_none()
        return None if found is None else _row(found)

    async def touch(self, row: PersonalTokenRow, now: int) -> None:
        """Note that a token, and so its device, was used."""
        used = update(PersonalToken).where(PersonalToken.id == row.id).values(last_used_at=now)
        await self._session.execute(used)
        await Devices(self._session).touch(row.user, row.device, now)


def _new_token() -> str:
    body = PREFIX + "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM))
    return body + _checksum(body)


def _checksum(body: str) -> str:
    left, digits = zlib.crc32(body.encode()), ""
    while len(digits) < _CHECK:
        left, digit = divmod(left, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits


def _hash(token: str) -> bytes:
    # 238 random bits: a plain hash hides them.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _row(found: PersonalToken) -> PersonalTokenRow:
    return PersonalTokenRow(
        found.id,
        found.user_id,
        found.device,
        found.name,
        frozenset(found.scopes),
        found.created_at,
        found.expires_at,
        found.last_used_at,
        found.revoked_at,
    )
