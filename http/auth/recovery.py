"""What is proved by mail: that an address is one's own, and the right to a new password.

**Nobody learns here who is registered.** Asking for a link does the same for every address, known or not: it
writes one job. Who it belongs to is looked up by the job, where nobody waits for the answer. A letter goes to
the address as it is stored, never as it was typed: two spellings that compare as one may be two mailboxes.

A link is opened by more than people: mail scanners fetch what they find. So a browser gets a page with a
button, and only that button, or a program that does not ask for HTML, uses the link; HEAD never does. Opened
again within its life it says again that the address is verified.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import structlog
from pydantic import BaseModel

from fitai.gateways.jobs.contract import Attempt, Kind
from fitai.gateways.mail.letters import EmailChanged, PasswordChanged, ResetPassword, VerifyEmail
from fitai.http.auth.addresses import asked_address
from fitai.http.auth.door import Door
from fitai.http.auth.notices import PASSWORD_PAGE, VERIFY_PAGE, note, post
from fitai.http.auth.passwords import Passwords
from fitai.http.auth.schemas import Reset
from fitai.http.auth.visitor import Visitor
from fitai.http.problems import Problem
from fitai.persistence.database import Database, WriteSession
from fitai.persistence.jobs import Jobs
from fitai.persistence.one_time import OneTimeTokens, Proof, Purpose
from fitai.persistence.users import EmailTaken, UserRow, Users, email_key

_log = structlog.get_logger(__name__)

RESET_MINUTES = 60
VERIFY_MINUTES = 3 * 24 * 60

FORGOTTEN, UNVERIFIED = "forgotten_password", "unverified_email"
_PROVES_ADDRESS = (Purpose.VERIFY_EMAIL, Purpose.CHANGE_EMAIL)


class Asked(BaseModel):
    """The payload of a job of either kind: an address as somebody typed it, and where they are."""

    email: str
    address: str | None = None


class Recovery:
    """Sends links and honours them."""

    def __init__(self, db: Database, passwords: Passwords, door: Door, now_ms: Callable[[], int]) -> None:
        self._db = db
        self._passwords = passwords
        self._door = door
        self._now_ms = now_ms

    async def forgot(self, email: str, by: Visitor) -> None:
        """Have a link to a new password sent to whoever has this address, if anybody."""
        await self._ask(FORGOTTEN, email, by)

    async def resend(self, email: str, by: Visitor) -> None:
        """Have the link that verifies sent again to whoever has this address and has not verified it."""
        await self._ask(UNVERIFIED, email, by)

    async def _ask(self, kind: str, email: str, by: Visitor) -> None:
        asked = Asked(email=email, address=by.address)
        async with self._db.write() as session:
            await Jobs(session).put(kind, asked.model_dump(), now=self._now_ms())

    async def reset(self, body: Reset, by: Visitor) -> None:
        """Another password for who has the link. Every device is signed out, and the person is told. Raises
        Problem invalid_link, weak_password, later."""
        now = self._now_ms()
        async with self._db.read() as session:
            proof = await OneTimeTokens(session).find(body.token, now=now)
            user = None if proof is None else await Users(session).get(proof.user)
        if proof is None or user is None or proof.used or proof.purpose is not Purpose.RESET_PASSWORD:
            raise Problem("invalid_link")
        password_hash = await self._passwords.accept(body.password, (user.email, user.display_name))
        async with self._db.write() as session:
            await self._reset(session, user.id, body.token, password_hash, by)
            out = await self._door.sign_out(session, user.id)
        _log.info("password_reset", user=user.id)
        self._door.tell_ended(out)

    async def _reset(
        self, session: WriteSession, user: str, token: str, password_hash: str, by: Visitor
    ) -> None:
        now = self._now_ms()
        users, tokens = Users(session), OneTimeTokens(session)
        row = await users.locked(user)
        proof = await tokens.use(token, Purpose.RESET_PASSWORD, now=now)
        if row is None or proof is None or not _is_of(proof, row):
            raise Problem("invalid_link")
        await users.change_password(user, password_hash, now)
        await users.verify_email(user, now)  # the letter has arrived there
        await note(session, user, "password_reset", now, by=by)
        told = PasswordChanged(at=now, link=PASSWORD_PAGE, address=by.address, name=row.display_name)
        await post(session, row, told, now)

    async def holds(self, token: str) -> Proof | None:
        """What a link that verifies says, while it can be opened; it is not used by that."""
        async with self._db.read() as session:
            proof = await OneTimeTokens(session).find(token, now=self._now_ms())
        return proof if proof is not None and proof.purpose in _PROVES_ADDRESS else None

    async def verify(self, token: str, by: Visitor) -> str:
        """The address that the link proves, verified by now; for one that was asked for in place of the old
        one, changed to it. Raises Problem invalid_link, email_taken."""
        proof = await self.holds(token)
        if proof is None:
            raise Problem("invalid_link")
        try:
            async with self._db.write() as session:
                await self._verify(session, token, proof, by)
        except EmailTaken:
            raise Problem("email_taken") from None
        return proof.email

    async def _verify(self, session: WriteSession, token: str, proof: Proof, by: Visitor) -> None:
        now = self._now_ms()
        users = Users(session)
        user = await users.locked(proof.user)
        used = await OneTimeTokens(session).use(token, proof.purpose, now=now)
        if user is None:
            raise Problem("invalid_link")
        if used is None:  # it was used before, or at this moment: that is as good while it holds
            if not _is_of(proof, user) or user.email_verified_at is None:
                raise Problem("invalid_link")
        elif proof.purpose is Purpose.CHANGE_EMAIL:
            await _change_email(session, user, proof.email, now, by)
        elif not _is_of(proof, user):
            raise Problem("invalid_link")
        elif await users.verify_email(user.id, now):
            await note(session, user.id, "email_verified", now, by=by)


async def _change_email(session: WriteSession, user: UserRow, email: str, now: int, by: Visitor) -> None:
    await Users(session).change_email(user.id, email, now)
    # What was mailed to the old address proves nothing any more.
    await OneTimeTokens(session).retire(user.id, Purpose.RESET_PASSWORD, Purpose.VERIFY_EMAIL)
    await note(session, user.id, "email_changed", now, by=by, email=email, before=user.email)
    told = EmailChanged(at=now, new_email=email, name=user.display_name)
    await post(session, user, told, now, to=user.email)


def _is_of(proof: Proof, user: UserRow) -> bool:
    """Whether the link was sent to the address that the person has now."""
    return email_key(proof.email) == email_key(user.email)


async def send_verification(
    session: WriteSession, user: UserRow, now: int, *, new_email: str | None = None, key: str | None = None
) -> bool:
    """Send the link that verifies the person's address, or the one that is to take its place; False when a
    letter with this `key` was sent. The caller holds the user."""
    purpose = Purpose.VERIFY_EMAIL if new_email is None else Purpose.CHANGE_EMAIL
    to = new_email or user.email
    token = await OneTimeTokens(session).issue(user.id, purpose, to, now=now, life_ms=VERIFY_MINUTES * 60_000)
    link = f"{VERIFY_PAGE}?token={token}"
    what = VerifyEmail(link=link, minutes=VERIFY_MINUTES, name=user.display_name)
    return await post(session, user, what, now, to=to, key=key)


async def _send_reset(
    session: WriteSession, user: UserRow, now: int, *, address: str | None, key: str
) -> bool:
    token = await OneTimeTokens(session).issue(
        user.id, Purpose.RESET_PASSWORD, user.email, now=now, life_ms=RESET_MINUTES * 60_000
    )
    link = f"{PASSWORD_PAGE}?token={token}"
    what = ResetPassword(link=link, minutes=RESET_MINUTES, address=address, name=user.display_name)
    return await post(session, user, what, now, key=key)


class _Sent(Exception):
    """This run of the job is a later one: the letter of the first is on its way, and its link stays good."""


def kinds(db: Database) -> Iterable[Kind[Asked]]:
    """The jobs that look up who an address belongs to, and write."""

    async def forgotten(attempt: Attempt, asked: Asked) -> None:
        async def write(session: WriteSession, user: UserRow) -> bool:
            key = f"{FORGOTTEN}:{attempt.job}"
            return await _send_reset(session, user, attempt.now, address=asked.address, key=key)

        await _to_owner(db, asked.email, write)

    async def unverified(attempt: Attempt, asked: Asked) -> None:
        async def write(session: WriteSession, user: UserRow) -> bool:
            if user.email_verified_at is not None:
                return True
            return await send_verification(session, user, attempt.now, key=f"{UNVERIFIED}:{attempt.job}")

        await _to_owner(db, asked.email, write)

    yield Kind(FORGOTTEN, Asked, forgotten)
    yield Kind(UNVERIFIED, Asked, unverified)


async def _to_owner(
    db: Database, email: str, write: Callable[[WriteSession, UserRow], Awaitable[bool]]
) -> None:
    """Have `write` send a letter to who has the address, in one transaction: when it was sent before, nothing
    of it is stored."""
    try:
        async with db.write() as session:
            users = Users(session)
            found = await users.by_email(asked_address(email))
            user = None if found is None else await users.locked(found.id)
            if user is not None and not await write(session, user):
                raise _Sent
    except _Sent:
        pass
