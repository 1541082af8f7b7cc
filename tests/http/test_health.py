from __future__ import annotations

import asyncio

from prometheus_client import REGISTRY
from sqlalchemy import select, text

from fitai.http import health
from fitai.http.health import Health
from fitai.persistence import schema
from fitai.persistence.jobs import Jobs
from fitai.persistence.models import Lease

TOKEN = "a token that is long enough"
PARTS = ("database", "bus", "node")


async def no_report() -> bytes:
    return b""


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
        "migrations": "ok",
        "disk": "ok",
        "queue": "ok",
        "details": None,
    }
    assert answer.body["uptime_s"] >= 0


async def test_numbers_are_for_who_shows_the_operators_token(make_api):
    api = await make_api(report=no_report, metrics_token=TOKEN)

    for header in ({}, {"Authorization": "Bearer guessed"}, {"Authorization": f"Basic {TOKEN}"}):
        assert (await api.call("GET", "/health", **header)).body["details"] is None
    told = (await api.call("GET", "/health", Authorization=f"Bearer {TOKEN}")).body["details"]

    assert told["database"]["latency_ms"] > 0
    assert told["bus"]["latency_ms"] >= 0
    assert told["migrations"] == {"revision": schema.newest(), "standing": "current"}
    assert 0 < told["disk"]["free_bytes"] < told["disk"]["total_bytes"]
    assert told["queue"] == {"waiting": 0, "oldest_s": 0, "dead": 0}


async def test_without_a_token_nobody_is_an_operator(api):
    assert (await api.call("GET", "/health", Authorization="Bearer None")).body["details"] is None


async def test_a_full_disk_an_old_schema_and_jobs_that_wait_are_told_and_the_server_stays_ready(
    make_api, database_url
):
    api = await make_api(database_url, disk_low=1 << 62, report=no_report, metrics_token=TOKEN)
    async with api.db.write() as session:
        await Jobs(session).put("mail", {}, now=api.clock())
        await Jobs(session).put("mail", {}, now=api.clock(), due=api.clock() + 3_600_000)  # not yet
        await session.execute(text("UPDATE alembic_version SET version_num = '0006'"))
    api.clock.advance(seconds=299)
    soon = (await api.call("GET", "/health")).body
    api.clock.advance(seconds=1)
    api.client.app[health.HEALTH]._others.at = float("-inf")  # what was found a moment ago is still good

    body = (await api.call("GET", "/health", Authorization=f"Bearer {TOKEN}")).body

    assert soon["queue"] == "ok"
    assert [body[part] for part in ("status", "migrations", "disk", "queue")] == ["degraded"] * 4
    assert (body["database"], body["bus"]) == ("ok", "ok")
    assert body["details"]["queue"] == {"waiting": 1, "oldest_s": 300, "dead": 0}
    assert body["details"]["migrations"] == {"revision": "0006", "standing": "behind"}
    assert (await api.call("GET", "/health/ready")).status == 200


async def test_a_schema_of_a_newer_release_is_well(api):
    async with api.db.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert (await api.call("GET", "/health")).body["migrations"] == "ok"


async def test_what_can_not_be_looked_at_is_degraded_and_why_is_told_to_nobody(make_api):
    async def unreadable():
        raise OSError("/srv/secret/place: input/output error")

    api = await make_api(looks={"disk": unreadable}, report=no_report, metrics_token=TOKEN)
    answer = await api.call("GET", "/health", Authorization=f"Bearer {TOKEN}")

    assert (answer.body["status"], answer.body["disk"]) == ("degraded", "degraded")
    assert "disk" not in answer.body["details"]
    assert "secret" not in str(answer.body)


async def test_readiness_is_a_meter(make_api):
    api = await make_api(checks={"bus": broken})
    await api.client.app[health.HEALTH].measure()
    ready = {part: REGISTRY.get_sample_value("fitai_ready", {"part": part}) for part in PARTS}
    assert ready == {"database": 1, "bus": 0, "node": 1}
    assert (REGISTRY.get_sample_value("fitai_disk_free_bytes") or 0) > 0


async def test_the_meters_do_not_wait_long_for_a_part_that_is_silent(monkeypatch):
    monkeypatch.setattr(health, "MEASURED_S", 0.01)
    answered = asyncio.Event()

    async def silent() -> None:
        await answered.wait()

    parts = Health("1", {"bus": silent})
    await parts.measure()
    answered.set()
    await parts.measure()
    assert REGISTRY.get_sample_value("fitai_ready", {"part": "bus"}) == 1
    await parts.close()


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


async def test_a_database_without_its_schema_is_not_ready(make_api):
    api = await make_api()
    async with api.db.write() as session:
        await session.execute(text("DROP TABLE leases"))

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
        names = (await session.execute(select(Lease.name))).scalars().all()
    assert names == ["signing_keys"]  # which was there before


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
