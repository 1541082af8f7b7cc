"""Several nodes on one PostgreSQL and one Redis, all real processes: they behave as one."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import aiohttp
import pytest

from fitai.persistence.database import Database
from fitai.persistence.log import Log
from tests.chaos.checks import states_of
from tests.chaos.links import FAIR, Weather
from tests.chaos.stack import Stack
from tests.gateways.device import Device, settle_all
from tests.system.conftest import now_ms, people

OPS = 10_000
SETS = 40
CHUNK = 20  # ops in a push
BREATH_S = 0.03  # between two pushes at most: without any, one node may win for long
RECONNECTS_S = float(os.environ.get("FITAI_TEST_RECONNECT_S", "10"))

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def stack(postgres_data) -> AsyncIterator[Stack]:
    """Two nodes, which both find a database without a schema when they start."""
    async with Stack(postgres_data, nodes=2, FITAI_LIMITS="off") as stack:
        yield stack
        assert [node.errors() for node in stack.nodes] == [[], []]


@asynccontextmanager
async def devices_of(stack: Stack, count: int) -> AsyncIterator[list[Device]]:
    """The devices of a new user."""
    ((user, ids),) = await people(stack.database_url, 1, devices=count)
    devices = [Device(user, id) for id in ids]
    try:
        yield devices
    finally:
        for device in devices:
            await device.cut()


class Workouts:
    """Some workouts of one person with some sets each, and what to do to them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.sets = [(str(uuid.uuid4()), str(uuid.uuid4())) for _ in range(SETS)]
        self.entry = str(uuid.uuid4())

    def begin(self, device: Device) -> None:
        for workout, set_ in self.sets:
            device.write("workout.create", workout, {"title": "Legs"}, at=now_ms())
            device.write("workout.start", workout, at=now_ms())
            value = {"exercise_entry": self.entry, "type": "working", "reps": 8}
            device.write("set.log", workout, value, entity=set_, at=now_ms())

    def act(self, device: Device, times: int = 1) -> None:
        """Correct one of the sets, so many times."""
        workout, set_ = self.random.choice(self.sets)
        for _ in range(times):
            value = {"field": "reps", "value": self.random.randint(1, 12)}
            device.write("set.edit", workout, value, entity=set_, at=now_ms())


async def write_all(device: Device, workouts: Workouts, count: int) -> None:
    """Write so many ops and send them a chunk at a time."""
    for _ in range(count // CHUNK):
        before = len(device.outbox)
        workouts.act(device, CHUNK)
        await device.push(before)
        await device.settled()
        await asyncio.sleep(workouts.random.random() * BREATH_S)
    await device.flush()


async def agree(stack: Stack, devices: Sequence[Device]) -> None:
    """Every device has the log of the database, in its order, and so the same states."""
    db = Database.open(stack.database_url)
    try:
        async with db.read() as session:
            row = await Log(session).stream_of(devices[0].user)
            assert row is not None
            records = await Log(session).read(row.id, 0, 1_000_000)
    finally:
        await db.close()
    assert [record.seq for record in records] == list(range(1, row.head + 1))
    wires = {record.seq: record.wire() for record in records}
    for device in devices:
        assert device.log == wires
        assert device.acked.items() <= {r.op.n: r.seq for r in records if r.device == device.id}.items()
    states = states_of(devices[0].user, records)
    for device in devices:
        assert device.wire is not None
        for workout, state in states.items():
            assert (await device.wire.call("workout:get", {"workout": workout}))["state"] == state


async def test_two_nodes_that_write_to_one_stream_at_once_give_every_device_one_order(stack):
    async with devices_of(stack, 3) as (phone, watch, browser):
        second = Device(browser.user, browser.id)  # one device, two connections
        everybody = [phone, watch, browser, second]
        try:
            for device, node in zip(everybody, [0, 1, 0, 1], strict=True):
                await device.connect(stack.nodes[node])
            workouts = Workouts(1)
            workouts.begin(phone)
            await phone.flush()
            await asyncio.gather(*(write_all(each, workouts, OPS // 2) for each in (phone, watch)))
            assert await settle_all(everybody) == OPS + 3 * SETS
            await agree(stack, everybody)
        finally:
            await second.cut()
        authors = [phone.log[seq]["device"] for seq in range(1, OPS + 3 * SETS + 1)]
        assert sum(one != other for one, other in pairwise(authors)) > 20, "they did not write at once"


async def within(seconds: float, holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.1)


async def test_a_redis_that_goes_silent_is_told_and_healed_by_itself(stack):
    here, there = stack.nodes
    async with aiohttp.ClientSession() as http, devices_of(stack, 2) as (phone, watch):
        await phone.connect(here)
        await watch.connect(there)
        workouts = Workouts(2)
        workouts.begin(phone)
        await settle_all([phone, watch])

        stack.to_redis[1].weather = Weather(silent=True)

        async def red() -> bool:
            return not await there.ready(http)

        async with asyncio.timeout(15):  # from the moment that it went silent
            workouts.act(phone)
            workouts.act(watch)
            await asyncio.gather(phone.flush(), watch.flush())
            await asyncio.gather(within(10, red), phone.reach(3 * SETS + 2), watch.reach(3 * SETS + 2))
        assert await here.ready(http), "the other node has nothing to do with it"
        assert stack.to_redis[1].counts["swallowed"] > 0

        stack.to_redis[1].weather = FAIR
        await within(30, lambda: there.ready(http))
        workouts.act(phone)
        workouts.act(watch)
        await settle_all([phone, watch])
        await agree(stack, [phone, watch])
        assert [node.starts for node in stack.nodes] == [1, 1]


async def test_devices_of_two_codecs_on_two_nodes_agree_though_one_reconnects_all_the_time(stack):
    async with devices_of(stack, 3) as (phone, watch, browser):
        await phone.connect(stack.nodes[0], "json")
        await watch.connect(stack.nodes[1], "msgpack")
        workouts = Workouts(3)
        workouts.begin(phone)
        await phone.flush()
        loop = asyncio.get_running_loop()
        end = loop.time() + RECONNECTS_S

        async def stays(device: Device) -> None:
            while loop.time() < end:
                workouts.act(device)
                await device.flush()
                await asyncio.sleep(workouts.random.random() * 0.1)

        async def comes_and_goes(device: Device) -> None:
            for turn in range(round(RECONNECTS_S)):
                codec = ("json", "msgpack")[turn // 2 % 2]
                await device.connect(stack.nodes[turn % 2], codec, cursor=device.place)
                leaves = loop.time() + 1.0
                await device.push()
                while loop.time() < leaves:
                    workouts.act(device)
                    await device.push(len(device.outbox) - 1)
                    await asyncio.sleep(workouts.random.random() * 0.1)
                    device.read()
                if turn % 2:
                    workouts.act(device)
                    await device.push(len(device.outbox) - 1)
                    await device.crash_unread()
                else:
                    await device.cut()
            await device.connect(stack.nodes[0], "msgpack", cursor=device.place)

        await asyncio.gather(stays(phone), stays(watch), comes_and_goes(browser))
        assert await settle_all([phone, watch, browser]) > 20 * RECONNECTS_S
        await agree(stack, [phone, watch, browser])
        assert browser.counts["resumed"] == round(RECONNECTS_S)
        assert browser.counts["duplicates"] > 0, "no answer was lost"
