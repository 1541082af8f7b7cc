"""POST /auth/devices: the way out for a copy of a device."""

from __future__ import annotations

import asyncio

import pytest

from tests.http.conftest import Person
from tests.http.sync.conftest import RestDevice, new_id


@pytest.fixture
async def phone(api) -> RestDevice:
    """A phone that has written three ops."""
    device = RestDevice(await api.register(name="Phone", install_id="the phone"))
    await device.pushed(*(device.op("workout.create", new_id()) for _ in range(3)))
    return device


async def fork(device, at, **more):
    return await device.person.call("POST", "/auth/devices", {"fork_at": at, **more})


async def test_a_fork_is_a_new_device_with_tokens(phone):
    answer = await fork(phone, 3)
    ada = phone.person
    assert answer.status == 201
    assert answer.body["device"] == {"id": 2, "name": "Phone (copy)"}
    assert answer.body["user"]["id"] == ada.id
    assert answer.body["install_id"] not in ("", "the phone")
    copy = Person(ada.api, ada.email, ada.password, answer.body)
    listed = (await copy.call("GET", "/auth/devices")).body["devices"]
    assert {(row["id"], row["platform"], row["current"]) for row in listed} == {
        (1, "ios", False),
        (2, "ios", True),
    }
    refreshed = await ada.api.call("POST", "/auth/refresh", {"refresh_token": copy.refresh_token})
    assert (refreshed.status, refreshed.body["device"]["id"]) == (200, 2)


async def test_parent_and_fork_sign_in_again_each_by_its_own_installation(phone):
    made = await fork(phone, 2, name="Tablet")
    api, ada = phone.person.api, phone.person
    assert (await api.login(ada, install_id="the phone")).device == 1
    assert (await api.login(ada, install_id=made.body["install_id"])).device == 2
    assert made.body["device"]["name"] == "Tablet"


async def test_the_same_fork_asked_for_again_is_the_same_device(phone):
    answers = await asyncio.gather(*(fork(phone, 3, install_id="the copy") for _ in range(3)))
    assert [answer.status for answer in answers] == [201] * 3
    assert {answer.body["device"]["id"] for answer in answers} == {2}
    assert {answer.body["install_id"] for answer in answers} == {"the copy"}
    assert len({answer.body["refresh_token"] for answer in answers}) == 3


@pytest.mark.parametrize(("at", "install_id"), [(2, "the phone"), (2, "the copy")])
async def test_a_fork_can_not_take_anothers_installation(phone, at, install_id):
    await fork(phone, 3, install_id="the copy")
    answer = await fork(phone, at, install_id=install_id)
    assert (answer.status, answer.code) == (409, "already_exists")
    assert len((await phone.person.call("GET", "/auth/devices")).body["devices"]) == 2


async def test_a_fork_parts_at_the_latest_where_its_parent_ends(phone):
    beyond = await fork(phone, 5)
    assert (beyond.status, beyond.code, beyond.body["next_n"]) == (409, "gap", 4)
    assert (await fork(phone, 4)).status == 201
    assert (await fork(phone, 1)).status == 201


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"fork_at": 0},
        {"fork_at": "1"},
        {"fork_at": True},
        {"fork_at": 2**63},
        {"fork_at": 1, "name": ""},
        {"fork_at": 1, "install_id": ""},
    ],
)
async def test_a_fork_that_is_not_valid_is_told(phone, body):
    answer = await phone.person.call("POST", "/auth/devices", body)
    assert (answer.status, answer.code) == (422, "validation_failed")


async def test_a_stranger_can_not_fork(api, phone):
    assert (await api.call("POST", "/auth/devices", {"fork_at": 1})).status == 401
    eve = RestDevice(await api.register())
    mine = await fork(eve, 1)
    assert mine.body["user"]["id"] == eve.person.id
    assert (await fork(eve, 3)).code == "gap", "what others wrote is none of hers"


async def test_a_fork_makes_room_for_itself_and_the_retired_is_told(make_api):
    api = await make_api(devices_per_user=2)
    oldest = await api.register()
    api.clock.advance(seconds=1)
    newer = RestDevice(await api.login(oldest, name="Newer"))
    api.clock.advance(seconds=1)
    heard = api.listen(oldest.id)
    assert (await fork(newer, 1)).status == 201
    assert heard == [{"kind": "revoked", "device": oldest.device}]
    assert (await oldest.call("GET", "/auth/devices")).code == "device_revoked"
