"""Devices: small numbers that are never given twice."""

import asyncio

import pytest

from fitai.persistence.devices import API, DEVICE, Devices, InstallTaken, Standing, standing
from fitai.persistence.tokens import Rejected, Tokens

NOW = 1_780_000_000_000


async def enrol(db, user, name="phone", *, install_id=None, now=NOW, limit=10):
    async with db.write() as session:
        return await Devices(session).enrol(
            user, name=name, platform="ios", install_id=install_id, now=now, limit=limit
        )


async def live(db, user):
    async with db.read() as session:
        return [device.id for device in await Devices(session).list(user)]


async def test_numbers_count_from_one_for_each_person(db, person):
    one, two = await person(), await person()
    first = await enrol(db, one.owner)
    assert first.device.id == 1
    assert (first.known, list(first.retired)) == (False, [])
    assert (first.device.kind, first.device.parent, first.device.revoked_at) == (DEVICE, None, None)
    assert (await enrol(db, one.owner)).device.id == 2
    assert (await enrol(db, two.owner)).device.id == 1


async def test_a_number_is_not_given_again_after_its_device_was_revoked(db, stream):
    await enrol(db, stream.owner)
    async with db.write() as session:
        assert await Devices(session).revoke(stream.owner, 1, NOW)
    assert (await enrol(db, stream.owner)).device.id == 2
    assert await live(db, stream.owner) == [2]
    async with db.read() as session:
        gone = await Devices(session).get(stream.owner, 1)
    assert gone is not None
    assert gone.revoked_at == NOW


async def test_devices_that_enrol_at_once_get_different_numbers(db, stream):
    made = await asyncio.gather(*(enrol(db, stream.owner, limit=20) for _ in range(8)))
    assert sorted(each.device.id for each in made) == list(range(1, 9))


async def test_a_known_installation_is_the_same_device(db, stream, person):
    other = await person()
    first = await enrol(db, stream.owner, install_id="i-1")
    await enrol(db, stream.owner, install_id="i-2")
    again = await enrol(db, stream.owner, "new name", install_id="i-1", now=NOW + 5)
    assert again.known
    assert (again.device.id, again.device.name, again.device.created_at) == (first.device.id, "new name", NOW)
    assert again.device.last_used_at == NOW + 5
    assert not (await enrol(db, other.owner, install_id="i-1")).known


async def test_an_installation_that_enrols_twice_at_once_is_one_device(db, stream):
    made = await asyncio.gather(*(enrol(db, stream.owner, install_id="i-1") for _ in range(4)))
    assert {each.device.id for each in made} == {1}
    assert sorted(each.known for each in made) == [False, True, True, True]


async def test_a_revoked_installation_that_comes_back_is_the_same_device_again(db, stream):
    await enrol(db, stream.owner, install_id="i-1")
    async with db.write() as session:
        await Devices(session).api_device(stream.owner, 1, NOW)
        await Devices(session).revoke(stream.owner, 1, NOW)
        assert await standing(session, stream.owner, 1, None) is Standing.REVOKED
        its_api_device = await standing(session, stream.owner, 2, None)
        assert its_api_device is Standing.REVOKED
    back = await enrol(db, stream.owner, install_id="i-1", now=NOW + 9)
    assert (back.known, back.device.id, back.device.revoked_at) == (True, 1, None)
    async with db.read() as session:
        assert await standing(session, stream.owner, 2, None) is Standing.LIVE
        assert (
            await Devices(session).name(stream.owner, 2) == (await Devices(session).get(stream.owner, 2)).name
        )
        assert await Devices(session).name(stream.owner, 99) is None


async def test_beyond_the_limit_the_longest_unused_device_is_retired(db, stream):
    for i in range(3):
        await enrol(db, stream.owner, now=NOW + i)
    async with db.write() as session:
        await Devices(session).touch(stream.owner, 1, NOW + 100)
        await Devices(session).touch(stream.owner, 1, NOW + 50)  # late, and changes nothing
        token = (await Tokens(session).issue(stream.owner, 2, now=NOW, ttl=1_000_000)).token
    fourth = await enrol(db, stream.owner, now=NOW + 10, limit=3)
    assert list(fourth.retired) == [2]
    assert await live(db, stream.owner) == [1, 3, 4]
    async with db.write() as session:
        assert await Tokens(session).renew(token, now=NOW, ttl=1) is Rejected.REVOKED


