"""Opening, committing, and what the database's absence looks like."""

import asyncio
import sqlite3
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fitai.persistence import database, engines
from fitai.persistence.database import BadUrl, Database, Locked, Unavailable
from fitai.persistence.devices import Standing, standing
from fitai.persistence.engines import normalise_url
from fitai.persistence.log import Log


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("sqlite:///data/fitai.db", "sqlite+aiosqlite:///data/fitai.db"),
        ("sqlite:////var/lib/fitai.db", "sqlite+aiosqlite:////var/lib/fitai.db"),
        ("sqlite+pysqlite:///fitai.db", "sqlite+aiosqlite:///fitai.db"),
        ("postgres://me:pw@db:5433/fitai", "postgresql+asyncpg://me:pw@db:5433/fitai"),
        ("postgresql://me@db/fitai", "postgresql+asyncpg://me@db/fitai"),
        ("postgresql+psycopg2://me@db/fitai", "postgresql+asyncpg://me@db/fitai"),
        ("postgresql+asyncpg:///fitai?host=/run/pg", "postgresql+asyncpg:///fitai?host=/run/pg"),
    ],
)
def test_a_url_means_the_same_with_or_without_a_driver(given, meant):
    assert normalise_url(given).render_as_string(hide_password=False).replace("%2F", "/") == meant


@pytest.mark.parametrize(
    "url",
    [
        "",
        "fitai.db",
        "mysql://me:secret@db/fitai",
        "sqlite://",
        "sqlite:///:memory:",
        "postgres://me:se cret@db:x/y",
    ],
)
def test_a_url_that_cannot_be_used_says_so_without_telling_the_password(url):
    with pytest.raises(BadUrl) as refused:
        normalise_url(url)
    assert "secret" not in str(refused.value)
    assert "postgresql://" in str(refused.value) or "sqlite:///" in str(refused.value)


async def test_the_parameters_of_libpq_are_understood(postgres_url):
    joint = "&" if "?" in postgres_url else "?"
    db = Database.open(
        f"{postgres_url}{joint}sslmode=disable&connect_timeout=7&application_name=gym&channel_binding=prefer"
    )
    async with db.read() as session:
        assert (await session.execute(text("SHOW application_name"))).scalar_one() == "gym"
    await db.close()


async def test_sqlite_makes_its_folder_and_keeps_every_commit_on_disk(tmp_path):
    db = Database.open(f"sqlite:///{tmp_path}/a/new/folder/fitai.db")
    await db.migrate()
    async with db.write() as session:
        settings = {
            name: (await session.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    await db.close()
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 2000}


def test_a_folder_that_cannot_be_made_stops_the_opening_with_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadUrl, match="cannot be made"):
        Database.open(f"sqlite:///{tmp_path}/file/fitai.db")


async def test_a_block_commits_at_its_end_and_not_before(db, person):
    stream = await person()
    async with db.write() as writing:
        await writing.execute(text("UPDATE streams SET head = 5"))
        async with db.read() as session:
            assert (await Log(session).heads([stream.id])) == {stream.id: 0}
    async with db.read() as session:
        assert (await Log(session).heads([stream.id])) == {stream.id: 5}


