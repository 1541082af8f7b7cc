"""Leaving: asked for, taken back, or done, with sockets open and everything that a person can have."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import inspect, text

from fitai.http.users.leaving import ERASE_ACCOUNT, GRACE_MS
from tests.gateways.conftest import Wire

DAYS = GRACE_MS / 86_400_000


@pytest.fixture
async def api(database_url, make_api):
    return await make_api(database_url, live=True)


async def delete(person, **body):
    return await person.call("POST", "/users/profile/delete", {"password": person.password, **body})


async def rows(api, person, stream):
    """{table: rows} of everything that names this person or their stream."""

    def tables(connection):
        inspector = inspect(connection)
        return {
            name: {column["name"] for column in inspector.get_columns(name)}
            for name in inspector.get_table_names()
        }

    async with api.db.engine.connect() as connection:
        columns = await connection.run_sync(tables)
        found = {}
        for table, names in columns.items():
            for column, value in (
                ("user_id", person.id),
                ("owner", person.id),
                ("stream", stream),
                ("id", person.id) if table == "users" else ("", None),
            ):
                if column in names:
                    query = text(f'SELECT count(*) FROM "{table}" WHERE {column} = :value')
                    count = (await connection.execute(query, {"value": value})).scalar_one()
                    found[table] = found.get(table, 0) + count
    return found


async def stream_of(api, person):
    async with api.db.read() as session:
        query = text("SELECT id FROM streams WHERE owner = :owner")
        return (await session.execute(query, {"owner": person.id})).scalar_one()


async def train(person):
    """A workout with a set, shared, by a request that may be repeated."""
    workout = await person.workout(title="Legs")
    path = f"/workouts/{workout['id']}"
    started = await person.call("POST", f"{path}/start", {}, Idempotency_Key=uuid.uuid4().hex)
    assert started.status == 200, started.body
    state = await person.put(f"{path}/exercise/0", {"exercise": "squat"}, started.body["rev"])
    entry = state["exercises"][0]["id"]
    await person.put(f"{path}/set/0", {"exercise_entry": entry, "type": "working", "reps": 5}, state["rev"])
    shared = await person.call("POST", f"{path}/share", {"fields": ["title"]})
    assert shared.status == 201, shared.body


async def test_nothing_is_left_of_who_has_left(api, desk, ada, bob):
    for person in (ada, bob):
        await train(person)
        await person.call("POST", "/users/second-factor", {"password": person.password})
    stream, bobs = await stream_of(api, ada), await stream_of(api, bob)
    for person in (ada, bob):
        await (await api.hosts.open(person.id)).flush()
    before = await rows(api, ada, stream)
    others = await rows(api, bob, bobs)
    assert before["records"] > 3
    assert before["workouts"] == before["sets"] == before["shares"] == 1

    answer = await delete(ada)
    api.clock.advance(days=DAYS)
    await desk.work()

    assert answer.status == 200
    after = await rows(api, ada, stream)
    assert {table: count for table, count in after.items() if count} == {}
    assert await rows(api, bob, bobs) == others
    login = {"email": ada.email, "password": ada.password, "device": {"name": "x", "platform": "x"}}
    assert (await api.call("POST", "/auth/login", login)).code == "invalid_credentials"
    assert (await api.call("POST", "/auth/register", login)).status == 201, "the address is free again"


async def test_until_the_date_everything_works_and_the_account_can_be_restored(api, desk, ada):
    watch = await api.login(ada, name="Watch")

    asked = await delete(ada)
    again = await delete(ada)

    assert asked.body == again.body == {"delete_after": api.clock.now + GRACE_MS}
    [letter] = await desk.letters("account_deletion")
    assert letter["values"]["erased_at"] == asked.body["delete_after"]
    assert (await watch.call("GET", "/users/profile")).status == 401, "others are signed out"
    assert await ada.workout(title="One more")
    api.clock.advance(days=DAYS - 1)
    back = await api.login(ada)
    assert back.session["user"]["delete_after"] == asked.body["delete_after"], "signing in restores nothing"
    assert (await back.call("POST", "/users/profile/restore")).status == 204
    api.clock.advance(days=2)
    await desk.work()

    kept = await api.login(ada)
    assert (await kept.call("GET", "/users/profile")).body["delete_after"] is None
    assert [job.done_at is not None for job in await desk.jobs(ERASE_ACCOUNT)] == [True]
    assert {"deletion_asked", "deletion_cancelled"} <= set(await desk.events(ada.id))


async def test_who_asks_again_after_restoring_is_erased_at_the_later_date(api, desk, ada):
    await delete(ada)
    api.clock.advance(days=DAYS - 1)
    back = await api.login(ada)
    await back.call("POST", "/users/profile/restore")
    await delete(back)

    api.clock.advance(days=1)
    await desk.work()
    assert (await api.login(ada)).session["user"]["id"] == ada.id
    api.clock.advance(days=DAYS)
    await desk.work()

    login = {"email": ada.email, "password": ada.password, "device": {"name": "x", "platform": "x"}}
    assert (await api.call("POST", "/auth/login", login)).code == "invalid_credentials"


async def test_nobody_comes_back_while_they_are_being_erased(api, ada):
    await delete(ada)
    api.clock.advance(days=DAYS - 0.001)
    back = await api.login(ada)
    api.clock.advance(days=0.001)

    login = {"email": ada.email, "password": ada.password, "device": {"name": "x", "platform": "x"}}
    assert (await api.call("POST", "/auth/login", login)).code == "invalid_credentials"
    assert (await back.call("POST", "/users/profile/restore")).status == 404


async def test_the_letters_link_keeps_the_account(api, desk, ada):
    await delete(ada)
    path = f"/users/profile/keep?token={await desk.token('account_deletion')}"

    scanned = await api.call("GET", path, Accept="text/html")
    assert (scanned.status, (await ada.call("GET", "/users/profile")).body["delete_after"] is None) == (
        200,
        False,
    )
    pressed = await api.call("GET", f"{path}&confirm=true", Accept="text/html")
    assert pressed.status == 200
    assert (await ada.call("GET", "/users/profile")).body["delete_after"] is None
    assert (await api.call("GET", path)).code == "invalid_link", "once"


async def test_sockets_that_are_open_while_their_person_is_erased_are_closed(api, desk, ada):
    await delete(ada)
    api.clock.advance(days=DAYS - 0.001)
    back = await api.login(ada)
    server: Any = SimpleNamespace(port=api.client.port, clock=api.clock, tokens=api.tokens)
    wire = Wire(server, ada.id, back.device)
    await wire.connect(token=back.token)
    op = wire.op("workout.create", str(uuid.uuid4()), {"title": "Legs"})
    assert (await wire.push(op))["ok"]

    api.clock.advance(days=0.001)
    await desk.work()
    await api.hosts.look()
    bye = await wire.event("bye")
    await wire.close()

    late = await back.call("POST", "/sync/push", {"ops": [op]})
    assert (late.status, late.code) == (401, "device_revoked")
    assert bye["code"] in ("revoked", "overload")
    async with api.db.read() as session:
        left = (await session.execute(text("SELECT count(*) FROM records"))).scalar_one()
    assert left == 0
