"""The outbox: what is to be done after a commit is written by that commit, and so is never lost or invented.

async with db.write() as session:
    await Users(session).set_password(…)
    await Jobs(session).put("mail", {"to": …, "template": "password_changed", …}, now=now)
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite

from fitai.persistence import tracing
from fitai.persistence.database import WriteSession
from fitai.persistence.identity_models import JobRow


class Jobs:
    """Jobs, within a transaction of the caller. Times in Unix ms."""

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
        return (await self._session.execute(made)).scalar_one_or_none()
