"""Requests that were answered already: an Idempotency-Key and what it stood for.

The row is written in the transaction of the ops that the request caused (`companion`), so that a key is
used exactly when its ops are in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Table, delete

from fitai.persistence.append import Companion
from fitai.persistence.database import ReadSession
from fitai.persistence.models import IdempotencyKey


@dataclass(frozen=True, slots=True)
class UsedKey:
    """A key that was used: the hash of its request, the kept answer (JSON, or None), when (Unix ms)."""

    key: str
    request: str
    answer: Any
    created_at: int


class Idempotency:
    """Used keys, per user. `sweep` takes a write session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    @staticmethod
    def companion(user: str, key: str, request: str, now: int, answer: Any = None) -> Companion:
        """The row that makes the key used, for an `Append`. `now` in Unix ms."""
        row = {"user_id": user, "key": key, "request": request, "answer": answer, "created_at": now}
        return Companion(cast("Table", IdempotencyKey.__table__), row)

    async def find(self, user: str, key: str) -> UsedKey | None:
        """What the key was used for; None while it is free."""
        found = await self._session.get(IdempotencyKey, (user, key))
        return None if found is None else UsedKey(key, found.request, found.answer, found.created_at)

    async def sweep(self, before: int) -> int:
        """Forget keys used before `before` (Unix ms); returns how many."""
        gone = delete(IdempotencyKey).where(IdempotencyKey.created_at < before).returning(IdempotencyKey.key)
        return len((await self._session.execute(gone)).all())
