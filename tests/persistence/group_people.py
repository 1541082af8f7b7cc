"""A group in a database: the playbook of `tests.group_book`, whose records are appended as a room does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fitai.engine.ops import Record
from fitai.persistence.append import Append, Appender
from fitai.persistence.database import Database, WriteSession
from fitai.persistence.groups import Entry, Groups
from tests.group_book import GroupBook
from tests.persistence.conftest import EPOCH, NOW

Also = Callable[[WriteSession], Awaitable[Any]]

PHONE, WATCH = 1, 2  # devices of each person


class GroupPeople:
    """A group whose member k is `people[k - 1]`, by `owner` a user, with the one device k.

    `begin` stores what the book has so far as a new group, `append` what it has since.
    """

    def __init__(self, db: Database, appender: Appender, people: Sequence[Any]) -> None:
        self.db = db
        self.appender = appender
        self.people = people
        self.book = GroupBook()
        self.stream = 0
        self.stored = 0

    @property
    def id(self) -> str:
        return self.book.g.id

    def user(self, member: int) -> str:
        return str(self.people[member - 1].owner)

    async def begin(self, now: int = NOW) -> int:
        records = self._fresh()
        async with self.db.write() as session:
            entries = self._entries(records)
            self.stream = await Groups(session).begin(self.book.g, EPOCH, records, entries, now)
        return self.stream

    async def append(
        self, now: int = NOW, also: Callable[[WriteSession], Awaitable[Any]] | None = None
    ) -> None:
        seen, records = self.stored, self._fresh()

        async def more(session: WriteSession) -> None:
            groups = Groups(session)
            await groups.enrol(self.id, self._entries(records))
            await groups.project(self.book.g, self.stream, records, now)
            if also is not None:
                await also(session)

        await self.appender.append(Append(self.stream, EPOCH, seen, records, also=more))

    def _fresh(self) -> list[Record]:
        records = self.book.records[self.stored :]
        self.stored = len(self.book.records)
        return records

    def _entries(self, records: Sequence[Record]) -> list[Entry]:
        let_in = [record.op.value for record in records if record.op.kind == "device.enrol"]
        return [Entry(one["member"], self.user(one["member"]), one["device"], PHONE) for one in let_in]
