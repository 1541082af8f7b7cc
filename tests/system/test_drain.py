"""SIGTERM to a real server under load: everybody moves to another one, and nobody notices more than a bye."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid

import aiohttp
import pytest

from fitai.persistence.database import Database
from tests.gateways.device import Device
from tests.system.conftest import now_ms, people
from tests.system.test_crash import Lifter, check_log

pytestmark = pytest.mark.timeout(240)

DEVICES = 50
DRAIN_S = 8.0


async def test_fifty_devices_move_on_from_a_server_that_drains(postgres_url, redis_url, make_process):
    shared = {
        "FITAI_REDIS_URL": redis_url,
        "FITAI_REDIS_PREFIX": uuid.uuid4().hex,
        "FITAI_LIMIT_DRAIN_SECONDS": str(DRAIN_S),
    }
    goes = await make_process(postgres_url, **shared)
    stays = await make_process(postgres_url, **shared)
    lifters = [
        Lifter(user, devices[0], str(uuid.uuid4()), str(uuid.uuid4()))
        for user, devices in await people(postgres_url, DEVICES)
    ]
    try:
        for lifter in lifters:
            await lifter.device.connect(goes)
            lifter.begins()
        training = [asyncio.get_running_loop().create_task(lifter.trains()) for lifter in lifters]
        while min(len(lifter.device.acked) for lifter in lifters) < 10:
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in training)
        asked = time.monotonic()
        goes._process.send_signal(signal.SIGTERM)
        await asyncio.gather(*training)
        code = await asyncio.to_thread(goes._process.wait, DRAIN_S + 10)
        took = time.monotonic() - asked
        assert code == 0, goes.log()[-3000:]
        assert took < DRAIN_S + 3, "the interpreter's own end has a little of its own"
        for lifter in lifters:
            device = lifter.device
            device.read()
            [bye] = device.wire.events("bye")
            assert (bye["code"], bye["reconnect"]) == ("draining", True)
            refused = [p[2] for p in device.wire.packets if p[0] == "ack" and not p[2]["ok"]]
            assert refused == [], "an error other than bye"
            last = [p[1] for p in device.wire.packets if p[0] == "event"][-1]
            assert last == "bye"
        for lifter in lifters:
            await lifter.device.cut()
            ready = await lifter.device.connect(stays, cursor=lifter.device.place)
            assert ready["resumed"] is True
            await lifter.device.push()
            await lifter.device.flush()
        db = Database.open(postgres_url)
        try:
            verdicts = await check_log(db, lifters)
        finally:
            await db.close()
        assert verdicts["applied"] >= 10 * DEVICES
    finally:
        for lifter in lifters:
            await lifter.device.cut()


async def test_readiness_turns_red_before_anybody_is_refused(make_process, sqlite_url):
    process = await make_process(sqlite_url, FITAI_LIMIT_DRAIN_NOTICE_SECONDS="3")
    [(user, [device])] = await people(sqlite_url, 1)
    before, late = Device(user, device), Device(user, device)
    try:
        await before.connect(process)
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{process.url}/health/ready") as response:
                assert response.status == 200
            process._process.send_signal(signal.SIGTERM)
            asked = time.monotonic()
            while True:
                async with http.get(f"{process.url}/health/ready") as response:
                    if response.status == 503:
                        checks = (await response.json())["checks"]
                        break
                await asyncio.sleep(0.02)
            assert checks == {"node": "draining"}
            await late.connect(process)  # still welcome
            before.write("workout.create", str(uuid.uuid4()), at=now_ms())
            await before.flush()
            assert time.monotonic() - asked < 3, "the machine is too slow to tell"
        assert await asyncio.to_thread(process._process.wait, 20) == 0
        for each in (before, late):
            await each.wire.gone()
            assert [bye["code"] for bye in each.wire.events("bye")] == ["draining"]
    finally:
        await before.cut()
        await late.cut()
