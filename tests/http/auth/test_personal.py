"""Personal tokens: made by the person, good for what their scopes say, until they end or are revoked."""

from __future__ import annotations

import pytest

DAY_S = 86_400


@pytest.fixture
async def api(database_url, make_api):
    return await make_api(database_url)


async def make(person, scopes=("workouts:read",), **more):
    body = {"name": "Spreadsheet", "scopes": list(scopes), "password": person.password, **more}
    return await person.call("POST", "/auth/tokens", body)


async def test_a_token_may_do_what_its_scopes_say_and_writes_as_a_device_of_its_own(api, ada):
    made = await make(ada, ("workouts:read", "workouts:write"))
    token = made.body["token"]

    created = await api.call("POST", "/workouts", {"title": "Legs"}, token=token)

    assert made.status == 201
    assert created.status == 201
    assert (await ada.call("GET", "/workouts")).body["workouts"][0]["title"] == "Legs"
    assert (await api.call("GET", "/users/profile", token=token)).code == "forbidden"
    assert (await api.call("GET", "/auth/tokens", token=token)).code == "forbidden", "people only"
    [listed] = (await ada.call("GET", "/auth/tokens")).body["tokens"]
    assert listed == {key: value for key, value in made.body.items() if key != "token"} | {
        "last_used_at": listed["last_used_at"]
    }
    assert listed["device"] != ada.device


async def test_a_token_that_was_revoked_is_out_at_once(api, desk, ada, bob):
    made = (await make(ada)).body
    heard = api.listen(ada.id)

    assert (await bob.call("DELETE", f"/auth/tokens/{made['id']}")).status == 404
    assert (await ada.call("DELETE", f"/auth/tokens/{made['id'].upper()}")).status == 204

    assert (await api.call("GET", "/workouts", token=made["token"])).status == 401
    assert {"kind": "revoked", "device": made["device"]} in heard
    assert (await ada.call("GET", "/auth/tokens")).body["tokens"] == []
    assert (await ada.call("DELETE", f"/auth/tokens/{made['id']}")).status == 404
    assert (await desk.events(ada.id))[-2:] == ["token_created", "token_revoked"]


async def test_a_token_ends_when_it_was_said_to(api, ada):
    week = (await make(ada, days=7)).body
    for_ever = (await make(ada, days=None)).body
    api.clock.advance(seconds=7 * DAY_S - 1)
    assert (await api.call("GET", "/workouts", token=week["token"])).status == 200
    api.clock.advance(seconds=1)

    assert (await api.call("GET", "/workouts", token=week["token"])).code == "token_expired"
    assert (await api.call("GET", "/workouts", token=for_ever["token"])).status == 200
    assert (week["expires_at"], for_ever["expires_at"]) == (api.clock.now, None)


@pytest.mark.parametrize("scopes", [(), ("nonsense",), ("unknown:read",), ("workouts:read", "nobody:write")])
async def test_a_scope_that_no_route_asks_for_is_refused(ada, scopes):
    assert (await make(ada, scopes)).code == "validation_failed"


async def test_a_stolen_access_token_makes_no_token(ada):
    assert (await make(ada, password="wrong password")).code == "confirmation_failed"


async def test_another_password_leaves_tokens_alone_and_a_lost_account_takes_them(api, desk, ada):
    token = (await make(ada)).body["token"]
    body = {"current_password": ada.password, "new_password": "seven lazy barbells"}
    await ada.call("POST", "/users/password", body)
    assert (await api.call("GET", "/workouts", token=token)).status == 200

    await api.call("POST", "/auth/forgot-password", {"email": ada.email})
    reset = {"token": await desk.token("reset_password"), "password": "eight lazy barbells"}
    assert (await api.call("POST", "/auth/reset-password", reset)).status == 204
    assert (await api.call("GET", "/workouts", token=token)).status == 200

    back = await api.enter("login", ada.email, reset["password"], 200)
    asked = await back.call("POST", "/users/profile/delete", {"password": back.password})
    assert asked.status == 200
    api.clock.advance(days=14)
    await desk.work()
    assert (await api.call("GET", "/workouts", token=token)).status == 401
