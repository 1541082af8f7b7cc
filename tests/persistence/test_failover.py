"""PostgreSQL restarts, becomes read-only, or dies and has a successor: under load, nothing acknowledged is
lost and nobody has to be restarted."""

import asyncio
from collections import Counter
from contextlib import suppress

import asyncpg
import pytest
from sqlalchemy import text

from fitai.persistence import engines
from fitai.persistence.append import Appender, HeadMoved
from fitai.persistence.database import Database, Unavailable
from fitai.persistence.engines import connections_out, normalise_url
from fitai.persistence.log import Log
from fitai.persistence.meters import POOL_OUT, POOL_WAIT
from tests.conftest import STARTUP_S, PostgresServer
from tests.persistence.conftest import an_append, make_person, the_log


class Load:
    """People who append without end. `acked`: {stream: seqs that were acknowledged}."""

    def __init__(self, db, streams, patience=2.0):
        self.acked = {stream: [] for stream in streams}
        self.told = Counter()
        self._db = db
        self._appender = Appender(db, patience=patience)
        self._over = False

    async def __aenter__(self):
        await self._appender.start()
        self._tasks = [asyncio.create_task(self._person(stream)) for stream in self.acked]
        return self

    async def __aexit__(self, *_):
        self._over = True
        await asyncio.gather(*self._tasks)
        await self._appender.close()

    async def _person(self, stream):
        head = 0
        while not self._over:
            try:
                await self._appender.append(an_append(stream, head))
                head += 1
                self.acked[stream].append(head)
            except (HeadMoved, Unavailable) as error:
                self.told[type(error).__name__] += 1
                with suppress(Unavailable):
                    async with self._db.read() as session:
                        head = (await Log(session).heads([stream]))[stream]
            await asyncio.sleep(0.005)

    async def everybody_goes_on(self, more=5):
        """Wait until each has been acknowledged `more` ops from now on."""
        before = {stream: len(seqs) for stream, seqs in self.acked.items()}
        async with asyncio.timeout(STARTUP_S):
            while any(len(self.acked[stream]) < before[stream] + more for stream in before):
                await asyncio.sleep(0.02)

    async def all_is_there(self):
        for stream, acked in self.acked.items():
            seqs = [record.seq for record in await the_log(self._db, stream)]
            assert seqs == list(range(1, len(seqs) + 1))
            assert set(acked) <= set(seqs)
            assert len(acked) == len(set(acked))


async def an_open_database(url, people=0, **how):
    db = Database.open(url, **how)
    await db.migrate()
    return db, [(await make_person(db)).id for _ in range(people)]


async def backends(db, count):
    """The server processes behind as many connections of the pool."""

    async def one(hold):
        async with db.read() as session:
            pid = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            hold.release()
            while hold._value < count:  # nobody gives one back before all have one
                await asyncio.sleep(0.01)
            return pid

    hold = asyncio.Semaphore(0)
    return set(await asyncio.gather(*(one(hold) for _ in range(count))))


async def test_a_server_that_is_stopped_and_started_under_load_loses_nothing_acknowledged(postgres_server):
    db, streams = await an_open_database(postgres_server.url("postgres"), people=12)
    async with Load(db, streams) as load:
        for stop in (postgres_server.crash, postgres_server.stop, postgres_server.crash):
            await load.everybody_goes_on()
            await asyncio.to_thread(stop)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(postgres_server.start)
        await load.everybody_goes_on()
    await load.all_is_there()
    await db.close()


async def test_a_server_that_is_gone_for_longer_than_patience_is_taken_up_again(postgres_server):
    db, streams = await an_open_database(postgres_server.url("postgres"), people=6)
    async with Load(db, streams, patience=0.4) as load:
        await load.everybody_goes_on()
        await asyncio.to_thread(postgres_server.crash)
        while load.told["Unavailable"] < 2 * len(streams):
            await asyncio.sleep(0.05)
        await asyncio.to_thread(postgres_server.start)
        await load.everybody_goes_on()
    await load.all_is_there()
    await db.close()


async def test_a_server_that_turns_read_only_is_away_for_writers_and_its_connections_are_dropped(
    postgres_server,
):
    db, streams = await an_open_database(postgres_server.url("postgres"), people=3, pool_size=3)
    direct = await asyncpg.connect(postgres_server.url("postgres"))

    async def read_only(how):
        await direct.execute(f"ALTER SYSTEM SET default_transaction_read_only = {how}")
        await direct.execute("SELECT pg_reload_conf()")

    before = await backends(db, 3)
    async with Load(db, streams, patience=0.4) as load:
        await load.everybody_goes_on()
        await read_only("on")
        while load.told["Unavailable"] < len(streams):
            await asyncio.sleep(0.02)
        with pytest.raises(Unavailable, match="read-only"):
            async with db.write() as session:
                await session.execute(text("UPDATE streams SET head = head"))
        assert not await backends(db, 3) & before, "a new connection may lead to a new primary"
        await direct.execute("SET default_transaction_read_only = off")
        await read_only("off")
        await load.everybody_goes_on()
    await load.all_is_there()
    await direct.close()
    await db.close()


