"""A person's groups: newest first, page by page, each with where it is by now; and the group of a workout."""

from __future__ import annotations

import uuid

import pytest

from fitai.persistence import cursors
from fitai.persistence.group_lists import GroupLists
from tests.persistence.conftest import NOW
from tests.persistence.group_people import GroupPeople

SQUATS, RUN = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f", "0192f3c4-7b1a-7c3e-9d2f-000000000000"
MINUTE = {"type": "emom", "rounds": 1, "every_ms": 60_000}


@pytest.fixture
async def ann(person):
    return await person()


@pytest.fixture
async def ben(person):
    return await person()


@pytest.fixture
def make(db, appender, ann, ben):
    """`await make(now)`: a group of Ann's, which Ben has joined."""

    async def make(now=NOW, **value):
        group = GroupPeople(db, appender, [ann, ben])
        group.book.g.id = str(uuid.uuid4())
        group.book.create(**value)
        group.book.join(2)
        await group.begin(now)
        return group

    return make


async def listed(db, user, now=NOW, **filters):
    async with db.read() as session:
        page = await GroupLists(session).of_user(user, now=now, **filters)
    return [item.group.id for item in page.items]


async def of_workout(db, user, workout):
    async with db.read() as session:
        return await GroupLists(session).of_workout(user, workout)


async def test_groups_come_newest_first_and_say_who_one_is_in_them(db, make, ann, ben):
    older, newer = await make(NOW), await make(NOW + 1)
    assert await listed(db, ann.owner) == [newer.id, older.id]
    async with db.read() as session:
        mine = (await GroupLists(session).of_user(ben.owner, now=NOW)).items[0]
        assert await GroupLists(session).mine(ben.owner, newer.id) == mine
    assert (mine.member, mine.role, mine.gone, mine.share, mine.workout) == (
        2,
        "participant",
        None,
        "progress",
        None,
    )
    assert (mine.group.id, mine.group.created_at, mine.group.members) == (newer.id, NOW + 1, 2)


async def test_pages_neither_repeat_nor_leave_out_also_of_one_moment(db, make, ann):
    made = {(await make(NOW + moment // 3)).id for moment in range(7)}
    seen, after = [], None
    while True:
        async with db.read() as session:
            page = await GroupLists(session).of_user(ann.owner, now=NOW, after=after, limit=3)
        seen += [item.group.id for item in page.items]
        after = page.next_cursor
        if after is None:
            break
    assert len(seen) == 7 and set(seen) == made
    assert seen == await listed(db, ann.owner, limit=100)


@pytest.mark.parametrize("cursor", ["", "x", cursors.write(1), cursors.write("1", 2), cursors.write(1, "no")])
async def test_a_cursor_of_another_list_is_refused(db, ann, cursor):
    with pytest.raises(cursors.BadCursor):
        await listed(db, ann.owner, after=cursor)


async def test_who_left_has_it_still_and_who_had_to_go_or_never_joined_does_not(db, make, ann, ben, person):
    group = await make()
    group.people = [ann, ben, await person(), await person()]
    group.book.join(3)
    group.book.let_in(4)
    group.book("member.leave", by=2)
    await group.append()
    users = [one.owner for one in group.people]
    assert [await listed(db, user) for user in users] == [[group.id], [group.id], [group.id], []]
    group.book("member.kick", member=3)
    await group.append()
    assert await listed(db, users[2]) == []
    group.book("member.ban", member=2)
    await group.append()
    assert await listed(db, users[1]) == []
    async with db.read() as session:
        assert await GroupLists(session).mine(users[1], group.id) is None
        assert await GroupLists(session).mine(users[3], group.id) is None
    assert await listed(db, users[0]) == [group.id]


async def test_the_status_is_that_of_the_moment_at_which_is_asked(db, make, ann):
    group = await make(format=MINUTE)
    group.book("group.start", 20)  # from second 30 to 90
    await group.append()
    waiting = await make(NOW + 1)
    cancelled = await make(NOW + 2)
    cancelled.book("group.cancel")
    await cancelled.append()

    async def by_status(now):
        every = ("lobby", "countdown", "live", "paused", "finished", "cancelled")
        return {
            status: found
            for status in every
            if (found := await listed(db, ann.owner, now=now, status=status))
        }

    others = {"lobby": [waiting.id], "cancelled": [cancelled.id]}
    assert await by_status(29_999) == {"countdown": [group.id]} | others
    assert await by_status(30_000) == {"live": [group.id]} | others
    assert await by_status(89_999) == {"live": [group.id]} | others
    assert await by_status(90_000) == {"finished": [group.id]} | others
    group.book("group.pause", 40)
    await group.append()
    assert await by_status(10**12) == {"paused": [group.id]} | others


async def test_a_workout_finds_its_group(db, make, ann, ben):
    group = await make()
    group.book("member.workout", by=2, workout=SQUATS)
    await group.append()
    assert await of_workout(db, ben.owner, SQUATS) == group.id
    assert await of_workout(db, ann.owner, SQUATS) is None, "an id is scoped to its user"
    assert await of_workout(db, ben.owner, RUN) is None

    newer = await make(NOW + 1)
    newer.book("member.workout", by=2, workout=SQUATS)
    await newer.append()
    async with db.read() as session:
        found = await GroupLists(session).of_workouts(ben.owner, [RUN, SQUATS])
    assert found == {SQUATS: newer.id}

    newer.book("member.kick", member=2)
    await newer.append()
    assert await of_workout(db, ben.owner, SQUATS) == group.id
