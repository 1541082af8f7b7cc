from __future__ import annotations

import asyncio
import uuid

import pytest
from argon2 import PasswordHasher

from fitai.http.auth.passwords import Passwords
from fitai.persistence.users import Users

DEVICE = {"name": "Phone", "platform": "ios"}


async def test_registering_gives_a_user_a_device_and_tokens(api):
    answer = await api.call(
        "POST",
        "/auth/register",
        {"email": " Ada@Example.org ", "password": "correct horse", "display_name": "Ada", "device": DEVICE},
    )

    assert answer.status == 201
    assert answer.body["user"]["email"] == "Ada@example.org"
    assert answer.body["user"]["display_name"] == "Ada"
    assert answer.body["device"] == {"id": 1, "name": "Phone"}
    assert (answer.body["token_type"], answer.body["expires_in"]) == ("Bearer", 900)
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("spelling", ["ada@example.org", "ADA@EXAMPLE.ORG", "  Ada@Example.Org"])
async def test_an_address_can_be_registered_once_however_it_is_spelt(api, spelling):
    body = {"email": "ada@example.org", "password": "correct horse", "device": DEVICE}
    await api.call("POST", "/auth/register", body)

    again = await api.call("POST", "/auth/register", {**body, "email": spelling})
    login = await api.call("POST", "/auth/login", {**body, "email": spelling})

    assert (again.status, again.code) == (409, "email_taken")
    assert login.status == 200


async def test_of_two_that_register_one_address_at_the_same_moment_one_gets_it(api):
    body = {"email": "ada@example.org", "password": "correct horse", "device": DEVICE}

    answers = await asyncio.gather(*(api.call("POST", "/auth/register", body) for _ in range(3)))

    assert sorted(answer.status for answer in answers) == [201, 409, 409]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "a b@example.org"}, "email"),
        ({"email": f"{'a' * 250}@example.org"}, "email"),
        ({"password": "7 chars"}, "password"),
        ({"password": "x" * 257}, "password"),
        ({"password": 12345678}, "password"),
        ({"device": {"name": "Phone"}}, "device.platform"),
        ({"device": {**DEVICE, "name": "two\nlines"}}, "device.name"),
        ({"device": {**DEVICE, "install_id": ""}}, "device.install_id"),
    ],
)
async def test_a_registration_that_is_not_valid_names_the_field_and_repeats_no_value(api, change, field):
    body = {"email": "ada@example.org", "password": "correct horse", "device": DEVICE, **change}

    answer = await api.call("POST", "/auth/register", body)

    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [error["field"] for error in answer.body["errors"]] == [field]
    assert "correct horse" not in str(answer.body)


async def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(api, ada):
    def body(email: str) -> dict[str, object]:
        return {"email": email, "password": "wrong password", "device": DEVICE}

    known = await api.call("POST", "/auth/login", body(ada.email), X_Request_Id="same")
    unknown = await api.call("POST", "/auth/login", body("nobody@example.org"), X_Request_Id="same")
    nonsense = await api.call("POST", "/auth/login", body("no address at all"), X_Request_Id="same")

    assert (known.status, known.code) == (401, "invalid_credentials")
    assert known.body == unknown.body == nonsense.body


async def test_a_known_and_an_unknown_address_cost_the_same_hash(make_api):
    class Counting(PasswordHasher):
        verified = 0

        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]
            self.verified += 1
            return super().verify(hash, password)

    hasher = Counting(time_cost=1, memory_cost=8, parallelism=1)
    api = await make_api(passwords=Passwords(hasher))
    ada = await api.register()
    costs = []
    for email in (ada.email, "nobody@example.org"):
        before = hasher.verified
        await api.call("POST", "/auth/login", {"email": email, "password": "wrong", "device": DEVICE})
        costs.append(hasher.verified - before)

    assert costs == [1, 1]


async def test_a_known_installation_is_the_same_device(api):
    phone = await api.register(install_id="install-0001")

    again = await api.login(phone, install_id="install-0001", name="New name")
    other = await api.login(phone, install_id="install-0002")
    nameless = await api.login(phone)

    assert again.device == phone.device
    assert again.session["device"]["name"] == "New name"
    assert len({phone.device, other.device, nameless.device}) == 3


async def test_an_installation_of_somebody_else_is_another_device(api):
    ada = await api.register(install_id="install-0001")
    bob = await api.register(install_id="install-0001")

    assert ada.id != bob.id
    assert [device["name"] for device in (await bob.call("GET", "/auth/devices")).body["devices"]] == [
        "Phone"
    ]


