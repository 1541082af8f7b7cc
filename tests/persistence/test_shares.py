"""Links that are given away and taken back."""

from fitai.persistence.shares import Shares

NOW = 1_780_000_000_000
WORKOUT = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
OTHER = "0192f3c4-7b1a-7c3e-9d2f-aaaaaaaaaaaa"


async def share(db, user, workout=WORKOUT, **given):
    async with db.write() as session:
        return await Shares(session).create(user, workout, ["title", "exercises"], **({"now": NOW} | given))


async def by_secret(db, secret, now=NOW):
    async with db.read() as session:
        return await Shares(session).by_secret(secret, now=now)


async def test_whoever_has_the_link_finds_what_was_shared(db, stream):
    made = await share(db, stream.owner)
    assert await by_secret(db, made.secret) == made
    assert (made.user, made.workout, list(made.fields)) == (stream.owner, WORKOUT, ["title", "exercises"])
    assert len(made.secret) >= 32


async def test_a_strange_secret_finds_nothing(db, stream):
    made = await share(db, stream.owner)
    for secret in ("", "x", made.id, made.secret + "x", "\x00", "ü", "\ud800"):
        assert await by_secret(db, secret) is None


async def test_a_revoked_link_is_dead_at_once_and_only_its_owner_can_revoke_it(db, stream, person):
    other = await person()
    made = await share(db, stream.owner)
    async with db.write() as session:
        assert not await Shares(session).revoke(other.owner, made.id, now=NOW)
    assert await by_secret(db, made.secret) is not None
    async with db.write() as session:
        assert await Shares(session).revoke(stream.owner, made.id, now=NOW)
        assert not await Shares(session).revoke(stream.owner, made.id, now=NOW)
    assert await by_secret(db, made.secret) is None


async def test_a_link_may_expire(db, stream):
    made = await share(db, stream.owner, expires_at=NOW + 10)
    assert await by_secret(db, made.secret, NOW + 9) == made
    assert await by_secret(db, made.secret, NOW + 10) is None
    async with db.read() as session:
        assert await Shares(session).of_user(stream.owner, now=NOW + 10) == []


async def test_a_person_sees_own_live_links_newest_first(db, stream, person):
    other = await person()
    old = await share(db, stream.owner)
    new = await share(db, stream.owner, OTHER, now=NOW + 1)
    await share(db, other.owner)
    async with db.read() as session:
        shares = Shares(session)
        assert await shares.of_user(stream.owner, now=NOW) == [new, old]
        assert await shares.of_user(stream.owner, now=NOW, workout=WORKOUT) == [old]
