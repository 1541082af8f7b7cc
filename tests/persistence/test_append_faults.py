"""Appending while the database goes away, comes back, is silent, or loses its answer to a commit."""

import asyncio
import sqlite3
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import aiosqlite
import pytest
from sqlalchemy import text

from fitai.persistence import database, engines
from fitai.persistence.append import Appender, HeadMoved, Unavailable
from fitai.persistence.database import Database
from fitai.persistence.log import Log

SCHEMA_ROW = "INSERT INTO streams VALUES ({}, '0192f3c4-7b1a-7c3e-9d2f-00000000000{}', 'e', 0, 0, 0)"


@pytest.fixture
def brisk(monkeypatch):
    """Short bounds, so that tests of silence are short too."""
    for name in ("STATEMENT_S", "CONNECT_S", "LOCK_WAIT_S"):
        monkeypatch.setattr(engines, name, 0.4)
    monkeypatch.setattr(database, "CLOSE_S", 0.4)


async def with_streams(url, count=1):
    """An open, migrated database with streams 1, 2, …"""
    db = Database.open(url)
    await db.migrate()
    async with db.write() as session:
        for stream in range(1, count + 1):
            await session.execute(text(SCHEMA_ROW.format(stream, stream)))
    return db


async def log_of(db, stream):
    async with db.read() as session:
        return await Log(session).read(stream, 0, 1000)


class Wire:
    """A wire to a PostgreSQL server that can be cut at the next append, which commits by itself.

    before    the question is lost: the server never hears of it
    after     the answer is lost: it is committed and nobody here knows
    between   the connection is lost first, and a moment later it is committed
    """

    def __init__(self, server):
        # A Unix socket's path is short: pytest's own folders can be too deep for it.
        self._folder = tempfile.TemporaryDirectory(prefix="fitai-wire-")
        self.folder = Path(self._folder.name)
        self._target = str(server.data / ".s.PGSQL.5432")
        self.cut_at_commit = None
        self.cut = asyncio.Event()
        self._tasks = set()

    async def __aenter__(self):
        self._listener = await asyncio.start_unix_server(self._accepted, str(self.folder / ".s.PGSQL.5432"))
        return self

    async def __aexit__(self, *_):
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._folder.cleanup()

    def url(self):
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def _accepted(self, reader, writer):
        self._tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader, writer):
        server_reader, server_writer = await asyncio.open_unix_connection(self._target)
        mute = asyncio.Event()
        answers = asyncio.create_task(self._answer(server_reader, writer, mute))
        self._tasks.add(answers)
        try:
            while data := await reader.read(65536):
                if self.cut_at_commit is None or b'"kind"' not in data:
                    server_writer.write(data)
                    continue
                how, self.cut_at_commit = self.cut_at_commit, None
                mute.set()
                if how == "between":
                    writer.transport.abort()
                    await asyncio.sleep(0.3)
                if how != "before":
                    server_writer.write(data)
                    await answers
                self.cut.set()
                break
        finally:
            answers.cancel()
            writer.transport.abort()
            server_writer.close()

    async def _answer(self, server_reader, writer, mute):
        while data := await server_reader.read(65536):
            if mute.is_set():
                return
            writer.write(data)
        writer.close()