async def test_a_refresh_token_is_exchanged_for_the_next_one(api, ada):
    answer = await api.call("POST", "/auth/refresh", {"refresh_token": ada.refresh_token})

    assert answer.status == 200
    assert answer.body["refresh_token"] != ada.refresh_token
    assert answer.body["device"]["id"] == ada.device
    assert (await api.call("GET", "/auth/devices", token=answer.body["access_token"])).status == 200


async def test_a_refresh_token_that_is_used_twice_ends_the_whole_sign_in(api, ada):
    renewed = await api.call("POST", "/auth/refresh", {"refresh_token": ada.refresh_token})

    stolen = await api.call("POST", "/auth/refresh", {"refresh_token": ada.refresh_token})
    after = await api.call("POST", "/auth/refresh", {"refresh_token": renewed.body["refresh_token"]})

    assert (stolen.status, stolen.code) == (401, "refresh_token_reused")
    assert (after.status, after.code) == (401, "invalid_refresh_token")


async def test_uses_at_the_same_moment_are_a_reuse_too(database_url, make_api):
    api = await make_api(database_url)
    ada = await api.register()
    body = {"refresh_token": ada.refresh_token}

    answers = await asyncio.gather(*(api.call("POST", "/auth/refresh", body) for _ in range(4)))

    won = [answer for answer in answers if answer.status == 200]
    assert len(won) <= 1
    assert "refresh_token_reused" in {answer.code for answer in answers}
    for answer in won:
        next_one = {"refresh_token": answer.body["refresh_token"]}
        assert (await api.call("POST", "/auth/refresh", next_one)).status == 401


async def test_the_end_of_one_sign_in_leaves_others_alone(api, ada):
    watch = await api.login(ada, name="Watch")
    for _ in range(2):
        await api.call("POST", "/auth/refresh", {"refresh_token": ada.refresh_token})

    answer = await api.call("POST", "/auth/refresh", {"refresh_token": watch.refresh_token})

    assert answer.status == 200


async def test_tokens_live_as_long_as_they_are_said_to(api, ada):
    api.clock.advance(seconds=899)
    assert (await ada.call("GET", "/auth/devices")).status == 200
    api.clock.advance(seconds=1)
    expired = await ada.call("GET", "/auth/devices")
    assert (expired.status, expired.code) == (401, "token_expired")
    assert "invalid_token" in expired.headers["WWW-Authenticate"]

    renewed = await api.call("POST", "/auth/refresh", {"refresh_token": ada.refresh_token})
    assert renewed.status == 200
    api.clock.advance(days=30)
    late = await api.call("POST", "/auth/refresh", {"refresh_token": renewed.body["refresh_token"]})
    assert (late.status, late.code) == (401, "invalid_refresh_token")


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "\u00e4", "x" * 512])
async def test_a_refresh_token_of_nobody_is_refused(api, token):
    answer = await api.call("POST", "/auth/refresh", {"refresh_token": token})

    assert (answer.status, answer.code) == (401, "invalid_refresh_token")


async def test_logging_out_ends_the_sign_in_of_a_refresh_token(api, ada):
    out = await api.call("POST", "/auth/logout", {"refresh_token": ada.refresh_token})
    twice = await api.call("POST", "/auth/logout", {"refresh_token": ada.refresh_token})
    unknown = await api.call("POST", "/auth/logout", {"refresh_token": "unknown"})

    assert (out.status, twice.status, unknown.status) == (204, 204, 204)
    assert (await api.call("POST", "/auth/refresh", {"refresh_token": ada.refresh_token})).status == 401


async def test_logging_out_with_an_access_token_ends_every_sign_in_of_the_device(api, ada):
    watch = await api.login(ada, name="Watch")

    assert (await ada.call("POST", "/auth/logout")).status == 204

    assert (await api.call("POST", "/auth/refresh", {"refresh_token": ada.refresh_token})).status == 401
    assert (await api.call("POST", "/auth/refresh", {"refresh_token": watch.refresh_token})).status == 200
    assert (await api.call("POST", "/auth/logout")).code == "unauthorized"


