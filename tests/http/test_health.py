from __future__ import annotations

import asyncio

from sqlalchemy import select

from fitai.http import health
from fitai.http.health import Health
from fitai.persistence.models import Lease


async def fine() -> None:
    pass


async def broken() -> None:
    raise ConnectionError("gone")


async def test_the_summary_tells_version_uptime_and_parts(api):
    answer = await api.call("GET", "/health")

    assert answer.status == 200
    assert answer.body == {
        "status": "ok",
        "version": "1.2.3",
        "uptime_s": answer.body["uptime_s"],
        "database": "ok",
        "bus": "ok",
    }
    assert answer.body["uptime_s"] >= 0


async def test_a_healthy_server_is_live_and_ready(api):
    assert (await api.call("GET", "/health/live")).body == {"status": "ok"}
    assert (await api.call("GET", "/v1/health/ready")).body == {
        "status": "ok",
        "checks": {"database": "ok", "bus": "ok"},
    }


async def test_a_server_whose_bus_is_silent_lives_but_is_not_ready(make_api):
    api = await make_api(checks={"bus": broken})

    ready = await api.call("GET", "/health/ready")
    summary = await api.call("GET", "/health")

    assert (ready.status, ready.code) == (503, "unavailable")
    assert ready.body["checks"] == {"database": "ok", "bus": "down"}
    assert (summary.status, summary.body["status"], summary.body["bus"]) == (200, "degraded", "down")
    assert (await api.call("GET", "/health/live")).status == 200


async def test_a_database_without_its_schema_is_not_ready(make_api, tmp_path):
    api = await make_api(f"sqlite:///{tmp_path}/empty.db")

    ready = await api.call("GET", "/health/ready")

    assert ready.body["checks"]["database"] == "down"


async def test_a_part_that_never_answers_is_given_up_and_asked_once_until_it_does(monkeypatch):
    monkeypatch.setattr(health, "CHECK_S", 0.01)
    asked = 0
    answered = asyncio.Event()

    async def silent() -> None:
        nonlocal asked
        asked += 1
        await answered.wait()

    now = 100.0
    parts = Health("1", {"database": fine, "bus": silent}, clock=lambda: now)
    for _ in range(3):
        assert await parts.answers() == {"database": "ok", "bus": "down"}
        now += 1
    assert asked == 1
    answered.set()
    assert await parts.answers() == {"database": "ok", "bus": "ok"}
    now += 1
    assert await parts.answers() == {"database": "ok", "bus": "ok"}
    assert asked == 2
    await parts.close()


async def test_what_is_still_asked_is_called_off_at_the_end(monkeypatch):
    monkeypatch.setattr(health, "CHECK_S", 0.01)
    called_off = False

    async def silent() -> None:
        nonlocal called_off
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            called_off = True
            raise

    parts = Health("1", {"bus": silent})
    await parts.answers()
    await parts.close()
    assert called_off


async def test_a_server_that_was_asked_to_end_is_not_ready_but_serves(api):
    api.client.app[health.HEALTH].draining = True

    ready = await api.call("GET", "/health/ready")
    summary = await api.call("GET", "/health")

    assert (ready.status, ready.code) == (503, "unavailable")
    assert ready.body["checks"] == {"node": "draining"}
    assert (summary.status, summary.body["status"], summary.body["database"]) == (200, "draining", "ok")


async def test_a_check_of_the_database_leaves_nothing(api):
    await api.call("GET", "/health/ready")

    async with api.db.read() as session:
        assert (await session.execute(select(Lease))).all() == []


async def test_many_questions_at_once_ask_the_parts_once():
    asked = 0

    async def check() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)

    now = 100.0
    health = Health("1", {"database": check}, clock=lambda: now)
    await asyncio.gather(*(health.answers() for _ in range(20)))
    assert asked == 1
    now += 1
    await health.answers()
    assert asked == 2
