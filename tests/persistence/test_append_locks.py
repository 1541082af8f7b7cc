"""What another transaction holds costs its own streams only: sessions and real processes that hold rows."""

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from sqlalchemy import insert, text

from fitai.engine.ops import Dot
from fitai.persistence import engines
from fitai.persistence.append import Append, Appender, Unavailable
from fitai.persistence.database import Database
from fitai.persistence.idempotency import Idempotency
from fitai.persistence.meters import APPEND_FATES
from tests.conftest import wait_for
from tests.persistence import paused_writer
from tests.persistence.conftest import a_record, an_append, make_person, the_log

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def running(db, **how):
    appender = Appender(db, **how)
    await appender.start()
    try:
        yield appender
    finally:
        await appender.close()


@pytest.fixture
async def pg(postgres_url):
    db = Database.open(postgres_url)
    yield db
    await db.close()


def fates():
    """How often a stream in a transaction came to what, until now in this process."""
    [family] = APPEND_FATES.collect()
    return Counter({s.labels["fate"]: s.value for s in family.samples if s.name.endswith("_total")})


async def test_held_streams_are_tried_ever_more_rarely_while_others_go_on(pg):
    free, *held = [(await make_person(pg)).id for _ in range(21)]
    before = fates()
    async with running(pg) as appender:
        async with pg.write() as holder:
            await holder.execute(text("SELECT id FROM streams WHERE id <> :free FOR UPDATE"), {"free": free})
            waiting = [asyncio.create_task(appender.append(an_append(stream, 0))) for stream in held]
            for seen in range(200):
                async with asyncio.timeout(5):
                    await appender.append(an_append(free, seen))
            assert not any(task.done() for task in waiting)
        await asyncio.gather(*waiting)
    told = fates() - before
    assert told["won"] == 220
    assert 20 <= told["busy"] < 20 * 200 / 4, "they were in nearly every transaction"
    assert [len(await the_log(pg, stream)) for stream in held] == [1] * 20


async def test_later_appends_of_a_held_stream_wait_for_the_first(pg):
    stream = (await make_person(pg)).id
    async with running(pg) as appender:
        async with pg.write() as holder:
            await holder.execute(text("SELECT id FROM streams FOR UPDATE"))
            waiting = [asyncio.create_task(appender.append(an_append(stream, seen))) for seen in range(5)]
            await asyncio.sleep(0.1)
        await asyncio.gather(*waiting)
    assert [record.seq for record in await the_log(pg, stream)] == [1, 2, 3, 4, 5]


async def test_a_companion_that_must_wait_for_anothers_row_costs_its_own_stream_only(pg):
    """Somebody else has used the key in a transaction that goes on: only its end can tell whose it is."""
    people = [await make_person(pg) for _ in range(8)]
    unlucky = people[3]
    key = Idempotency.companion(unlucky.owner, "k", "hash", 5)
    before = fates()
    async with running(pg) as appender:
        async with pg.write() as holder:
            await holder.execute(insert(key.table).values(dict(key.row)))
            appends = [an_append(each.id, 0) for each in people]
            appends[3] = Append(unlucky.id, unlucky.epoch, 0, appends[3].records, [key])
            tasks = [asyncio.create_task(appender.append(append)) for append in appends]
            others = [task for task in tasks if task is not tasks[3]]
            async with asyncio.timeout(5):
                await asyncio.gather(*others)
                for seen in range(1, 21):
                    await appender.append(an_append(people[0].id, seen))
            assert not tasks[3].done()
            await holder.rollback()
        await tasks[3]
    assert (fates() - before)["won"] == 28
    assert [len(await the_log(pg, each.id)) for each in people] == [21, 1, 1, 1, 1, 1, 1, 1]
    async with pg.read() as session:
        assert await Idempotency(session).find(unlucky.owner, "k") is not None


async def test_a_companion_that_waits_for_ever_ends_in_the_appenders_patience(pg):
    person = await make_person(pg)
    key = Idempotency.companion(person.owner, "k", "hash", 5)
    async with pg.write() as holder:
        await holder.execute(insert(key.table).values(dict(key.row)))
        async with running(pg, patience=0.5) as appender:
            with pytest.raises(Unavailable):
                await appender.append(Append(person.id, person.epoch, 0, [a_record(1)], [key]))
        await holder.rollback()
    assert await the_log(pg, person.id) == []


