"""Signing in and out.

Every change is one transaction; what has to be told to others (a device is out) is told after its commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from fitai.gateways.counts import Counts
from fitai.gateways.identity import Identity, NotAuthenticated
from fitai.gateways.mail.letters import NewSignIn
from fitai.http.auth.addresses import asked_address
from fitai.http.auth.confirmation import too_many
from fitai.http.auth.door import Door, Entry
from fitai.http.auth.notices import PASSWORD_PAGE, note, post
from fitai.http.auth.passwords import Passwords
from fitai.http.auth.recovery import send_verification
from fitai.http.auth.schemas import Login, Register, Session
from fitai.http.auth.second_factor import Later, SecondFactorCheck, Shown
from fitai.http.auth.visitor import NOBODY, Visitor
from fitai.http.limits.sign_ins import SignIns
from fitai.http.problems import Problem
from fitai.persistence.database import Database, WriteSession
from fitai.persistence.devices import Devices, Enrolment
from fitai.persistence.sign_ins import SignIn
from fitai.persistence.tokens import Rejected, Tokens
from fitai.persistence.users import EmailTaken, UserRow, Users

_log = structlog.get_logger(__name__)


class SignInService:
    """Registers, signs in and out, renews tokens."""

    def __init__(
        self,
        db: Database,
        passwords: Passwords,
        door: Door,
        factor: SecondFactorCheck,
        now_ms: Callable[[], int],
        counts: Counts | None = None,
    ) -> None:
        self._db = db
        self._passwords = passwords
        self._door = door
        self._factor = factor
        self._now_ms = now_ms
        self._tries = SignIns(counts, self._installed)

    async def register(self, body: Register, by: Visitor = NOBODY) -> Session:
        """A new user on a first device; raises Problem email_taken, weak_password."""
        password_hash = await self._passwords.accept(body.password, (body.email, body.display_name))
        now = self._now_ms()
        try:
            async with self._db.write() as session:
                user = await Users(session).create(
                    email=body.email,
                    password_hash=password_hash,
                    display_name=body.display_name,
                    locale=body.locale,
                    now=now,
                )
                entry = await self._door.enter(session, user.id, body.device)
                await send_verification(session, user, now)
                await note(session, user.id, "registered", now, by=by, device=entry.enrolment.device.id)
        except EmailTaken:
            raise Problem("email_taken") from None
        _log.info("registered", user=user.id)
        return self._door.session(user, entry)

    async def login(self, body: Login, by: Visitor = NOBODY) -> Session:
        """A known user on a known or new device. Raises Problem invalid_credentials, which tells neither by
        words nor by time whether the address is registered; later after wrong tries; and to who knows the
        password second_factor_required, second_factor_invalid."""
        email = asked_address(body.email)
        attempt = await self._tries.begin(email, by.address or "", body.device.install_id)
        async with self._db.read() as session:
            user = await Users(session).by_email(email)
        encoded = None if user is None else user.password_hash
        if not await self._passwords.verify(encoded, body.password) or user is None:
            raise Problem("invalid_credentials")
        stronger = await self._rehashed(user, body.password)
        async with self._db.write() as session:
            now = await Users(session).locked(user.id)
            if now is None or _is_another(now, user) or _is_leaving(now, self._now_ms()):
                raise Problem("invalid_credentials")
            shown = await self._factor.check(session, now, body.otp, self._now_ms(), by)
            if shown is Shown.GOOD:
                entry = await self._admit(session, now, body, stronger, by)
        if shown is not Shown.GOOD:
            raise _refused(shown)
        await attempt.succeeded()
        self._door.tell_revoked(user.id, entry.enrolment.retired)
        if entry.enrolment.known:
            self._door.tell_named(entry.enrolment.device)
        return self._door.session(now, entry)

    async def _admit(
        self, session: WriteSession, user: UserRow, body: Login, stronger: str | None, by: Visitor
    ) -> Entry:
        now = self._now_ms()
        if stronger is not None:
            await Users(session).set_password(user.id, stronger)
        entry = await self._door.enter(session, user.id, body.device)
        device, new = entry.enrolment.device, not entry.enrolment.known
        await note(session, user.id, "sign_in", now, by=by, device=device.id, name=device.name, new=new)
        if new:
            told = NewSignIn(
                at=now, device=device.name, link=PASSWORD_PAGE, address=by.address, name=user.display_name
            )
            await post(session, user, told, now)
        return entry

    async def refresh(self, refresh_token: str | None, by: Visitor = NOBODY) -> Session:
        """New tokens for a refresh token, which is spent by that; raises Problem. A second use ends the
        whole sign-in, since one of the two users of the token is not who we think."""
        if refresh_token is None:
            raise Problem("invalid_refresh_token")
        now = self._now_ms()
        async with self._db.write() as session:
            tokens = Tokens(session)
            renewed = await tokens.renew(refresh_token, now=now, ttl=self._door.refresh_ms)
            user, device = None, None
            if not isinstance(renewed, Rejected):
                sign_in = renewed.sign_in
                user = await Users(session).get(sign_in.user)
                device = await Devices(session).get(sign_in.user, sign_in.device)
                await Devices(session).touch(sign_in.user, sign_in.device, now)
            elif renewed is Rejected.REUSED and (owner := await tokens.owner(refresh_token)):
                await note(session, owner[0], "refresh_reuse", now, by=by, device=owner[1])
        if isinstance(renewed, Rejected):
            _log.warning("refresh_rejected", reason=renewed.value)
            reused = renewed is Rejected.REUSED
            raise Problem("refresh_token_reused" if reused else "invalid_refresh_token")
        if user is None or device is None:
            raise Problem("invalid_refresh_token")
        return self._door.session(user, Entry(Enrolment(device, known=True), renewed))

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
        self._door.tell_ended(ended)

    async def logout_everywhere(self, caller: Identity | None, by: Visitor) -> None:
        """Sign every device out, the calling one too: their tokens are dead with the commit, their sockets
        are told to close right after. Raises NotAuthenticated without a caller."""
        if caller is None:
            raise NotAuthenticated("unauthorized", "An access token is needed.")
        now = self._now_ms()
        async with self._db.write() as session:
            out = await self._door.sign_out(session, caller.user)
            await note(session, caller.user, "signed_out_everywhere", now, by=by, device=caller.device)
        self._door.tell_ended(out)

    async def _installed(self, email: str, install_id: str) -> bool:
        async with self._db.read() as session:
            return await Devices(session).is_installed(email, install_id)

    async def _rehashed(self, user: UserRow, password: str) -> str | None:
        """The password's hash with the present parameters, when the stored one has others."""
        if not self._passwords.outdated(user.password_hash):
            return None
        return await self._passwords.hash(password)


def _is_another(now: UserRow, looked_at: UserRow) -> bool:
    """Whether the password was changed while we looked at it."""
    return now.password_changed_at != looked_at.password_changed_at


def _is_leaving(user: UserRow, now: int) -> bool:
    """Whether the account's time is over: it is being erased."""
    return user.delete_after is not None and user.delete_after <= now


def _refused(shown: Shown | Later) -> Problem:
    if isinstance(shown, Later):
        return too_many(shown)
    return Problem("second_factor_required" if shown is Shown.MISSING else "second_factor_invalid")
