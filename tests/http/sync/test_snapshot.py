"""The snapshot: every workout once, as it was at one position, whatever happens meanwhile."""

from __future__ import annotations

import base64
import json

import pytest
from sqlalchemy import text

from fitai.engine.workout import digest, state
from fitai.http.sync import snapshot
from fitai.persistence.log import Log
from fitai.sync.fold import fold
from tests.http.conftest import START
from tests.http.sync.conftest import RestDevice, new_id

DAY = 86_400_000


@pytest.fixture
async def phone(database_url, make_api):
    """Ada's phone; the test runs once on each engine."""
    api = await make_api(database_url)
    return RestDevice(await api.register())


async def log(device, days_ago, count=1):
    """Log `count` workouts that began days ago; returns their ids."""
    names = [new_id() for _ in range(count)]
    for index, name in enumerate(names):
        started = START - days_ago * DAY + index
        await device.pushed(
            device.op("workout.create", name, {"title": f"{days_ago} days ago"}),
            device.op("workout.edit", name, {"field": "started_at", "value": started}),
        )
    return names


async def pages(device, limit, after=None, between=None, **query):
    """Every page from a cursor on; `between` is awaited after each."""
    found = []
    while True:
        answer = await device.get("snapshot", limit=limit, **query, **({"after": after} if after else {}))
        assert answer.status == 200, answer.body
        found.append(answer.body)
        after = answer.body["next"]
        query = {}
        if after is None:
            return found
        if between is not None:
            await between(len(found))


async def folded(device, at):
    """{workout: digest} at a position, from the log alone."""
    person = device.person
    async with person.api.db.read() as session:
        stream = await Log(session).stream_of(person.id)
        assert stream is not None
        records = [r for r in await Log(session).read(stream.id, 0, 10_000) if r.seq <= at]
    names = {record.op.workout for record in records}
    return {
        name: digest(state(fold(name, person.id, (r for r in records if r.op.workout == name)).workout))
        for name in names
    }


def digests(found):
    states = [document for page in found for document in page["workouts"]]
    assert len({document["id"] for document in states}) == len(states), "each of them once"
    return {document["id"]: digest(document) for document in states}


async def test_a_first_page_pins_the_head_and_the_newest_come_first(phone):
    for days in (3, 1, 2):
        await log(phone, days)
    found = await pages(phone, 2)
    assert [page["at"] for page in found] == [6, 6]
    assert [page["ok"] for page in found] == [True, True]
    titles = [document["title"] for page in found for document in page["workouts"]]
    assert titles == ["1 days ago", "2 days ago", "3 days ago"]
    assert digests(found) == await folded(phone, 6)


async def test_pages_stay_true_to_their_position_while_the_log_moves_on(phone):
    old = await log(phone, 9, 3)
    await log(phone, 5, 3)
    new = await log(phone, 1, 3)
    unborn = []

    async def write(page):
        # What was seen becomes the oldest, what was not seen the newest; one goes, one comes.
        await phone.pushed(
            phone.op("workout.edit", new[0], {"field": "started_at", "value": START - 20 * DAY}),
            phone.op("workout.edit", old[page % 3], {"field": "started_at", "value": START + page}),
            phone.op("workout.remove", old[0]),
        )
        unborn.extend(await log(phone, 4))

    found = await pages(phone, 2, between=write)
    assert len(found) == 5
    assert {page["at"] for page in found} == {18}
    assert found[-1]["head"] > 18
    assert digests(found) == await folded(phone, 18)
    assert len(unborn) == 4
    again = await pages(phone, 4, at=18)
    assert digests(again) == digests(found), "and can be asked for again later"


async def test_any_position_of_the_past_can_be_asked_for(phone):
    names = await log(phone, 2, 2)
    await phone.pushed(phone.op("workout.remove", names[0]))
    for at in range(6):
        found = await pages(phone, 1, at=at)
        assert digests(found) == await folded(phone, at)


