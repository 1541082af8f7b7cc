"""What is proved by mail: verifying an address and getting a new password, and who tries to get round it."""

from __future__ import annotations

import asyncio
from html import unescape

import pytest
from sqlalchemy import text

from fitai.http.auth.recovery import RESET_MINUTES, VERIFY_MINUTES
from fitai.persistence.one_time import Purpose

DEVICE = {"name": "Phone", "platform": "ios"}
NEW = "seven lazy barbells"


@pytest.fixture
async def api(database_url, make_api):
    return await make_api(database_url)


async def forgot(api, desk, email):
    """Ask for a link; its token."""
    answer = await api.call("POST", "/auth/forgot-password", {"email": email})
    assert answer.status == 202, answer.body
    return await desk.token("reset_password")


async def reset(api, token, password=NEW):
    return await api.call("POST", "/auth/reset-password", {"token": token, "password": password})


async def login(api, email, password):
    return await api.call("POST", "/auth/login", {"email": email, "password": password, "device": DEVICE})


async def verify(api, token, **headers):
    return await api.call("GET", f"/auth/verify-email?token={token}", **headers)


async def verified(person):
    return (await person.call("GET", "/users/profile")).body["email_verified"]


# -- a new password ------------------------------------------------------------------------------------


async def test_a_forgotten_password_is_replaced_and_every_device_is_out(api, desk, ada):
    watch = await api.login(ada, name="Watch")
    heard = api.listen(ada.id)

    answer = await reset(api, await forgot(api, desk, ada.email))

    assert answer.status == 204
    for person in (ada, watch):
        assert (await person.call("GET", "/users/profile")).status == 401
        renewed = await api.call("POST", "/auth/refresh", {"refresh_token": person.refresh_token})
        assert renewed.status == 401
    assert {message["device"] for message in heard if message["kind"] == "revoked"} == {1, 2}
    assert (await login(api, ada.email, ada.password)).code == "invalid_credentials"
    back = await login(api, ada.email, NEW)
    assert back.status == 200
    assert back.body["user"]["email_verified"], "the letter has arrived there"
    assert [letter["to"] for letter in await desk.letters("password_changed")] == [ada.email]
    assert "password_reset" in await desk.events(ada.id)


async def test_a_link_works_once(api, desk, ada):
    token = await forgot(api, desk, ada.email)

    assert (await reset(api, token)).status == 204
    again = await reset(api, token, "another lazy barbell")

    assert (again.status, again.code) == (410, "invalid_link")
    assert (await login(api, ada.email, NEW)).status == 200


async def test_of_many_uses_of_a_link_at_once_exactly_one_wins(api, desk, ada):
    token = await forgot(api, desk, ada.email)
    passwords = [f"{word} lazy barbells" for word in ("one", "two", "three", "four", "five", "six")]

    answers = await asyncio.gather(*(reset(api, token, password) for password in passwords))

    assert sorted(answer.status for answer in answers) == [204] + [410] * 5
    works = [(await login(api, ada.email, password)).status for password in passwords]
    assert works == [200 if answer.status == 204 else 401 for answer in answers]
    assert len(await desk.letters("password_changed")) == 1


async def test_a_link_is_good_for_its_time_and_until_another_one_is_sent(api, desk, ada):
    first = await forgot(api, desk, ada.email)
    second = await forgot(api, desk, ada.email)
    assert (await reset(api, first)).code == "invalid_link"

    api.clock.advance(seconds=RESET_MINUTES * 60)
    assert (await reset(api, second)).code == "invalid_link"
    third = await forgot(api, desk, ada.email)
    api.clock.advance(seconds=RESET_MINUTES * 60 - 1)
    assert (await reset(api, third)).status == 204


async def test_of_two_links_that_are_asked_for_at_once_one_works(api, desk, ada):
    body = {"email": ada.email}
    await asyncio.gather(*(api.call("POST", "/auth/forgot-password", body) for _ in range(4)))
    letters = await desk.letters("reset_password")
    tokens = [letter["values"]["link"].partition("token=")[2] for letter in letters]

    answers = [await reset(api, token) for token in tokens]

    assert len(tokens) == 4
    assert sorted(answer.status for answer in answers) == [204, 410, 410, 410]


async def test_a_link_is_good_for_one_purpose(api, desk, ada):
    to_verify = await desk.token("verify_email")
    to_reset = await forgot(api, desk, ada.email)

    assert (await reset(api, to_verify)).code == "invalid_link"
    assert (await verify(api, to_reset)).code == "invalid_link"
    assert not await verified(ada)
    assert (await reset(api, to_reset)).status == 204, "trying it at the wrong door has not used it up"


@pytest.mark.parametrize("token", ["nonsense", "\u00e4\u0000", "x" * 128, "' OR 1=1 --"])
async def test_a_link_of_nobody_is_refused(api, token):
    assert (await reset(api, token)).code == "invalid_link"


async def test_a_weak_password_does_not_use_the_link_up(api, desk, ada):
    token = await forgot(api, desk, ada.email)

    weak = await reset(api, token, "password123")

    assert (weak.status, weak.code) == (422, "weak_password")
    assert weak.body["warning"]
    assert weak.body["suggestions"]
    assert (await reset(api, token)).status == 204


