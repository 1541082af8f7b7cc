from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import text

from fitai.http.ids import new_id


async def test_two_devices_and_both_surfaces_see_one_order(api, ada):
    """What REST writes is in the log at once, in the order of the answers."""
    workout = await ada.workout(title="t")
    await ada.post(f"/v1/workouts/{workout['id']}/start")
    await ada.post(f"/workouts/{workout['id']}/complete")

    records = await (await api.hosts.open(ada.id)).read(0, 10)

    assert [record["kind"] for record in records] == ["workout.create", "workout.start", "workout.complete"]
    assert [record["seq"] for record in records] == [1, 2, 3]


async def test_an_error_of_the_database_is_not_told_to_the_caller(api, ada):
    async with api.db.write() as session:
        await session.execute(text("ALTER TABLE devices RENAME TO elsewhere"))

    broken = await ada.call("GET", "/auth/devices")

    assert (broken.status, broken.code) == (500, "internal")
    assert "devices" not in str(broken.body)


async def test_a_database_that_cannot_be_written_now_is_told_and_comes_back(api, ada):
    blocker = sqlite3.connect(api.db.url.database, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    away = await api.call("POST", "/auth/refresh", {"refresh_token": ada.refresh_token})
    blocker.execute("ROLLBACK")
    blocker.close()

    assert (away.status, away.code) == (503, "unavailable")
    assert away.headers["Retry-After"] == "1"
    back = await api.call("POST", "/auth/refresh", {"refresh_token": ada.refresh_token})
    assert back.status == 200, "the token was not spent"


async def test_a_whole_session_works_on_either_engine(database_url, make_api):
    api = await make_api(database_url)
    ada = await api.register(install_id="install-0001")
    workout = await ada.workout(title="t\u0000t")
    state = await ada.put(f"/workouts/{workout['id']}/exercise/0", {"exercise": "squat"}, workout["rev"])
    await ada.put(f"/workouts/{workout['id']}/set/0", {"reps": 5}, state["rev"])
    link = await ada.call("POST", f"/workouts/{workout['id']}/share", {"fields": ["sets"]})

    page = await ada.call("GET", "/workouts?exercise=squat&limit=1")
    assert [row["sets"] for row in page.body["workouts"]] == [1]
    assert (await api.call("GET", link.body["url"])).body["exercises"][0]["sets"][0]["reps"] == 5
    assert (await ada.call("DELETE", f"/workouts/shared/{link.body['id']}")).status == 204
    assert (await ada.call("DELETE", f"/auth/devices/{ada.device}")).status == 204
    assert (await ada.call("GET", "/workouts")).code == "device_revoked"


def test_there_is_no_init_file_that_would_shadow_the_standard_library():
    assert not (Path(__file__).parents[2] / "http" / "__init__.py").exists()


def test_ids_made_later_sort_later():
    assert new_id(1_000) < new_id(2_000) < new_id(3_000_000_000_000)
