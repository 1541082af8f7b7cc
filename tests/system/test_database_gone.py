"""The database is gone for longer than anybody waits: pushes are answered "later" within a bound, nothing is
acknowledged without a commit, and all goes on by itself when it is back."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from typing import Any

import aiohttp
import pytest

from fitai.persistence.database import Database
from tests.system.conftest import Process, now_ms, people
from tests.system.test_versions import Caller, told

pytestmark = pytest.mark.timeout(240)

W = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
GONE_S = float(os.environ.get("FITAI_TEST_GONE_S", "13"))  # more than an append's patience
BOUND_S = 20.0  # the longest that a push may go unanswered
USERS = 6


class Lifter:
    """Somebody who pushes one op after another, each until it is acknowledged."""

    def __init__(self, user: str, device: int) -> None:
        self.user, self.device = user, device
        self.acked: dict[int, int] = {}  # n -> seq
        self.later = 0
        self.longest = 0.0

    async def trains(self, process: Process, over: asyncio.Event) -> None:
        async with Caller(process, self.user, self.device) as wire:
            while not over.is_set():
                n = len(self.acked) + 1
                op: dict[str, Any] = {"n": n, "base": 0, "workout": W, "at": now_ms()}
                if n == 1:
                    op |= {"kind": "workout.create", "value": {}}
                else:
                    value = {"exercise_entry": W, "type": "working", "reps": n}
                    op |= {"kind": "set.log", "value": value, "entity": str(uuid.uuid4())}
                await self.pushes(wire, op)
                await asyncio.sleep(0.05)

    async def pushes(self, wire: Any, op: dict[str, Any]) -> None:
        while True:
            asked = time.monotonic()
            answer = await wire.push(op)
            self.longest = max(self.longest, time.monotonic() - asked)
            if answer["ok"]:
                self.acked[op["n"]] = answer["results"][0]["seq"]
                return
            assert answer["code"] == "later", answer
            self.later += 1
            await asyncio.sleep(min(answer.get("retry_ms", 200), 1000) / 1000)


async def ready(process: Process) -> bool:
    async with aiohttp.ClientSession() as http:
        return (await http.get(f"{process.url}/health/ready")).status == 200


async def until(what: Any, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not await what():
            await asyncio.sleep(0.1)


async def test_pushes_get_later_within_a_bound_and_all_goes_on_when_it_is_back(postgres_server, make_process):
    url = postgres_server.url("postgres")
    db = Database.open(url)
    await db.migrate()
    await db.close()
    process = await make_process(url)
    lifters = [Lifter(user, device) for user, [device] in await people(url, USERS)]
    over = asyncio.Event()
    training = [asyncio.create_task(lifter.trains(process, over)) for lifter in lifters]

    async def all_acked(more: int) -> None:
        wanted = [len(lifter.acked) + more for lifter in lifters]

        async def reached() -> bool:
            return all(len(lifter.acked) >= n for lifter, n in zip(lifters, wanted, strict=True))

        await until(reached, 30)

    await all_acked(5)
    await asyncio.to_thread(postgres_server.crash)
    at_the_end = asyncio.get_running_loop().time() + GONE_S
    before = [len(lifter.acked) for lifter in lifters]

    async def is_red() -> bool:
        return not await ready(process)

    await until(is_red, 10)
    await asyncio.sleep(at_the_end - asyncio.get_running_loop().time())
    assert [len(lifter.acked) for lifter in lifters] == before, "acknowledged without a database"
    assert all(lifter.later for lifter in lifters)
    await asyncio.to_thread(postgres_server.start)

    await until(lambda: ready(process), 15)
    await all_acked(5)
    over.set()
    await asyncio.gather(*training)
    for lifter in lifters:
        assert lifter.longest < BOUND_S
        log = await told(process, lifter.user, lifter.device)
        assert {record["n"]: record["seq"] for record in log} == lifter.acked
        assert [record["seq"] for record in log] == list(range(1, len(log) + 1))
    # Warnings that tell of the absence are no complaints; an error would be one.
    complaints = process.complaints
    process.complaints = lambda: [c for c in complaints() if "'level': 'warning'" not in c]
