"""Leaving: an account is erased some time after its person asked for it, and can be restored until then.

Until then everything works as before on the device that asked, others are signed out; signing in does not
restore the account by itself, since an app that renews its sign-in would do so unasked: the person says it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import structlog
from pydantic import BaseModel

from fitai.gateways.identity import Identity
from fitai.gateways.jobs.contract import Attempt, Kind
from fitai.gateways.mail.letters import AccountDeletion
from fitai.http.auth.confirmation import Confirmation, Confirmed
from fitai.http.auth.door import Door
from fitai.http.auth.notices import KEEP_PAGE, note, post
from fitai.http.auth.visitor import Visitor
from fitai.http.problems import Problem, not_found
from fitai.persistence.database import Database, WriteSession
from fitai.persistence.erasure import Erasure
from fitai.persistence.group_erasure import erase_in_groups, membership
from fitai.persistence.jobs import Jobs
from fitai.persistence.one_time import OneTimeTokens, Purpose
from fitai.persistence.sign_ins import SignIn
from fitai.persistence.users import UserRow, Users

_log = structlog.get_logger(__name__)

GRACE_MS = 14 * 86_400_000

ERASE_ACCOUNT, ERASE_LOG = "erase_account", "erase_log"
_ERASING_S = 900.0  # the longest for one run: a log of millions of records


class OfUser(BaseModel):
    """The payload of `erase_account`."""

    user: str


class OfStream(BaseModel):
    """The payload of `erase_log`."""

    stream: int


class Leaving:
    """Takes note of who wants to leave, and of who stays after all."""

    def __init__(
        self,
        db: Database,
        confirmation: Confirmation,
        door: Door,
        now_ms: Callable[[], int],
        *,
        grace_ms: int = GRACE_MS,
    ) -> None:
        self._db = db
        self._confirmation = confirmation
        self._door = door
        self._now_ms = now_ms
        self._grace_ms = grace_ms

    async def delete(self, caller: Identity, body: Confirmed, by: Visitor) -> int:
        """Erase the account after the time of grace: when, Unix ms. Asked again, the date stays. Raises
        Problem confirmation_failed, later."""
        user = await self._confirmation.password(caller, body.password)

        async def work(session: WriteSession, user: UserRow) -> tuple[int, Sequence[SignIn]]:
            if user.delete_after is not None:
                return user.delete_after, []
            now = self._now_ms()
            moment = now + self._grace_ms
            await Users(session).delete_after(user.id, moment)
            await Jobs(session).put(ERASE_ACCOUNT, OfUser(user=user.id).model_dump(), now=now, due=moment)
            await note(session, user.id, "deletion_asked", now, by=by, device=caller.device, erased_at=moment)
            token = await OneTimeTokens(session).issue(
                user.id, Purpose.KEEP_ACCOUNT, user.email, now=now, life_ms=max(1, self._grace_ms)
            )
            link = f"{KEEP_PAGE}?token={token}"
            what = AccountDeletion(erased_at=moment, link=link, name=user.display_name)
            await post(session, user, what, now)
            return moment, await self._door.sign_out(session, user.id, keep=caller)

        moment, out = await self._confirmation.then(user, body.otp, by, work)
        _log.info("deletion_asked", user=user.id)
        self._door.tell_ended(out)
        return moment

    async def restore(self, caller: Identity, by: Visitor) -> None:
        """The account stays; so it does when nothing else was said. Raises Problem not_found when its time is
        over: it is being erased."""
        async with self._db.write() as session:
            if not await self._restored(session, caller.user, by, caller.device):
                raise not_found()

    async def may_keep(self, token: str) -> bool:
        """Whether the link of the letter is still good; it is not used by that."""
        async with self._db.read() as session:
            proof = await OneTimeTokens(session).find(token, now=self._now_ms())
        return proof is not None and proof.purpose is Purpose.KEEP_ACCOUNT and not proof.used

    async def keep(self, token: str, by: Visitor) -> None:
        """The account stays, says who has the letter's link. Raises Problem invalid_link."""
        async with self._db.write() as session:
            proof = await OneTimeTokens(session).use(token, Purpose.KEEP_ACCOUNT, now=self._now_ms())
            if proof is None or not await self._restored(session, proof.user, by, None):
                raise Problem("invalid_link")

    async def _restored(self, session: WriteSession, id: str, by: Visitor, device: int | None) -> bool:
        now = self._now_ms()
        user = await Users(session).locked(id)
        if user is None or (user.delete_after is not None and user.delete_after <= now):
            return False
        if user.delete_after is not None:
            await Users(session).delete_after(user.id, None)
            await OneTimeTokens(session).retire(user.id, Purpose.KEEP_ACCOUNT)
            await note(session, user.id, "deletion_cancelled", now, by=by, device=device)
        return True


def kinds(db: Database) -> Iterable[Kind[OfUser] | Kind[OfStream]]:
    """The jobs that erase. Each may be run again, and goes on where it was."""

    async def account(attempt: Attempt, payload: OfUser) -> None:
        if not await _silenced(db, payload.user, attempt.now):
            return
        forgotten = False
        while not forgotten:
            # Groups come first: a final table is worked out of workouts that are still there.
            await erase_in_groups(db, payload.user, attempt.now)
            await _without_workouts(db, payload.user)
            forgotten = await _forgotten(db, payload.user, attempt.now)

    async def log(attempt: Attempt, payload: OfStream) -> None:
        more = True
        while more:
            async with db.write() as session:
                more = await Erasure(session).delete_log(payload.stream)

    yield Kind(ERASE_ACCOUNT, OfUser, account, within_s=_ERASING_S)
    yield Kind(ERASE_LOG, OfStream, log, within_s=_ERASING_S)


async def _silenced(db: Database, user: str, now: int) -> bool:
    """Sign the person out for good; False when they stay, or are gone already. The nodes that have sockets of
    theirs close them: they look for devices that were revoked, and for logs that are another's
    (`Hosts.look`)."""
    async with db.write() as session:
        if not await Erasure(session).due(user, now):
            return False
        await Erasure(session).silence(user, now)
    return True


async def _without_workouts(db: Database, user: str) -> None:
    more = True
    while more:
        async with db.write() as session:
            more = await Erasure(session).delete_workouts(user)


async def _forgotten(db: Database, user: str, now: int) -> bool:
    """Delete the person, unless they stay; False when a group let them in at the last moment."""
    async with db.write() as session:
        if not await Erasure(session).due(user, now):
            return True
        if await membership(session, user) is not None:
            return False
        stream = await Erasure(session).forget(user)
        if stream is not None:
            left = OfStream(stream=stream).model_dump()
            await Jobs(session).put(ERASE_LOG, left, now=now, key=f"{ERASE_LOG}:{stream}")
    _log.info("account_erased", user=user)
    return True
