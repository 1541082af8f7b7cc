"""kill -9 in the middle of a handler: the claim ends, and another process does it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.gateways.jobs.kit import put, rows, until

WORKER = Path(__file__).with_name("crash_worker.py")


@contextmanager
def worker(url, folder, redis_url):
    process = subprocess.Popen([sys.executable, WORKER, url, folder, *([redis_url] if redis_url else [])])
    try:
        yield process
    finally:
        process.kill()
        process.wait(15)


@pytest.mark.parametrize("broker", ["memory", "redis"])
async def test_a_job_whose_worker_was_killed_is_done_by_another(db, database_url, broker, tmp_path, request):
    redis_url = None if broker == "memory" else request.getfixturevalue("redis_server").url
    folder = tmp_path / "seen"
    folder.mkdir()
    (folder / "slow").touch()
    for n in range(4):
        await put(db, n, now=time.time_ns() // 1_000_000)
    with worker(database_url, folder, redis_url) as first:
        await until(lambda: len(list(folder.glob(f"*-begun-{first.pid}-1"))) == 4, "four begun", 40)
        first.kill()
        first.wait(15)
    assert list(folder.glob("*-ended")) == []
    assert all(job.claimed_by and job.done_at is None for job in (await rows(db)).values())
    (folder / "slow").unlink()
    with worker(database_url, folder, redis_url) as second:
        await until(lambda: len(list(folder.glob("*-ended"))) == 4, "four ended", 40)
        assert {path.name for path in folder.glob("*-begun-*-2")} == {
            f"{n}-begun-{second.pid}-2" for n in range(4)
        }
        async with asyncio.timeout(15):
            while any(job.done_at is None for job in (await rows(db)).values()):
                await asyncio.sleep(0.05)
