"""The outbox: what is to be done after a commit is written by that commit, and so is never lost or invented.

    async with db.write() as session:
        await Users(session).set_password(…)
        await Jobs(session).put("mail", {"to": …, "template": "password_changed", …}, now=now)

A job is pending until it is done or dead. A pending one that is due is claimed twice on its way: by whoever
**sends** it, so that it is sent once, and with the claim's token by whoever **runs** it. A claim ends by
itself, so that a message or a worker that is lost costs time only. Times are Unix ms.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, CursorResult, case, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from fitai.persistence import tracing
from fitai.persistence.database import ReadSession, WriteSession
from fitai.persistence.identity_models import JobRow

JOBS = "jobs"
"""What a commit announces that put a job; see `Database.on_commit`."""

LONGEST_CLAIM_MS = 3_600_000
"""A claim that ends later than this from now was made by a clock that is wrong, and is not believed."""

ERROR = 500
"""Characters that are kept of an error."""

State = Literal["waiting", "running", "done", "dead"]

_SENT = "sent:"
_PENDING = (JobRow.done_at.is_(None), JobRow.dead_at.is_(None))


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a broker carries: which job, and the token of the claim under which it was sent."""

    job: str
    kind: str
    token: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A job that is being run for the `attempts`th time, under the claim `token`; `trace` as in its row."""

    job: str
    kind: str
    payload: Any
    attempts: int
    due_at: int
    token: str
    trace: str | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many jobs are due and not being run, since when the first of them, how many are dead, and when
    something has to be sent next (None: nothing that is known of)."""

    waiting: int
    oldest: int | None
    dead: int
    next: int | None


class Jobs:
    """Jobs, within a transaction of the caller."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def put(
        self,
        kind: str,
        payload: Mapping[str, Any],
        *,
        now: int,
        due: int | None = None,
        key: str | None = None,
    ) -> str | None:
        """A new job, due at once unless said otherwise; its id.

        `payload` is a JSON object that its handler knows. With a `key` there is one such job for ever: None
        when there is one already.
        """
        insert = (postgresql if self._session.get_bind().dialect.name == "postgresql" else sqlite).insert
        made = (
            insert(JobRow)
            .values(
                id=str(uuid.uuid4()),
                kind=kind,
                payload=dict(payload),
                key=key,
                created_at=now,
                due_at=now if due is None else due,
                attempts=0,
                trace=tracing.traceparent(),
            )
            .on_conflict_do_nothing(index_elements=["key"])
            .returning(JobRow.id)
        )
        self._session.announce(JOBS)
        return (await self._session.execute(made)).scalar_one_or_none()

    async def send(self, *, now: int, until: int, window: int) -> list[Ticket]:
        """Claim due jobs to be sent, those first that are due longest, until as many as `window` are on their
        way altogether. What is not taken before `until` is sent anew."""
        on_their_way = select(func.count()).where(
            *_PENDING, JobRow.claimed_by.startswith(_SENT), JobRow.claimed_until > now
        )
        room = window - (await self._session.scalar(on_their_way) or 0)
        if room <= 0:
            return []
        token = _SENT + uuid.uuid4().hex
        ready = (
            select(JobRow.id)
            .where(*_PENDING, JobRow.due_at <= now, _is_free(now))
            .order_by(JobRow.due_at)
            .limit(room)
            .with_for_update(skip_locked=True)
        )
        # A token for all of them is as good as one each: it is the row that must still have it.
        sent = (
            update(JobRow)
            .where(JobRow.id.in_(ready))
            .values(claimed_by=token, claimed_until=until)
            .returning(JobRow.due_at, JobRow.id, JobRow.kind)
        )
        rows = sorted(await self._session.execute(sent))
        return [Ticket(job, kind, token) for _, job, kind in rows]

    async def take(self, ticket: Ticket, *, until: int) -> Taken | None:
        """Claim a job that was sent, to run it; None when it was sent or taken anew since, or is over."""
        token = f"run:{uuid.uuid4().hex}"
        taken = (
            update(JobRow)
            .where(JobRow.id == ticket.job, JobRow.claimed_by == ticket.token, *_PENDING)
            .values(claimed_by=token, claimed_until=until, attempts=JobRow.attempts + 1)
            .returning(JobRow.kind, JobRow.payload, JobRow.attempts, JobRow.due_at, JobRow.trace)
        )
        row = (await self._session.execute(taken)).one_or_none()
        if row is None:
            return None
        kind, payload, attempts, due_at, trace = row
        return Taken(ticket.job, kind, payload, attempts, due_at, token, trace)

    async def finish(self, taken: Taken, *, now: int) -> bool:
        """It is done; its payload is forgotten. False when the claim has passed on to somebody else."""
        return await self._settle(taken, done_at=now, payload={}, error=None)

    async def fail(self, taken: Taken, error: str, *, due: int) -> bool:
        """It is to be tried again at `due`."""
        return await self._settle(taken, due_at=due, error=error[:ERROR])

    async def bury(self, taken: Taken, error: str, *, now: int) -> bool:
        """It is dead: tried no more until somebody says so. Its payload is kept for that."""
        return await self._settle(taken, dead_at=now, error=error[:ERROR])

    async def give_back(self, taken: Taken) -> bool:
        """The worker ends in the middle of it, which is not the job's fault: it counts as not tried."""
        return await self._settle(taken, attempts=taken.attempts - 1)

    async def revive(self, *, now: int, ids: Sequence[str] | None = None, kind: str | None = None) -> int:
        """Begin anew with dead jobs (all of them, those of a kind, or these), and with these if they wait for
        their next attempt; returns how many."""
        mine = [] if kind is None else [JobRow.kind == kind]
        if ids is None:
            mine += [JobRow.dead_at.is_not(None)]
        else:
            mine += [JobRow.id.in_(ids), JobRow.done_at.is_(None), _is_free(now)]
        afresh = (
            update(JobRow)
            .where(*mine)
            .values(dead_at=None, error=None, attempts=0, due_at=now, claimed_by=None, claimed_until=None)
        )
        self._session.announce(JOBS)
        return await self._count(afresh)

    async def purge(self, *, done_before: int | None = None, dead_before: int | None = None) -> int:
        """Forget jobs that were done, or died, before these moments; returns how many."""
        over: list[ColumnElement[bool]] = []
        over += [] if done_before is None else [JobRow.done_at < done_before]
        over += [] if dead_before is None else [JobRow.dead_at < dead_before]
        return await self._count(delete(JobRow).where(or_(*over))) if over else 0

    async def _settle(self, taken: Taken, **values: Any) -> bool:
        settled = (
            update(JobRow)
            .where(JobRow.id == taken.job, JobRow.claimed_by == taken.token)
            .values(claimed_by=None, claimed_until=None, **values)
        )
        return await self._count(settled) == 1

    async def _count(self, statement: Any) -> int:
        return cast("CursorResult[Any]", await self._session.execute(statement)).rowcount


