"""Refresh tokens: one use each, and a reuse ends the family."""

import asyncio

import pytest
from sqlalchemy import text

from fitai.persistence.devices import Devices
from fitai.persistence.tokens import Issued, Rejected, Tokens

NOW = 1_780_000_000_000
TTL = 1000


@pytest.fixture
async def device(db, stream):
    """(user, device)."""
    async with db.write() as session:
        enrolment = await Devices(session).enrol(
            stream.owner, name="phone", platform="ios", install_id=None, now=NOW, limit=5
        )
    return stream.owner, enrolment.device.id


async def issue(db, device):
    async with db.write() as session:
        return (await Tokens(session).issue(*device, now=NOW, ttl=TTL)).token


async def renew(db, token, now=NOW):
    async with db.write() as session:
        return await Tokens(session).renew(token, now=now, ttl=TTL)


async def test_each_renewal_gives_the_next_token(db, device):
    token = await issue(db, device)
    seen = {token}
    for _ in range(4):
        renewed = await renew(db, token)
        assert isinstance(renewed, Issued)
        assert (renewed.sign_in.user, renewed.sign_in.device) == device
        token = renewed.token
        seen.add(token)
    assert len(seen) == 5


async def test_a_spent_token_that_is_shown_again_ends_its_family_for_good(db, device):
    first, other = await issue(db, device), await issue(db, device)
    second = await renew(db, first)
    assert isinstance(second, Issued)
    third = await renew(db, second.token)
    assert isinstance(third, Issued)
    assert await renew(db, first) is Rejected.REUSED
    assert await renew(db, third.token) is Rejected.REVOKED
    assert await renew(db, first) is Rejected.REVOKED
    assert isinstance(await renew(db, other), Issued), "another login is another family"


async def test_of_two_renewals_at_once_one_counts_as_a_reuse(db, device):
    token = await issue(db, device)
    results = await asyncio.gather(renew(db, token), renew(db, token))
    assert Rejected.REUSED in results
    good = [result for result in results if isinstance(result, Issued)]
    assert len(good) == 1
    assert await renew(db, good[0].token) is Rejected.REVOKED


async def test_strange_and_expired_tokens_are_rejected(db, device):
    token = await issue(db, device)
    assert await renew(db, "strange") is Rejected.UNKNOWN
    assert await renew(db, "\ud800\x00") is Rejected.UNKNOWN
    assert await renew(db, token, now=NOW + TTL) is Rejected.EXPIRED
    assert isinstance(await renew(db, token, now=NOW + TTL - 1), Issued)


async def test_logout_ends_the_family_and_only_that(db, device):
    token, other = await issue(db, device), await issue(db, device)
    async with db.write() as session:
        assert await Tokens(session).end(token, now=NOW)
        assert not await Tokens(session).end("strange", now=NOW)
    assert await renew(db, token) is Rejected.REVOKED
    assert isinstance(await renew(db, other), Issued)


async def test_a_revoked_devices_tokens_are_worth_nothing(db, device):
    token, other = await issue(db, device), await issue(db, device)
    async with db.write() as session:
        await Tokens(session).end_device(*device, now=NOW)
    assert await renew(db, token) is Rejected.REVOKED
    last = await issue(db, device)
    async with db.write() as session:
        user, number = device
        await Devices(session).revoke(user, number, NOW)
    assert await renew(db, last) is Rejected.REVOKED
    assert await renew(db, other) is Rejected.REVOKED


async def test_a_renewal_that_races_a_revocation_leaves_no_token_behind(db, device):
    """Not even one that would be good again when the installation comes back."""
    user, number = device
    for _ in range(5):
        token = await issue(db, device)

        async def revoke():
            async with db.write() as session:
                await Devices(session).revoke(user, number, NOW)

        renewed, _ = await asyncio.gather(renew(db, token), revoke())
        async with db.write() as session:
            left = await session.execute(text("SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NULL"))
            assert left.scalar_one() == 0
            await session.execute(text("UPDATE devices SET revoked_at = NULL"))
        if isinstance(renewed, Issued):
            assert await renew(db, renewed.token) is Rejected.REVOKED


async def test_the_tokens_themselves_are_not_stored(db, device):
    token = await issue(db, device)
    async with db.read() as session:
        rows = (await session.execute(text("SELECT * FROM refresh_tokens"))).all()
    assert len(rows) == 1
    assert token not in repr(rows)
    assert token.encode().hex() not in repr(rows)


async def test_expired_tokens_are_swept(db, device):
    token = await issue(db, device)
    async with db.write() as session:
        assert await Tokens(session).sweep(NOW + TTL) == 0
        assert await Tokens(session).sweep(NOW + TTL + 1) == 1
    assert await renew(db, token) is Rejected.UNKNOWN
