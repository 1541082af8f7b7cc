"""Devices: who may write to a user's stream, each under a small number that is never given twice.

A number stands in every record that its device wrote and in the vector clocks of others, so a row is
never deleted: revoking only marks it. An installation that comes back, revoked or not, is the same device,
because its counter and its unsent ops go on where they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast

from sqlalchemy import ColumnElement, bindparam, exists, func, literal, or_, select, update

from fitai.persistence import sign_ins
from fitai.persistence.database import Asked, ReadSession, WriteSession
from fitai.persistence.identity_models import EndedSignIn, PersonalToken
from fitai.persistence.models import Device, RefreshToken, User, clean
from fitai.persistence.users import email_key

SERVER = 0  # the server's own device in every stream; not a row
DEVICE = "device"
API = "api"
TOKEN = "token"  # the device of a personal token
INTEGRATION = "integration"  # its platform


class Standing(StrEnum):
    """Whether who holds an access token may speak now."""

    LIVE = "live"
    REVOKED = "revoked"  # its device is not enrolled, or not any more
    SIGNED_OUT = "signed_out"


class InstallTaken(Exception):
    """The installation belongs to another device of this user already."""


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """An enrolled writer. `kind` is `device`, `api` or `token`; times in Unix ms; `revoked_at` None while
    live; a fork has parted from `parent` before the op `forked_at`."""

    user: str
    id: int
    kind: str
    name: str
    platform: str
    install_id: str | None
    parent: int | None
    forked_at: int | None
    created_at: int
    last_used_at: int
    revoked_at: int | None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The device that was enrolled or recognised, and the devices that were retired to make room."""

    device: DeviceRow
    known: bool
    retired: Sequence[int] = field(default=())


