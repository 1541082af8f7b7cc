"""What a person signs in with: another password, another address, a second factor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from fitai.gateways.identity import Identity
from fitai.gateways.mail.letters import PasswordChanged, TotpChanged
from fitai.http.auth import otp
from fitai.http.auth.confirmation import Confirmation, Confirmed, gone
from fitai.http.auth.door import Door
from fitai.http.auth.notices import PASSWORD_PAGE, note, post
from fitai.http.auth.passwords import Passwords
from fitai.http.auth.recovery import send_verification
from fitai.http.auth.second_factor import SecondFactorCheck
from fitai.http.auth.visitor import Visitor
from fitai.http.problems import Problem, not_found
from fitai.http.users.schemas import EmailChange, NewFactor, PasswordChange, SecondFactor
from fitai.persistence.database import Database, WriteSession
from fitai.persistence.devices import Devices
from fitai.persistence.one_time import OneTimeTokens, Purpose
from fitai.persistence.second_factors import SecondFactors
from fitai.persistence.sign_ins import SignIn
from fitai.persistence.users import UserRow, Users

_log = structlog.get_logger(__name__)


class Credentials:
    """Changes the password and the address. Who asks confirms that it is them (`Confirmation`)."""

    def __init__(
        self, confirmation: Confirmation, passwords: Passwords, door: Door, now_ms: Callable[[], int]
    ) -> None:
        self._confirmation = confirmation
        self._passwords = passwords
        self._door = door
        self._now_ms = now_ms

    async def change_password(self, caller: Identity, body: PasswordChange, by: Visitor) -> None:
        """Another password; every other device is signed out, and the person is told. Raises Problem
        confirmation_failed, weak_password, later."""
        user = await self._confirmation.password(caller, body.current_password)
        new_hash = await self._passwords.accept(body.new_password, (user.email, user.display_name))

        async def change(session: WriteSession, user: UserRow) -> None:
            now = self._now_ms()
            await Users(session).change_password(user.id, new_hash, now)
            # A link that somebody else may have asked for must not undo this.
            await OneTimeTokens(session).retire(user.id, Purpose.RESET_PASSWORD)
            await note(session, user.id, "password_changed", now, by=by, device=caller.device)
            device = await Devices(session).name(user.id, caller.device)
            what = PasswordChanged(
                at=now, link=PASSWORD_PAGE, device=device, address=by.address, name=user.display_name
            )
            await post(session, user, what, now)

        async def work(session: WriteSession, user: UserRow) -> Sequence[SignIn]:
            await change(session, user)
            return await self._door.sign_out(session, user.id, keep=caller)

        out = await self._confirmation.then(user, body.otp, by, work)
        _log.info("password_changed", user=user.id)
        self._door.tell_ended(out)

    async def change_email(self, caller: Identity, body: EmailChange, by: Visitor) -> None:
        """Send a link to another address, which takes the place of the old one when it is opened; an earlier
        such link does not work any more. Raises Problem confirmation_failed, email_taken, later."""
        user = await self._confirmation.password(caller, body.password)

        async def work(session: WriteSession, user: UserRow) -> None:
            now = self._now_ms()
            found = await Users(session).by_email(body.email)
            if found is not None and (found.id != user.id or body.email == user.email):
                raise Problem("email_taken")
            await note(
                session, user.id, "email_change_asked", now, by=by, device=caller.device, email=body.email
            )
            await send_verification(session, user, now, new_email=body.email)

        await self._confirmation.then(user, body.otp, by, work)


class SecondFactorService:
    """Switches the second factor on and off. Who asks confirms that it is them."""

    def __init__(
        self,
        db: Database,
        confirmation: Confirmation,
        factor: SecondFactorCheck,
        now_ms: Callable[[], int],
    ) -> None:
        self._db = db
        self._confirmation = confirmation
        self._factor = factor
        self._now_ms = now_ms

    async def shown(self, caller: Identity) -> SecondFactor:
        """Whether there is one."""
        async with self._db.read() as session:
            user = await Users(session).get(caller.user)
            left = await SecondFactors(session, caller.user).codes_left()
        if user is None:
            raise gone()
        enabled = user.totp_confirmed_at is not None
        return SecondFactor(enabled=enabled, since=user.totp_confirmed_at, recovery_codes_left=left)

    async def begin(self, caller: Identity, body: Confirmed, by: Visitor) -> NewFactor:
        """A secret for the person's app, instead of an earlier one that was not confirmed. Raises Problem
        already_exists, confirmation_failed, later."""
        user = await self._confirmation.password(caller, body.password)
        secret = otp.new_secret()

        async def work(session: WriteSession, user: UserRow) -> None:
            if user.totp_confirmed_at is not None:
                raise Problem("already_exists", "There is a second factor: disable it first.")
            await SecondFactors(session, user.id).propose(self._factor.sealed(user.id, secret))

        await self._confirmation.then(user, body.otp, by, work)
        return NewFactor(secret=secret, uri=otp.uri(secret, user.email))

    async def confirm(self, caller: Identity, code: str, by: Visitor) -> list[str]:
        """The app shows this code: from now on it is needed. Returns recovery codes. Raises Problem not_found
        (nothing was begun), already_exists, confirmation_failed."""
        now = self._now_ms()
        async with self._db.write() as session:
            user = await Users(session).locked(caller.user)
            secret = None if user is None else self._factor.secret(user)
            if user is None or secret is None:
                raise not_found()
            if user.totp_confirmed_at is not None:
                raise Problem("already_exists", "There is a second factor.")
            step = otp.matching_step(secret, otp.compacted(code), now)
            if step is None:
                raise Problem("confirmation_failed", "The code is wrong.", extra={"failed": "otp"})
            await SecondFactors(session, user.id).confirm(step, now)
            codes = await self._new_codes(session, user)
            await note(session, user.id, "totp_enabled", now, by=by, device=caller.device)
            await self._tell(session, user, now, enabled=True)
        _log.info("totp_enabled", user=user.id)
        return codes

    async def disable(self, caller: Identity, body: Confirmed, by: Visitor) -> None:
        """No second factor any more, nor recovery codes; raises Problem confirmation_failed, later."""
        user = await self._confirmation.password(caller, body.password)

        async def work(session: WriteSession, user: UserRow) -> None:
            now = self._now_ms()
            await SecondFactors(session, user.id).drop()
            if user.totp_confirmed_at is not None:
                await note(session, user.id, "totp_disabled", now, by=by, device=caller.device)
                await self._tell(session, user, now, enabled=False)

        await self._confirmation.then(user, body.otp, by, work)

    async def new_codes(self, caller: Identity, body: Confirmed, by: Visitor) -> list[str]:
        """Recovery codes instead of all that there were. Raises Problem not_found (there is no second
        factor), confirmation_failed, later."""
        user = await self._confirmation.password(caller, body.password)

        async def work(session: WriteSession, user: UserRow) -> list[str]:
            if user.totp_confirmed_at is None:
                raise not_found()
            await note(session, user.id, "recovery_codes_made", self._now_ms(), by=by, device=caller.device)
            return await self._new_codes(session, user)

        return await self._confirmation.then(user, body.otp, by, work)

    async def _new_codes(self, session: WriteSession, user: UserRow) -> list[str]:
        codes = otp.new_recovery_codes()
        hashes = [otp.recovery_hash(user.id, otp.compacted(code)) for code in codes]
        await SecondFactors(session, user.id).set_codes(hashes)
        return codes

    async def _tell(self, session: WriteSession, user: UserRow, now: int, *, enabled: bool) -> None:
        what = TotpChanged(at=now, enabled=enabled, link=PASSWORD_PAGE, name=user.display_name)
        await post(session, user, what, now)