async def test_one_error_replaces_every_connection_that_leads_nowhere(postgres_server):
    db, _ = await an_open_database(postgres_server.url("postgres"), pool_size=4)
    before = await backends(db, 4)
    direct = await asyncpg.connect(postgres_server.url("postgres"))
    await direct.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY($1)", before)
    await direct.close()
    with pytest.raises(Unavailable):
        async with db.read() as session:
            await session.execute(text("SELECT 1"))
    assert len(await backends(db, 4) - before) == 4
    await db.close()


async def test_the_server_gives_a_statement_up_before_we_do_and_the_connection_stays(postgres_url):
    db = Database.open(postgres_url, pool_size=1, statement_s=1.0)
    before = await backends(db, 1)
    with pytest.raises(Unavailable, match="statement timeout"):
        async with db.read() as session:
            await session.execute(text("SELECT pg_sleep(30)"))
    assert await backends(db, 1) == before
    await db.close()


async def test_how_long_checkouts_wait_and_how_many_are_out_is_told(postgres_url):
    def waits():
        [family] = POOL_WAIT.collect()
        return {s.name.rpartition("_")[2]: s.value for s in family.samples}

    db = Database.open(postgres_url, pool_size=1)
    out, before = connections_out(), waits()
    async with db.read() as session:
        await session.execute(text("SELECT 1"))
        assert connections_out() == out + 1
        assert [s.value for family in POOL_OUT.collect() for s in family.samples] == [out + 1]
        second = asyncio.create_task(backends(db, 1))
        await asyncio.sleep(0.3)
    await second
    assert connections_out() == out
    after = waits()
    assert after["count"] - before["count"] == 2
    assert after["sum"] - before["sum"] >= 0.2
    await db.close()


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://me:p%40w@one:5433,two/fitai", ("one:5433", "two:5432")),
        ("postgres://one,two,three:6000/fitai?sslmode=require", ("one:5432", "two:5432", "three:6000")),
        ("postgresql://me@/fitai?host=one:5432&host=two:5432", ("one:5432", "two:5432")),
    ],
)
def test_several_hosts_are_understood_and_the_primary_is_wanted(url, hosts):
    parsed = normalise_url(url)
    assert (parsed.query["host"], parsed.host, parsed.database) == (hosts, None, "fitai")
    stripped, _ = engines._postgres_arguments(parsed)
    assert stripped.query["target_session_attrs"] == "read-write"
    assert "sslmode" not in stripped.query
    named, _ = engines._postgres_arguments(parsed.update_query_dict({"target_session_attrs": "any"}))
    assert named.query["target_session_attrs"] == "any"


@pytest.mark.parametrize("url", ["postgresql://one:x,two/fitai", "postgresql://,two/fitai"])
def test_several_hosts_that_can_not_be_read_are_refused(url):
    with pytest.raises(engines.BadUrl):
        normalise_url(url)


@pytest.fixture
def standby(postgres_server):
    """A primary that commits only what its standby has, and that standby."""
    postgres_server.stop()
    standby = PostgresServer(postgres_server.data)
    follow = f"primary_conninfo = 'host={postgres_server.data} user=postgres'\n"
    with (standby.data / "postgresql.auto.conf").open("a") as settings:
        settings.write(follow)
    (standby.data / "standby.signal").touch()
    postgres_server.start("-c", "synchronous_standby_names=*")
    standby.start()
    yield standby
    standby.remove()


async def test_when_the_primary_dies_its_standby_is_found_by_the_urls_hosts(postgres_server, standby):
    hosts = "&".join(f"host={server.data}:5432" for server in (standby, postgres_server))
    db, streams = await an_open_database(f"postgresql://postgres@/postgres?{hosts}", people=8)
    async with Load(db, streams) as load:
        await load.everybody_goes_on()
        await asyncio.to_thread(postgres_server.crash)
        while not load.told["Unavailable"]:  # only the standby is there, and it can not write
            await asyncio.sleep(0.05)
        direct = await asyncpg.connect(standby.url("postgres"))
        assert await direct.fetchval("SELECT pg_promote()")
        await direct.close()
        await load.everybody_goes_on()
    await load.all_is_there()
    await db.close()


async def test_a_standby_is_away_for_writers_until_it_is_promoted(postgres_server, standby):
    primary, [stream] = await an_open_database(postgres_server.url("postgres"), people=1)
    db = Database.open(standby.url("postgres"))
    direct = await asyncpg.connect(standby.url("postgres"))
    while not await direct.fetchval("SELECT count(*) FROM pg_class WHERE relname = 'leases'"):
        await asyncio.sleep(0.05)
    with pytest.raises(Unavailable, match="read-only"):
        async with db.write() as session:
            await session.execute(text("UPDATE streams SET head = head"))
    await primary.close()
    await asyncio.to_thread(postgres_server.crash)
    assert await direct.fetchval("SELECT pg_promote()")
    await direct.close()
    async with Load(db, [stream]) as load:
        await load.everybody_goes_on()
    await load.all_is_there()
    await db.close()
