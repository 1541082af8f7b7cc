"""Whole workers: both engines, both brokers, and Redis when it is away, restarted or silent."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from contextlib import asynccontextmanager
from random import Random

import pytest

from fitai.gateways.jobs import relay as relay_module
from fitai.gateways.jobs.brokers import open_broker
from fitai.gateways.jobs.contract import Kinds
from fitai.gateways.jobs.relay import Periodic
from fitai.gateways.jobs.worker import Worker
from fitai.persistence.jobs import Jobs
from tests.gateways.jobs.kit import kind, put, rows, until


def now_ms():
    return time.time_ns() // 1_000_000


class Seen:
    """A handler that counts, by the n of the payload."""

    def __init__(self):
        self.runs = Counter()

    async def __call__(self, attempt, note):
        self.runs[note.n] += 1


@asynccontextmanager
async def working(db, url, *kinds, prefix="test", periodic=()):
    broker = open_broker(url, prefix=prefix, node=uuid.uuid4().hex[:8], at_a_time=8)
    worker = Worker(db, broker, Kinds(kinds), periodic=periodic, now_ms=now_ms, chance=Random(1))
    await worker.start()
    try:
        yield worker
    finally:
        await worker.close(5)


async def all_done(db):
    found = await rows(db)
    return found and all(job.done_at is not None for job in found.values())


async def until_all_done(db, within_s=20.0):
    async with asyncio.timeout(within_s):
        while not await all_done(db):
            await asyncio.sleep(0.02)


@pytest.fixture(params=["memory", "redis"])
def url(request):
    return None if request.param == "memory" else request.getfixturevalue("redis_url")


@pytest.fixture
def prefix():
    return uuid.uuid4().hex


async def test_what_is_committed_is_run_and_what_is_rolled_back_is_not(db, url, prefix):
    seen = Seen()
    async with working(db, url, kind(seen), prefix=prefix):
        for n in range(20):
            try:
                async with db.write() as session:
                    await Jobs(session).put("note", {"n": n}, now=now_ms())
                    if n % 2:
                        raise LookupError
            except LookupError:
                pass
        await until_all_done(db)
    assert seen.runs == Counter(range(0, 20, 2))


async def test_a_commit_wakes_the_worker_at_once(db, url, prefix, monkeypatch):
    monkeypatch.setattr(relay_module, "SCAN_S", 1000.0)  # only being woken can help
    seen = Seen()
    async with working(db, url, kind(seen), prefix=prefix):
        await put(db, 1, now=now_ms())
        await until(lambda: seen.runs[1] == 1)
        await put(db, 2, now=now_ms())
        await until(lambda: seen.runs[2] == 1)


async def test_what_another_process_put_unheard_is_found(db, url, prefix, monkeypatch):
    monkeypatch.setattr(relay_module, "SCAN_S", 0.05)
    seen = Seen()
    async with working(db, url, kind(seen), prefix=prefix):
        db._listeners.clear()
        await put(db, 1, now=now_ms())
        await until(lambda: seen.runs[1] == 1)


async def test_two_workers_share_and_run_nothing_twice(db, url, prefix):
    one, other = Seen(), Seen()
    async with working(db, url, kind(one), prefix=prefix), working(db, url, kind(other), prefix=prefix):
        await asyncio.gather(*(put(db, n, now=now_ms()) for n in range(60)))
        await until_all_done(db)
    assert one.runs + other.runs == Counter(range(60))


async def test_a_periodic_job_is_run_once_for_all(db, url, prefix):
    one, other = Seen(), Seen()
    yearly = Periodic("note", 365 * 86_400_000)

    async def never(attempt, note):
        one.runs["ran"] += 1

    async with (
        working(db, url, kind(never), prefix=prefix, periodic=[yearly]),
        working(db, url, kind(other), prefix=prefix, periodic=[yearly]),
    ):
        async with asyncio.timeout(15):
            while not any(job.dead_at for job in (await rows(db)).values()):
                await asyncio.sleep(0.02)  # a note has a payload, which the clock has not: dead, once
    assert len(await rows(db)) == 1


async def test_closing_ends_what_runs_and_leaves_the_rest_in_the_table(db, url, prefix):
    begun, free = asyncio.Event(), asyncio.Event()

    async def handle(attempt, note):
        begun.set()
        await free.wait()

    async with working(db, url, kind(handle), prefix=prefix) as worker:
        job = await put(db, now=now_ms())
        await begun.wait()
        worker.stop()
        left = await put(db, now=now_ms())
        asyncio.get_running_loop().call_later(0.1, free.set)
        await worker.close(5)
        assert worker.running == 0
    found = await rows(db)
    assert found[job].done_at is not None
    assert (found[left].done_at, found[left].attempts) == (None, 0)
    seen = Seen()
    async with working(db, url, kind(seen), prefix=prefix):
        await until(lambda: seen.runs[1] == 1)


# -- Redis alone ---------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(relay_module, "SCAN_S", 0.1)
    monkeypatch.setattr(relay_module, "SENT_MS", 500)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_jobs_are_run_while_redis_is_away_and_by_all_when_it_is_back(db, redis_server, quick):
    redis_server.stop()
    seen, other = Seen(), Seen()
    async with working(db, redis_server.url, kind(seen)) as worker:
        await put(db, 1, now=now_ms())
        await until(lambda: seen.runs[1] == 1)
        redis_server.start()
        async with working(db, redis_server.url, kind(other)):
            n = 2
            while not other.runs:
                await put(db, n, now=now_ms())
                await asyncio.sleep(0.05)
                n += 1
                assert n < 300, "the other one never got any"
            await until_all_done(db)
            total = seen.runs + other.runs
            assert set(total) == set(range(1, n))
            assert set(total.values()) == {1}
        assert worker.running == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_stream_that_redis_forgot_costs_no_job(db, redis_server, quick):
    seen = Seen()
    async with working(db, redis_server.url, kind(seen)):
        await put(db, 1, now=now_ms())
        await until(lambda: seen.runs[1] == 1)
        for n in range(2, 12):
            await put(db, n, now=now_ms())
            if n % 4 == 0:
                redis_server.ask("FLUSHALL")
            if n == 10:
                await asyncio.to_thread(redis_server.restart)
        await until_all_done(db, 40)
    assert seen.runs == Counter(range(1, 12))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_redis_that_is_silent_costs_a_moment(db, redis_server, quick):
    seen = Seen()
    async with working(db, redis_server.url, kind(seen)):
        await put(db, 1, now=now_ms())
        await until(lambda: seen.runs[1] == 1)
        redis_server.freeze()
        try:
            await put(db, 2, now=now_ms())
            await until(lambda: seen.runs[2] == 1)
        finally:
            redis_server.thaw()
    assert seen.runs == Counter([1, 2])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_messages_that_are_no_tickets_stop_nobody(db, redis_server, quick):
    seen = Seen()
    async with working(db, redis_server.url, kind(seen)):
        await put(db, 1, now=now_ms())
        await until(lambda: seen.runs[1] == 1)
        for data in (
            b"\xff",
            b"{}",
            b'{"task_id": "x", "task_name": "job", "labels": {}, "args": [], "kwargs": {}}',
        ):
            redis_server.ask("XADD", "test:jobs", "*", "data", data)
        redis_server.ask("XADD", "test:jobs", "*", "nothing", "here")
        await put(db, 2, now=now_ms())
        await until(lambda: seen.runs[2] == 1)
