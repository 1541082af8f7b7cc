"""The second factor, and who tries to get in without it."""

from __future__ import annotations

import asyncio
from collections import Counter
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from sqlalchemy import text

from fitai.http.auth import otp
from fitai.http.auth.second_factor import BOUNDS, DAY_MS

DEVICE = {"name": "Phone", "platform": "ios", "install_id": "phone-1"}


@pytest.fixture
async def api(database_url, make_api):
    return await make_api(database_url)


class App:
    """The person's authenticator app."""

    def __init__(self, api, secret):
        self.api, self.totp = api, pyotp.TOTP(secret)

    def code(self, steps=0):
        """What it shows so many steps from now."""
        return self.totp.generate_otp(self.api.clock.now // otp.STEP_MS + steps)

    def wrong(self):
        """A code that is none of those around now."""
        near = {self.code(steps) for steps in range(-3, 4)}
        return next(code for code in (f"{n:06}" for n in range(10)) if code not in near)


@pytest.fixture
async def guarded(api, ada):
    """Ada's app, once it is needed, and her recovery codes."""
    begun = await ada.call("POST", "/users/second-factor", {"password": ada.password})
    assert begun.status == 201, begun.body
    app = App(api, begun.body["secret"])
    confirmed = await ada.call("POST", "/users/second-factor/confirm", {"code": app.code()})
    assert confirmed.status == 200, confirmed.body
    api.clock.advance(seconds=30)
    return app, confirmed.body["recovery_codes"]


async def login(api, ada, code=None, **more):
    body = {"email": ada.email, "password": ada.password, "device": DEVICE, **more}
    return await api.call("POST", "/auth/login", body if code is None else {**body, "otp": code})


async def test_it_is_not_needed_before_a_code_confirms_it(api, ada):
    begun = await ada.call("POST", "/users/second-factor", {"password": ada.password})
    uri = urlsplit(begun.body["uri"])

    assert (uri.scheme, uri.netloc, parse_qs(uri.query)["secret"]) == (
        "otpauth",
        "totp",
        [begun.body["secret"]],
    )
    assert (await login(api, ada)).status == 200
    wrong = App(api, begun.body["secret"]).wrong()
    refused = await ada.call("POST", "/users/second-factor/confirm", {"code": wrong})
    assert (refused.code, refused.body["failed"]) == ("confirmation_failed", "otp")
    assert (await ada.call("GET", "/users/second-factor")).body == {
        "enabled": False,
        "since": None,
        "recovery_codes_left": 0,
    }


async def test_once_confirmed_it_is_needed_and_the_person_is_told(api, desk, ada, guarded):
    app, codes = guarded

    missing = await login(api, ada)
    wrong = await login(api, ada, app.wrong())
    right = await login(api, ada, f"{app.code()[:3]} {app.code()[3:]}")

    assert (missing.status, missing.code) == (401, "second_factor_required")
    assert (wrong.status, wrong.code) == (401, "second_factor_invalid")
    assert right.status == 200
    shown = (await ada.call("GET", "/users/second-factor")).body
    assert (shown["enabled"], shown["recovery_codes_left"]) == (True, 10)
    assert len(set(codes)) == 10
    assert (await ada.call("GET", "/users/profile")).body["second_factor"] is True
    assert [letter["values"]["enabled"] for letter in await desk.letters("totp_changed")] == [True]
    assert Counter(await desk.events(ada.id))["second_factor_failed"] == 1


async def test_who_does_not_know_the_password_learns_nothing_of_it(api, ada, guarded):
    app, _ = guarded

    answer = await login(api, ada, app.code(), password="wrong password")

    assert answer.code == "invalid_credentials"
    assert (await login(api, ada, app.code())).status == 200, "nor has it used the code up"


@pytest.mark.parametrize(("steps", "status"), [(-2, 401), (-1, 200), (0, 200), (1, 200), (2, 401)])
async def test_clocks_may_differ_by_one_step(api, ada, guarded, steps, status):
    app, _ = guarded
    api.clock.advance(seconds=300)

    assert (await login(api, ada, app.code(steps))).status == status


async def test_a_code_works_once_and_none_before_it_works_any_more(api, ada, guarded):
    app, _ = guarded
    api.clock.advance(seconds=300)

    assert (await login(api, ada, app.code(0))).status == 200
    assert (await login(api, ada, app.code(0))).code == "second_factor_invalid"
    assert (await login(api, ada, app.code(-1))).code == "second_factor_invalid"
    assert (await login(api, ada, app.code(1))).status == 200


async def test_of_many_uses_of_a_code_at_once_one_wins(api, ada, guarded):
    app, codes = guarded

    for code in (app.code(), codes[0]):
        answers = await asyncio.gather(*(login(api, ada, code) for _ in range(4)))
        assert Counter(answer.status for answer in answers) == {200: 1, 401: 3}
        api.clock.advance(days=1)


async def test_a_recovery_code_stands_in_once(api, desk, ada, guarded):
    _, codes = guarded

    assert (await login(api, ada, codes[0].upper().replace("-", " "))).status == 200
    assert (await login(api, ada, codes[0])).code == "second_factor_invalid"
    assert (await login(api, ada, codes[1])).status == 200
    assert (await ada.call("GET", "/users/second-factor")).body["recovery_codes_left"] == 8
    assert "recovery_code_used" in await desk.events(ada.id)


async def test_anothers_recovery_code_is_worth_nothing(api, ada, bob, guarded):
    begun = await bob.call("POST", "/users/second-factor", {"password": bob.password})
    code = App(api, begun.body["secret"]).code()
    bobs = (await bob.call("POST", "/users/second-factor/confirm", {"code": code})).body["recovery_codes"]

    assert (await login(api, ada, bobs[0])).code == "second_factor_invalid"
    assert (await login(api, bob, bobs[0])).status == 200


async def test_new_recovery_codes_make_the_old_ones_worthless(api, ada, guarded):
    app, codes = guarded

    body = {"password": ada.password, "otp": app.code()}
    fresh = (await ada.call("POST", "/users/second-factor/recovery-codes", body)).body["recovery_codes"]

    assert not set(fresh) & set(codes)
    assert (await login(api, ada, codes[0])).code == "second_factor_invalid"
    assert (await login(api, ada, fresh[0])).status == 200


async def test_guessing_is_bounded_per_account_and_a_new_password_begins_anew(api, desk, ada, guarded):
    app, codes = guarded
    most, span_ms = BOUNDS[0]
    for _ in range(most):
        assert (await login(api, ada, app.wrong())).code == "second_factor_invalid"

    turned_away = await login(api, ada, app.code())
    with_recovery = await login(api, ada, codes[0])

    assert (turned_away.status, turned_away.code) == (429, "later")
    assert int(turned_away.headers["Retry-After"]) * 1000 == span_ms
    assert with_recovery.status == 429, "recovery codes are not guessed either"
    assert (await login(api, ada)).code == "second_factor_required"

    await api.call("POST", "/auth/forgot-password", {"email": ada.email})
    token = await desk.token("reset_password")
    api.clock.advance(seconds=1)
    await api.call("POST", "/auth/reset-password", {"token": token, "password": "seven lazy barbells"})
    without = await login(api, ada, password="seven lazy barbells")
    assert without.code == "second_factor_required", "what was mailed goes around nothing"
    back = await login(api, ada, app.code(), password="seven lazy barbells")
    assert back.status == 200, "a reset leaves the second factor needed, and lets its owner in"


async def test_the_bound_ends_by_itself(api, ada, guarded):
    app, _ = guarded
    most, span_ms = BOUNDS[0]
    for _ in range(most):
        await login(api, ada, app.wrong())

    api.clock.advance(seconds=span_ms / 1000 - 1)
    assert (await login(api, ada, app.code())).status == 429
    api.clock.advance(seconds=1)
    assert (await login(api, ada, app.code())).status == 200


async def test_slow_guessing_is_bounded_by_the_day(api, ada, guarded):
    app, _ = guarded
    (few, span_ms), (most, day_ms) = BOUNDS
    tried = 0
    for _ in range(day_ms // span_ms):
        for _ in range(few):
            tried += (await login(api, ada, app.wrong())).code == "second_factor_invalid"
        api.clock.advance(seconds=span_ms / 1000)

    assert day_ms == DAY_MS
    assert tried == most


async def test_many_guesses_at_once_are_bounded_too(api, ada, guarded):
    app, _ = guarded

    answers = await asyncio.gather(*(login(api, ada, app.wrong()) for _ in range(12)))

    assert Counter(answer.status for answer in answers) == {401: BOUNDS[0][0], 429: 12 - BOUNDS[0][0]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/users/second-factor/disable", {}),
        ("/users/second-factor/recovery-codes", {}),
        ("/users/second-factor", {}),
        ("/users/profile/delete", {}),
        ("/users/email", {"email": "new@example.org"}),
        ("/users/password", {"new_password": "seven lazy barbells"}),
        ("/auth/tokens", {"name": "Spreadsheet", "scopes": ["workouts:read"]}),
    ],
)
async def test_a_stolen_access_token_is_not_enough(api, ada, guarded, path, body):
    app, _ = guarded
    name = "current_password" if path == "/users/password" else "password"

    no_password = await ada.call("POST", path, {**body, name: "wrong password", "otp": app.code()})
    no_code = await ada.call("POST", path, {**body, name: ada.password})
    wrong_code = await ada.call("POST", path, {**body, name: ada.password, "otp": app.wrong()})

    assert (no_password.status, no_password.code) == (403, "confirmation_failed")
    assert no_password.body["failed"] == "password"
    assert (no_code.status, no_code.body["failed"]) == (403, "otp")
    assert (wrong_code.status, wrong_code.body["failed"]) == (403, "otp")
    assert (await login(api, ada, app.code())).status == 200, "nothing has changed"


async def test_it_can_be_switched_off(api, desk, ada, guarded):
    _, codes = guarded

    off = await ada.call("POST", "/users/second-factor/disable", {"password": ada.password, "otp": codes[3]})

    assert off.status == 204
    assert (await login(api, ada)).status == 200
    assert [letter["values"]["enabled"] for letter in await desk.letters("totp_changed")] == [True, False]
    async with api.db.read() as session:
        assert (await session.execute(text("SELECT count(*) FROM recovery_codes"))).scalar_one() == 0


async def test_another_one_takes_the_present_one_to_be_off(api, ada, guarded):
    app, _ = guarded
    body = {"password": ada.password, "otp": app.code()}

    assert (await ada.call("POST", "/users/second-factor", body)).code == "already_exists"
    assert (await ada.call("POST", "/users/second-factor/confirm", {"code": app.code()})).code == (
        "already_exists"
    )


async def test_what_is_stored_opens_nothing(api, ada, guarded):
    app, codes = guarded
    async with api.db.read() as session:
        users = (await session.execute(text("SELECT * FROM users"))).all()
        rows = (await session.execute(text("SELECT * FROM recovery_codes"))).all()

    stored = repr(users) + repr(rows)
    assert len(rows) == 10
    assert app.totp.secret not in stored
    assert app.totp.byte_secret().hex() not in stored
    for code in codes:
        assert code not in stored
        assert otp.compacted(code) not in stored


async def test_after_another_secret_key_the_recovery_codes_are_what_is_left(api, ada, guarded):
    app, codes = guarded
    async with api.db.write() as session:
        await session.execute(text("UPDATE users SET totp_secret = :other"), {"other": b"\x01 another"})

    assert (await login(api, ada, app.code())).code == "second_factor_invalid"
    assert (await login(api, ada, codes[0])).status == 200
