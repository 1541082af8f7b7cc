"""Failed sign-ins: whoever guesses is slowed, and no stranger can lock an owner out.

Each try is counted before the password is looked at, and taken back when it was right; so tries at one moment
do not all slip through. Where a count is past what is free, a try opens a pause that doubles with each one,
and until it is over the next is refused with `later` and `Retry-After`. Nobody is kept waiting on an open
connection. Which counts hold depends on who it looks to be:

    the account knows      counted by                       free   pause
    ---------------------  -------------------------------  -----  --------------------------
    the installation       account and installation         5      1 s, 2 s, 4 s … 15 min
    the address            account and address              5      1 s, 2 s, 4 s … 15 min
    neither: a stranger    account and address              5      1 s, 2 s, 4 s … 15 min
                           account, of all strangers        20     1 s, 2 s, 4 s … 1 min
                           address, of all accounts         50     1 s, 2 s, 4 s … 5 min

So guesses at one account from one address or from many, and a few at each of many accounts, are all slowed.
An owner on an installation that has signed in before (`install_id` is a secret of the app, and a revoked one
does not count), or at an address that has signed in to this account within 90 days, has counts of their own,
which only who has that phone or sits behind that address can raise. The owner on a new phone in a new place
meets pauses of a minute at most while others guess.

A right password takes back its own try and forgets the count of its pair. The counts of all strangers and of
the address stay: or who has one account could clear the way to others by signing in to it now and then.

An account that is not there is counted like any other, so that a pause tells nothing. Counts are kept for a
day from their first try, where rates are: in Redis when there is one, else by each node for itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from fitai.gateways.addresses import counted_as
from fitai.gateways.counts import Counts, Storage
from fitai.http.problems import Problem
from fitai.persistence.users import email_key

_log = structlog.get_logger(__name__)

KEPT_S = 86_400
HOME_S = 90 * 86_400

Known = Callable[[str, str], Awaitable[bool]]
"""Whether the account of this e-mail address has signed in on this installation, and has not revoked it."""


@dataclass(frozen=True, slots=True)
class Slowing:
    """How tries of one count are slowed: `free` ones, then pauses from 1 s to `longest_s`. A right password
    `forgets` the count, or takes back its own try only."""

    name: str
    free: int
    longest_s: int
    forgets: bool

    def pause_s(self, tries: int) -> int:
        """The pause after so many tries; 0 for none."""
        over = tries - self.free
        return min(self.longest_s, 1 << min(over - 1, 30)) if over > 0 else 0


INSTALLATION = Slowing("installation", 5, 900, forgets=True)
PAIR = Slowing("pair", 5, 900, forgets=True)
ACCOUNT = Slowing("account", 20, 60, forgets=False)
ADDRESS = Slowing("address", 50, 300, forgets=False)


@dataclass(slots=True)
class _Count:
    """One count that a try is in; `opened` when the try has opened its pause."""

    slowing: Slowing
    whose: str
    opened: bool = False

    @property
    def tries(self) -> str:
        return f"signin/{self.slowing.name}/{self.whose}"

    @property
    def pause(self) -> str:
        return f"{self.tries}/pause"


@dataclass(frozen=True, slots=True)
class Try:
    """A try that may go on: its counts, to be taken back when it succeeds."""

    counts: Counts | None
    home: str = ""
    counted: list[_Count] = field(default_factory=list)

    async def succeeded(self) -> None:
        """Password, and the second factor where there is one, were right."""
        if self.counts is not None:
            await self.counts.ask(self._take_back)

    async def _take_back(self, storage: Storage) -> None:
        for count in self.counted:
            if count.slowing.forgets:
                await storage.clear(count.tries)
            else:
                await storage.incr(count.tries, KEPT_S, -1)
            if count.slowing.forgets or count.opened:
                await storage.clear(count.pause)
        await storage.clear(self.home)
        await storage.incr(self.home, HOME_S)


class SignIns:
    """Counts tries to sign in (see the module). Without `counts` nothing is counted or refused."""

    def __init__(self, counts: Counts | None, known: Known) -> None:
        self._counts = counts
        self._known = known

    async def begin(self, email: str, address: str, install_id: str | None) -> Try:
        """Count a try for the account of `email`; raises Problem later. `address` is the caller's, as text,
        empty when it has none."""
        if self._counts is None:
            return Try(None)
        account, where = _digest(email_key(email)), counted_as(address)
        home = f"signin/home/{account}/{where}"
        if install_id is not None and await self._known(email, install_id):
            counted = [_Count(INSTALLATION, f"{account}/{_digest(install_id)}")]
        else:
            counted = [_Count(PAIR, f"{account}/{where}")]
            if not await self._counts.ask(lambda storage: storage.get(home)):
                counted += [_Count(ACCOUNT, account), _Count(ADDRESS, where)]
        wait_s = await self._counts.ask(lambda storage: _begun(storage, counted))
        if wait_s:
            raise Problem(
                "later",
                "Too many tries to sign in.",
                extra={"retry_after_ms": wait_s * 1000},
                headers={"Retry-After": str(wait_s)},
            )
        return Try(self._counts, home, counted)


async def _begun(storage: Storage, counted: list[_Count]) -> int:
    """Count a try, or return the seconds that are left of a pause."""
    for count in counted:
        if await storage.get(count.pause):
            return await _left(storage, count)
    for count in counted:
        pause_s = count.slowing.pause_s(await storage.incr(count.tries, KEPT_S))
        # Of tries at one moment, one opens the pause and the others find it.
        if pause_s and await storage.incr(count.pause, pause_s) > 1:
            return await _left(storage, count)
        count.opened = pause_s > 0
    return 0


async def _left(storage: Storage, count: _Count) -> int:
    _log.warning("sign_in_slowed", by=count.slowing.name)
    # What nobody has counted is forgotten now, by the storage's own clock.
    left = await storage.get_expiry(count.pause) - await storage.get_expiry("signin/now")
    return max(1, round(left))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
