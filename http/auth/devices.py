"""The devices that speak for a person: listing, renaming, forking, revoking."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import structlog

from fitai.gateways.identity import Identity
from fitai.http.auth.door import Door
from fitai.http.auth.notices import note
from fitai.http.auth.schemas import DeviceOut, Fork, Forked
from fitai.http.auth.visitor import NOBODY, Visitor
from fitai.http.problems import Problem, not_found
from fitai.persistence.database import Database, WriteSession
from fitai.persistence.devices import DeviceRow, Devices, InstallTaken
from fitai.persistence.log import Log
from fitai.persistence.users import Users

_log = structlog.get_logger(__name__)


class DeviceService:
    """A person's devices. What has to be told to others is told after the commit."""

    def __init__(self, db: Database, door: Door, now_ms: Callable[[], int]) -> None:
        self._db = db
        self._door = door
        self._now_ms = now_ms

    async def fork(self, caller: Identity, body: Fork) -> Forked:
        """A new device that parts from the calling one; raises Problem gap (with the `next_n` that
        `fork_at` may not lie beyond) or already_exists (the installation is another device's)."""
        install_id = body.install_id or str(uuid4())
        try:
            async with self._db.write() as session:
                await _check_fork(session, caller, body.fork_at)
                entry = await self._door.fork(session, caller, body, install_id)
                user = await Users(session).get(caller.user)
        except InstallTaken:
            raise Problem("already_exists", "This installation is another device.") from None
        if user is None:
            raise not_found()
        _log.info("device_forked", user=user.id, parent=caller.device, device=entry.enrolment.device.id)
        self._door.tell_revoked(user.id, entry.enrolment.retired)
        return Forked(**dict(self._door.session(user, entry)), install_id=install_id)

    async def devices(self, caller: Identity, *, revoked: bool) -> list[DeviceOut]:
        """The caller's enrolled devices, with `revoked` also those that are out; the last used first."""
        async with self._db.read() as session:
            rows = await Devices(session).list(caller.user, revoked=revoked)
        rows.sort(key=lambda row: (-row.last_used_at, -row.id))
        return [_device(row, caller) for row in rows]

    async def rename(self, caller: Identity, device: int, name: str) -> DeviceOut:
        """Rename one of the caller's devices; raises Problem not_found."""
        async with self._db.write() as session:
            row = await Devices(session).rename(caller.user, device, name)
        if row is None:
            raise not_found()
        self._door.tell_named(row)
        return _device(row, caller)

    async def revoke(self, caller: Identity, device: int, by: Visitor = NOBODY) -> None:
        """Revoke one of the caller's devices: its tokens are dead with the commit, its sockets are told
        to close right after. Raises Problem not_found."""
        now = self._now_ms()
        async with self._db.write() as session:
            revoked = await Devices(session).revoke(caller.user, device, now)
            if revoked:
                await note(
                    session, caller.user, "device_revoked", now, by=by, device=caller.device, revoked=device
                )
        if not revoked:
            raise not_found()
        _log.info("device_revoked", user=caller.user, device=device, by=caller.device)
        self._door.tell_revoked(caller.user, [device])


async def _check_fork(session: WriteSession, caller: Identity, fork_at: int) -> None:
    """A copy can only have parted from what is in the log, or at its end."""
    log = Log(session)
    stream = await log.stream_of(caller.user)
    if stream is None:
        raise not_found()
    next_n = (await log.device_position(stream.id, caller.device)).next_n
    if fork_at > next_n:
        raise Problem("gap", f"The next op of this device is {next_n}.", extra={"next_n": next_n})


def _device(row: DeviceRow, caller: Identity) -> DeviceOut:
    return DeviceOut(
        id=row.id,
        name=row.name,
        platform=row.platform,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        current=row.id == caller.device,
        parent=row.parent,
        revoked_at=row.revoked_at,
    )
