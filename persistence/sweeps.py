"""What is forgotten once nobody can use it any more, and how long it is kept after that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy import delete

from fitai.persistence.database import WriteSession
from fitai.persistence.idempotency import Idempotency
from fitai.persistence.identity_models import OneTimeToken
from fitai.persistence.jobs import Jobs
from fitai.persistence.tokens import Tokens

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Sweep:
    """Rows of one sort; `run` takes a session and the moment (Unix ms) before which they are forgotten, and
    says how many there were."""

    what: str
    kept_ms: int
    run: Callable[[WriteSession, int], Awaitable[int]]


async def _one_time_tokens(session: WriteSession, before: int) -> int:
    gone = delete(OneTimeToken).where(OneTimeToken.expires_at < before).returning(OneTimeToken.hash)
    return len((await session.execute(gone)).all())


SWEEPS = (
    # Kept after their end, so that a late reuse is still recognised.
    Sweep("refresh_tokens", 7 * _DAY_MS, lambda session, before: Tokens(session).sweep(before)),
    # An Idempotency-Key is honoured for at least a day.
    Sweep("idempotency_keys", 2 * _DAY_MS, lambda session, before: Idempotency(session).sweep(before)),
    # Kept after their end, so that a link is told to be old and not to be unknown.
    Sweep("one_time_tokens", 7 * _DAY_MS, _one_time_tokens),
    Sweep("done_jobs", 7 * _DAY_MS, lambda session, before: Jobs(session).purge(done_before=before)),
    Sweep("dead_jobs", 30 * _DAY_MS, lambda session, before: Jobs(session).purge(dead_before=before)),
)
