"""How sign-ins end."""

from __future__ import annotations

import pytest

from fitai.persistence.devices import Devices, Standing, standing
from fitai.persistence.sign_ins import EndedSignIns
from fitai.persistence.tokens import Rejected, Tokens

NOW = 1_780_000_000_000


@pytest.fixture
async def signed_in(db, stream):
    """Two sign-ins on one device, one on another: (refresh token, sign-in) each."""
    async with db.write() as session:
        made = []
        for install in ("a", "a", "b"):
            enrolled = await Devices(session).enrol(
                stream.owner, name="x", platform="ios", install_id=install, now=NOW, limit=5
            )
            issued = await Tokens(session).issue(stream.owner, enrolled.device.id, now=NOW, ttl=10**6)
            made.append((issued.token, issued.sign_in))
    return made


async def standings(db, signed_in):
    async with db.read() as session:
        return [await standing(session, one.user, one.device, one.id) for _, one in signed_in]


async def ended_since(db, moment):
    async with db.read() as session:
        return {sign_in.id for sign_in in await EndedSignIns(session).since(moment)}


async def test_signing_out_ends_one(db, signed_in):
    (token, first), _, _ = signed_in
    async with db.write() as session:
        assert await Tokens(session).end(token, now=NOW + 7) == first
        assert await Tokens(session).end(token, now=NOW + 9) == first, "twice is as good as once"
    assert await standings(db, signed_in) == [Standing.SIGNED_OUT, Standing.LIVE, Standing.LIVE]
    assert await ended_since(db, NOW + 6) == {first.id}
    assert await ended_since(db, NOW + 7) == set()


async def test_signing_out_a_device_ends_all_of_it(db, signed_in):
    (_, first), (_, second), _ = signed_in
    async with db.write() as session:
        ended = await Tokens(session).end_device(first.user, first.device, now=NOW)
    assert {sign_in.id for sign_in in ended} == {first.id, second.id}
    assert await standings(db, signed_in) == [Standing.SIGNED_OUT, Standing.SIGNED_OUT, Standing.LIVE]


async def test_an_installation_that_was_revoked_comes_back_without_its_old_sign_ins(db, signed_in):
    (token, first), _, _ = signed_in
    async with db.write() as session:
        await Devices(session).revoke(first.user, first.device, NOW)
    assert await standings(db, signed_in) == [Standing.REVOKED, Standing.REVOKED, Standing.LIVE]
    async with db.write() as session:
        again = await Devices(session).enrol(
            first.user, name="x", platform="ios", install_id="a", now=NOW, limit=5
        )
        fresh = await Tokens(session).issue(first.user, again.device.id, now=NOW, ttl=10**6)
        assert await Tokens(session).renew(token, now=NOW, ttl=1) is Rejected.REVOKED
    assert again.device.id == first.device
    assert await standings(db, [*signed_in, (fresh.token, fresh.sign_in)]) == [
        Standing.SIGNED_OUT,
        Standing.SIGNED_OUT,
        Standing.LIVE,
        Standing.LIVE,
    ]


async def test_a_reuse_ends_the_sign_in(db, signed_in):
    (token, first), _, _ = signed_in
    async with db.write() as session:
        await Tokens(session).renew(token, now=NOW, ttl=10**6)
        assert await Tokens(session).renew(token, now=NOW + 1, ttl=10**6) is Rejected.REUSED
    assert await ended_since(db, NOW) == {first.id}


async def test_what_ended_is_forgotten_when_no_access_token_can_be_left(db, signed_in):
    (token, first), _, _ = signed_in
    async with db.write() as session:
        await Tokens(session).end(token, now=NOW)
        await EndedSignIns(session).sweep(NOW)
    assert await ended_since(db, 0) == {first.id}
    async with db.write() as session:
        await EndedSignIns(session).sweep(NOW + 1)
    assert await ended_since(db, 0) == set()
