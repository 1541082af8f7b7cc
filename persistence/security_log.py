"""A person's security log: what happened to their account, from where, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select

from fitai.persistence.database import ReadSession
from fitai.persistence.identity_models import SecurityEvent


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event. `id` grows, `at` is Unix ms, `device` the one that did it, `address` and `agent` are where
    the request came from, `data` depends on the kind."""

    id: int
    kind: str
    at: int
    device: int | None
    address: str | None
    agent: str | None
    data: Mapping[str, Any]


class SecurityLog:
    """Reading takes any session; `note` and `sweep` take a write session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def note(
        self,
        user: str,
        kind: str,
        *,
        at: int,
        device: int | None = None,
        address: str | None = None,
        agent: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Write an event, with the change that it tells of."""
        self._session.add(
            SecurityEvent(
                user_id=user,
                kind=kind,
                at=at,
                device=device,
                address=address,
                agent=agent,
                data=dict(data) if data else None,
            )
        )
        await self._session.flush()

    async def page(self, user: str, before: int | None, limit: int) -> Sequence[EventRow]:
        """The newest events, only those older than the event `before` when it is given."""
        query = select(SecurityEvent).where(SecurityEvent.user_id == user)
        if before is not None:
            query = query.where(SecurityEvent.id < before)
        rows = (await self._session.execute(query.order_by(SecurityEvent.id.desc()).limit(limit))).scalars()
        return [
            EventRow(row.id, row.kind, row.at, row.device, row.address, row.agent, row.data or {})
            for row in rows
        ]

    async def moments(self, user: str, kind: str, since: int) -> Sequence[int]:
        """When events of a kind happened after a moment (Unix ms), the oldest first."""
        query = (
            select(SecurityEvent.at)
            .where(SecurityEvent.user_id == user, SecurityEvent.kind == kind, SecurityEvent.at > since)
            .order_by(SecurityEvent.at)
        )
        return (await self._session.execute(query)).scalars().all()

    async def sweep(self, before: int) -> int:
        """Forget events older than `before`; returns how many."""
        gone = delete(SecurityEvent).where(SecurityEvent.at < before).returning(SecurityEvent.id)
        return len((await self._session.execute(gone)).all())
