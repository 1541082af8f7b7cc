"""Blocks: who does not want to meet whom. Each is known to the one who made it only."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import delete, select, text
from sqlalchemy.dialects import postgresql, sqlite

from fitai.persistence.database import ReadSession
from fitai.persistence.group_models import Block

# Many people cost one parameter, not one each: a group may have a thousand.
_NAMED = {
    "sqlite": "IN (SELECT value FROM json_each(:users))",
    "postgresql": "= ANY(CAST(:users AS uuid[]))",
}
_AMONG = {
    dialect: text(f"SELECT user_id, blocked FROM blocks WHERE user_id {named} AND blocked {named}").columns(
        Block.user_id, Block.blocked
    )
    for dialect, named in _NAMED.items()
}


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A block as the one who made it sees it: its id, what the person was called then, when (Unix ms)."""

    id: str
    name: str
    created_at: int


class Blocks:
    """Blocks of people (ids of users, UUIDs); what changes something takes a write session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def add(self, user: str, blocked: str, name: str, now: int) -> str:
        """Block somebody who is called `name`: the block's id, done again that of the first. Raises
        IntegrityError when one of the two is gone."""
        postgres = self._session.get_bind().dialect.name == "postgresql"
        insert: Any = (postgresql if postgres else sqlite).insert(Block)
        row = {"user_id": user, "blocked": blocked, "id": str(uuid.uuid4()), "name": name, "created_at": now}
        made = insert.values(row).on_conflict_do_nothing(index_elements=["user_id", "blocked"])
        await self._session.execute(made)
        query = select(Block.id).where(Block.user_id == user, Block.blocked == blocked)
        return (await self._session.execute(query)).scalar_one()

    async def remove(self, user: str, id: str) -> bool:
        """Take a block away; False when this user has no such one."""
        gone = delete(Block).where(Block.user_id == user, Block.id == id).returning(Block.id)
        found = await self._session.execute(gone, execution_options={"synchronize_session": False})
        return found.scalar_one_or_none() is not None

    async def list(self, user: str) -> Sequence[BlockRow]:
        """A user's blocks, the newest first."""
        query = select(Block.id, Block.name, Block.created_at).where(Block.user_id == user)
        rows = (await self._session.execute(query.order_by(Block.created_at.desc(), Block.id))).all()
        return [BlockRow(*row) for row in rows]

    async def between(self, user: str, users: Iterable[str]) -> set[str]:
        """Those of `users` who blocked the user, or whom the user blocked."""
        return await self.around(user) & set(users)

    async def around(self, user: str) -> set[str]:
        """All who blocked the user, or whom the user blocked."""
        theirs = select(Block.blocked).where(Block.user_id == user)
        found = await self._session.execute(theirs.union(select(Block.user_id).where(Block.blocked == user)))
        return set(found.scalars())

    async def among(self, users: Iterable[str]) -> set[frozenset[str]]:
        """The pairs of these of whom one blocked the other."""
        named: Any = list(users)
        dialect = self._session.get_bind().dialect.name
        if dialect == "sqlite":
            named = orjson.dumps(named).decode()
        found = await self._session.execute(_AMONG[dialect], {"users": named})
        return {frozenset(pair) for pair in found.all()}
