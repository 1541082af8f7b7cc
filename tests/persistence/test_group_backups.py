"""Backups hold groups whole, and after a restore they go on, each in a log that begins anew."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from fitai.engine.ops import Dot
from fitai.persistence.append import Append, Appender, HeadMoved
from fitai.persistence.backups import whole
from fitai.persistence.blocks import Blocks
from fitai.persistence.group_erasure import erase_in_groups
from fitai.persistence.group_reports import GroupReports
from fitai.persistence.group_results import GroupResults, Result
from fitai.persistence.groups import Groups
from fitai.persistence.log import Log
from fitai.persistence.models import Base, Stream
from tests.persistence.conftest import NOW
from tests.persistence.group_people import GroupPeople

ODD = "tab\there, \\N, zß水🏋"


@pytest.fixture
async def group(db, appender, person):
    """A group of three with a row in each of the tables of groups."""
    group = GroupPeople(db, appender, [await person() for _ in range(3)])
    group.book.create()
    group.book.join(2)
    group.book.join(3)
    group.book("chat.say", by=2, text=ODD)
    await group.begin()
    async with db.write() as session:
        await Groups(session).invite(group.id, 1, b"\x00\\x" + b"1" * 29)
        await GroupReports(session).add(group.id, Dot(2, 2), ODD, reporter=group.user(3), reason=ODD, now=NOW)
        await Blocks(session).add(group.user(3), group.user(2), ODD, NOW)
        await GroupResults(session).write(group.id, [Result(2, 1, 5, None, 1, 5, 0, 0, 0, 0)], NOW)
    return group


async def tables(db):
    """{table: rows} of what is about groups."""
    found = {}
    async with db.read() as session:
        for table in Base.metadata.sorted_tables:
            if table.name.startswith("group") or table.name in ("blocks", "records"):
                rows = (await session.execute(select(table))).all()
                found[table.name] = sorted(map(repr, rows))
    return found


async def epoch(group):
    async with group.db.read() as session:
        return await session.scalar(select(Stream.epoch).where(Stream.owner == group.id))


async def test_everything_of_a_group_is_back(db, group, tmp_path):
    before = await tables(db)
    assert all(before.values()), "a row in each"
    await whole.make(db, tmp_path / "one.backup", fitai="1.2.3", now=NOW)
    group.book("member.kick", member=3)
    await group.append()
    await erase_in_groups(db, group.user(2), NOW)

    await whole.restore(db, tmp_path / "one.backup", now=NOW + 1)

    assert await tables(db) == before


async def test_it_goes_on_in_a_log_that_begins_anew(db, group, tmp_path):
    old = await epoch(group)
    await whole.make(db, tmp_path / "one.backup", fitai="1.2.3", now=NOW)
    await whole.restore(db, tmp_path / "one.backup", now=NOW + 1)
    new = await epoch(group)
    assert new != old

    appender = Appender(db)
    await appender.start()
    seen = len(group.book.records)
    group.book("member.leave", by=3)
    records = group.book.records[seen:]
    with pytest.raises(HeadMoved):
        await appender.append(Append(group.stream, old, seen, records))

    async def also(session):
        await Groups(session).project(group.book.g, group.stream, records, NOW)

    await appender.append(Append(group.stream, new, seen, records, also=also))
    await appender.close()
    async with db.read() as session:
        at = await Groups(session).row(group.id)
        assert (at.epoch, at.seq, at.members) == (new, seen + 1, 2)
        assert len(await Log(session).read(group.stream, 0, 100)) == seen + 1


async def test_a_new_group_after_a_restore_takes_nobodys_stream(db, group, person, tmp_path):
    await whole.make(db, tmp_path / "one.backup", fitai="1.2.3", now=NOW)
    await whole.restore(db, tmp_path / "one.backup", now=NOW + 1)
    appender = Appender(db)
    other = GroupPeople(db, appender, [await person()])
    other.book.g.id = "018f0000-0000-7000-8000-0000000000bb"
    other.book.create()
    assert await other.begin() > group.stream
