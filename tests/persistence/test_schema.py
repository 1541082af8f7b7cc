"""Migrations: from empty, twice, at once, and equal to the models."""

import asyncio

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from fitai.persistence import schema
from fitai.persistence.database import Database
from fitai.persistence.models import Base


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
async def empty(empty_url):
    """An open, empty database."""
    db = Database.open(empty_url)
    yield db
    await db.close()


async def test_an_empty_database_is_recognised_and_brought_up(empty):
    with pytest.raises(schema.WrongSchema, match="none"):
        await empty.check()
    await empty.migrate()
    await empty.check()


async def test_migrating_twice_changes_nothing(empty):
    await empty.migrate()
    async with empty.write() as session:
        await session.execute(
            text("INSERT INTO streams VALUES (1, '0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f', 'e', 3, 0, 0)")
        )
    await empty.migrate()
    async with empty.read() as session:
        assert (await session.execute(text("SELECT head FROM streams"))).scalar_one() == 3


async def test_nodes_that_migrate_at_the_same_time_wait_for_one_another(empty_url):
    nodes = [Database.open(empty_url) for _ in range(5)]
    await asyncio.gather(*(node.migrate() for node in nodes))
    for node in nodes:
        await node.check()
        await node.close()


async def test_the_migrations_make_exactly_what_the_models_say(db):
    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection), Base.metadata)

    async with db.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_database_that_a_newer_release_migrated_is_taken_as_it_is(db):
    async with db.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await db.check()
    await db.migrate()
    async with db.read() as session:
        assert (await session.execute(text("SELECT version_num FROM alembic_version"))).scalar_one() == "9999"


async def test_the_first_schema_can_be_taken_down_and_put_up_again(empty):
    await empty.migrate()

    def down(connection):
        config = schema._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    async with empty.write() as session:
        await (await session.connection()).run_sync(down)
    with pytest.raises(schema.WrongSchema):
        await empty.check()
    await empty.migrate()
    await empty.check()


async def test_taking_columns_of_people_down_loses_nobody(empty):
    """Where SQLite wrote the table anew, it would drop the one on which all that is theirs hangs."""
    user = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"

    def down(connection):
        config = schema._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0007")

    await empty.migrate()
    async with empty.write() as session:
        for statement in (
            f"""INSERT INTO users (id, email, email_key, password_hash, next_device, created_at,
                body_weight_ug, sex) VALUES ('{user}', 'a@b.c', 'a@b.c', '-', 2, 1, 80000000000, 'male')""",
            f"""INSERT INTO devices (user_id, id, kind, name, platform, created_at, last_used_at)
                VALUES ('{user}', 1, 'device', 'phone', 'ios', 1, 1)""",
        ):
            await session.execute(text(statement))
    async with empty.write() as session:
        await (await session.connection()).run_sync(down)
    await empty.migrate()
    async with empty.read() as session:
        devices = text(
            "SELECT u.email, u.body_weight_ug, u.sex, d.name FROM users u JOIN devices d ON d.user_id = u.id"
        )
        assert [tuple(row) for row in await session.execute(devices)] == [("a@b.c", None, None, "phone")]


async def test_the_release_before_can_write_into_this_schema(db):
    """What code of the first schema writes: it names its own columns and knows no others."""
    user = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
    statements = (
        f"""INSERT INTO users (id, email, email_key, password_hash, display_name, next_device, created_at)
            VALUES ('{user}', 'a@b.c', 'a@b.c', '-', NULL, 2, 1)""",
        f"""INSERT INTO devices (user_id, id, kind, name, platform, install_id, parent, created_at,
            last_used_at, revoked_at)
            VALUES ('{user}', 1, 'device', 'phone', 'ios', NULL, NULL, 1, 1, NULL)""",
        f"INSERT INTO streams VALUES (1, '{user}', 'e', 1, 0, 0)",
        f"""INSERT INTO records (stream, seq, device, n, workout, rev, kind, base, beyond, te, rt, verdict,
            code, detail, hash, body)
            VALUES (1, 1, 1, 1, '{user}', 1, 'k', 0, NULL, 1, 1, 'void', NULL, NULL, '', '')""",
        f"""INSERT INTO workouts (stream, workout, created, removed, status, phase, title, template,
            happened_at, created_at, started_at, ended_at, updated_at, rev, seq, exercises, sets, volume_ug,
            due_at)
            VALUES (1, '{user}', true, false, 'planned', NULL, NULL, NULL, 1, 1, NULL, NULL, 1, 1, 1, 0, 0, 0,
            NULL)""",
        f"INSERT INTO snapshots (stream, workout, seq, rev, document) VALUES (1, '{user}', 1, 1, '')",
    )
    async with db.write() as session:
        for statement in statements:
            await session.execute(text(statement))
    async with db.read() as session:
        assert (await session.execute(text("SELECT forked_at FROM devices"))).scalar_one() is None
        assert (await session.execute(text("SELECT merged_into FROM workouts"))).scalar_one() is None


async def test_a_database_of_the_first_schema_is_brought_up_with_what_it_holds(empty):
    def to_first(connection):
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    async with empty.write() as session:
        await (await session.connection()).run_sync(to_first)
        await session.execute(
            text("INSERT INTO streams VALUES (1, '0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f', 'e', 3, 0, 0)")
        )
    with pytest.raises(schema.WrongSchema, match="0001"):
        await empty.check()
    await empty.migrate()
    await empty.check()
    async with empty.read() as session:
        assert (await session.execute(text("SELECT head FROM streams"))).scalar_one() == 3
