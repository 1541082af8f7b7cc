"""Keys of requests that were answered."""

from sqlalchemy import insert

from fitai.persistence.idempotency import Idempotency, UsedKey


async def use(db, user, key, now=5, answer=None):
    companion = Idempotency.companion(user, key, "hash", now, answer)
    async with db.write() as session:
        await session.execute(insert(companion.table), [companion.row])


async def test_a_key_is_each_persons_own(db, stream, person):
    other = await person()
    await use(db, stream.owner, "k \x00", answer={"seq": 4})
    async with db.read() as session:
        keys = Idempotency(session)
        assert await keys.find(stream.owner, "k \x00") == UsedKey("k \x00", "hash", {"seq": 4}, 5)
        assert await keys.find(other.owner, "k \x00") is None
        assert await keys.find(stream.owner, "other") is None


async def test_old_keys_are_swept(db, stream):
    await use(db, stream.owner, "old", now=5)
    await use(db, stream.owner, "new", now=9)
    async with db.write() as session:
        assert await Idempotency(session).sweep(9) == 1
    async with db.read() as session:
        assert await Idempotency(session).find(stream.owner, "old") is None
        assert await Idempotency(session).find(stream.owner, "new") is not None