async def test_another_password_makes_a_link_worthless_that_somebody_else_asked_for(api, desk, ada):
    token = await forgot(api, desk, ada.email)
    await ada.call("POST", "/users/password", {"current_password": ada.password, "new_password": NEW})

    assert (await reset(api, token, "another lazy barbell")).code == "invalid_link"


async def test_the_tokens_themselves_are_not_stored(api, desk, ada):
    token = await forgot(api, desk, ada.email)
    async with api.db.read() as session:
        rows = (await session.execute(text("SELECT * FROM one_time_tokens"))).all()

    assert {row.purpose for row in rows} == {Purpose.RESET_PASSWORD, Purpose.VERIFY_EMAIL}
    assert token not in repr(rows)
    assert token.encode().hex() not in repr(rows)


@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("mike@example.org", "m\u0131ke@example.org"),  # dotless i, which some upper-case to I
        ("ada@example.org", "\u0430da@example.org"),  # Cyrillic а
        ("ada@example.org", "ada@ex\u0430mple.org"),
    ],
)
async def test_an_address_that_only_looks_alike_gets_nothing(api, desk, registered, asked):
    await api.enter("register", registered, "correct horse", 201)

    await api.call("POST", "/auth/forgot-password", {"email": asked})

    assert await desk.letters("reset_password") == []


@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("mise@example.org", "mi\u017fe@example.org"),  # long s, which is an s where case does not count
        ("ada@m\u00fcnchen.example", "ADA@xn--mnchen-3ya.example"),
        ("kim@example.org", "\u212aim@example.org"),  # the Kelvin sign
    ],
)
async def test_a_letter_goes_to_the_address_as_it_is_stored(api, desk, registered, asked):
    await api.enter("register", registered, "correct horse", 201)

    await api.call("POST", "/auth/forgot-password", {"email": asked})

    assert [letter["to"] for letter in await desk.letters("reset_password")] == [registered]
    body = {"email": asked, "password": "correct horse", "device": DEVICE}
    assert (await api.call("POST", "/auth/register", body)).code in ("email_taken", "validation_failed")


async def test_a_job_that_is_run_again_sends_one_letter_and_leaves_its_link_good(api, desk, ada):
    from fitai.gateways.jobs.contract import Attempt
    from fitai.http.auth.recovery import FORGOTTEN, Asked

    for number in (1, 2):
        await desk.kinds[FORGOTTEN].handle(Attempt("job-1", number, api.clock.now), Asked(email=ada.email))

    assert len(await desk.letters("reset_password")) == 1
    assert (await reset(api, await desk.token("reset_password"))).status == 204


# -- an address ----------------------------------------------------------------------------------------


async def test_an_account_works_before_its_address_is_verified(api, desk, ada):
    assert ada.session["user"]["email_verified"] is False
    assert await ada.workout(title="Legs")
    assert not await verified(ada)

    answer = await verify(api, await desk.token("verify_email"))

    assert (answer.status, answer.body) == (200, {"email": ada.email, "email_verified": True})
    assert await verified(ada)
    assert "email_verified" in await desk.events(ada.id)


async def test_a_link_that_is_opened_again_says_the_same_until_it_is_too_old(api, desk, ada):
    token = await desk.token("verify_email")

    answers = await asyncio.gather(*(verify(api, token) for _ in range(5)))
    api.clock.advance(seconds=VERIFY_MINUTES * 60)

    assert {answer.status for answer in answers} == {200}
    assert (await verify(api, token)).code == "invalid_link"
    assert (await desk.events(ada.id)).count("email_verified") == 1


async def test_what_fetches_links_without_a_person_verifies_nothing(api, desk, ada):
    token = await desk.token("verify_email")

    scanned = await verify(api, token, Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    async with api.client.head(f"/auth/verify-email?token={token}") as response:
        assert response.status == 200

    assert scanned.status == 200
    assert ada.email in unescape(scanned.body)
    assert not await verified(ada)


async def test_the_button_of_the_page_verifies(api, desk, ada):
    token = await desk.token("verify_email")

    pressed = await verify(api, f"{token}&confirm=true", Accept="text/html")

    assert pressed.status == 200
    assert "is verified" in pressed.body
    assert await verified(ada)
    refused = await verify(api, "nonsense", Accept="text/html")
    assert (refused.status, refused.headers["Content-Type"]) == (410, "text/html; charset=utf-8")


async def test_a_page_shows_what_it_was_handed_as_text(api):
    answer = await api.call(
        "GET", "/auth/reset-password?token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", Accept="text/html"
    )

    assert "<script>alert" not in answer.body
    assert "&lt;script&gt;alert" in answer.body
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


async def test_the_link_is_sent_again_to_who_has_not_verified_and_retires_the_earlier_one(api, desk, ada):
    first = await desk.token("verify_email")
    asked = await api.call("POST", "/auth/resend-verification", {"email": ada.email.upper()})
    second = await desk.token("verify_email")

    assert asked.status == 202
    assert (await verify(api, first)).code == "invalid_link"
    assert (await verify(api, second)).status == 200

    await api.call("POST", "/auth/resend-verification", {"email": ada.email})
    await api.call("POST", "/auth/resend-verification", {"email": "nobody@example.org"})
    assert len(await desk.letters("verify_email")) == 2
