"""Accounts, each with its stream."""

import asyncio

import pytest

from fitai.persistence.log import Log
from fitai.persistence.users import EmailTaken, Users, email_key

NOW = 1_780_000_000_000


async def create(db, email, **given):
    async with db.write() as session:
        values = {"password_hash": "hash", "display_name": None, "now": NOW} | given
        return await Users(session).create(email=email, **values)


async def test_an_account_and_its_empty_stream_are_made_together(db):
    user = await create(db, "Ann@Example.org", display_name="Ann \x00 ✓")
    async with db.read() as session:
        found = await Users(session).get(user.id)
        stream = await Log(session).stream_of(user.id)
    assert found == user
    assert (user.email, user.display_name, user.created_at) == ("Ann@Example.org", "Ann \ufffd ✓", NOW)
    assert stream is not None
    assert (stream.owner, stream.head, stream.projected, stream.last_rt) == (user.id, 0, 0, 0)


async def test_every_stream_has_an_epoch_of_its_own(db):
    users = [await create(db, f"{i}@example.org") for i in range(3)]
    async with db.read() as session:
        epochs = {(await Log(session).stream_of(user.id)).epoch for user in users}
    assert len(epochs) == 3


async def test_an_address_is_one_however_it_is_spelled(db):
    user = await create(db, " Ann@Example.org")
    with pytest.raises(EmailTaken):
        await create(db, "ann@EXAMPLE.ORG")
    async with db.read() as session:
        assert await Users(session).by_email("ANN@example.org") == user
        assert await Users(session).by_email("bob@example.org") is None
    assert email_key("ﬁt@example.org") == email_key("FIT@example.org")


async def test_of_two_who_register_one_address_at_once_one_gets_it(db):
    made = await asyncio.gather(*(create(db, "a@example.org") for _ in range(4)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in made) == ["EmailTaken"] * 3 + ["UserRow"]


async def test_a_taken_address_leaves_no_stream_behind_and_the_transaction_usable(db):
    await create(db, "a@example.org")
    async with db.write() as session:
        users = Users(session)
        with pytest.raises(EmailTaken):
            await users.create(email="a@example.org", password_hash="h", display_name=None, now=NOW)
        user = await users.create(email="b@example.org", password_hash="h", display_name=None, now=NOW)
    async with db.read() as session:
        assert await Log(session).stream_of(user.id) is not None
        assert len(await Log(session).heads(range(100))) == 2


async def test_a_password_can_be_replaced(db):
    user = await create(db, "a@example.org")
    async with db.write() as session:
        await Users(session).set_password(user.id, "better")
    async with db.read() as session:
        found = await Users(session).get(user.id)
    assert found is not None
    assert found.password_hash == "better"
