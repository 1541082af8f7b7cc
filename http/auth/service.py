"""Who a person is and which devices speak for them.

Every change is one transaction; what has to be told to others (a device is out) is told after its commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import uuid4

import structlog

from fitai.gateways.bus.contract import Bus
from fitai.gateways.bus.topics import user_topic
from fitai.gateways.counts import Counts
from fitai.gateways.identity import Identity, NotAuthenticated
from fitai.http.auth.passwords import Passwords
from fitai.http.auth.schemas import (
    DeviceIn,
    DeviceOut,
    DeviceRef,
    Fork,
    Forked,
    Login,
    Register,
    Session,
    UserOut,
)
from fitai.http.auth.tokens import AccessTokens
from fitai.http.limits.sign_ins import SignIns
from fitai.http.problems import Problem, not_found
from fitai.persistence.database import Database, WriteSession
from fitai.persistence.devices import DeviceRow, Devices, Enrolment, InstallTaken
from fitai.persistence.log import Log
from fitai.persistence.sign_ins import SignIn
from fitai.persistence.tokens import Issued, Rejected, Tokens
from fitai.persistence.users import EmailTaken, UserRow, Users

_log = structlog.get_logger(__name__)

REFRESH_S = 30 * 86_400
DEVICES_PER_USER = 32


@dataclass(frozen=True, slots=True)
class _Entry:
    """A device that has just come in, and the refresh token of its sign-in."""

    enrolment: Enrolment
    issued: Issued


class AuthService:
    """Registers, signs in and out, renews tokens, keeps devices."""

    def __init__(
        self,
        db: Database,
        bus: Bus,
        passwords: Passwords,
        tokens: AccessTokens,
        now_ms: Callable[[], int],
        *,
        refresh_lifetime_s: int = REFRESH_S,
        devices_per_user: int = DEVICES_PER_USER,
        counts: Counts | None = None,
    ) -> None:
        self._db = db
        self._bus = bus
        self._passwords = passwords
        self._tokens = tokens
        self._now_ms = now_ms
        self._refresh_ms = refresh_lifetime_s * 1000
        self._devices_per_user = devices_per_user
        self._sign_ins = SignIns(counts, self._installed)

    async def register(self, body: Register) -> Session:
        """A new user on a first device; raises Problem email_taken."""
        password_hash = await self._passwords.hash(body.password)
        try:
            async with self._db.write() as session:
                user = await Users(session).create(
                    email=body.email,
                    password_hash=password_hash,
                    display_name=body.display_name,
                    now=self._now_ms(),
                )
                entry = await self._enter(session, user.id, body.device)
        except EmailTaken:
            raise Problem("email_taken") from None
        _log.info("registered", user=user.id)
        return self._session(user, entry)

    async def login(self, body: Login, address: str) -> Session:
        """A known user on a known or new device, calling from `address`; raises Problem invalid_credentials,
        which tells neither by words nor by time whether the account exists, and later after wrong tries."""
        attempt = await self._sign_ins.begin(body.email, address, body.device.install_id)
        async with self._db.read() as session:
            user = await Users(session).by_email(body.email)
        encoded = None if user is None else user.password_hash
        if not await self._passwords.verify(encoded, body.password) or user is None:
            raise Problem("invalid_credentials")
        await attempt.succeeded()
        stronger = await self._rehashed(user, body.password)
        async with self._db.write() as session:
            if stronger is not None:
                await Users(session).set_password(user.id, stronger)
            entry = await self._enter(session, user.id, body.device)
        self._tell_revoked(user.id, entry.enrolment.retired)
        if entry.enrolment.known:
            self._tell_named(entry.enrolment.device)
        return self._session(user, entry)

    async def refresh(self, refresh_token: str | None) -> Session:
        """New tokens for a refresh token, which is spent by that; raises Problem. A second use ends the
        whole sign-in, since one of the two users of the token is not who we think."""
        if refresh_token is None:
            raise Problem("invalid_refresh_token")
        now = self._now_ms()
        async with self._db.write() as session:
            renewed = await Tokens(session).renew(refresh_token, now=now, ttl=self._refresh_ms)
            if isinstance(renewed, Rejected):
                user, device = None, None
            else:
                sign_in = renewed.sign_in
                user = await Users(session).get(sign_in.user)
                device = await Devices(session).get(sign_in.user, sign_in.device)
                await Devices(session).touch(sign_in.user, sign_in.device, now)
        if isinstance(renewed, Rejected):
            _log.warning("refresh_rejected", reason=renewed.value)
            reused = renewed is Rejected.REUSED
            raise Problem("refresh_token_reused" if reused else "invalid_refresh_token")
        if user is None or device is None:
            raise Problem("invalid_refresh_token")
        return self._session(user, _Entry(Enrolment(device, known=True), renewed))

    async def logout(self, caller: Identity | None, refresh_token: str | None) -> None:
        """End the sign-in of a refresh token, else every sign-in of the calling device.

        An unknown token is as good as ended. Raises NotAuthenticated when neither is given.
        """
        if caller is None and refresh_token is None:
            raise NotAuthenticated("unauthorized", "An access token or a refresh token is needed.")
        ended: Sequence[SignIn] = ()
        async with self._db.write() as session:
            tokens = Tokens(session)
            if refresh_token is not None:
                found = await tokens.end(refresh_token, now=self._now_ms())
                ended = [] if found is None else [found]
            elif caller is not None:
                ended = await tokens.end_device(caller.user, caller.device, now=self._now_ms())
        for sign_in in ended:
            self._tell_ended(sign_in)

    async def fork(self, caller: Identity, body: Fork) -> Forked:
        """A new device that parts from the calling one; raises Problem gap (with the `next_n` that
        `fork_at` may not lie beyond) or already_exists (the installation is another device's)."""
        install_id = body.install_id or str(uuid4())
        try:
            async with self._db.write() as session:
                await _check_fork(session, caller, body.fork_at)
                entry = await self._fork(session, caller, body, install_id)
                user = await Users(session).get(caller.user)
        except InstallTaken:
            raise Problem("already_exists", "This installation is another device.") from None
        if user is None:
            raise not_found()
        _log.info("device_forked", user=user.id, parent=caller.device, device=entry.enrolment.device.id)
        self._tell_revoked(user.id, entry.enrolment.retired)
        return Forked(**dict(self._session(user, entry)), install_id=install_id)

    async def _fork(self, session: WriteSession, caller: Identity, body: Fork, install_id: str) -> _Entry:
        now = self._now_ms()
        enrolment = await Devices(session).fork(
            caller.user,
            caller.device,
            body.fork_at,
            name=body.name,
            install_id=install_id,
            now=now,
            limit=self._devices_per_user,
        )
        issued = await Tokens(session).issue(caller.user, enrolment.device.id, now=now, ttl=self._refresh_ms)
        return _Entry(enrolment, issued)

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
        self._tell_named(row)
        return _device(row, caller)

    async def revoke(self, caller: Identity, device: int) -> None:
        """Revoke one of the caller's devices: its tokens are dead with the commit, its sockets are told
        to close right after. Raises Problem not_found."""
        async with self._db.write() as session:
            revoked = await Devices(session).revoke(caller.user, device, self._now_ms())
        if not revoked:
            raise not_found()
        _log.info("device_revoked", user=caller.user, device=device, by=caller.device)
        self._tell_revoked(caller.user, [device])

    async def _installed(self, email: str, install_id: str) -> bool:
        async with self._db.read() as session:
            return await Devices(session).is_installed(email, install_id)

    async def _enter(self, session: WriteSession, user: str, device: DeviceIn) -> _Entry:
        """Enrol or recognise the device and start a family of refresh tokens for it."""
        now = self._now_ms()
        enrolment = await Devices(session).enrol(
            user,
            name=device.name,
            platform=device.platform,
            install_id=device.install_id,
            now=now,
            limit=self._devices_per_user,
        )
        issued = await Tokens(session).issue(user, enrolment.device.id, now=now, ttl=self._refresh_ms)
        return _Entry(enrolment, issued)

    async def _rehashed(self, user: UserRow, password: str) -> str | None:
        """The password's hash with the present parameters, when the stored one has others."""
        if not self._passwords.outdated(user.password_hash):
            return None
        return await self._passwords.hash(password)

    def _tell_revoked(self, user: str, devices: Iterable[int]) -> None:
        for device in devices:
            self._bus.publish(user_topic(user), {"kind": "revoked", "device": device})

    def _tell_ended(self, sign_in: SignIn) -> None:
        ended = {"kind": "revoked", "device": sign_in.device, "sign_in": sign_in.id}
        self._bus.publish(user_topic(sign_in.user), ended)

    def _tell_named(self, device: DeviceRow) -> None:
        named = {"kind": "named", "device": device.id, "name": device.name}
        self._bus.publish(user_topic(device.user), named)

    def _session(self, user: UserRow, entry: _Entry) -> Session:
        device = entry.enrolment.device
        return Session(
            user=UserOut(id=user.id, email=user.email, display_name=user.display_name),
            device=DeviceRef(id=device.id, name=device.name),
            access_token=self._tokens.issue(user.id, device.id, entry.issued.sign_in.id),
            refresh_token=entry.issued.token,
            token_type="Bearer",
            expires_in=self._tokens.life_ms // 1000,
        )


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
