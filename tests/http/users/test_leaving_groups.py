"""The job that erases an account, with groups: nobody is deleted while one of them knows who they are."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from fitai.gateways.jobs.contract import Attempt, Kinds
from fitai.http.users import leaving
from fitai.http.users.leaving import ERASE_ACCOUNT, OfUser
from fitai.persistence.append import Appender
from fitai.persistence.erasure import Erasure
from fitai.persistence.group_models import GroupMember
from fitai.persistence.models import Base, User
from fitai.persistence.users import Users
from tests.persistence.conftest import NOW, make_person
from tests.persistence.group_people import GroupPeople

ATTEMPT = Attempt("0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f", 1, NOW)
WEIGHT_UG = 71_234_567_891


@pytest.fixture
async def groups(db):
    """Two groups of two people, the second of whom wants to go by now."""
    people = [await make_person(db) for _ in range(2)]
    appender = Appender(db)
    await appender.start()
    made = []
    for number in (1, 2):
        group = GroupPeople(db, appender, people)
        group.book.g.id = f"018f0000-0000-7000-8000-{number:012x}"
        group.book.create()
        await group.begin()
        if number == 1:
            group.book.join(2)
            group.book("chat.say", by=2, text="it was me")
            await group.append()
        made.append(group)
    async with db.write() as session:
        await Users(session).delete_after(people[1].owner, NOW)
        await Users(session).edit(people[1].owner, body_weight_ug=WEIGHT_UG, sex="female")
    yield made
    await appender.close()


async def run(db, user):
    kinds = Kinds(leaving.kinds(db))
    await kinds[ERASE_ACCOUNT].handle(ATTEMPT, OfUser(user=user))


async def everything(db):
    found = []
    async with db.read() as session:
        for table in Base.metadata.sorted_tables:
            found += [str(list(row)) for row in (await session.execute(select(table))).all()]
    return "\n".join(found)


async def user_exists(db, user):
    async with db.read() as session:
        return await session.get(User, user) is not None


async def test_an_account_leaves_its_groups_and_is_gone(db, groups):
    user = groups[0].user(2)
    assert str(WEIGHT_UG) in await everything(db)
    await run(db, user)
    left = await everything(db)
    assert str(WEIGHT_UG) not in left and "female" not in left
    assert user not in left and "it was me" not in left and '"m2"' not in left
    assert groups[0].user(1) in left


async def test_who_stays_after_all_stays_in_their_groups(db, groups):
    user = groups[0].user(2)
    async with db.write() as session:
        await Users(session).delete_after(user, None)
    await run(db, user)
    assert await user_exists(db, user)
    assert "it was me" in await everything(db)


async def test_a_group_that_lets_them_in_at_the_last_moment_is_left_as_well(db, groups, monkeypatch):
    """What was on its way when they were signed out: it comes between the last group and the deletion."""
    first, second = groups
    user, without = first.user(2), leaving._without_workouts
    runs = []

    async def late(db_, user_):
        await without(db_, user_)
        runs.append(user_)
        if len(runs) == 1:
            second.book.join(2)
            second.book("chat.say", by=2, text="one last word")
            await second.append()

    monkeypatch.setattr(leaving, "_without_workouts", late)
    await run(db, user)
    assert len(runs) == 2
    left = await everything(db)
    assert user not in left and "one last word" not in left


async def test_nobody_is_deleted_whom_a_group_still_knows(db, groups):
    """Neither here nor by a node of a release that knows nothing of groups: its job fails, and is tried again
    by another one."""
    user = groups[0].user(2)
    with pytest.raises(IntegrityError):
        async with db.write() as session:
            await Erasure(session).forget(user)
    assert await user_exists(db, user)
    async with db.write() as session:
        await session.execute(update(GroupMember).where(GroupMember.user_id == user).values(user_id=None))
    async with db.write() as session:
        await Erasure(session).forget(user)
    assert not await user_exists(db, user)
