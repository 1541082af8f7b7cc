"""The person as they are shown to themselves; password and address; the security log."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from pathlib import Path

import pytest

from fitai.gateways.bus.topics import BODIES
from fitai.http.users.schemas import EVENTS
from fitai.persistence.users import Users

DEVICE = {"name": "Phone", "platform": "ios"}
NEW = "seven lazy barbells"


@pytest.fixture
async def api(database_url, make_api):
    return await make_api(database_url)


async def profile(person):
    answer = await person.call("GET", "/users/profile")
    assert answer.status == 200, answer.body
    return answer.body


async def events(person, **query):
    path = "/users/security-log" + "".join(f"{'?&'[i > 0]}{k}={v}" for i, (k, v) in enumerate(query.items()))
    answer = await person.call("GET", path)
    assert answer.status == 200, answer.body
    return answer.body


async def test_a_profile_is_shown_and_edited(ada):
    shown = await ada.call("GET", "/users/profile")
    edited = await ada.call("PATCH", "/users/profile", {"display_name": " Ada L. ", "locale": "de-AT"})
    again = await ada.call("PATCH", "/users/profile", {"locale": None})

    assert shown.body["email"] == ada.email
    assert (shown.body["role"], shown.body["second_factor"], shown.body["delete_after"]) == (
        None,
        False,
        None,
    )
    assert (edited.body["display_name"], edited.body["locale"]) == ("Ada L.", "de-AT")
    assert (again.body["display_name"], again.body["locale"]) == ("Ada L.", None), "what is not named stays"


async def test_an_unchanged_profile_is_not_sent_again(ada):
    tag = (await ada.call("GET", "/users/profile")).headers["ETag"]

    assert (await ada.call("GET", "/users/profile", If_None_Match=tag)).status == 304
    edited = await ada.call("PATCH", "/users/profile", {"display_name": "Ada"})
    fresh = await ada.call("GET", "/users/profile", If_None_Match=tag)
    assert (fresh.status, fresh.headers["ETag"]) == (200, edited.headers["ETag"])


@pytest.mark.parametrize("change", [{"locale": "german!"}, {"display_name": "two\nlines"}, {"locale": 1}])
async def test_a_profile_takes_no_nonsense(ada, change):
    assert (await ada.call("PATCH", "/users/profile", change)).code == "validation_failed"


# -- the body ------------------------------------------------------------------------------------------


async def test_body_weight_and_sex_are_told_and_taken_away(ada):
    before = await profile(ada)
    pounds = await ada.call(
        "PATCH", "/users/profile", {"body_weight": {"value": 180.5, "unit": "lb"}, "sex": "female"}
    )
    kilos = await ada.call("PATCH", "/users/profile", {"body_weight": {"value": 72.0, "unit": "kg"}})
    gone = await ada.call("PATCH", "/users/profile", {"body_weight": None, "sex": None})

    assert (before["body_weight"], before["sex"]) == (None, None)
    assert pounds.body["body_weight"] == {"value": 81.873, "unit": "kg"}, "in kg, whatever was typed"
    assert (kilos.body["body_weight"], kilos.body["sex"]) == ({"value": 72, "unit": "kg"}, "female")
    assert (gone.body["body_weight"], gone.body["sex"]) == (None, None)
    assert await profile(ada) == gone.body


async def test_a_body_weight_is_kept_to_the_microgram(api, ada):
    await ada.call("PATCH", "/users/profile", {"body_weight": {"value": 180.5, "unit": "lb"}})

    async with api.db.read() as session:
        user = await Users(session).get(ada.id)
    assert user.body_weight_ug == 81_873_422_785
    assert "81873422785" not in repr(user), "it is health data"


@pytest.mark.parametrize(
    ("value", "unit"),
    [(20, "kg"), (500, "kg"), (44.093, "lb"), (45, "lb"), (1_102.311, "lb"), (72.125, "kg")],
)
async def test_weights_of_people_are_taken(ada, value, unit):
    answer = await ada.call("PATCH", "/users/profile", {"body_weight": {"value": value, "unit": unit}})

    assert answer.status == 200
    assert 20 <= answer.body["body_weight"]["value"] <= 500


@pytest.mark.parametrize(
    "change",
    [
        {"body_weight": {"value": 19.999, "unit": "kg"}},
        {"body_weight": {"value": 500.001, "unit": "kg"}},
        {"body_weight": {"value": 44.092, "unit": "lb"}},
        {"body_weight": {"value": 1_102.312, "unit": "lb"}},
        {"body_weight": {"value": 72.0005, "unit": "kg"}},
        {"body_weight": {"value": "72", "unit": "kg"}},
        {"body_weight": {"value": True, "unit": "kg"}},
        {"body_weight": {"value": 72, "unit": "st"}},
        {"body_weight": {"value": 72}},
        {"body_weight": {"unit": "kg"}},
        {"body_weight": 72},
        {"sex": "other"},
        {"sex": ""},
        {"sex": 1},
    ],
)
async def test_a_body_takes_no_nonsense_and_nothing_of_it_is_written(ada, change):
    before = await profile(ada)

    answer = await ada.call("PATCH", "/users/profile", {"display_name": "Somebody else", **change})

    assert (answer.status, answer.code) == (422, "validation_failed")
    assert await profile(ada) == before


async def test_rooms_hear_of_a_body_and_of_nothing_else(api, ada):
    heard = []
    api.bus.subscribe(BODIES, heard.append)

    await ada.call("PATCH", "/users/profile", {"display_name": "Ada L."})
    await ada.call("PATCH", "/users/profile", {"body_weight": {"value": 72, "unit": "kg"}})
    await ada.call("PATCH", "/users/profile", {"sex": "female"})
    await ada.call("PATCH", "/users/profile", {"sex": "neither"})

    assert [message["user"] for message in heard] == [ada.id, ada.id]
    assert "72" not in str([{**message, "user": "", "node": ""} for message in heard]), "only whose it is"


# -- the password --------------------------------------------------------------------------------------


async def test_another_password_signs_the_other_devices_out(api, desk, ada):
    watch = await api.login(ada, name="Watch")
    heard = api.listen(ada.id)

    body = {"current_password": ada.password, "new_password": NEW}
    assert (await ada.call("POST", "/users/password", body)).status == 204

    assert (await watch.call("GET", "/users/profile")).status == 401
    assert (await api.call("POST", "/auth/refresh", {"refresh_token": watch.refresh_token})).status == 401
    assert (await ada.call("GET", "/users/profile")).status == 200, "this one stays"
    assert (await api.call("POST", "/auth/refresh", {"refresh_token": ada.refresh_token})).status == 200
    assert [message["device"] for message in heard if message["kind"] == "revoked"] == [watch.device]
    assert [letter["values"]["device"] for letter in await desk.letters("password_changed")] == ["Phone"]
    old = {"email": ada.email, "password": ada.password, "device": DEVICE}
    assert (await api.call("POST", "/auth/login", old)).code == "invalid_credentials"
    assert (await api.call("POST", "/auth/login", {**old, "password": NEW})).status == 200


@pytest.mark.parametrize(
    "weak", ["password1", "qwertyuiop", "aaaaaaaaaaaa", "ada@example.org", "AdaExample1"]
)
async def test_a_password_that_is_guessed_too_easily_is_refused_with_help(api, weak):
    who = {"email": "ada@example.org", "display_name": "Ada Example", "device": DEVICE}

    answer = await api.call("POST", "/auth/register", {**who, "password": weak})

    assert (answer.status, answer.code) == (422, "weak_password")
    assert answer.body["warning"]
    assert answer.body["suggestions"]
    assert weak not in str(answer.body)


@pytest.mark.parametrize(
    "password",
    [
        "kX9#vQ2mT",
        "seven lazy barbells",
        "8402957713649",
        "MOVEDHEAVYGRANITE",
        "&)#^%;?*<$",
        "\U0001f3cb\u00fc\u4e03\u754c\u5c71\u6c34\u706b\u6728\u91d1",
    ],
)
async def test_characters_of_whatever_kind_will_do(api, password):
    body = {"email": "ada@example.org", "password": password, "device": DEVICE}

    assert (await api.call("POST", "/auth/register", body)).status == 201
    assert (await api.call("POST", "/auth/login", body)).status == 200


async def test_a_long_password_of_any_characters_is_taken_whole(api):
    long = "".join(chr(0xC0 + number % 64) + f"{number * number}" for number in range(36)) + " \U0001f3cb end"
    body = {"email": "ada@example.org", "password": long, "device": DEVICE}
    assert len(long) > 128

    assert (await api.call("POST", "/auth/register", body)).status == 201
    shorter = await api.call("POST", "/auth/login", {**body, "password": long[:-1]})
    decomposed = await api.call(
        "POST", "/auth/login", {**body, "password": unicodedata.normalize("NFD", long)}
    )

    assert shorter.code == "invalid_credentials"
    assert decomposed.status == 200


# -- the address ---------------------------------------------------------------------------------------


async def test_another_address_takes_the_place_of_the_old_one_once_it_is_verified(api, desk, ada):
    body = {"email": "New@Example.org", "password": ada.password}
    assert (await ada.call("POST", "/users/email", body)).status == 202
    waiting = await profile(ada)
    token = await desk.token("verify_email", to="New@example.org")

    answer = await api.call("GET", f"/auth/verify-email?token={token}")

    assert (waiting["email"], waiting["new_email"]) == (ada.email, "New@example.org")
    assert answer.body["email"] == "New@example.org"
    after = await profile(ada)
    assert (after["email"], after["email_verified"], after["new_email"]) == ("New@example.org", True, None)
    [told] = await desk.letters("email_changed")
    assert (told["to"], told["values"]["new_email"]) == (ada.email, "New@example.org")
    login = {"password": ada.password, "device": DEVICE}
    assert (await api.call("POST", "/auth/login", {**login, "email": ada.email})).status == 401
    assert (await api.call("POST", "/auth/login", {**login, "email": "new@EXAMPLE.org"})).status == 200
    assert (await api.call("GET", f"/auth/verify-email?token={token}")).status == 200, "opened once more"


async def test_what_was_mailed_to_the_old_address_proves_nothing_any_more(api, desk, ada):
    first = await desk.token("verify_email", to=ada.email)
    await api.call("POST", "/auth/forgot-password", {"email": ada.email})
    reset = await desk.token("reset_password")
    await ada.call("POST", "/users/email", {"email": "new@example.org", "password": ada.password})
    token = await desk.token("verify_email", to="new@example.org")
    assert (await api.call("GET", f"/auth/verify-email?token={token}")).status == 200

    assert (await api.call("GET", f"/auth/verify-email?token={first}")).code == "invalid_link"
    answer = await api.call("POST", "/auth/reset-password", {"token": reset, "password": NEW})
    assert answer.code == "invalid_link"


async def test_only_the_address_that_was_asked_for_last_can_be_verified(api, desk, ada):
    for email in ("typo@example.org", "new@example.org"):
        await ada.call("POST", "/users/email", {"email": email, "password": ada.password})
    mistaken = await desk.token("verify_email", to="typo@example.org")

    assert (await api.call("GET", f"/auth/verify-email?token={mistaken}")).code == "invalid_link"
    assert (await profile(ada))["email"] == ada.email


async def test_an_address_that_is_taken_is_taken(ada, bob):
    answer = await ada.call("POST", "/users/email", {"email": bob.email.upper(), "password": ada.password})

    assert (answer.status, answer.code) == (409, "email_taken")


async def test_of_those_who_want_one_address_at_the_same_moment_one_gets_it(api, desk, ada, bob):
    for person in (ada, bob):
        await person.call("POST", "/users/email", {"email": "new@example.org", "password": person.password})
    await desk.work()
    letters = await desk.letters("verify_email", to="new@example.org")
    links = [letter["values"]["link"] for letter in letters]
    body = {"email": "new@example.org", "password": "correct horse", "device": DEVICE}

    answers = await asyncio.gather(
        *(api.call("GET", link) for link in links), api.call("POST", "/auth/register", body)
    )

    codes = sorted(answer.code or "taken" for answer in answers)
    assert codes == ["email_taken", "email_taken", "taken"]
    emails = [(await profile(person))["email"] for person in (ada, bob)]
    assert emails.count("new@example.org") == (answers[2].status != 201)
    assert ada.email in emails or bob.email in emails


# -- the log -------------------------------------------------------------------------------------------


async def test_a_new_device_is_told_of_and_a_known_one_is_not(api, desk, ada):
    await api.call(
        "POST",
        "/auth/login",
        {
            "email": ada.email,
            "password": ada.password,
            "device": {"name": "Watch", "platform": "watchos", "install_id": "w"},
        },
        User_Agent="Watch/1.0",
    )
    await api.login(ada, name="Watch", install_id="w")

    [letter] = await desk.letters("new_sign_in")
    assert letter["values"]["device"] == "Watch"
    sign_ins = [event for event in (await events(ada))["events"] if event["kind"] == "sign_in"]
    assert [event["data"]["new"] for event in sign_ins] == [False, True]
    assert sign_ins[1]["agent"] == "Watch/1.0"
    assert sign_ins[1]["address"] == "127.0.0.1"
    assert sign_ins[1]["device"] == 2


async def test_the_log_comes_page_by_page_and_is_ones_own(api, ada, bob):
    for number in range(7):
        api.clock.advance(seconds=1)
        await api.login(ada, install_id=f"install-{number}")

    pages, cursor = [], {}
    while True:
        page = await events(ada, limit=3, **cursor)
        pages.append([event["at"] for event in page["events"]])
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    everything = [at for page in pages for at in page]
    assert [len(page) for page in pages] == [3, 3, 2]
    assert everything == sorted(everything, reverse=True)
    assert [event["kind"] for event in (await events(bob))["events"]] == ["registered"]
    bad_ones = "x WzBd Wy0xXQ W3RydWVd WyJhIl0 e30 WzEsMl0 Wzk5OTk5OTk5OTk5OTk5OTk5OTk5XQ"
    for bad in bad_ones.split():
        answer = await ada.call("GET", f"/users/security-log?cursor={bad}")
        assert answer.code == "validation_failed"


async def test_a_stolen_refresh_token_shows_in_the_log(api, ada):
    for _ in range(2):
        await api.call("POST", "/auth/refresh", {"refresh_token": ada.refresh_token})
    back = await api.login(ada)

    kinds = [event["kind"] for event in (await events(back))["events"]]
    assert kinds == ["sign_in", "refresh_reuse", "registered"]


async def test_every_kind_that_is_written_is_described():
    root = Path(__file__).parent.parent.parent.parent / "http"
    written = set()
    for file in [*root.glob("auth/*.py"), *root.glob("users/*.py")]:
        code = file.read_text("utf-8")
        written |= set(re.findall(r"note\(\s*session,\s*[\w.\[\]]+,\s*\"(\w+)\"", code))
        written |= set(re.findall(r"^FAILED = \"(\w+)\"", code, re.M))

    assert written == set(EVENTS)


async def test_signing_out_everywhere(api, desk, ada):
    watch = await api.login(ada, name="Watch")

    assert (await api.call("POST", "/auth/logout", {"all": True})).code == "unauthorized"
    assert (await ada.call("POST", "/auth/logout", {"all": True})).status == 204

    for person in (ada, watch):
        assert (await person.call("GET", "/users/profile")).status == 401
        renewed = await api.call("POST", "/auth/refresh", {"refresh_token": person.refresh_token})
        assert renewed.status == 401
    assert (await desk.events(ada.id))[-1] == "signed_out_everywhere"
