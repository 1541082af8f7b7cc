"""Blocks: private, and honoured where people would meet."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from tests.http.groups.conftest import opened


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_somebody_is_blocked_listed_and_unblocked(make_api, database_url):
    api = await make_api(database_url)
    ada, bob = await api.register(), await api.register()
    await bob.call("PATCH", "/users/profile", {"display_name": "Bob"})
    group = await opened(ada)
    await group.join(bob)

    made = await ada.call("POST", "/blocks", {"group": group.id, "member": 2})
    again = await ada.call("POST", "/blocks", {"group": group.id, "member": 2})
    assert (made.status, again.status) == (201, 201)
    assert again.body == made.body == {"id": made.body["id"], "name": "Bob", "created_at": api.clock()}
    assert (await ada.call("GET", "/blocks")).body == {"blocks": [made.body]}
    assert (await bob.call("GET", "/blocks")).body == {"blocks": []}, "nobody is told that they were blocked"

    path = f"/blocks/{made.body['id']}"
    assert (await bob.call("DELETE", path)).status == 404
    assert (await ada.call("DELETE", path)).status == 204
    assert (await ada.call("DELETE", path)).status == 404
    assert (await ada.call("GET", "/blocks")).body == {"blocks": []}


async def test_neither_joins_where_the_other_is(api, group, ada, bob):
    await group.join(bob)
    await bob.post(f"/groups/{group.id}/leave")
    await bob.call("POST", "/blocks", {"group": group.id, "member": 1})

    theirs = await opened(bob)
    for person, code in ((bob, (await opened(ada)).code), (ada, theirs.code)):
        assert (await person.call("POST", "/groups/join", {"code": code})).code == "not_found"
        assert (await person.call("GET", f"/groups/invites/{code}")).code == "not_found"
    eve = await api.register()
    await theirs.join(eve)


async def test_rooms_learn_of_a_block_and_of_its_end_at_once(group, ada, bob):
    await group.join(bob)
    room = await ada.api.rooms.open(group.id)

    async def hidden(expected):
        async with asyncio.timeout(10):
            while room.hidden(1) != expected:
                await asyncio.sleep(0.01)

    made = (await bob.call("POST", "/blocks", {"group": group.id, "member": 1})).body
    await hidden({2})
    await bob.call("DELETE", f"/blocks/{made['id']}")
    await hidden(set())


async def test_who_is_to_be_blocked_must_be_there(group, ada, bob):
    await group.join(bob)
    for body, status, code in [
        ({"group": group.id, "member": 9}, 404, "not_found"),
        ({"group": str(uuid.UUID(int=7)), "member": 1}, 404, "not_found"),
        ({"group": group.id, "member": 1}, 422, "validation_failed"),
        ({"group": group.id, "member": 0}, 422, "validation_failed"),
        ({"group": group.id}, 422, "validation_failed"),
    ]:
        answer = await ada.call("POST", "/blocks", body)
        assert (answer.status, answer.code) == (status, code), body
    assert (await ada.call("GET", "/blocks")).body == {"blocks": []}


async def test_a_stranger_blocks_nobody_through_a_group(group, bob):
    assert (await bob.call("POST", "/blocks", {"group": group.id, "member": 1})).status == 404
