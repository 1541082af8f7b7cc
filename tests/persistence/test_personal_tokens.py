from __future__ import annotations

import pytest
from sqlalchemy import text

from fitai.persistence.devices import INTEGRATION, TOKEN, Devices, Standing, standing
from fitai.persistence.personal_tokens import PER_USER, PREFIX, PersonalTokens, TooMany, looks_right

NOW = 1_780_000_000_000
SCOPES = {"sync:read", "workouts:read"}


async def create(db, user, **change):
    asked = {"name": "export", "scopes": SCOPES, "now": NOW, "expires_at": None, **change}
    async with db.write() as session:
        return await PersonalTokens(session).create(user, **asked)


async def find(db, token):
    async with db.read() as session:
        return await PersonalTokens(session).find(token)


async def test_a_token_is_found_by_its_secret_and_speaks_for_a_device_of_its_own(db, stream):
    made = await create(db, stream.owner, expires_at=NOW + 1)
    assert await find(db, made.token) == made.row
    assert (made.row.user, made.row.scopes, made.row.expires_at) == (stream.owner, SCOPES, NOW + 1)
    async with db.read() as session:
        device = await Devices(session).get(stream.owner, made.row.device)
        listed = await PersonalTokens(session).list(stream.owner)
    assert device is not None
    assert (device.kind, device.platform, device.name) == (TOKEN, INTEGRATION, "export")
    assert listed == [made.row]


async def test_a_token_can_be_told_from_other_text_without_the_database(db, stream):
    made = await create(db, stream.owner)
    assert looks_right(made.token)
    assert made.token.startswith(PREFIX)
    assert made.token.isascii()
    for index in range(len(made.token)):
        other = "x" if made.token[index] != "x" else "y"
        assert not looks_right(made.token[:index] + other + made.token[index + 1 :])
    for strange in ("", PREFIX, made.token + "0", made.token[:-1], f" {made.token}", made.token + "\n"):
        assert not looks_right(strange)


async def test_the_secret_is_not_stored(db, stream):
    made = await create(db, stream.owner)
    async with db.read() as session:
        rows = (await session.execute(text("SELECT * FROM personal_tokens"))).all()
    assert made.token not in repr(rows)
    assert made.token.encode().hex() not in repr(rows)


async def test_revoking_a_token_ends_its_device(db, stream):
    made, other = await create(db, stream.owner), await create(db, stream.owner)
    async with db.write() as session:
        tokens = PersonalTokens(session)
        assert await tokens.revoke(stream.owner, made.row.id, NOW) == made.row.device
        assert await tokens.revoke(stream.owner, made.row.id, NOW) is None, "once"
    assert await find(db, made.token) is None
    assert await find(db, other.token) == other.row
    async with db.read() as session:
        assert await standing(session, stream.owner, made.row.device, None) is Standing.REVOKED
        assert await PersonalTokens(session).list(stream.owner) == [other.row]


async def test_revoking_its_device_ends_a_token(db, stream):
    made = await create(db, stream.owner)
    async with db.write() as session:
        assert await Devices(session).revoke(stream.owner, made.row.device, NOW)
    assert await find(db, made.token) is None
    async with db.read() as session:
        assert await PersonalTokens(session).list(stream.owner) == []


async def test_somebody_else_can_neither_see_nor_revoke_a_token(db, stream, person):
    made, bob = await create(db, stream.owner), await person()
    async with db.write() as session:
        assert await PersonalTokens(session).list(bob.owner) == []
        assert await PersonalTokens(session).revoke(bob.owner, made.row.id, NOW) is None
    assert await find(db, made.token) == made.row


async def test_integrations_take_no_room_from_devices(db, stream):
    """Neither is retired to make room for the other."""
    made = await create(db, stream.owner)
    async with db.write() as session:
        for name in ("phone", "watch", "tablet"):
            enrolled = await Devices(session).enrol(
                stream.owner, name=name, platform="ios", install_id=None, now=NOW + 1, limit=2
            )
    assert len(enrolled.retired) == 1
    assert await find(db, made.token) == made.row
    await create(db, stream.owner)
    async with db.read() as session:
        names = [device.name for device in await Devices(session).list(stream.owner)]
    assert names == ["export", "watch", "tablet", "export"]


async def test_nobody_has_more_tokens_than_can_be_looked_after(db, stream):
    for _ in range(PER_USER - 1):
        await create(db, stream.owner)
    short = await create(db, stream.owner, expires_at=NOW + 1)
    with pytest.raises(TooMany):
        await create(db, stream.owner)
    assert await create(db, stream.owner, now=NOW + 1), "one that has expired does not count"
    async with db.read() as session:
        devices = await Devices(session).list(stream.owner)
    assert len(devices) == PER_USER + 1, "and who is refused leaves nothing behind"
    assert short.row.expires_at == NOW + 1


async def test_the_last_use_is_noted_for_the_token_and_its_device(db, stream):
    made = await create(db, stream.owner)
    async with db.write() as session:
        await PersonalTokens(session).touch(made.row, NOW + 5)
        device = await Devices(session).get(stream.owner, made.row.device)
    assert (await find(db, made.token)).last_used_at == NOW + 5
    assert device is not None
    assert device.last_used_at == NOW + 5