class Devices:
    """Devices. Finding takes any session; enrolling, renaming and revoking take a write session and lock
    the user, so that numbers stay unique."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def get(self, user: str, device: int) -> DeviceRow | None:
        """One device, revoked or not."""
        return _row(await self._session.get(Device, (user, device)))

    async def is_installed(self, email: str, install_id: str) -> bool:
        """Whether the account of this e-mail address has this installation among its live devices."""
        query = (
            select(Device.id)
            .join(User, User.id == Device.user_id)
            .where(
                User.email_key == email_key(email),
                Device.install_id == clean(install_id),
                Device.revoked_at.is_(None),
            )
        )
        return (await self._session.execute(query)).first() is not None

    async def name(self, user: str, device: int) -> str | None:
        """What the person calls a device, revoked or not."""
        found = await self._session.execute(_NAME, {"user": user, "device": device})
        return found.scalar_one_or_none()

    async def revoked_since(self, moment: int) -> Sequence[tuple[str, int]]:
        """(user, device) of all that were revoked after a moment (Unix ms) and are not back."""
        query = select(Device.user_id, Device.id).where(Device.revoked_at > moment, Device.kind != API)
        return [(user, device) for user, device in (await self._session.execute(query)).all()]

    async def list(self, user: str, *, revoked: bool = False) -> list[DeviceRow]:
        """The devices that a person enrolled and those of personal tokens (no API devices), in the order of
        their numbers: the live ones, with `revoked` all that there ever were."""
        whose = (Device.user_id == user, Device.kind != API) if revoked else _listed(user)
        query = select(Device).where(*whose).order_by(Device.id)
        rows = (await self._session.execute(query)).scalars()
        return [_as_row(device) for device in rows]

    async def enrol(
        self,
        user: str,
        *,
        name: str,
        platform: str,
        install_id: str | None,
        now: int,
        limit: int,
    ) -> Enrolment:
        """Enrol a device, or recognise it by `install_id`.

        With more than `limit` live devices the longest unused others are revoked. `now` in Unix ms.
        """
        await self._lock(user)
        device = await self._known(user, install_id)
        known = device is not None
        if device is None:
            device = await self._add(user, DEVICE, name, platform, install_id, None, now)
        else:
            device.name, device.platform, device.last_used_at = name, platform, now
            await self._revive(device)
        return await self._enrolled(device, known, limit, now)

    async def enrol_integration(self, user: str, name: str, now: int) -> int:
        """The number of a new device for a personal token. It neither retires another device nor is retired
        to make room for one."""
        await self._lock(user)
        device = await self._add(user, TOKEN, name, INTEGRATION, None, None, now)
        await self._session.flush()
        return device.id

    async def fork(
        self, user: str, parent: int, at: int, *, name: str | None, install_id: str, now: int, limit: int
    ) -> Enrolment:
        """Enrol a device that parts from `parent` before the parent's op `at`: what the parent had written
        and seen below it is in the fork's context from its first op on.

        The parent keeps its installation; the same fork asked for again by its `install_id` is the same
        device. Raises InstallTaken. For the rest as `enrol`.
        """
        await self._lock(user)
        device = await self._known(user, install_id)
        known = device is not None
        if device is None:
            origin = await self._session.get_one(Device, (user, parent))
            name = name or f"{origin.name} (copy)"
            device = await self._add(user, DEVICE, name, origin.platform, install_id, parent, now)
            device.forked_at = at
        elif (device.parent, device.forked_at) != (parent, at):
            raise InstallTaken(install_id)
        else:
            device.last_used_at = now
            await self._revive(device)
        return await self._enrolled(device, known, limit, now)

    async def _enrolled(self, device: Device, known: bool, limit: int, now: int) -> Enrolment:
        await self._session.flush()
        retired = await self._retire(device.user_id, device.id, limit, now)
        return Enrolment(_as_row(device), known, retired)

    async def api_device(self, user: str, parent: int, now: int) -> int:
        """The number of the API device of `parent`, made when there is none yet. `now` in Unix ms."""
        query = select(Device).where(Device.user_id == user, Device.parent == parent, Device.kind == API)
        found = (await self._session.execute(query)).scalar_one_or_none()
        if found is None:
            await self._lock(user)  # and look again: another request may have made it meanwhile
            found = (await self._session.execute(query)).scalar_one_or_none()
        if found is None:
            found = await self._add(user, API, "API", "api", None, parent, now)
            await self._session.flush()
        return found.id

    async def rename(self, user: str, device: int, name: str) -> DeviceRow | None:
        """Give a live device another name; None when there is no such one."""
        found = await self._live_one(user, device)
        if found is None:
            return None
        found.name = name
        await self._session.flush()
        return _as_row(found)

    async def revoke(self, user: str, device: int, now: int) -> bool:
        """Revoke a live device, its API device, its sign-ins and its personal token; False when there is no
        such one."""
        await self._lock(user)
        found = await self._live_one(user, device)
        if found is None:
            return False
        await self._revoke(user, [device], now)
        return True

    async def touch(self, user: str, device: int, now: int) -> None:
        """Note that the device was used; the longest unused one is the first to be retired."""
        await self._session.execute(
            update(Device)
            .where(*_of(user, device), Device.last_used_at < now)
            .values(last_used_at=now)
            .execution_options(synchronize_session=False)
        )

    async def _lock(self, user: str) -> None:
        await self._session.execute(select(User.id).where(User.id == user).with_for_update())

    async def _known(self, user: str, install_id: str | None) -> Device | None:
        if install_id is None:
            return None
        query = select(Device).where(Device.user_id == user, Device.install_id == clean(install_id))
        return (await self._session.execute(query)).scalar_one_or_none()

    async def _live_one(self, user: str, device: int) -> Device | None:
        query = select(Device).where(*_listed(user), Device.id == device)
        return (await self._session.execute(query)).scalar_one_or_none()

    async def _add(
        self,
        user: str,
        kind: str,
        name: str,
        platform: str,
        install_id: str | None,
        parent: int | None,
        now: int,
    ) -> Device:
        taken = update(User).where(User.id == user).values(next_device=User.next_device + 1)
        number = (
            await self._session.execute(
                taken.returning(User.next_device).execution_options(synchronize_session=False)
            )
        ).scalar_one()
        device = Device(
            user_id=user,
            id=number - 1,
            kind=kind,
            name=name,
            platform=platform,
            install_id=install_id,
            parent=parent,
            created_at=now,
            last_used_at=now,
        )
        self._session.add(device)
        return device

    async def _retire(self, user: str, keep: int, limit: int, now: int) -> Sequence[int]:
        live = (await self._session.execute(select(func.count()).where(*_live(user)))).scalar_one()
        if live <= limit:
            return []
        longest_unused = (
            select(Device.id)
            .where(*_live(user), Device.id != keep)
            .order_by(Device.last_used_at, Device.id)
            .limit(live - limit)
        )
        ids = (await self._session.execute(longest_unused)).scalars().all()
        await self._revoke(user, ids, now)
        return ids

    async def _revive(self, device: Device) -> None:
        device.revoked_at = None
        await self._session.execute(
            update(Device)
            .where(Device.user_id == device.user_id, Device.parent == device.id, Device.kind == API)
            .values(revoked_at=None)
        )

    async def _revoke(self, user: str, devices: Sequence[int], now: int) -> None:
        theirs = or_(Device.id.in_(devices), (Device.kind == API) & Device.parent.in_(devices))
        await self._session.execute(
            update(Device).where(Device.user_id == user, theirs).values(revoked_at=now)
        )
        await self._session.execute(
            update(PersonalToken)
            .where(PersonalToken.user_id == user, PersonalToken.device.in_(devices))
            .where(PersonalToken.revoked_at.is_(None))
            .values(revoked_at=now)
        )
        whose = (RefreshToken.user_id == user, RefreshToken.device.in_(devices))
        # An installation may come back, but not the sign-ins that it had.
        await sign_ins.end(cast("WriteSession", self._session), now, *whose)


# Asked for each connection and each request: built once.
_ONE = (Device.user_id == bindparam("user"), Device.id == bindparam("device"))
_NAME = select(Device.name).where(*_ONE)
_IS_LIVE = select(literal(True)).where(*_ONE, Device.revoked_at.is_(None))
_IS_SIGNED_IN = select(~exists().where(EndedSignIn.id == bindparam("sign_in"))).where(
    *_ONE, Device.revoked_at.is_(None)
)


async def standing(asked: Asked, user: str, device: int, sign_in: str | None) -> Standing:
    """Whether a device is enrolled, and a sign-in of it (if one is named) has not ended: asked at each use of
    an access token."""
    if sign_in is None:
        found = await asked.execute(_IS_LIVE, {"user": user, "device": device})
    else:
        found = await asked.execute(_IS_SIGNED_IN, {"user": user, "device": device, "sign_in": sign_in})
    row = found.one_or_none()
    if row is None:
        return Standing.REVOKED
    return Standing.LIVE if row[0] else Standing.SIGNED_OUT


def _of(user: str, device: int) -> tuple[ColumnElement[bool], ...]:
    return Device.user_id == user, Device.id == device


def _live(user: str) -> tuple[ColumnElement[bool], ...]:
    return Device.user_id == user, Device.kind == DEVICE, Device.revoked_at.is_(None)


def _listed(user: str) -> tuple[ColumnElement[bool], ...]:
    return Device.user_id == user, Device.kind != API, Device.revoked_at.is_(None)


def _row(device: Device | None) -> DeviceRow | None:
    return None if device is None else _as_row(device)


def _as_row(device: Device) -> DeviceRow:
    return DeviceRow(
        device.user_id,
        device.id,
        device.kind,
        device.name,
        device.platform,
        device.install_id,
        device.parent,
        device.forked_at,
        device.created_at,
        device.last_used_at,
        device.revoked_at,
    )
