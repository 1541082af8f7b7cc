"""What a connection is told while the database is away; and that this is no error of ours."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from fitai.persistence.database import Database
from tests.gateways.conftest import Server, Wire, new_id


@pytest.fixture(autouse=True)
def no_error_is_logged():
    with structlog.testing.capture_logs() as lines:
        yield
    assert [line for line in lines if line["log_level"] == "error"] == []


@pytest.fixture
async def server(postgres_server):
    db = Database.open(postgres_server.url("postgres"))
    await db.migrate()
    server = await Server(db).start()
    yield server
    await server.stop()
    await db.close()


async def writer(server) -> Wire:
    user = await server.user()
    wire = Wire(server, user, await server.enrol(user))
    await wire.connect()
    assert (await wire.push(wire.op("workout.create", new_id())))["ok"]
    return wire


async def test_what_needs_the_log_is_told_to_come_later_and_may_then(server, postgres_server):
    wire = await writer(server)
    await asyncio.to_thread(postgres_server.crash)
    for event, payload in [("pull", {"after": 0}), ("auth", {"token": server.tokens.issue(wire.user, 1)})]:
        answer = await wire.call(event, payload)
        assert (answer["code"], answer["retry_after_ms"]) == ("later", 1000)
    await asyncio.to_thread(postgres_server.start)
    assert (await wire.call("pull", {"after": 0}))["records"]
    await wire.close()


async def test_who_is_behind_is_asked_to_come_back(server, postgres_server):
    wire = await writer(server)
    await asyncio.to_thread(postgres_server.crash)
    (connection,) = server.live.connections
    connection.position = 0
    connection._catch_up()
    assert await wire.event("bye") == {"code": "overload", "reconnect": True, "after_ms": 0}
    await wire.close()
    await asyncio.to_thread(postgres_server.start)


async def test_who_opens_a_log_is_refused_for_now(server, postgres_server):
    wire = await writer(server)
    await wire.close()
    host = server.hosts._hosts.pop(wire.user)
    host.close()
    await server.user()  # a connection to the database that stands
    await asyncio.to_thread(postgres_server.crash)
    wire = Wire(server, wire.user, wire.device)
    connecting = asyncio.ensure_future(wire.connect())
    try:
        while not (refused := [packet[1] for packet in wire.packets if packet[0] == "refused"]):
            await asyncio.sleep(0.02)
        assert refused[0]["data"] | {"message": ""} == {"code": "unavailable", "message": "", "retry": True}
    finally:
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await wire.close()
    await asyncio.to_thread(postgres_server.start)
