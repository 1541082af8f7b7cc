"""Keeps the ring of signing keys: reads it, makes the first key and, when one has had its time, the next.

Every node reads the ring every few seconds, and at once when it meets a token of a key that it does not know;
so often that a flood of invented ids costs one small question a second. Which node makes a key does not
matter: they wait for each other at a lease's row, and who comes second finds it made.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress

import structlog

from fitai.gateways.tasks import spawn
from fitai.http.auth import keys
from fitai.http.auth.keys import Key, Ring
from fitai.persistence.database import Database, ReadSession, Unavailable
from fitai.persistence.leases import Leases
from fitai.persistence.sealed import Seal
from fitai.persistence.signing_keys import SigningKeys

_log = structlog.get_logger(__name__)

TEND_S = 10.0
LOOK_GAP_MS = 1_000  # the shortest time between two looks for a key that is not known
LEASE, LEASE_MS = "signing_keys", 60_000
AGE_MS = 30 * 86_400_000


class KeyKeeper:
    """The ring of one installation, seen by one process.

    `secret` is the installation's secret key, `life_ms` how long a token lives, `age_ms` how long a key signs
    before another is made.
    """

    def __init__(
        self, db: Database, secret: str, now_ms: Callable[[], int], *, life_ms: int, age_ms: int = AGE_MS
    ) -> None:
        self._db = db
        self._secret = secret
        self._seal = Seal(secret, keys.PURPOSE)
        self._now_ms = now_ms
        self._life_ms = life_ms
        self._age_ms = age_ms
        self._node = uuid.uuid4().hex
        self.ring = Ring(())
        self._looked_at: int | None = None
        self._looking: asyncio.Task[None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    # -- what tokens ask ---------------------------------------------------------------------------

    def signer(self, now: int) -> Key:
        """The key that signs at a moment; raises NoKey."""
        return self.ring.signer(now)

    def get(self, kid: str) -> Key | None:
        """The key with this id, of those at hand."""
        return self.ring.get(kid)

    async def find(self, kid: str) -> Key | None:
        """The key with this id; the database is asked for one that is not known, once a second at most.
        Raises Unavailable."""
        key = self.ring.get(kid)
        if key is not None:
            return key
        if self._looking is None:
            now = self._now_ms()
            if self._looked_at is not None and 0 <= now - self._looked_at < LOOK_GAP_MS:
                return None
            self._looked_at = now
            self._looking = spawn("auth.keys_read", self.read())
            self._looking.add_done_callback(self._looked)
        await asyncio.shield(self._looking)
        return self.ring.get(kid)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None

    # -- keeping -----------------------------------------------------------------------------------

    async def read(self) -> None:
        """Read the ring; raises Unavailable."""
        async with self._db.read() as session:
            self.ring = await self._ring(session)

    async def tend(self) -> None:
        """Read the ring, and make a key if none signs or the newest has had its time; raises Unavailable."""
        await self.read()
        if self._wanting(self.ring):
            async with self._db.write() as session:
                # Who does not get the lease has waited for who has it: the row is locked.
                await Leases(session).take(LEASE, self._node, now=self._now_ms(), life_ms=LEASE_MS)
                ring = await self._ring(session)
                if self._wanting(ring):
                    _log.info("signing_key_made", kid=await self._add(session, ring, at_once=False))
                self.ring = await self._ring(session)

    async def rotate(self, *, at_once: bool) -> Key:
        """Make a key now, and return it. `at_once`: it signs from now on, and no other is honoured any more;
        every device has to refresh its token. Raises Unavailable."""
        async with self._db.write() as session:
            await Leases(session).take(LEASE, self._node, now=self._now_ms(), life_ms=LEASE_MS)
            kid = await self._add(session, await self._ring(session), at_once=at_once)
            self.ring = await self._ring(session)
        made = self.ring.get(kid)
        assert made is not None, "it was added above"
        return made

    def _wanting(self, ring: Ring) -> bool:
        now = self._now_ms()
        return not (ring.signs(now) and any(key.is_fresh(now, self._age_ms) for key in ring.keys))

    async def _add(self, session: ReadSession, ring: Ring, *, at_once: bool) -> str:
        """Add the next key and retire the others; returns its id."""
        now, repository = self._now_ms(), SigningKeys(session)
        signs_from = now - keys.SKEW_MS  # for nodes whose clocks are behind, too
        if not at_once and ring.signs(now):
            signs_from = now + keys.LEAD_MS
        elif not (at_once or ring.keys) and await repository.anybody_signed_in(now):
            signs_from = now + keys.FIRST_LEAD_MS
            await repository.add(keys.made_of_secret(now, signs_from, self._life_ms))
        until = signs_from if at_once else signs_from + self._life_ms + keys.SKEW_MS
        await repository.sweep(now - keys.KNOWN_MS)
        others = {*(key.kid for key in ring.ours), keys.SECRET_KID}
        await repository.retire(others, signs_until=signs_from, honoured_until=until)
        made = keys.made(self._seal, now, signs_from)
        await repository.add(made)
        return made.kid

    async def _ring(self, session: ReadSession) -> Ring:
        rows = await SigningKeys(session).all()
        return Ring(keys.opened(row, self._seal, self._secret) for row in rows)

    # -- as long as the process lives --------------------------------------------------------------

    async def start(self) -> None:
        """Have a key, and go on tending the ring; raises Unavailable."""
        await self.tend()
        self._tending = spawn("auth.keys", self._tend())

    async def close(self) -> None:
        """Stop tending."""
        self._closing.set()
        if self._tending is not None:
            await self._tending

    async def _tend(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), TEND_S)
            try:
                if not self._closing.is_set():
                    await self.tend()
            except Unavailable:
                _log.warning("signing_keys_not_read")
            except Exception:
                _log.exception("signing_keys_not_read")