async def test_devices_are_listed_with_the_last_used_first(api, ada):
    api.clock.advance(seconds=5)
    await api.login(ada, name="Watch", platform="watchos")

    listed = (await ada.call("GET", "/auth/devices")).body["devices"]

    assert [(row["name"], row["platform"], row["current"]) for row in listed] == [
        ("Watch", "watchos", False),
        ("Phone", "ios", True),
    ]


async def test_devices_that_are_out_are_listed_when_they_are_asked_for(api, ada):
    watch = await api.login(ada, name="Watch")
    await ada.call("DELETE", f"/auth/devices/{watch.device}")

    listed = (await ada.call("GET", "/auth/devices?revoked=true")).body["devices"]

    assert [(row["name"], row["revoked_at"]) for row in listed] == [("Watch", api.clock.now), ("Phone", None)]
    assert (await ada.call("GET", "/auth/devices?revoked=maybe")).code == "validation_failed"


async def test_a_device_can_be_renamed(ada):
    renamed = await ada.call("PATCH", f"/auth/devices/{ada.device}", {"name": "  Old phone "})

    assert (renamed.status, renamed.body["name"]) == (200, "Old phone")
    assert (await ada.call("GET", "/auth/devices")).body["devices"][0]["name"] == "Old phone"


async def test_a_revoked_device_is_out_at_once_and_its_sockets_hear_of_it(api, ada):
    watch = await api.login(ada, name="Watch", install_id="install-0001")
    heard = api.listen(ada.id)

    revoked = await ada.call("DELETE", f"/auth/devices/{watch.device}")

    assert revoked.status == 204
    answer = await watch.call("GET", "/auth/devices")
    assert (answer.status, answer.code) == (401, "device_revoked")
    refresh = await api.call("POST", "/auth/refresh", {"refresh_token": watch.refresh_token})
    assert refresh.code == "invalid_refresh_token"
    assert heard == [{"kind": "revoked", "device": watch.device}]
    assert [row["name"] for row in (await ada.call("GET", "/auth/devices")).body["devices"]] == ["Phone"]
    assert (await ada.call("DELETE", f"/auth/devices/{watch.device}")).status == 404

    back = await api.login(ada, install_id="install-0001")
    assert back.device == watch.device, "its unsent ops are still its own"


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"name": "mine now"}), ("DELETE", None)])
async def test_anothers_device_answers_like_an_unknown_one(api, ada, bob, method, body):
    tablet = await api.login(ada, name="Tablet")
    heard = api.listen(bob.id)

    theirs = await bob.call(method, f"/auth/devices/{tablet.device}", body, X_Request_Id="same")
    unknown = await bob.call(method, "/auth/devices/999", body, X_Request_Id="same")
    nonsense = await bob.call(method, "/auth/devices/x", body, X_Request_Id="same")

    assert theirs.status == 404
    assert theirs.body == unknown.body == nonsense.body
    assert heard == []
    assert (await tablet.call("GET", "/auth/devices")).status == 200


async def test_the_longest_unused_device_makes_room_and_is_told(make_api):
    api = await make_api(devices_per_user=2)
    oldest = await api.register()
    heard = api.listen(oldest.id)
    for name in ("Second", "Third"):
        api.clock.advance(seconds=1)
        newest = await api.login(oldest, name=name)

    assert (await oldest.call("GET", "/auth/devices")).code == "device_revoked"
    assert heard == [{"kind": "revoked", "device": oldest.device}]
    listed = (await newest.call("GET", "/auth/devices")).body["devices"]
    assert [row["name"] for row in listed] == ["Third", "Second"]


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer ", "Basic abc", "Bearer nonsense", "Bearer a.b.c"]
)
async def test_without_a_valid_token_a_caller_is_asked_for_one(api, header):
    headers = {} if header is None else {"Authorization": header}

    answer = await api.call("GET", "/workouts", **headers)

    assert (answer.status, answer.code) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="fitai"'


async def test_strangers_learn_nothing_from_validation(api):
    answer = await api.call("PUT", f"/workouts/{uuid.uuid4()}", {"title": 5})

    assert answer.status == 401


async def test_a_hash_of_old_parameters_is_replaced_at_the_next_login(make_api):
    api = await make_api(passwords=Passwords(PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)))
    ada = await api.register()
    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(ada.password)
    async with api.db.write() as session:
        await Users(session).set_password(ada.id, old)

    await api.login(ada)

    async with api.db.read() as session:
        row = await Users(session).get(ada.id)
    assert row is not None
    assert "m=16,t=2" in row.password_hash
    await api.login(ada)
