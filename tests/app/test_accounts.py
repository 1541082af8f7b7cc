from __future__ import annotations

import pytest

from fitai.app.accounts import DEMO_EMAIL, DEMO_PASSWORD, create_user, demo_account
from fitai.app.failures import Refused
from fitai.http.auth.passwords import Passwords
from fitai.persistence.users import Users

NOW = 1_780_000_000_000


def now_ms():
    return NOW


async def stored(db, email):
    async with db.read() as session:
        return await Users(session).by_email(email)


async def test_an_account_can_sign_in_with_its_password(db):
    made = await create_user(db, "ada@example.com", "correct horse", "Ada", now_ms)
    row = await stored(db, "ADA@example.com")
    assert row == made
    assert (row.display_name, row.created_at) == ("Ada", NOW)
    passwords = Passwords(workers=1)
    assert await passwords.verify(row.password_hash, "correct horse")
    passwords.close()


@pytest.mark.parametrize(
    ("email", "password", "name", "sentence"),
    [
        ("ada", "correct horse", None, "'ada' is not an e-mail address"),
        ("ada@example.com", "short", None, "8 to 256 characters"),
        ("ada@example.com", "correct horse", "two\nlines", "one line"),
    ],
)
async def test_a_bad_account_is_refused_in_a_sentence_and_not_made(db, email, password, name, sentence):
    with pytest.raises(Refused, match=sentence):
        await create_user(db, email, password, name, now_ms)
    assert await stored(db, email) is None


async def test_a_taken_address_is_refused(db):
    await create_user(db, "ada@example.com", "correct horse", None, now_ms)
    with pytest.raises(Refused, match="already"):
        await create_user(db, "Ada@Example.com", "another horse", None, now_ms)


async def test_the_demo_account_is_made_once_and_costs_no_hash_later(db, monkeypatch):
    first = await demo_account(db, now_ms)
    row = await stored(db, DEMO_EMAIL)

    def no_hash(*_):
        raise AssertionError("hashed again")

    monkeypatch.setattr(Passwords, "hash", no_hash)
    assert await demo_account(db, now_ms) == first
    assert (first.email, first.password) == (DEMO_EMAIL, DEMO_PASSWORD)
    assert await stored(db, DEMO_EMAIL) == row
