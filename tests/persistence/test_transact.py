"""A transaction that another one was in the way of is made again, a few times, and only then."""

import asyncio
import sqlite3

import pytest
from sqlalchemy import text

from fitai.persistence import database as database_module
from fitai.persistence import engines
from fitai.persistence.database import Database, Locked, Unavailable
from fitai.persistence.meters import RETRIES
from tests.persistence.conftest import make_person


def retries():
    return RETRIES._value.get()


@pytest.fixture
async def pg(postgres_url):
    db = Database.open(postgres_url)
    yield db
    await db.close()


async def bump(session, stream):
    await session.execute(text("UPDATE streams SET last_rt = last_rt + 1 WHERE id = :id"), {"id": stream})


async def test_it_commits_and_gives_back_what_the_work_did(db):
    stream = (await make_person(db)).id

    async def work(session):
        await bump(session, stream)
        return "done"

    before = retries()
    assert await db.transact(work) == "done"
    async with db.read() as session:
        assert (await session.execute(text("SELECT last_rt FROM streams"))).scalar_one() == 1
    assert retries() == before


async def test_of_two_that_deadlock_both_come_through(pg):
    one, two = (await make_person(pg)).id, (await make_person(pg)).id
    met = asyncio.Barrier(2)
    tries = 0

    async def work(session, first, second):
        nonlocal tries
        tries += 1
        await bump(session, first)
        if tries <= 2:
            await met.wait()
        await bump(session, second)

    before = retries()
    await asyncio.gather(
        pg.transact(lambda session: work(session, one, two)),
        pg.transact(lambda session: work(session, two, one)),
    )
    assert tries == 3
    assert retries() == before + 1
    async with pg.read() as session:
        assert (await session.execute(text("SELECT last_rt FROM streams"))).scalars().all() == [2, 2]


async def test_a_serialization_failure_is_made_again_from_its_start(pg):
    stream = (await make_person(pg)).id
    tries = 0

    async def work(session):
        nonlocal tries
        tries += 1
        await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        await session.execute(text("SELECT 1 FROM streams"))
        if tries == 1:
            async with pg.write() as other:
                await bump(other, stream)
        await bump(session, stream)

    await pg.transact(work)
    assert tries == 2
    async with pg.read() as session:
        assert (await session.execute(text("SELECT last_rt FROM streams"))).scalar_one() == 2


async def test_sqlite_that_another_process_holds_is_waited_for_again(sqlite_url, monkeypatch):
    monkeypatch.setattr(engines, "LOCK_WAIT_S", 0.05)
    db = Database.open(sqlite_url)
    stream = (await make_person(db)).id
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    before = retries()
    slept = asyncio.sleep

    async def released(seconds):
        if other.in_transaction:
            other.execute("ROLLBACK")
        await slept(seconds)

    monkeypatch.setattr(asyncio, "sleep", released)
    await db.transact(lambda session: bump(session, stream))
    assert retries() == before + 1
    other.close()
    await db.close()


async def test_it_gives_up_after_a_few_times(sqlite_url, monkeypatch):
    monkeypatch.setattr(engines, "LOCK_WAIT_S", 0.02)
    db = Database.open(sqlite_url)
    stream = (await make_person(db)).id
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    before = retries()
    with pytest.raises(Unavailable):
        await db.transact(lambda session: bump(session, stream))
    assert retries() == before + len(database_module.RETRY_S)
    other.close()
    await db.close()


async def test_what_would_only_wait_again_and_what_is_a_mistake_is_not_made_again(pg, monkeypatch):
    monkeypatch.setattr(engines, "LOCK_WAIT_S", 0.1)
    impatient = Database.open(pg.url.render_as_string(hide_password=False))
    stream = (await make_person(pg)).id
    tries = 0

    async def locked(session):
        nonlocal tries
        tries += 1
        await bump(session, stream)

    async def wrong(session):
        nonlocal tries
        tries += 1
        raise ValueError("mine")

    async with pg.write() as holder:
        await bump(holder, stream)
        with pytest.raises(Locked):
            await impatient.transact(locked)
    with pytest.raises(ValueError, match="mine"):
        await impatient.transact(wrong)
    assert tries == 2
    await impatient.close()
