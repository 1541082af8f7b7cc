"""Leases: work that one node does for all, as long as it lives.

A lease is a row that somebody holds for a short while and holds anew before it ends; when its node dies the
next one that asks gets it. It only saves doing things twice: a node that was paused may believe in a lease
that has passed on, so what is done under one must bear being done twice.
"""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import Table, or_
from sqlalchemy.dialects import postgresql, sqlite

from fitai.persistence.database import WriteSession
from fitai.persistence.models import Lease


class Leases:
    """The leases, by name."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    async def take(self, name: str, node: str, *, now: int, life_ms: int) -> bool:
        """Hold the lease for `life_ms` from `now` (Unix ms); False while another node does.

        Nodes' clocks differ: an end that lies further ahead than `life_ms` was set by a clock that is, and
        is not believed.
        """
        table = cast("Table", Lease.__table__)
        dialect: Any = {"sqlite": sqlite, "postgresql": postgresql}[self._session.get_bind().dialect.name]
        row = {"name": name, "node": node, "until": now + life_ms}
        free = or_(table.c.node == node, table.c.until <= now, table.c.until > now + life_ms)
        taken = (
            dialect.insert(table)
            .values(row)
            .on_conflict_do_update(index_elements=["name"], set_=row, where=free)
            .returning(table.c.name)
        )
        return (await self._session.execute(taken)).scalar_one_or_none() is not None
