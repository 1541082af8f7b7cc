"""The final table: written whole, corrected late, frozen for whom nobody knows any more."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from fitai.persistence.group_models import GroupMember
from fitai.persistence.group_results import GroupResults, Result
from fitai.persistence.groups import Groups
from tests.persistence.conftest import NOW, WORKOUT
from tests.persistence.group_people import GroupPeople


def line(member, rank=1, amount=10, rev=0, **more):
    sums = {"sets": 1, "reps": 7, "distance_mm": 0, "duration_ms": 0, "volume_ug": 0, "time_ms": None}
    return Result(member=member, rank=rank, amount=amount, rev=rev, **(sums | more))


@pytest.fixture
async def group(db, appender, person):
    """Three members of a group that is over."""
    group = GroupPeople(db, appender, [await person() for _ in range(3)])
    group.book.create()
    group.book.join(2, workout=WORKOUT)
    group.book.join(3)
    group.book.live(10)
    group.book("group.finish", 20)
    await group.begin()
    return group


async def write(group, *lines, now=NOW):
    async with group.db.write() as session:
        await GroupResults(session).write(group.id, lines, now)


async def results(group):
    async with group.db.read() as session:
        return await GroupResults(session).of(group.id)


async def stale(group):
    async with group.db.read() as session:
        return list(await GroupResults(session).stale(group.id))


async def forget(group, member):
    async with group.db.write() as session:
        await GroupResults(session).freeze(group.id, member)
        its = update(GroupMember).where(GroupMember.group_id == group.id, GroupMember.member == member)
        await session.execute(its.values(user_id=None))


async def row(group):
    async with group.db.read() as session:
        return await Groups(session).row(group.id)


async def test_a_table_is_kept_in_its_order_and_nothing_is_due_any_more(group):
    assert await results(group) == []
    assert (await row(group)).due_at is not None
    lines = [line(3, None, None), line(1, 2, 5), line(2, 1, 9, time_ms=1, volume_ug=2**60)]
    await write(group, *lines)
    assert [one.member for one in await results(group)] == [2, 1, 3]
    assert set(await results(group)) == set(lines)
    assert ((await row(group)).results_at, (await row(group)).due_at) == (NOW, None)


async def test_what_is_said_after_the_end_makes_nothing_due_again(group):
    await write(group, line(1))
    group.book("chat.say", 30, by=2, text="well done")
    await group.append()
    assert (await row(group)).due_at is None
    assert (await row(group)).seq == group.book.g.seq


async def test_a_late_sync_replaces_lines_and_who_has_none_any_more_loses_it(group):
    await write(group, line(1, 1, 9), line(2, 2, 5), line(3, 3, 1))
    await write(group, line(2, 1, 12, rev=7), line(1, 2, 9), now=NOW + 5)
    assert await results(group) == [line(2, 1, 12, rev=7), line(1, 2, 9)]
    assert (await row(group)).results_at == NOW + 5
    await write(group)
    assert await results(group) == []


async def test_a_frozen_line_keeps_what_was_done_and_takes_its_rank_only(group):
    await write(group, line(1, 1, 9), line(2, 2, 5, rev=3))
    await forget(group, 2)
    kept = line(2, 2, 5, frozen=True)
    assert await results(group) == [line(1, 1, 9), kept]

    await write(group, line(1, 2, 2))
    assert await results(group) == [line(1, 2, 2), kept], "it stays when it is left out"
    await write(group, line(1, 2, 2), line(2, 1, 0))
    assert await results(group) == [line(2, 1, 5, frozen=True), line(1, 2, 2)]


async def test_a_line_that_comes_after_its_member_was_erased_is_frozen(group):
    """It was worked out before, by a node that had not heard of it yet."""
    await forget(group, 2)
    await write(group, line(1), line(2, rev=4))
    assert [(one.member, one.frozen) for one in await results(group)] == [(1, False), (2, True)]


async def test_a_line_is_stale_when_its_workout_went_on_or_is_another_one(group, make_append):
    await write(group, line(1), line(2), line(3))
    assert await stale(group) == []
    await group.appender.append(make_append(group.people[1].id, 0, 3))
    assert await stale(group) == [2]
    await write(group, line(1), line(2, rev=3), line(3))
    assert await stale(group) == []
    group.book("member.workout", by=2, workout=None)
    await group.append()
    assert await stale(group) == [2], "a workout less"
    await forget(group, 2)
    assert await stale(group) == []
