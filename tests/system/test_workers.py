"""Several workers behind one port, as real processes: they are killed, asked to end, and left alone."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections import Counter, defaultdict
from contextlib import suppress
from itertools import permutations

import aiohttp
import psutil  # type: ignore[import-untyped]
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fitai.persistence.database import Database
from fitai.persistence.log import Log
from tests.gateways.device import Device
from tests.redis_servers import free_port
from tests.system.conftest import now_ms, people
from tests.system.test_crash import Lifter, check_log

pytestmark = pytest.mark.timeout(240)

PATIENCE_S = 60.0


def workers_of(process):
    """The worker processes that live."""
    found = []
    for child in psutil.Process(process._process.pid).children():
        with suppress(psutil.NoSuchProcess):  # it has just ended
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return sorted(found, key=lambda child: child.pid)


async def until(holds, what):
    """Poll until it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not await holds():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.1)


async def scrape(port):
    """{(name, worker): value}, summed over other labels; empty when nobody answers."""
    found: dict[tuple[str, str], float] = defaultdict(float)
    try:
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as response:
            text = await response.text()
    except aiohttp.ClientError:
        return found
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, sample.labels.get("worker", "")] += sample.value
    return found


async def code_of(process):
    return await asyncio.to_thread(process._process.wait, PATIENCE_S)


@pytest.fixture
async def pair(postgres_url, redis_url, make_process):
    """Two workers; `metrics` is the port of their meters."""
    metrics = free_port()
    process = await make_process(
        postgres_url,
        FITAI_REDIS_URL=redis_url,
        FITAI_REDIS_PREFIX=uuid.uuid4().hex,
        FITAI_WORKERS="2",
        FITAI_METRICS_BIND=f"127.0.0.1:{metrics}",
    )
    process.metrics = metrics
    return process


async def test_devices_of_a_user_on_two_workers_see_one_log_and_the_meters_add_up(pair, postgres_url):
    process = pair
    [(user, devices)] = await people(postgres_url, 1, devices=2)
    crowd: list[Device] = []
    try:
        while True:  # connections are shared out by whoever is quicker: some on each
            device = Device(user, devices[len(crowd) % 2])
            crowd.append(device)
            await device.connect(process)
            numbers = await scrape(process.metrics)
            if all(numbers["fitai_connections", worker] for worker in "01"):
                break
            assert len(crowd) < 16, numbers
        assert numbers["fitai_workers", ""] == 2
        first, *others = crowd
        workout = str(uuid.uuid4())
        first.write("workout.create", workout, {"title": "Legs"}, at=now_ms())
        first.write("workout.start", workout, at=now_ms())
        await first.flush()
        for other in others:
            if other.id != first.id:
                assert other.wire is not None
                await other.wire.told(2)
        numbers = await scrape(process.metrics)
        assert sum(numbers["fitai_ops_total", worker] for worker in "01") == 2
        assert sum(numbers["fitai_connections", worker] for worker in "01") == len(crowd)

        async def pulses():
            told = await scrape(process.metrics)
            return all(told["fitai_loop_lag_seconds_count", worker] for worker in "01")

        await until(pulses, "a worker does not feel its loop")
    finally:
        for device in crowd:
            await device.cut()


async def test_a_killed_worker_is_replaced_and_no_acknowledged_op_is_lost(pair, postgres_url):
    process = pair
    persons = await people(postgres_url, 6)
    lifters = [Device(user, devices[0]) for user, devices in persons]
    workouts = [str(uuid.uuid4()) for _ in lifters]
    for device, workout in zip(lifters, workouts, strict=True):
        await device.connect(process)
        device.write("workout.create", workout, at=now_ms())
        device.write("workout.start", workout, at=now_ms())
        await device.flush()
    before = workers_of(process)
    os.kill(before[0].pid, signal.SIGKILL)

    async def replaced():
        now = workers_of(process)
        numbers = await scrape(process.metrics)
        return len(now) == 2 and before[0] not in now and numbers["fitai_workers", ""] == 2

    await until(replaced, "the worker was not replaced")
    assert before[1] in workers_of(process), "the other worker was to live on"
    for device in lifters:
        await device.cut()
        await device.connect(process, cursor=device.place)
        device.write("workout.complete", workouts[lifters.index(device)], at=now_ms())
        await device.flush()
        await device.cut()
    db = Database.open(postgres_url)
    try:
        async with db.read() as session:
            for device in lifters:
                row = await Log(session).stream_of(device.user)
                records = await Log(session).read(row.id, 0, 100)
                assert {r.op.n: r.seq for r in records if r.device == device.id} == device.acked
                assert len(device.acked) == 3
    finally:
        await db.close()
    assert '"event": "worker_ended"' in process.log()