async def test_a_block_that_raises_leaves_nothing(db, stream):
    async def write_and_fail():
        async with db.write() as session:
            await session.execute(text("UPDATE streams SET head = 5"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write_and_fail()
    async with db.read() as session:
        assert (await Log(session).heads([stream.id])) == {stream.id: 0}


async def test_a_cancelled_block_leaves_nothing_and_its_connection_is_usable_again(db, stream):
    async def write_and_wait():
        async with db.write() as session:
            await session.execute(text("UPDATE streams SET head = 5"))
            await asyncio.sleep(60)

    task = asyncio.create_task(write_and_wait())
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with db.write() as session:
        assert (await Log(session).heads([stream.id])) == {stream.id: 0}


async def test_a_read_session_sees_one_picture_whatever_others_write(db, stream):
    async with db.read() as session:
        before = await Log(session).heads([stream.id])
        async with db.write() as writing:
            await writing.execute(text("UPDATE streams SET head = 7"))
        assert await Log(session).heads([stream.id]) == before == {stream.id: 0}


async def test_the_database_refuses_writes_in_a_read_session(db, stream):
    with pytest.raises(DBAPIError):
        async with db.read() as session:
            await session.execute(text("UPDATE streams SET head = 7"))


async def test_a_glance_sees_what_is_committed_and_is_in_no_transaction(db, stream):
    async with db.glance() as asked:
        assert await standing(asked, stream.owner, 9, None) is Standing.REVOKED
        driver = (await asked.get_raw_connection()).driver_connection
        assert not (driver.in_transaction if db.dialect == "sqlite" else driver.is_in_transaction())
    async with db.write() as session:
        await session.execute(text("UPDATE streams SET head = 7"))
        async with db.glance() as asked:
            before = (await asked.execute(text("SELECT head FROM streams"))).scalars().all()
    async with db.glance() as asked:
        after = (await asked.execute(text("SELECT head FROM streams"))).scalars().all()
    assert 7 not in before
    assert set(after) == {7}


async def test_more_writers_than_connections_take_turns(db, stream):
    async def count_up():
        async with db.write() as session:
            await session.execute(text("UPDATE streams SET head = head + 1"))

    await asyncio.gather(*(count_up() for _ in range(20)))
    async with db.read() as session:
        assert await Log(session).heads([stream.id]) == {stream.id: 20}


async def test_a_server_that_is_not_there_is_unavailable(tmp_path):
    db = Database.open(f"postgresql://me@/fitai?host={tmp_path}")
    with pytest.raises(Unavailable):
        async with db.read() as session:
            await session.execute(text("SELECT 1"))
    with pytest.raises(Unavailable):
        await db.migrate()
    with pytest.raises(Unavailable):
        await db.check()
    await db.close()


async def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path):
    db = Database.open(f"sqlite:///{tmp_path}/fitai.db")
    (tmp_path / "fitai.db").mkdir()
    with pytest.raises(Unavailable):
        async with db.write() as session:
            await session.execute(text("SELECT 1"))
    await db.close()
    await asyncio.sleep(0.05)  # the driver's thread tells this loop that it ends


async def test_a_row_that_another_transaction_holds_is_waited_for_within_a_bound(postgres_url, monkeypatch):
    monkeypatch.setattr(engines, "LOCK_WAIT_S", 0.2)
    db = Database.open(postgres_url)
    async with db.write() as session:
        await session.execute(text("INSERT INTO streams VALUES (1, gen_random_uuid(), 'e', 0, 0, 0)"))
    async with db.write() as holder:
        await holder.execute(text("UPDATE streams SET head = 1"))
        with pytest.raises(Locked):
            async with db.write() as session:
                await session.execute(text("UPDATE streams SET head = 2"))
    await db.close()


async def test_another_process_that_keeps_sqlites_write_lock_makes_it_unavailable(sqlite_url, monkeypatch):
    monkeypatch.setattr(engines, "LOCK_WAIT_S", 0.2)
    db = Database.open(sqlite_url)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        async with db.write() as session:
            await session.execute(text("UPDATE streams SET head = 2"))
    async with db.read() as session:
        assert await Log(session).heads([1]) == {}, "readers are not held up"
    other.close()
    await db.close()


async def test_a_silent_server_is_unavailable_within_a_bound_and_comes_back(postgres_server, monkeypatch):
    monkeypatch.setattr(engines, "STATEMENT_S", 0.3)
    monkeypatch.setattr(engines, "CONNECT_S", 0.3)
    monkeypatch.setattr(database, "CLOSE_S", 0.3)
    db = Database.open(postgres_server.url("postgres"))
    await db.migrate()

    async def ask():
        async with db.read() as session:
            return await Log(session).heads([1])

    assert await ask() == {}
    postgres_server.freeze()
    began = time.monotonic()
    for _ in range(2):  # on a connection that was there, then on a new one
        with pytest.raises(Unavailable):
            await ask()
    assert time.monotonic() - began < 8
    postgres_server.thaw()
    assert await ask() == {}
    await db.close()
