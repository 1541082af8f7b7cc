"""Whom a person does not want to meet. Blocks are private: nobody is told that somebody blocked them."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.exc import IntegrityError

from fitai.gateways.groups.rooms import Rooms
from fitai.http.groups.schemas import BlockCreate, BlockOut
from fitai.http.groups.schemas import Blocks as BlockList
from fitai.http.groups.service import GroupService
from fitai.http.problems import FieldError, invalid, not_found
from fitai.persistence.blocks import BlockRow, Blocks
from fitai.persistence.database import Database, WriteSession


class BlockService:
    """Blocks, lists and unblocks, on behalf of a caller; `now_ms` is the clock (Unix ms)."""

    def __init__(self, db: Database, groups: GroupService, rooms: Rooms, now_ms: Callable[[], int]) -> None:
        self._db = db
        self._groups = groups
        self._rooms = rooms
        self._now_ms = now_ms

    async def mine(self, user: str) -> BlockList:
        """Whom the user has blocked."""
        async with self._db.read() as session:
            rows = await Blocks(session).list(user)
        return BlockList(blocks=[_shown(row) for row in rows])

    async def add(self, user: str, body: BlockCreate) -> BlockOut:
        """Block a member of a group that the user may look at; the first block when it is done again. Raises
        Problem not_found, validation_failed for oneself."""
        room, me = await self._groups.room(user, body.group)
        if body.member == me.no:
            raise invalid([FieldError("body", "member", "yourself", "is you")])
        member = room.group.members.get(body.member)
        blocked = room.users.get(body.member)
        if member is None or blocked is None:
            raise not_found()
        now = self._now_ms()

        async def work(session: WriteSession) -> BlockRow:
            blocks = Blocks(session)
            id_ = await blocks.add(user, blocked, member.name, now)
            return next(row for row in await blocks.list(user) if row.id == id_)

        try:
            row = await self._db.transact(work)
        except IntegrityError:  # their account has gone meanwhile
            raise not_found() from None
        self._rooms.blocked()
        return _shown(row)

    async def remove(self, user: str, id: str) -> None:
        """Take a block away; raises Problem not_found."""
        async with self._db.write() as session:
            if not await Blocks(session).remove(user, id):
                raise not_found()
        self._rooms.blocked()


def _shown(row: BlockRow) -> BlockOut:
    return BlockOut(id=row.id, name=row.name, created_at=row.created_at)