async def test_workers_on_one_sqlite_file_wait_for_each_other(sqlite_url, redis_url, make_process):
    process = await make_process(
        sqlite_url, FITAI_REDIS_URL=redis_url, FITAI_REDIS_PREFIX=uuid.uuid4().hex, FITAI_WORKERS="2"
    )
    lifters = [
        Lifter(user, devices[0], str(uuid.uuid4()), str(uuid.uuid4()))
        for user, devices in await people(sqlite_url, 12)
    ]
    try:
        for lifter in lifters:
            await lifter.device.connect(process)
            lifter.begins()
        training = [asyncio.get_running_loop().create_task(lifter.trains()) for lifter in lifters]

        async def enough():
            return min(len(lifter.device.acked) for lifter in lifters) > 30

        await until(enough, "the writers stand in each other's way")
        for lifter in lifters:
            lifter.device.wire.ws._writer.transport.abort()
        await asyncio.gather(*training)
        assert sum(lifter.device.counts["later"] for lifter in lifters) == 0
        db = Database.open(sqlite_url)
        try:
            await check_log(db, lifters)
        finally:
            await db.close()
    finally:
        for lifter in lifters:
            await lifter.device.cut()


def connections(worker, port):
    """How many connections to the port a process holds."""
    return sum(c.status == "ESTABLISHED" and c.laddr.port == port for c in worker.net_connections())


async def test_each_worker_takes_all_that_come_while_the_other_stands_still(pair):
    """How they share what comes to both is up to the kernel. That each takes one at a time is shown of the
    loop, in tests/app/test_listen.py."""
    url = f"{pair.url}/socket.io/?EIO=4&transport=websocket"
    for still, awake in permutations(workers_of(pair)):
        still.suspend()

        async def stands_still(worker=still):
            return worker.status() == psutil.STATUS_STOPPED

        try:
            await until(stands_still, "it goes on")
            async with aiohttp.ClientSession() as http:
                sockets = await asyncio.gather(*(http.ws_connect(url) for _ in range(20)))
                for each in sockets:
                    assert (await each.receive_str(timeout=PATIENCE_S)).startswith("0{")
                held = {worker.pid: connections(worker, pair.port) for worker in (still, awake)}
                assert held == {still.pid: 0, awake.pid: 20}
                await asyncio.gather(*(each.close() for each in sockets))
        finally:
            still.resume()


async def test_sigterm_to_one_worker_drains_it_and_another_takes_its_place(pair, postgres_url):
    before = workers_of(pair)
    os.kill(before[0].pid, signal.SIGTERM)
    os.kill(before[0].pid, signal.SIGTERM)  # a worker may hear it more than once

    async def replaced():
        now = workers_of(pair)
        return len(now) == 2 and before[0] not in now

    await until(replaced, "the worker was not replaced")
    assert '"code": 0' in pair.log(), "it did not come to a clean end"


async def test_the_group_of_a_terminal_or_of_systemd_may_be_signalled_as_a_whole(pair):
    everybody = [pair._process.pid, *(worker.pid for worker in workers_of(pair))]
    for number in (signal.SIGINT, signal.SIGTERM):
        for pid in everybody[1:]:
            os.kill(pid, number)
    os.kill(everybody[0], signal.SIGTERM)
    assert await code_of(pair) == 0, pair.log()[-3000:]
    assert not any(map(psutil.pid_exists, everybody))
    assert '"codes": [0, 0]' in pair.log()


async def test_a_second_signal_ends_all_at_once(postgres_url, redis_url, make_process):
    process = await make_process(
        postgres_url,
        FITAI_REDIS_URL=redis_url,
        FITAI_WORKERS="2",
        FITAI_LIMIT_DRAIN_NOTICE_SECONDS="600",
    )
    workers = workers_of(process)
    process._process.send_signal(signal.SIGTERM)

    async def heard():
        return '"event": "draining"' in process.log()

    await until(heard, "nothing was heard")
    process._process.send_signal(signal.SIGINT)
    assert await code_of(process) == 130
    await asyncio.to_thread(psutil.wait_procs, workers, PATIENCE_S)
    assert not any(worker.is_running() for worker in workers)


async def test_workers_do_not_outlive_their_supervisor(pair):
    workers = workers_of(pair)
    pair.kill()
    gone, alive = await asyncio.to_thread(psutil.wait_procs, workers, PATIENCE_S)
    assert len(gone) == 2
    assert alive == []


async def test_workers_that_all_end_at_once_again_and_again_are_given_up(pair):
    """As with a bug that only this machine has: each is killed as soon as it is there."""
    killed: Counter[int] = Counter()
    deadline = time.monotonic() + 150
    while pair._process.poll() is None:  # by the watcher of this process alone
        assert time.monotonic() < deadline, killed
        for worker in workers_of(pair):
            with suppress(psutil.NoSuchProcess):
                worker.kill()
                killed[worker.pid] += 1
        await asyncio.sleep(0.02)
    assert await code_of(pair) == 2
    last = [line for line in pair.log().splitlines() if line.startswith("fitai: ")]
    assert last == ["fitai: All workers end at once, 5 times in a row (the last killed by signal 9)."]
