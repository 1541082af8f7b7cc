"""Passwords: argon2id, off the event loop, a bounded number at a time; new ones must not be guessable.

One hash costs a tenth of a second and tens of megabytes on purpose, so a crowd at the door must not be
able to take the machine: `workers` hashes run at once, `waiting` more may queue, others are told to come
later. A hash has one lane, which is one thread, so that `workers` is how many cores a crowd can have; where
more threads hash than cores are left, whoever waits for the event loop waits for their turns too.

A login for an unknown address costs the same hash as one for a known address, so that time does not tell who
is registered.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fitai.http.auth.strength import weakness
from fitai.http.problems import Problem

T = TypeVar("T")

SHORTEST = 8
LONGEST = 256  # code points; a bound, so that nobody has us hash a book
WORKERS = max(1, min(4, (os.cpu_count() or 1) // 2))  # hashes at a time: other cores are for who is in


def strong() -> PasswordHasher:
    """RFC 9106's second recommended parameters (64 MiB, 3 passes), but with one lane: lanes make a hash end
    sooner and no guess dearer."""
    return PasswordHasher(parallelism=1)


class Passwords:
    """Hashes and verifies, by `strong()` unless a hasher is given."""

    def __init__(
        self, hasher: PasswordHasher | None = None, *, workers: int = WORKERS, waiting: int = 64
    ) -> None:
        self._hasher = hasher or strong()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="argon2")
        self._room = threading.BoundedSemaphore(workers + waiting)
        self._dummy: str | None = None

    def close(self) -> None:
        """Forget what waits and let the threads go."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The encoded argon2id hash with its salt and parameters; raises Problem `later`."""
        return await self._run(lambda: self._hasher.hash(normalised(password)))

    async def accept(self, password: str, about: Iterable[str | None]) -> str:
        """The hash of a new password; raises Problem `weak_password` for one that is guessed too easily by
        who knows `about` (the person's address and name), `later`."""
        told = list(about)
        weak = await self._run(lambda: weakness(normalised(password), told))
        if weak is not None:
            extra = {"warning": weak.warning, "suggestions": weak.suggestions}
            raise Problem("weak_password", weak.warning, extra=extra)
        return await self.hash(password)

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Whether the password is the one that was hashed; None (nobody registered) takes as long and is
        False. Raises Problem `later`."""
        return await self._run(lambda: self._verify(encoded, normalised(password)))

    def outdated(self, encoded: str) -> bool:
        """Whether a hash was made with other parameters than are used now."""
        try:
            return self._hasher.check_needs_rehash(encoded)
        except InvalidHashError:
            return False

    def _verify(self, encoded: str | None, password: str) -> bool:
        # Made in both cases, or else the very first stranger would be told by the time it takes.
        nobody = self._nobody()
        try:
            self._hasher.verify(encoded or nobody, password)
        except (VerificationError, InvalidHashError):
            return False
        return encoded is not None

    def _nobody(self) -> str:
        """A hash that no password opens, made once with the parameters in use."""
        if self._dummy is None:
            self._dummy = self._hasher.hash(secrets.token_urlsafe(32))
        return self._dummy

    async def _run(self, work: Callable[[], T]) -> T:
        if not self._room.acquire(blocking=False):
            raise Problem("later", headers={"Retry-After": "2"})
        job = self._pool.submit(work)
        # The place is given back when the thread is done, not when the caller has gone away.
        job.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(job)


def normalised(password: str) -> str:
    """The password as compared: NFKC, so that the same keys on another keyboard give the same bytes
    (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)
