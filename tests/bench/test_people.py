"""The users of a run are made and taken away, and nobody else is touched."""

from __future__ import annotations

import secrets

from sqlalchemy import func, select

from fitai.bench.people import InDatabase
from fitai.bench.plan import Plan, shares
from fitai.bench.target import started
from fitai.http.auth.authority import Authority
from fitai.http.auth.keeper import KeyKeeper
from fitai.http.auth.tokens import AccessTokens
from fitai.persistence.database import Database
from fitai.persistence.models import Base
from fitai.persistence.users import Users
from tests.bench.test_scenarios import plan
from tests.system.conftest import now_ms

SECRET = secrets.token_hex(32)


async def rows(db: Database) -> dict[str, int]:
    async with db.read() as session:
        tables = Base.metadata.tables.values()
        return {
            table.name: (await session.execute(select(func.count()).select_from(table))).scalar_one()
            for table in tables
            if table.name != "jobs"  # a server puts its own there, by the hour
        }


async def test_people_straight_in_the_database_are_signed_in_and_can_be_taken_away(db, database_url):
    async with db.write() as session:
        await Users(session).create(email="ada@example.com", password_hash="x", display_name=None, now=1)
    keeper = KeyKeeper(db, SECRET, now_ms, life_ms=60_000)
    await keeper.tend()
    before = await rows(db)
    people = InDatabase(database_url, SECRET, 60_000)
    made = await people.make(7, 3)
    assert [len(person.passes) for person in made] == [3] * 7
    authenticator = Authority(AccessTokens(keeper, now_ms), db, now_ms)
    for person in made:
        for way in person.passes:
            identity = await authenticator.authenticate(way.token)
            assert (identity.user, identity.device) == (person.user, way.device)
    grown = await rows(db)
    assert (grown["users"], grown["streams"], grown["devices"]) == (8, 8, 21)
    assert await people.remove() == ""
    assert await rows(db) == before


async def test_a_run_in_somebody_s_database_leaves_it_as_it_was(database_url, db):
    from fitai.bench.crew import Crew
    from fitai.bench.scenarios import SCENARIOS

    asked: Plan = plan("live", users=2, window=1, duration_s=1.0)
    before = await rows(db)
    async with started(asked, database_url, None) as target:
        people = await target.people.make(asked.users, 2)
        crew = Crew(asked, target.url, people, 0, asked.users)
        scenario = SCENARIOS["live"](crew)
        await scenario.prepare()
        crew.start = crew.clock()
        await scenario.run()
        await scenario.finish()
        await crew.close()
        assert not crew.totals.failures
        assert (await rows(db))["records"] > 14
    after = await rows(db)
    assert after == {**before, "leases": after["leases"], "signing_keys": 1}


def test_everybody_is_in_one_share():
    people = [object() for _ in range(7)]
    parts = shares(people, 3)  # type: ignore[arg-type]
    assert sorted(len(part) for part in parts) == [2, 2, 3]
    assert {id(one) for part in parts for one in part} == {id(one) for one in people}
    assert len(shares(people[:2], 5)) == 2  # type: ignore[arg-type]