class JobList:
    """Looking at jobs."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def backlog(self, now: int) -> Backlog:
        """How much there is to do."""
        waits = (JobRow.due_at <= now) & _is_waiting(now)
        waiting = select(
            func.count(case((waits, 1))),
            func.min(case((waits, JobRow.due_at))),
            func.min(case((_is_free(now), JobRow.due_at), else_=JobRow.claimed_until)),
        ).where(*_PENDING)
        count, oldest, soonest = (await self._session.execute(waiting)).one()
        dead = await self._session.scalar(select(func.count()).where(JobRow.dead_at.is_not(None)))
        return Backlog(count, oldest, dead or 0, soonest)

    async def find(
        self, *, now: int, state: State | None = None, kind: str | None = None, limit: int
    ) -> list[JobRow]:
        """Jobs in one state or all, the newest first."""
        where = [] if kind is None else [JobRow.kind == kind]
        where += [] if state is None else _STATES[state](now)
        found = select(JobRow).where(*where).order_by(JobRow.created_at.desc(), JobRow.id).limit(limit)
        return list(await self._session.scalars(found))


def state_of(job: JobRow, now: int) -> State:
    """What is going on with it."""
    if job.done_at is not None:
        return "done"
    if job.dead_at is not None:
        return "dead"
    runs = job.claimed_by is not None and not job.claimed_by.startswith(_SENT)
    return "running" if runs and now < (job.claimed_until or 0) <= now + LONGEST_CLAIM_MS else "waiting"


def _is_free(now: int) -> ColumnElement[bool]:
    return or_(
        JobRow.claimed_until.is_(None),
        JobRow.claimed_until <= now,
        JobRow.claimed_until > now + LONGEST_CLAIM_MS,
    )


def _is_waiting(now: int) -> ColumnElement[bool]:
    """Nobody runs it, of a pending one."""
    return or_(_is_free(now), JobRow.claimed_by.startswith(_SENT))


_STATES: Mapping[State, Any] = {
    "done": lambda now: [JobRow.done_at.is_not(None)],
    "dead": lambda now: [JobRow.dead_at.is_not(None)],
    "running": lambda now: [*_PENDING, ~_is_waiting(now)],
    "waiting": lambda now: [*_PENDING, _is_waiting(now)],
}