async def test_a_locked_table_is_waited_for_by_all(pg, monkeypatch):
    """As a migration locks it."""
    monkeypatch.setattr(engines, "LOCK_WAIT_S", 0.3)
    db = Database.open(str(pg.url.render_as_string(hide_password=False)))
    people = [await make_person(db) for _ in range(4)]
    async with running(db) as appender:
        async with pg.write() as holder:
            await holder.execute(text("LOCK TABLE records IN ACCESS EXCLUSIVE MODE"))
            tasks = [asyncio.create_task(appender.append(an_append(each.id, 0))) for each in people]
            await asyncio.sleep(1.0)
            assert not any(task.done() for task in tasks)
        await asyncio.gather(*tasks)
    assert [len(await the_log(pg, each.id)) for each in people] == [1] * 4
    await db.close()


async def test_of_many_appends_the_bad_ones_are_found_without_one_transaction_each(pg):
    people = [await make_person(pg) for _ in range(64)]
    appends = [an_append(each.id, 0) for each in people]
    for bad in (5, 40):
        appends[bad] = Append(people[bad].id, people[bad].epoch, 0, [a_record(1, te=2**70)])
    transactions = []
    async with running(pg) as appender:
        commit = appender._commit

        async def counted(batch):
            transactions.append(len(batch))
            return await commit(batch)

        appender._commit = counted
        results = await asyncio.gather(*(appender.append(a) for a in appends), return_exceptions=True)
    assert [at for at, result in enumerate(results) if result is not None] == [5, 40]
    assert len(transactions) < 32, transactions


class Paused:
    """`paused_writer` on a stream, stopped in the middle of its transaction."""

    def __init__(self, url, stream):
        command = [sys.executable, "-m", "tests.persistence.paused_writer", url, str(stream)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        wait_for(lambda: psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED, "its pause")

    def wake(self):
        self.process.send_signal(signal.SIGCONT)

    def came_to(self):
        """What it told when it had been awake again."""
        told, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return told.splitlines()[-1]

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


async def sessions_of_others(db):
    async with db.read() as session:
        query = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state = 'idle in transaction' AND pid <> pg_backend_pid()"
        )
        return (await session.execute(query)).scalar_one()


@pytest.mark.parametrize("taken", [True, False])
async def test_a_node_that_is_paused_with_its_locks_held_loses_them_and_knows_its_outcome(pg, taken):
    """`taken`: another node appends to its stream meanwhile."""
    mine, theirs = (await make_person(pg)).id, (await make_person(pg)).id
    url = pg.url.render_as_string(hide_password=False)
    paused = await asyncio.to_thread(Paused, url, theirs)
    try:
        async with running(pg) as appender:
            for seen in range(50):
                async with asyncio.timeout(5):
                    await appender.append(an_append(mine, seen))
            assert await sessions_of_others(pg) == 1, "its transaction was over before ours were"
            if taken:
                # Held until PostgreSQL ends its transaction: within our patience, so nobody is told "later".
                await appender.append(an_append(theirs, 0, device=1))
            else:
                deadline = asyncio.get_running_loop().time() + 3 * engines.IDLE_S
                while await sessions_of_others(pg):
                    assert asyncio.get_running_loop().time() < deadline
                    await asyncio.sleep(0.1)
        paused.wake()
        assert await asyncio.to_thread(paused.came_to) == ("HeadMoved" if taken else "stored")
    finally:
        paused.end()
    assert [record.seq for record in await the_log(pg, mine)] == list(range(1, 51))
    told = await the_log(pg, theirs)
    first = Dot(1, 1) if taken else Dot(paused_writer.DEVICE, 1)
    assert [record.dot for record in told] == [first, Dot(paused_writer.DEVICE, 100)]
    assert [record.seq for record in told] == [1, 2]


async def test_after_a_lost_commit_what_the_lost_transaction_still_holds_keeps_nobody_else(pg):
    """The server has not yet noticed that the connection is gone: the stream is looked up when it is free."""
    lost, other = (await make_person(pg)).id, (await make_person(pg)).id
    async with running(pg) as appender:
        async with pg.write() as ghost:
            await ghost.execute(text("SELECT id FROM streams WHERE id = :id FOR UPDATE"), {"id": lost})
            waiting = asyncio.create_task(appender.append(an_append(lost, 0)))
            await asyncio.sleep(0)
            for one in appender._queue:
                one.unsure = True
            for seen in range(20):
                async with asyncio.timeout(5):
                    await appender.append(an_append(other, seen))
            assert not waiting.done()
        await waiting
    assert [len(await the_log(pg, stream)) for stream in (lost, other)] == [1, 20]
