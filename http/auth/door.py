"""How a device comes in and what it is given: a place among the person's devices, and tokens; and how devices
are told to others, after the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fitai.gateways.bus.contract import Bus
from fitai.gateways.bus.topics import user_topic
from fitai.gateways.identity import Identity
from fitai.http.auth.schemas import DeviceIn, DeviceRef, Fork, Session, UserOut
from fitai.http.auth.tokens import AccessTokens
from fitai.persistence.database import WriteSession
from fitai.persistence.devices import DeviceRow, Devices, Enrolment
from fitai.persistence.sign_ins import SignIn
from fitai.persistence.tokens import Issued, Tokens
from fitai.persistence.users import UserRow

REFRESH_S = 30 * 86_400
DEVICES_PER_USER = 32


@dataclass(frozen=True, slots=True)
class Entry:
    """A device that has just come in, and the refresh token of its sign-in."""

    enrolment: Enrolment
    issued: Issued


class Door:
    """Lets devices in. `refresh_lifetime_s` is a refresh token's life from its last use."""

    def __init__(
        self,
        bus: Bus,
        tokens: AccessTokens,
        now_ms: Callable[[], int],
        *,
        refresh_lifetime_s: int = REFRESH_S,
        devices_per_user: int = DEVICES_PER_USER,
    ) -> None:
        self._bus = bus
        self._tokens = tokens
        self._now_ms = now_ms
        self.refresh_ms = refresh_lifetime_s * 1000
        self._devices_per_user = devices_per_user

    async def enter(self, session: WriteSession, user: str, device: DeviceIn) -> Entry:
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
        return await self._entry(session, enrolment, now)

    async def fork(self, session: WriteSession, caller: Identity, body: Fork, install_id: str) -> Entry:
        """Enrol a device that parts from the calling one; raises InstallTaken."""
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
        return await self._entry(session, enrolment, now)

    async def _entry(self, session: WriteSession, enrolment: Enrolment, now: int) -> Entry:
        device = enrolment.device
        issued = await Tokens(session).issue(device.user, device.id, now=now, ttl=self.refresh_ms)
        return Entry(enrolment, issued)

    def session(self, user: UserRow, entry: Entry) -> Session:
        """What a device gets that has come in."""
        device = entry.enrolment.device
        return Session(
            user=UserOut(
                id=user.id,
                email=user.email,
                email_verified=user.email_verified_at is not None,
                display_name=user.display_name,
                delete_after=user.delete_after,
            ),
            device=DeviceRef(id=device.id, name=device.name),
            access_token=self._tokens.issue(user.id, device.id, entry.issued.sign_in.id),
            refresh_token=entry.issued.token,
            token_type="Bearer",
            expires_in=self._tokens.life_ms // 1000,
        )

    async def sign_out(
        self, session: WriteSession, user: str, *, keep: Identity | None = None
    ) -> Sequence[SignIn]:
        """End every sign-in of a person but that of `keep`; which they were, for `tell_ended`. Devices stay
        enrolled, and personal tokens good."""
        sign_in = None if keep is None else keep.sign_in
        return await Tokens(session).end_user(user, now=self._now_ms(), keep=sign_in)

    def tell_ended(self, sign_ins: Iterable[SignIn]) -> None:
        """Close the sockets of sign-ins that have ended, on every node."""
        for sign_in in sign_ins:
            ended = {"kind": "revoked", "device": sign_in.device, "sign_in": sign_in.id}
            self._bus.publish(user_topic(sign_in.user), ended)

    def tell_revoked(self, user: str, devices: Iterable[int]) -> None:
        """Close the sockets of devices that are out, on every node."""
        for device in devices:
            self._bus.publish(user_topic(user), {"kind": "revoked", "device": device})

    def tell_named(self, device: DeviceRow) -> None:
        """Tell a device's new name."""
        named = {"kind": "named", "device": device.id, "name": device.name}
        self._bus.publish(user_topic(device.user), named)
