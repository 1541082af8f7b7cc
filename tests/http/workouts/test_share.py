from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from fitai.http.workouts.share import view


async def logged(person: Any) -> dict[str, Any]:
    """A workout with everything in it that could be shared."""
    workout = await person.workout(title="Secret plan", note="my note", tz="UTC", template="5x5")
    path = f"/workouts/{workout['id']}"
    state = await person.put(f"{path}/exercise/0", {"exercise": "squat", "note": "bad knee"}, workout["rev"])
    return await person.put(
        f"{path}/set/0", {"reps": 5, "load": {"value": 100, "unit": "kg"}, "note": "ouch"}, state["rev"]
    )


async def share(person: Any, workout: dict[str, Any], *fields: str, **body: Any) -> dict[str, Any]:
    answer = await person.call("POST", f"/workouts/{workout['id']}/share", {"fields": list(fields), **body})
    assert answer.status == 201, answer.body
    link: dict[str, Any] = answer.body
    return link


async def test_a_link_opens_without_an_account_and_shows_the_chosen_fields_only(ada, api):
    workout = await logged(ada)
    link = await share(ada, workout, "title", "totals")

    opened = await api.call("GET", link["url"])

    assert opened.status == 200
    assert set(opened.body) == {"title", "totals"}
    assert opened.body["title"] == "Secret plan"
    assert opened.body["totals"]["sets"] == 1
    assert "exercises" not in opened.body["totals"], "it would name the exercises"


async def test_sets_bring_their_exercises_but_no_notes_ids_or_devices(ada, api):
    workout = await logged(ada)
    link = await share(ada, workout, "sets")

    opened = (await api.call("GET", link["url"])).body

    (entry,) = opened["exercises"]
    (row,) = entry["sets"]
    assert (entry["exercise"], row["reps"], row["load"]) == ("squat", 5, {"value": 100, "unit": "kg"})
    assert not {"id", "note", "plan", "target"} & set(entry)
    assert not {"id", "note", "dot", "at"} & set(row)


async def test_notes_come_with_what_is_shown_only(ada, api):
    workout = await logged(ada)

    with_exercises = (await api.call("GET", (await share(ada, workout, "notes", "exercises"))["url"])).body
    alone = (await api.call("GET", (await share(ada, workout, "notes"))["url"])).body

    assert with_exercises["exercises"] == [{"exercise": "squat", "superset": None, "note": "bad knee"}]
    assert alone == {"note": "my note"}


async def test_a_link_shows_the_workout_as_it_is_now(ada, api):
    workout = await logged(ada)
    link = await share(ada, workout, "title")

    await ada.put(f"/workouts/{workout['id']}", {"title": "Renamed"}, workout["rev"])

    assert (await api.call("GET", link["url"])).body == {"title": "Renamed"}


async def test_a_revoked_link_is_as_good_as_unknown(ada, api):
    workout = await logged(ada)
    link = await share(ada, workout, "title")
    other = await share(ada, workout, "status")

    revoked = await ada.call("DELETE", f"/workouts/shared/{link['id']}")
    again = await ada.call("DELETE", f"/workouts/shared/{link['id']}")
    opened = await api.call("GET", link["url"], X_Request_Id="same")
    unknown = await api.call("GET", "/workouts/shared/nothing", X_Request_Id="same")

    assert (revoked.status, again.status) == (204, 404)
    assert (opened.status, opened.body) == (404, unknown.body)
    assert [row["id"] for row in (await ada.call("GET", "/workouts/shared")).body["shares"]] == [other["id"]]
    assert (await api.call("GET", other["url"])).status == 200


async def test_a_link_can_expire(ada, api):
    link = await share(ada, await logged(ada), "title", expires_in=120)
    assert link["expires_at"] == api.clock() + 120_000

    assert (await api.call("GET", link["url"])).status == 200
    api.clock.advance(seconds=120)

    assert (await api.call("GET", link["url"])).status == 404
    assert (await ada.call("GET", "/workouts/shared")).body == {"shares": []}


async def test_a_link_to_a_removed_workout_shows_nothing(ada, api):
    workout = await logged(ada)
    link = await share(ada, workout, "title")

    await ada.call("DELETE", f"/workouts/{workout['id']}", If_Match="*")

    assert (await api.call("GET", link["url"])).status == 404


async def test_links_are_listed_and_revoked_by_their_owner_only(ada, bob, api):
    link = await share(ada, await logged(ada), "title")

    assert (await bob.call("GET", "/workouts/shared")).body == {"shares": []}
    assert (await bob.call("DELETE", f"/workouts/shared/{link['id']}")).status == 404
    assert (await api.call("DELETE", f"/workouts/shared/{link['id']}")).status == 401
    assert (await ada.call("DELETE", f"/workouts/shared/{link['token']}")).status == 404
    assert (await ada.call("GET", "/workouts/shared")).body == {"shares": [link]}


async def test_a_retry_with_the_same_key_gives_the_same_link(ada):
    workout = await logged(ada)
    path, body = f"/workouts/{workout['id']}/share", {"fields": ["title"]}

    answers = await asyncio.gather(
        *(ada.call("POST", path, body, Idempotency_Key="share-1") for _ in range(4))
    )
    other = await ada.call("POST", path, {"fields": ["sets"]}, Idempotency_Key="share-1")

    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["token"] for answer in answers}) == 1
    assert other.code == "idempotency_key_reused"


async def test_retries_at_the_same_moment_give_one_link_on_postgresql_too(postgres_url, make_api):
    api = await make_api(postgres_url)
    ada = await api.register()
    path = f"/workouts/{(await ada.workout(title='t'))['id']}/share"

    answers = await asyncio.gather(
        *(ada.call("POST", path, {"fields": ["title"]}, Idempotency_Key="k") for _ in range(4))
    )

    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["token"] for answer in answers}) == 1


@pytest.mark.parametrize(
    "body", [{"fields": []}, {"fields": ["email"]}, {"fields": ["title"], "expires_in": 5}]
)
async def test_a_link_needs_known_fields_and_a_sane_life(ada, body):
    workout = await ada.workout()

    answer = await ada.call("POST", f"/workouts/{workout['id']}/share", body)

    assert answer.code == "validation_failed"


async def test_links_begin_with_the_public_address_when_there_is_one(make_api):
    api = await make_api(public_url="https://fit.example.org")
    ada = await api.register()

    link = await share(ada, await ada.workout(title="t"), "title")

    assert link["url"] == f"https://fit.example.org/workouts/shared/{link['token']}"


async def test_a_share_token_never_reaches_the_log(ada, api, caplog, capsys):
    link = await share(ada, await ada.workout(title="t"), "title")
    await api.call("GET", link["url"])

    assert link["token"] not in caplog.text + capsys.readouterr().out


def test_every_field_that_was_not_chosen_stays_hidden():
    document = {
        "title": "t",
        "status": "active",
        "started_at": 1,
        "ended_at": None,
        "units": "kg",
        "rating": 3,
        "note": "n",
        "tz": "UTC",
        "exercises": [],
        "totals": {"sets": 0, "exercises": {}, "muscles": {}},
        "id": str(uuid.uuid4()),
    }

    for field in ("title", "status", "started_at", "ended_at", "units", "rating", "exercises", "totals"):
        assert set(view(document, [field])) == {field}
    assert view(document, []) == {}