@pytest.mark.parametrize("cut", ["before", "after", "between"])
async def test_a_commit_whose_outcome_is_unknown_is_looked_up_before_it_is_answered(
    postgres_server, make_append, cut
):
    direct = await with_streams(postgres_server.url("postgres"), 2)
    async with Wire(postgres_server) as wire:
        db = Database.open(wire.url())
        appender = Appender(db, patience=5.0)
        await appender.start()
        await asyncio.gather(appender.append(make_append(1, 0, 2)), appender.append(make_append(2, 0)))
        wire.cut_at_commit = cut
        appends = [make_append(1, 2, 3), make_append(2, 1, 2)]
        await asyncio.gather(*(appender.append(each) for each in appends))
        await asyncio.wait_for(wire.cut.wait(), 5)
        assert [r.seq for r in await log_of(direct, 1)] == [1, 2, 3, 4, 5]
        assert [r.seq for r in await log_of(direct, 2)] == [1, 2, 3]
        await appender.close()
        await db.close()
    await direct.close()


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_whoever_took_the_place_meanwhile_has_it(postgres_server, make_append, cut):
    """The commit's outcome is unknown, and before it is looked up another node appends."""
    direct = await with_streams(postgres_server.url("postgres"))
    async with Wire(postgres_server) as wire:
        db = Database.open(wire.url())
        appender, other = Appender(db, patience=5.0), Appender(direct)
        await appender.start()
        await other.start()
        wire.cut_at_commit = cut
        mine = asyncio.create_task(appender.append(make_append(1, 0, device=1)))
        await wire.cut.wait()
        theirs = asyncio.create_task(other.append(make_append(1, 0, device=2)))
        results = await asyncio.gather(mine, theirs, return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["HeadMoved", "NoneType"]
        winner = 1 if results[0] is None else 2
        assert [record.device for record in await log_of(direct, 1)] == [winner]
        if cut == "after":
            assert winner == 1, "it was committed, only the answer was lost"
        for each in (appender, other):
            await each.close()
        await db.close()
    await direct.close()


@pytest.mark.parametrize("really", [True, False])
async def test_an_error_during_sqlites_commit_is_looked_up(sqlite_url, make_append, monkeypatch, really):
    db = await with_streams(sqlite_url)
    appender = Appender(db, patience=5.0)
    await appender.start()
    commit, failures = aiosqlite.Connection.commit, []

    async def fail_once(connection):
        if not failures:
            failures.append(connection)
            if really:
                await commit(connection)
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        await commit(connection)

    monkeypatch.setattr(aiosqlite.Connection, "commit", fail_once)
    await appender.append(make_append(1, 0, 3))
    assert failures
    assert [record.seq for record in await log_of(db, 1)] == [1, 2, 3]
    with pytest.raises(HeadMoved):
        await appender.append(make_append(1, 0))
    await appender.close()
    await db.close()


async def test_a_database_that_goes_away_is_waited_for_within_a_bound_and_taken_up_again(
    postgres_server, make_append
):
    db = await with_streams(postgres_server.url("postgres"), 2)
    hasty, patient = Appender(db, patience=0.5), Appender(db, patience=20.0)
    for appender in (hasty, patient):
        await appender.start()
    await hasty.append(make_append(1, 0))
    postgres_server.crash()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await hasty.append(make_append(1, 1))
    assert time.monotonic() - began < 2
    waiting = asyncio.create_task(patient.append(make_append(2, 0)))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await asyncio.to_thread(postgres_server.start)
    await waiting
    await hasty.append(make_append(1, 1))
    assert [r.seq for r in await log_of(db, 1)] == [1, 2]
    assert [r.seq for r in await log_of(db, 2)] == [1]
    for appender in (hasty, patient):
        await appender.close()
    await db.close()


async def test_a_database_that_falls_silent_is_unavailable_and_nothing_is_doubled(
    postgres_server, make_append, brisk
):
    db = await with_streams(postgres_server.url("postgres"))
    appender = Appender(db, patience=1.0)
    await appender.start()
    await appender.append(make_append(1, 0))
    postgres_server.freeze()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await appender.append(make_append(1, 1))
    assert time.monotonic() - began < 2
    postgres_server.thaw()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        head = len(await log_of(db, 1))
        with suppress(HeadMoved, Unavailable):
            await appender.append(make_append(1, head))
            break
    records = await log_of(db, 1)
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert len(records) in (2, 3), "the frozen append may have been stored, the last one was"
    await appender.close()
    await db.close()


async def test_sqlites_write_lock_in_other_hands_is_waited_for_and_then_told(sqlite_url, make_append, brisk):
    db = await with_streams(sqlite_url)
    appender = Appender(db, patience=1.0)
    await appender.start()
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await appender.append(make_append(1, 0))
    waiting = asyncio.create_task(appender.append(make_append(1, 0)))
    await asyncio.sleep(0.5)
    other.execute("ROLLBACK")
    await waiting
    assert [record.seq for record in await log_of(db, 1)] == [1]
    other.close()
    await appender.close()
    await db.close()


async def test_closing_while_the_database_is_away_ends_in_time(postgres_server, make_append):
    db = await with_streams(postgres_server.url("postgres"))
    appender = Appender(db, patience=60.0)
    await appender.start()
    postgres_server.crash()
    waiting = asyncio.create_task(appender.append(make_append(1, 0)))
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await appender.close(grace=0.3)
    assert time.monotonic() - began < 2
    with pytest.raises(Unavailable):
        await waiting
    await db.close()
    postgres_server.start()