async def test_a_page_can_be_asked_for_again(phone):
    await log(phone, 1, 4)
    first, _ = await pages(phone, 2)
    await log(phone, 0)
    second = (await phone.get("snapshot", limit=2, after=first["next"])).body
    again = (await phone.get("snapshot", limit=2, after=first["next"], at=8)).body
    assert second["workouts"] == again["workouts"]
    assert len(second["workouts"]) == 2


async def test_removed_and_never_created_workouts_are_in_it(phone):
    [gone] = await log(phone, 1)
    early = new_id()
    await phone.pushed(phone.op("workout.remove", gone), phone.op("note.set", early, {"text": "too early"}))
    [page] = await pages(phone, 20)
    flags = {document["id"]: (document["created"], document["removed"]) for document in page["workouts"]}
    assert flags == {gone: (True, True), early: (False, False)}


async def test_state_and_tail_are_the_whole_log(phone):
    names = await log(phone, 1, 2)
    [page] = await pages(phone, 20)
    await phone.pushed(phone.op("workout.start", names[0]))
    tail = await phone.pull(after=page["at"])
    assert [record["seq"] for record in tail["records"]] == [page["at"] + 1]
    assert (tail["epoch"], tail["head"]) == (page["epoch"], page["at"] + 1)


async def test_without_a_cached_state_it_is_folded_from_the_log(phone, monkeypatch):
    await log(phone, 1, 3)
    await phone.person.call("GET", "/workouts")
    async with phone.person.api.db.write() as session:
        await session.execute(text("DELETE FROM snapshots"))
    assert digests(await pages(phone, 2)) == await folded(phone, 6)


async def test_large_states_make_small_pages(phone, monkeypatch):
    monkeypatch.setattr(snapshot, "PAGE_BYTES", 1)
    await log(phone, 1, 3)
    found = await pages(phone, 20)
    assert [len(page["workouts"]) for page in found] == [1, 1, 1]


async def test_a_user_without_workouts_gets_one_empty_page(phone):
    [page] = await pages(phone, 20)
    assert (page["workouts"], page["at"], page["next"]) == ([], 0, None)


async def test_a_cursor_of_another_epoch_is_refused_as_such(phone, make_api):
    await log(phone, 1, 2)
    cursor = (await phone.get("snapshot", limit=1)).body["next"]
    eve = RestDevice(await phone.person.api.register())
    theirs = await eve.get("snapshot", after=cursor)
    assert (theirs.status, theirs.code, theirs.body["ok"]) == (409, "epoch", False)
    named = await phone.get("snapshot", epoch="another")
    assert (named.status, named.code) == (409, "epoch")
    assert named.body["epoch"] == (await phone.pull())["epoch"]


def forged(*parts):
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


async def test_a_strange_cursor_or_position_is_refused(phone):
    epoch = (await phone.pull())["epoch"]
    name = new_id()
    other = (forged(), forged(epoch, -1, 0, name), forged(epoch, 0, 0, "x"))
    for cursor in ("x", "%00", "ä", "a" * 256, *other):
        answer = await phone.get("snapshot", after=cursor)
        assert (answer.status, answer.code, answer.body["ok"]) == (400, "bad_request", False), cursor
    for at, happened in ((1, 0), (True, 0), (0, 2**63), (0, 0.5)):
        answer = await phone.get("snapshot", after=forged(epoch, at, happened, name))
        assert answer.code == "bad_request"
    beyond = await phone.get("snapshot", at=1)
    assert (beyond.status, beyond.code, beyond.body["head"]) == (400, "bad_request", 0)
    assert (await phone.get("snapshot", at=0, after=forged(epoch, 0, 0, name))).status == 200


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"at": -1}, {"after": "a" * 257}])
async def test_a_query_that_is_not_valid_is_told(phone, query):
    answer = await phone.get("snapshot", **query)
    assert (answer.status, answer.code) == (422, "validation_failed")
