"""Readiness of a real server while a part of it is broken: red within ten seconds, green again by itself."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import time

import aiohttp
import asyncpg
import pytest

from fitai.persistence.database import Database
from tests.redis_servers import RedisServer

pytestmark = pytest.mark.timeout(180)

RED_S = 10.0
GREEN_S = 30.0
QUIET = {
    "FITAI_LOG_LEVEL": "error"
}  # what postpones its work says so, with the reason; that is no complaint here


async def ready(process):
    """(status, checks) and the seconds that the answer took."""
    asked = time.monotonic()
    async with aiohttp.ClientSession() as http, http.get(f"{process.url}/health/ready") as response:
        body = await response.json()
    return response.status, body["checks"], time.monotonic() - asked


async def summary(process):
    async with aiohttp.ClientSession() as http, http.get(f"{process.url}/health") as response:
        assert response.status == 200
        return (await response.json())["status"]


async def turns(process, status, within_s):
    """Wait until readiness has this status; returns the checks."""
    began = time.monotonic()
    while True:
        now, checks, _ = await ready(process)
        if now == status:
            return checks
        assert time.monotonic() - began < within_s, f"still {now} after {within_s} s: {checks}"
        await asyncio.sleep(0.1)


async def red(process, **down):
    checks = await turns(process, 503, RED_S)
    assert checks == {"database": "ok", "bus": "ok", **down}
    assert await summary(process) == "degraded"
    _, _, took = await ready(process)
    assert took < 5, "a question must not wait for what stands still"


async def green(process):
    await turns(process, 200, GREEN_S)
    assert await summary(process) == "ok"


async def test_a_frozen_redis(sqlite_url, make_process):
    server = RedisServer()
    server.start()
    try:
        process = await make_process(sqlite_url, **QUIET, FITAI_REDIS_URL=server.url)
        await green(process)
        server.freeze()
        await red(process, bus="down")
        server.thaw()
        await green(process)
    finally:
        server.remove()


async def test_a_postgresql_that_stops_and_one_that_freezes(postgres_server, make_process):
    url = postgres_server.url("postgres")
    db = Database.open(url)
    await db.migrate()
    await db.close()
    process = await make_process(url, **QUIET)
    await green(process)
    postgres_server.stop()
    await red(process, database="down")
    postgres_server.start()
    await green(process)
    postgres_server.freeze()
    await red(process, database="down")
    postgres_server.thaw()
    await green(process)


async def test_a_postgresql_that_only_reads(postgres_server, make_process):
    url = postgres_server.url("postgres")
    db = Database.open(url)
    await db.migrate()
    await db.close()
    process = await make_process(url, **QUIET)
    await green(process)
    admin = await asyncpg.connect(url)
    try:
        await admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await admin.execute("SELECT pg_reload_conf()")
        await red(process, database="down")
        await admin.execute("SET default_transaction_read_only = off")
        await admin.execute("ALTER SYSTEM SET default_transaction_read_only = off")
        await admin.execute("SELECT pg_reload_conf()")
        await green(process)
    finally:
        await admin.close()


async def test_an_sqlite_whose_write_lock_is_held(sqlite_url, make_process):
    process = await make_process(sqlite_url, **QUIET)
    await green(process)
    holder = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        await red(process, database="down")
        holder.execute("ROLLBACK")
        await green(process)
    finally:
        holder.close()


async def test_a_disk_that_takes_no_writes(sqlite_url, make_process):
    """No file of the server may grow, as on a disk that is full; its log must be left out of that."""
    process = await make_process(sqlite_url, **QUIET)
    await green(process)
    pid = process._process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    await red(process, database="down")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    await green(process)
