from sqlalchemy import text


async def test_it(db):
    await db.check()
    async with db.read() as s:
        assert (await s.execute(text("select count(*) from records"))).scalar() == 0


def test_sync():
    pass
