"""`fitai migrate` from every node at once, as a deployment may start it, with one that dies in the middle."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import psutil  # type: ignore[import-untyped]
import pytest
from sqlalchemy import text

from fitai.persistence import schema
from fitai.persistence.database import Database
from tests.conftest import wait_for
from tests.system import migrating

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty_url(request, tmp_path, postgres):
    """The URL of an empty database; the test runs once on each engine."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
    else:
        url = await postgres.make(migrated=False)
        yield url
        await postgres.drop(url)


@pytest.fixture
def fitai(empty_url, tmp_path):
    """`fitai(*program)`: Python runs it on the empty database; what still runs at the end is killed."""
    started = []
    own = {name: value for name, value in os.environ.items() if not name.startswith("FITAI_")}
    variables = own | {"FITAI_DATABASE_URL": empty_url, "FITAI_DATA_DIR": str(tmp_path)}

    def start(*program):
        process = subprocess.Popen(
            [sys.executable, *program],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


async def version(url):
    db = Database.open(url)
    try:
        await db.check()
        async with db.read() as session:
            return list((await session.execute(text("SELECT version_num FROM alembic_version"))).scalars())
    finally:
        await db.close()


def all_done(processes):
    for process in processes:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
        assert "up to date" in said


async def test_every_node_may_migrate_at_once(empty_url, fitai):
    nodes = [fitai("-m", "fitai.app.command", "migrate") for _ in range(4)]
    await asyncio.to_thread(all_done, nodes)
    assert await version(empty_url) == [schema.newest()]


async def test_when_one_is_killed_in_the_middle_the_next_one_does_it(empty_url, fitai):
    dying = fitai(Path(migrating.__file__))
    await asyncio.to_thread(
        wait_for, lambda: psutil.Process(dying.pid).status() == psutil.STATUS_STOPPED, "the middle"
    )
    others = [fitai("-m", "fitai.app.command", "migrate") for _ in range(3)]
    if empty_url.startswith("postgres"):
        connection = await asyncpg.connect(empty_url)
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        async with asyncio.timeout(60):
            while await connection.fetchval(waiting) < 3:
                await asyncio.sleep(0.05)
        await connection.close()
    else:
        await asyncio.sleep(1)  # SQLite tells nobody who waits
    assert [other.poll() for other in others] == [None] * 3, "they did not wait"
    dying.kill()
    await asyncio.to_thread(all_done, others)
    assert await version(empty_url) == [schema.newest()]


async def test_a_migration_may_take_longer_than_a_statement_may(postgres_url, monkeypatch):
    """Neither the client's nor the server's bound on statements holds for it, nor the bound on locks."""
    db = Database.open(postgres_url, statement_s=1)

    def slow(connection):
        connection.execute(text("SELECT pg_sleep(2.5)"))

    monkeypatch.setattr(schema, "upgrade", slow)
    await db.migrate()
    await db.close()
