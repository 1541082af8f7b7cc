"""Links to a workout: the owner chooses the fields, whoever has the link reads them, until it is revoked.

A link shows the workout as it is now, so a correction reaches everyone who has it. What it shows is built
from the chosen fields alone: no ids, no devices, no other field of the state document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from fitai.gateways.identity import Identity
from fitai.gateways.live.hosts import Hosts, UnknownUser
from fitai.gateways.live.jobs import Key, KeyReuse
from fitai.http.problems import not_found
from fitai.http.workouts.schemas import ShareCreate, ShareLink, is_uuid
from fitai.http.workouts.service import WorkoutService
from fitai.persistence.database import Database, WriteSession
from fitai.persistence.idempotency import Idempotency
from fitai.persistence.shares import ShareRow, Shares

Document = dict[str, Any]

_PLAIN = ("title", "status", "started_at", "ended_at", "units", "rating")
_SET = ("type", "reps", "load", "rpe", "rir", "duration_ms", "distance_m", "side", "assisted", "done")


class ShareService:
    """Gives links, lists them, opens them, takes them back. `public_url` is what links begin with (an
    origin without a slash at its end; empty: links are paths)."""

    def __init__(
        self,
        db: Database,
        hosts: Hosts,
        workouts: WorkoutService,
        now_ms: Callable[[], int],
        public_url: str = "",
    ) -> None:
        self._db = db
        self._hosts = hosts
        self._workouts = workouts
        self._now_ms = now_ms
        self._public_url = public_url

    async def create(self, caller: Identity, workout: str, body: ShareCreate, key: Key | None) -> ShareLink:
        """A new link; a retry with the same key gives the same one. Raises Problem not_found, KeyReuse."""
        await self._workouts.state(caller.user, workout)
        try:
            row = await self._create(caller.user, workout, body, key)
        except IntegrityError:
            # The same key at the same moment, on PostgreSQL: the other one has won, and is found now.
            row = await self._create(caller.user, workout, body, key)
        return self._link(row)

    async def mine(self, user: str) -> list[ShareLink]:
        """The user's open links, newest first."""
        async with self._db.read() as session:
            rows = await Shares(session).of_user(user, now=self._now_ms())
        return [self._link(row) for row in rows]

    async def revoke(self, user: str, share: str) -> None:
        """Close a link by its id; raises Problem not_found."""
        if not is_uuid(share):
            raise not_found()
        now = self._now_ms()
        if not await self._db.transact(lambda session: Shares(session).revoke(user, share.lower(), now=now)):
            raise not_found()

    async def open(self, secret: str) -> Document:
        """The chosen fields behind a link; raises Problem not_found for an unknown, expired or revoked
        link and for a removed workout alike."""
        async with self._db.read() as session:
            row = await Shares(session).by_secret(secret, now=self._now_ms())
        if row is None:
            raise not_found()
        try:
            state = await self._workouts.state(row.user, row.workout)
        except UnknownUser:
            raise not_found() from None
        return view(state.document, row.fields)

    async def _create(self, user: str, workout: str, body: ShareCreate, key: Key | None) -> ShareRow:
        now = self._now_ms()
        expires_at = None if body.expires_in is None else now + body.expires_in * 1000

        async def work(session: WriteSession) -> ShareRow:
            shares = Shares(session)
            if key is not None:
                used = await Idempotency(session).find(user, key.key)
                if used is not None:
                    if used.request != key.request:
                        raise KeyReuse(key.key)
                    return await _again(shares, user, used.answer, now)
            row = await shares.create(user, workout, sorted(set(body.fields)), now=now, expires_at=expires_at)
            if key is not None:
                companion = Idempotency.companion(user, key.key, key.request, now, answer=row.id)
                await session.execute(insert(companion.table).values(dict(companion.row)))
            return row

        return await self._db.transact(work)

    def _link(self, row: ShareRow) -> ShareLink:
        return ShareLink(
            id=row.id,
            workout=row.workout,
            fields=list(row.fields),
            token=row.secret,
            url=f"{self._public_url}/workouts/shared/{row.secret}",
            created_at=row.created_at,
            expires_at=row.expires_at,
        )


async def _again(shares: Shares, user: str, share: Any, now: int) -> ShareRow:
    """The link that the same request made before; gone when it was revoked or has expired since."""
    rows = await shares.of_user(user, now=now)
    row = next((row for row in rows if row.id == share), None)
    if row is None:
        raise not_found()
    return row


def view(document: Document, fields: Iterable[str]) -> Document:
    """The chosen fields of a state document, and nothing else of it."""
    chosen = frozenset(fields)
    out = {name: document[name] for name in _PLAIN if name in chosen}
    if "notes" in chosen:
        out["note"] = document["note"]
    if chosen & {"exercises", "sets"}:
        out["exercises"] = [_exercise(entry, chosen) for entry in document["exercises"]]
    if "totals" in chosen:
        out["totals"] = _totals(document["totals"], chosen)
    return out


def _exercise(entry: Document, chosen: frozenset[str]) -> Document:
    out = {"exercise": entry["exercise"], "superset": entry["superset"]}
    if "notes" in chosen:
        out["note"] = entry["note"]
    if "sets" in chosen:
        out["sets"] = [_set(row, chosen) for row in entry["sets"]]
    return out


def _set(row: Document, chosen: frozenset[str]) -> Document:
    out = {name: row[name] for name in _SET}
    if "notes" in chosen:
        out["note"] = row["note"]
    return out


def _totals(totals: Document, chosen: frozenset[str]) -> Document:
    """Sums by exercise name the exercises, so they come only with these."""
    if chosen & {"exercises", "sets"}:
        return totals
    return {name: value for name, value in totals.items() if name not in ("exercises", "muscles")}
