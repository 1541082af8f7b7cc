"""The rows of what is proved by mail, of personal tokens, and of the person; see `rows`."""

from __future__ import annotations

from typing import Any

import pyotp

from fitai.http.auth import otp
from tests.http.conftest import Person
from tests.http.contract.row import Row, fixed
from tests.http.contract.world import Ask, Way, World
from tests.http.desk import Desk

NEW = "seven lazy barbells"
NOWHERE = "nobody@example.org"


def code_of(person: Person, secret: str) -> str:
    """What the person's app shows now."""
    return pyotp.TOTP(secret).generate_otp(person.api.clock() // otp.STEP_MS)


async def begun(person: Person) -> str:
    """The secret of a second factor that is not confirmed yet."""
    answer = await person.call("POST", "/users/second-factor", {"password": person.password})
    assert answer.status == 201, answer.body
    return str(answer.body["secret"])


async def second_factor(person: Person) -> list[str]:
    """Switch the second factor on; the recovery codes."""
    body = {"code": code_of(person, await begun(person))}
    answer = await person.call("POST", "/users/second-factor/confirm", body)
    assert answer.status == 200, answer.body
    return list(answer.body["recovery_codes"])


def confirmed(path: str, **body: Any) -> Way:
    """A request with the person's password."""

    async def way(world: World, person: Person) -> Ask:
        return Ask(path, {**body, "password": person.password}, token=person.token)

    return way


def unconfirmed(path: str, field: str = "password", **body: Any) -> Way:
    """The same with another password."""
    return fixed(path, {**body, field: "wrong password"})


def guarded(path: str) -> Way:
    """A request with the person's password, where there is a second factor."""

    async def way(world: World, person: Person) -> Ask:
        codes = await second_factor(person)
        return Ask(path, {"password": person.password, "otp": codes[0]}, token=person.token)

    return way


# -- what is proved by mail ----------------------------------------------------------------------------


async def a_link_to_a_new_password(world: World, person: Person) -> Ask:
    await person.api.call("POST", "/auth/forgot-password", {"email": person.email})
    token = await Desk(person.api).token("reset_password", person.email)
    return Ask("/auth/reset-password", {"token": token, "password": NEW})


async def a_link_to_a_weak_password(world: World, person: Person) -> Ask:
    ask = await a_link_to_a_new_password(world, person)
    return ask.but(json={**ask.json, "password": "password1"})


async def a_link_that_verifies(world: World, person: Person) -> Ask:
    token = await Desk(person.api).token("verify_email", person.email)
    return Ask(f"/auth/verify-email?token={token}")


async def a_link_to_an_address_that_was_taken(world: World, person: Person) -> Ask:
    email = f"new-{person.email}"
    await person.call("POST", "/users/email", {"email": email, "password": person.password})
    token = await Desk(person.api).token("verify_email", email)
    await person.api.enter("register", email, person.password, 201)
    return Ask(f"/auth/verify-email?token={token}")


async def a_link_that_keeps_the_account(world: World, person: Person) -> Ask:
    await person.call("POST", "/users/profile/delete", {"password": person.password})
    token = await Desk(person.api).token("account_deletion", person.email)
    return Ask(f"/users/profile/keep?token={token}")


BY_MAIL = {
    "forgot_password": Row(fixed("/auth/forgot-password", {"email": NOWHERE})),
    "reset_password_page": Row(
        fixed("/auth/reset-password"), {"validation_failed": fixed("/auth/reset-password?token=")}
    ),
    "reset_password": Row(
        a_link_to_a_new_password,
        {
            "invalid_link": fixed("/auth/reset-password", {"token": "none", "password": NEW}),
            "weak_password": a_link_to_a_weak_password,
        },
        others="all",
    ),
    "verify_email": Row(
        a_link_that_verifies,
        {
            "invalid_link": fixed("/auth/verify-email?token=none"),
            "email_taken": a_link_to_an_address_that_was_taken,
            "validation_failed": fixed("/auth/verify-email"),
        },
        others="all",
    ),
    "resend_verification": Row(fixed("/auth/resend-verification", {"email": NOWHERE})),
    "keep_account": Row(
        a_link_that_keeps_the_account,
        {
            "invalid_link": fixed("/users/profile/keep?token=none"),
            "validation_failed": fixed("/users/profile/keep"),
        },
        others="all",
    ),
}


# -- personal tokens -----------------------------------------------------------------------------------

A_TOKEN: dict[str, Any] = {"name": "Spreadsheet", "scopes": ["workouts:read"]}


async def one_token_too_many(world: World, person: Person) -> Ask:
    for _ in range(50):
        await world.personal_token(person, "workouts:read")
    return await confirmed("/auth/tokens", **A_TOKEN)(world, person)


async def a_token_of_theirs(world: World, person: Person) -> Ask:
    await world.personal_token(person, "workouts:read")
    tokens = (await person.call("GET", "/auth/tokens")).body["tokens"]
    return Ask(f"/auth/tokens/{tokens[0]['id']}", token=person.token)


TOKENS = {
    "list_tokens": Row(fixed("/auth/tokens")),
    "create_token": Row(
        confirmed("/auth/tokens", **A_TOKEN),
        {
            "confirmation_failed": unconfirmed("/auth/tokens", **A_TOKEN),
            "limit": one_token_too_many,
        },
    ),
    "revoke_token": Row(a_token_of_theirs),
}


# -- the person ----------------------------------------------------------------------------------------


async def another_password(world: World, person: Person) -> Ask:
    body = {"current_password": person.password, "new_password": NEW}
    return Ask("/users/password", body, token=person.token)


async def a_weak_password(world: World, person: Person) -> Ask:
    body = {"current_password": person.password, "new_password": "password1"}
    return Ask("/users/password", body, token=person.token)


async def an_address_that_is_taken(world: World, person: Person) -> Ask:
    body = {"email": (await world.person()).email, "password": person.password}
    return Ask("/users/email", body, token=person.token)


async def a_code_of_the_app(world: World, person: Person) -> Ask:
    body = {"code": code_of(person, await begun(person))}
    return Ask("/users/second-factor/confirm", body, token=person.token)


async def a_wrong_code_of_the_app(world: World, person: Person) -> Ask:
    await begun(person)
    return Ask("/users/second-factor/confirm", {"code": "nonsense"}, token=person.token)


async def a_code_once_more(world: World, person: Person) -> Ask:
    await second_factor(person)
    return Ask("/users/second-factor/confirm", {"code": "123456"}, token=person.token)


async def another_second_factor(world: World, person: Person) -> Ask:
    return await guarded("/users/second-factor")(world, person)


async def an_account_whose_time_is_over(world: World, person: Person) -> Ask:
    answer = await person.call("POST", "/users/profile/delete", {"password": person.password})
    world.clock.now = answer.body["delete_after"] - 1_000
    back = await person.api.login(person)
    world.clock.advance(seconds=1)
    return Ask("/users/profile/restore", {}, token=back.token)


PERSON = {
    "get_profile": Row(fixed("/users/profile")),
    "edit_profile": Row(fixed("/users/profile", {"display_name": "Ada"})),
    "delete_account": Row(
        confirmed("/users/profile/delete"), {"confirmation_failed": unconfirmed("/users/profile/delete")}
    ),
    "restore_account": Row(fixed("/users/profile/restore", {}), {"not_found": an_account_whose_time_is_over}),
    "change_password": Row(
        another_password,
        {
            "weak_password": a_weak_password,
            "confirmation_failed": unconfirmed("/users/password", "current_password", new_password=NEW),
        },
    ),
    "change_email": Row(
        confirmed("/users/email", email="new@example.org"),
        {
            "email_taken": an_address_that_is_taken,
            "confirmation_failed": unconfirmed("/users/email", email="new@example.org"),
        },
    ),
    "get_second_factor": Row(fixed("/users/second-factor")),
    "begin_second_factor": Row(
        confirmed("/users/second-factor"),
        {
            "already_exists": another_second_factor,
            "confirmation_failed": unconfirmed("/users/second-factor"),
        },
    ),
    "confirm_second_factor": Row(
        a_code_of_the_app,
        {
            "not_found": fixed("/users/second-factor/confirm", {"code": "123456"}),
            "already_exists": a_code_once_more,
            "confirmation_failed": a_wrong_code_of_the_app,
        },
        others="not_found",
    ),
    "disable_second_factor": Row(
        guarded("/users/second-factor/disable"),
        {"confirmation_failed": unconfirmed("/users/second-factor/disable")},
    ),
    "renew_recovery_codes": Row(
        guarded("/users/second-factor/recovery-codes"),
        {
            "not_found": confirmed("/users/second-factor/recovery-codes"),
            "confirmation_failed": unconfirmed("/users/second-factor/recovery-codes"),
        },
        others="not_found",
    ),
    "list_security_log": Row(fixed("/users/security-log")),
}

ACCOUNTS: dict[str, Row] = {**BY_MAIL, **TOKENS, **PERSON}