async def test_the_device_that_enrols_is_never_the_one_retired(db, stream):
    await enrol(db, stream.owner, now=NOW + 100)
    late = await enrol(db, stream.owner, now=NOW, limit=1)  # this node's clock is behind
    assert list(late.retired) == [1]
    assert await live(db, stream.owner) == [2]


async def test_an_api_device_is_made_once_for_its_parent_and_does_not_count(db, stream):
    await enrol(db, stream.owner)

    async def find():
        async with db.write() as session:
            return await Devices(session).api_device(stream.owner, 1, NOW)

    assert set(await asyncio.gather(*(find() for _ in range(5)))) == {2}
    assert await live(db, stream.owner) == [1]
    assert list((await enrol(db, stream.owner, limit=2)).retired) == []
    async with db.read() as session:
        api = await Devices(session).get(stream.owner, 2)
    assert api is not None
    assert (api.kind, api.parent) == (API, 1)


async def fork(db, user, at, install_id, *, parent=1, name=None, limit=10):
    async with db.write() as session:
        return await Devices(session).fork(
            user, parent, at, name=name, install_id=install_id, now=NOW, limit=limit
        )


async def test_a_fork_remembers_where_it_parted_and_may_be_one_of_several(db, stream):
    await enrol(db, stream.owner, "phone")
    first = await fork(db, stream.owner, 4, "one")
    second = await fork(db, stream.owner, 9, "two", name="tablet")
    assert [(made.device.id, made.device.parent, made.device.forked_at) for made in (first, second)] == [
        (2, 1, 4),
        (3, 1, 9),
    ]
    assert [(made.device.name, made.device.platform) for made in (first, second)] == [
        ("phone (copy)", "ios"),
        ("tablet", "ios"),
    ]
    assert first.device.kind == DEVICE


async def test_the_same_fork_asked_for_again_is_the_same_device(db, stream):
    await enrol(db, stream.owner)
    first = await fork(db, stream.owner, 4, "one")
    async with db.write() as session:
        await Devices(session).revoke(stream.owner, first.device.id, NOW)
    again = await fork(db, stream.owner, 4, "one")
    assert (again.device.id, again.known, again.device.revoked_at) == (first.device.id, True, None)


async def test_a_fork_can_not_take_the_installation_of_another_device(db, stream):
    await enrol(db, stream.owner, install_id="mine")
    await fork(db, stream.owner, 4, "one")
    for install_id, at in (("mine", 4), ("one", 5)):
        with pytest.raises(InstallTaken):
            await fork(db, stream.owner, at, install_id)
    assert await live(db, stream.owner) == [1, 2]


async def test_a_fork_counts_as_a_device_and_makes_room_for_itself(db, stream):
    await enrol(db, stream.owner, now=NOW - 2)
    await enrol(db, stream.owner, now=NOW - 1)
    made = await fork(db, stream.owner, 1, "one", parent=2, limit=2)
    assert (list(made.retired), await live(db, stream.owner)) == ([1], [2, 3])


async def test_only_own_live_devices_are_renamed_and_revoked(db, stream, person):
    other = await person()
    await enrol(db, stream.owner)
    async with db.write() as session:
        devices = Devices(session)
        await devices.api_device(stream.owner, 1, NOW)
        renamed = await devices.rename(stream.owner, 1, "watch")
        assert renamed is not None
        assert renamed.name == "watch"
        assert await devices.rename(other.owner, 1, "mine") is None
        assert await devices.rename(stream.owner, 2, "api") is None
        assert not await devices.revoke(other.owner, 1, NOW)
        assert not await devices.revoke(stream.owner, 0, NOW)
        assert await devices.revoke(stream.owner, 1, NOW)
        assert not await devices.revoke(stream.owner, 1, NOW)
        assert await devices.rename(stream.owner, 1, "gone") is None
