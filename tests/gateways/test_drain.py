"""The goodbye of a node that ends: answers first, in random order, spread, and in bounded time."""

from __future__ import annotations

import asyncio
import random

from fitai.gateways.live.drain import SHARE, say_goodbye
from tests.gateways.conftest import new_id


async def heard_of(wire):
    await wire.gone()
    return [packet[0] if packet[0] != "event" else packet[1] for packet in wire.packets]


async def start(wire):
    workout = new_id()
    return await wire.push(wire.op("workout.create", workout), wire.op("workout.start", workout))


async def test_what_was_pushed_is_answered_before_the_bye_and_what_comes_later_is_not(make_server, connect):
    server = await make_server()
    user = await server.user()
    wire = await connect(server, user, await server.enrol(user))
    await start(wire)
    async with server.db.write() as session:  # a lock that the append has to wait for
        connection = await session.connection()
        if server.db.dialect == "postgresql":
            await connection.exec_driver_sql("LOCK TABLE records IN EXCLUSIVE MODE")
        await wire.emit("push", {"ops": [wire.op("workout.create", new_id())]})
        [connection] = server.live.connections
        while not connection.pending:
            await asyncio.sleep(0.01)
        draining = asyncio.get_running_loop().create_task(server.live.drain(0, 10.0))
        while not connection.leaving:
            await asyncio.sleep(0.01)
        late = await wire.emit("push", {"ops": [wire.op("workout.create", new_id())]})
        await asyncio.sleep(0.1)
        assert wire.events("bye") == []
    kinds = await heard_of(wire)
    await draining
    assert kinds.index("bye") > max(i for i, kind in enumerate(kinds) if kind == "ack")
    acks = {packet[1]: packet[2] for packet in wire.packets if packet[0] == "ack"}
    assert late not in acks
    assert [ack["ok"] for ack in acks.values()] == [True, True]
    [bye] = wire.events("bye")
    assert (bye["code"], bye["reconnect"]) == ("draining", True)


async def test_an_answer_that_does_not_come_is_not_waited_for_without_end(make_server, connect):
    server = await make_server()
    user = await server.user()
    wire = await connect(server, user, await server.enrol(user))
    await start(wire)
    [connection] = server.live.connections
    connection.pending += 1  # a push whose answer never comes
    began = asyncio.get_running_loop().time()
    await server.live.drain(0, 1.0)
    assert asyncio.get_running_loop().time() - began >= 1.0 * SHARE
    await heard_of(wire)
    assert [bye["code"] for bye in wire.events("bye")] == ["draining"]


async def test_nobody_gets_in_any_more(make_server, connect):
    server = await make_server()
    user = await server.user()
    device = await server.enrol(user)
    wire = await connect(server, user, device)
    await server.live.drain(0, 1.0)
    await heard_of(wire)
    status = None
    async with wire.http.__class__() as http:
        url = f"http://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=polling"
        async with http.get(url) as response:
            status, body = response.status, await response.json()
    assert (status, body["code"]) == (503, "draining")


class Told:
    """What say_goodbye needs of a connection, and when it was told what."""

    answered = True

    def __init__(self):
        self.left = self.told = 0.0
        self.after_ms = -1

    def leave(self):
        self.left = asyncio.get_running_loop().time()

    def bye(self, code, after_ms):
        self.told, self.after_ms = asyncio.get_running_loop().time(), after_ms


async def test_many_are_told_in_random_order_spread_and_with_different_pauses():
    many = [Told() for _ in range(400)]
    began = asyncio.get_running_loop().time()
    await say_goodbye(many, 5.0, 2_000, random.Random(7))  # type: ignore[arg-type]
    moments = [each.told - began for each in many]
    assert moments != sorted(moments)
    assert max(moments) >= 0.7  # 400 x 2 ms, but for the last
    batches = sorted(round(moment / 0.02) for moment in moments)
    assert max(map(batches.count, set(batches))) < 100
    pauses = [each.after_ms for each in many]
    assert 0 <= min(pauses) < 100 < 700 < max(pauses) <= 800


async def test_one_is_told_at_once():
    [alone] = [Told()]
    await say_goodbye([alone], 5.0, 2_000)  # type: ignore[list-item]
    assert alone.told - alone.left < 0.01
    assert alone.after_ms <= 2
