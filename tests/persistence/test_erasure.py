"""Erasing a person takes every row of theirs, and nobody else's; whatever is in the middle of something
then."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from fitai.persistence.append import HeadMoved
from fitai.persistence.devices import Devices
from fitai.persistence.erasure import RECORDS, Erasure
from fitai.persistence.log import Log
from fitai.persistence.users import Users

NOW = 1_780_000_000_000
WORKOUT = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"


async def forget(db, user):
    async with db.write() as session:
        return await Erasure(session).forget(user)


async def delete_log(db, stream):
    more, times = True, 0
    while more:
        async with db.write() as session:
            more = await Erasure(session).delete_log(stream)
        times += 1
    return times


async def records(db, stream):
    async with db.read() as session:
        counted = text("SELECT count(*) FROM records WHERE stream = :stream")
        return (await session.execute(counted, {"stream": stream})).scalar_one()


async def test_a_long_log_goes_in_parts(db, person, appender, make_append):
    stream, other = await person(), await person()
    count = RECORDS * 2 + 1
    await appender.append(make_append(stream.id, 0, count))
    await appender.append(make_append(other.id, 0, 3))

    assert await forget(db, stream.owner) == stream.id
    assert await records(db, stream.id) == count, "the log is left to be deleted by itself"
    assert await delete_log(db, stream.id) == 3

    assert await records(db, stream.id) == 0
    assert await records(db, other.id) == 3


async def test_nothing_can_be_appended_any_more(db, stream, appender, make_append):
    await appender.append(make_append(stream.id, 0, 2))
    await forget(db, stream.owner)

    for seen in (0, 2):
        with pytest.raises(HeadMoved):
            await appender.append(make_append(stream.id, seen, 1))
    assert await delete_log(db, stream.id) == 1
    assert await records(db, stream.id) == 0


async def test_the_number_of_an_erased_stream_is_nobodys_again(db, person, appender, make_append):
    """SQLite would give it to the next one, with what still lies under it."""
    last = await person()
    await appender.append(make_append(last.id, 0, 2))
    await forget(db, last.owner)

    fresh = await person()

    assert fresh.id != last.id
    async with db.read() as session:
        assert await Log(session).stream_of(last.owner) is None
        assert await Log(session).read(fresh.id, 0, 10) == []


async def test_a_log_that_is_somebodys_stays(db, stream, appender, make_append):
    await appender.append(make_append(stream.id, 0, 2))

    assert await delete_log(db, stream.id) == 1

    assert await records(db, stream.id) == 2


async def test_what_is_repeated_or_late_harms_nobody(db, stream):
    assert await forget(db, stream.owner) == stream.id
    assert await forget(db, stream.owner) is None
    assert await delete_log(db, stream.id) == 1
    assert await delete_log(db, 999_999) == 1


async def test_only_who_wanted_to_go_by_now_is_due(db, stream):
    async def due(now):
        async with db.write() as session:
            return await Erasure(session).due(stream.owner, now)

    assert not await due(NOW)
    async with db.write() as session:
        await Users(session).delete_after(stream.owner, NOW)
    assert not await due(NOW - 1)
    assert await due(NOW)
    async with db.write() as session:
        await Users(session).delete_after(stream.owner, None)
    assert not await due(NOW)


async def test_who_is_silenced_has_no_device_left(db, stream):
    async with db.write() as session:
        devices = Devices(session)
        for name in ("phone", "watch"):
            await devices.enrol(stream.owner, name=name, platform="x", install_id=None, now=NOW, limit=5)
        await Erasure(session).silence(stream.owner, NOW)
    async with db.read() as session:
        assert await Devices(session).list(stream.owner) == []
