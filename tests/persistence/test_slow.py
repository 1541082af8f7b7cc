"""The slow-query log: what it tells, from where, how often, and never a value."""

import asyncio

import pytest
import structlog
from sqlalchemy import text

from fitai.persistence import slow as slow_module
from fitai.persistence.append import Appender
from fitai.persistence.database import Database, Unavailable
from fitai.persistence.log import Log
from fitai.persistence.meters import SLOW_STATEMENTS
from fitai.persistence.slow import Slow
from fitai.persistence.users import Users
from tests.persistence.conftest import NOW, an_append, make_person

SECRET = "health-secret@example.org"


@pytest.fixture
async def watched(database_url):
    """`watched(ms, plans)`: a database that logs what is slower than so many milliseconds."""
    opened = []

    def make(ms=0.0, plans=False, **options):
        opened.append(Database.open(database_url, slow=Slow(ms, plans), **options))
        return opened[-1]

    yield make
    for db in opened:
        await db.close()


@pytest.fixture
def lines():
    """What was logged as slow."""
    with structlog.testing.capture_logs() as logged:
        yield logged


async def planned(db):
    """Wait for the plans that are being asked for."""
    while db._slow_log._planning:
        await asyncio.gather(*db._slow_log._planning)


async def test_a_slow_statement_is_told_with_its_time_its_rows_and_whose_it_is(watched, lines):
    db = watched()
    async with db.write() as session:
        await Users(session).create(email=SECRET, password_hash=SECRET, display_name=SECRET, now=NOW)
    lines.clear()
    before = SLOW_STATEMENTS._value.get()
    async with db.read() as session:
        assert await Users(session).by_email(SECRET) is not None
    [line] = lines
    assert (line["event"], line["log_level"], line["rows"]) == ("slow_statement", "warning", 1)
    assert line["statement"].startswith("SELECT users.id, users.email")
    assert line["ms"] > 0
    assert line["by"] == "persistence.users.Users.by_email"
    assert "plan" not in line
    assert SLOW_STATEMENTS._value.get() == before + 1


async def test_what_is_quicker_is_not_told(watched, lines):
    db = watched(ms=60_000)
    await make_person(db)
    assert lines == []


async def test_the_drivers_own_words_are_heard_and_no_value_is_told_in_statement_or_plan(watched, lines):
    db = watched(plans=True)
    person = await make_person(db)
    async with db.write() as session:
        await Users(session).create(email=SECRET, password_hash=SECRET, display_name=SECRET, now=NOW)
    async with db.read() as session:
        await Users(session).by_email(SECRET)
        await Log(session).workouts_records([(person.id, "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f")])
    appender = Appender(db)
    await appender.start()
    await appender.append(an_append(person.id, 0, 3, code=SECRET))
    await appender.close()
    await planned(db)
    assert SECRET not in str(lines)
    assert "0192f3c4-7b1a-7c3e" not in str(lines)
    appended = [line for line in lines if line["by"].startswith("persistence.batches")]
    assert appended, [line["by"] for line in lines]
    plans = [line["plan"] for line in lines if "plan" in line]
    scan = "SEARCH" if db.dialect == "sqlite" else "Index Scan"
    assert any(scan in plan for plan in plans), plans
    assert not [line for line in lines if "no_plan" in line], lines


async def test_a_caller_outside_this_package_is_named_too(watched, lines):
    from fitai.gateways.live.hosts import LogReader

    db = watched()
    await LogReader(db).read(1, 0, 5)
    [line] = lines
    assert line["by"] == "persistence.log.Log._records < gateways.live.hosts.LogReader.read"


async def test_a_statement_that_was_given_up_is_told_too(postgres_url, lines):
    db = Database.open(postgres_url, statement_s=1, slow=Slow(500, False))
    with pytest.raises(Unavailable):
        async with db.read() as session:
            await session.execute(text("SELECT pg_sleep(5)"))
    [line] = lines
    assert line["statement"] == "SELECT pg_sleep(5)"
    assert line["error"]
    assert line["ms"] >= 500
    await db.close()


async def test_lines_are_few_and_what_was_left_out_is_counted(watched, lines, monkeypatch):
    db = watched()
    now = 1000.0
    monkeypatch.setattr(db._slow_log, "_clock", lambda: now)
    async with db.read() as session:
        for _ in range(slow_module.A_MINUTE + 7):
            await session.execute(text("SELECT 1"))
        assert len(lines) == slow_module.A_MINUTE
        now += 61
        await session.execute(text("SELECT 1"))
    assert len(lines) == slow_module.A_MINUTE + 1
    assert lines[-1]["left_out"] == 7


async def test_a_plan_that_can_not_be_had_costs_nothing_but_itself(watched, lines, monkeypatch):
    db = watched(plans=True)

    async def away(statement, values):
        raise Unavailable("away")

    monkeypatch.setattr(db._slow_log, "_explain", away)
    async with db.read() as session:
        await session.execute(text("SELECT 1"))
    await planned(db)
    [line] = lines
    assert line["no_plan"] == "Unavailable"
