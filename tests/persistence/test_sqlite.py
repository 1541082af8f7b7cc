"""SQLite's thread: how often it is asked, and that nothing of a transaction is missing for it."""

import asyncio

import aiosqlite
import pytest
from sqlalchemy import text

from fitai.persistence.database import Database, Unavailable
from fitai.persistence.users import Users


@pytest.fixture
async def lite(sqlite_url):
    database = Database.open(sqlite_url)
    yield database
    await database.close()


@pytest.fixture
def calls(monkeypatch):
    """What is handed to threads, from now on."""
    made = []
    execute = aiosqlite.Connection._execute

    async def counting(self, function, *args, **named):
        made.append(function.__name__)
        return await execute(self, function, *args, **named)

    monkeypatch.setattr(aiosqlite.Connection, "_execute", counting)
    return made


async def heads(session):
    return (await session.execute(text("SELECT head FROM streams ORDER BY id"))).scalars().all()


async def test_a_statement_is_one_call_and_its_transaction_one_more(lite, calls):
    async with lite.read() as session:
        await heads(session)
    calls.clear()
    async with lite.read() as session:
        assert await heads(session) == []
        assert await heads(session) == []
    assert calls == ["_run", "_run", "rollback"]


async def test_a_glance_is_one_call_and_leaves_nothing_open(lite, calls):
    async with lite.read() as session:
        await heads(session)
    calls.clear()
    for _ in range(2):
        async with lite.glance() as asked:
            assert await heads(asked) == []
    assert calls == ["_run", "_run"]
    async with lite.write() as session:
        await Users(session).create(email="a@b.c", password_hash="x", display_name=None, now=1)
    async with lite.glance() as asked:
        assert await heads(asked) == [0]
        driver = (await asked.get_raw_connection()).driver_connection
        assert not driver.in_transaction
    async with lite.read() as session:  # the same connection, and a transaction again
        await heads(session)
        driver = (await (await session.connection()).get_raw_connection()).driver_connection
        assert driver.in_transaction


async def test_a_session_that_asks_nothing_is_no_call(lite, calls):
    async with lite.read() as session:
        await heads(session)
    calls.clear()
    async with lite.read() as session:
        await session.connection()
    async with lite.read():
        pass
    assert calls == []


async def test_a_session_that_asked_nothing_begins_nothing_for_the_next(lite):
    async with lite.write() as session:
        await session.connection()
    async with lite.write() as session:
        await Users(session).create(email="a@b.c", password_hash="x", display_name=None, now=1)
    other = Database.open(str(lite.url))
    async with other.write() as session:  # nobody holds the lock
        await session.execute(text("UPDATE streams SET head = 3"))
    async with lite.read() as session:
        assert await heads(session) == [3]
    await other.close()


async def test_the_first_statement_takes_the_writer_s_place_also_when_it_only_reads(lite, monkeypatch):
    monkeypatch.setattr("fitai.persistence.engines.LOCK_WAIT_S", 0.05)
    other = Database.open(str(lite.url))
    async with lite.write() as session:
        await heads(session)
        with pytest.raises(Unavailable, match="locked"):
            async with other.write() as second:
                await heads(second)
    async with other.write() as second:
        assert await heads(second) == []
    await other.close()


async def test_rows_written_are_counted_and_returned(lite):
    async with lite.write() as session:
        for number in range(3):
            await Users(session).create(email=f"{number}@b.c", password_hash="x", display_name=None, now=1)
    async with lite.write() as session:
        assert (await session.execute(text("UPDATE streams SET head = 1 WHERE id > 1"))).rowcount == 2
        changed = text("UPDATE streams SET head = 2 WHERE id > 1 RETURNING id")
        assert sorted((await session.execute(changed)).scalars()) == [2, 3]


async def test_statements_of_two_sessions_go_on_side_by_side(lite):
    slow = text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) SELECT max(i) FROM n"
    )

    async def wait():
        async with lite.read() as session:
            return (await session.execute(slow)).scalar_one()

    waiting = asyncio.create_task(wait())
    async with lite.read() as session:
        for _ in range(3):
            await heads(session)
    assert not waiting.done()
    assert await waiting == 3_000_000
