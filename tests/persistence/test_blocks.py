"""Blocks: made once, known to who made them, and asked in both directions."""

from __future__ import annotations

import pytest
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from fitai.persistence.blocks import BlockRow, Blocks
from fitai.persistence.models import User
from tests.persistence.conftest import NOW


@pytest.fixture
async def people(person):
    """The ids of four people."""
    return [(await person()).owner for _ in range(4)]


async def block(db, user, blocked, name="Ben", now=NOW):
    async with db.write() as session:
        return await Blocks(session).add(user, blocked, name, now)


async def ask(db, question):
    async with db.read() as session:
        return await question(Blocks(session))


async def test_a_block_is_listed_to_who_made_it_newest_first(db, people):
    ann, ben, cid, _ = people
    first, second = await block(db, ann, ben), await block(db, ann, cid, "Cid", NOW + 1)
    assert await ask(db, lambda blocks: blocks.list(ann)) == [
        BlockRow(second, "Cid", NOW + 1),
        BlockRow(first, "Ben", NOW),
    ]
    assert await ask(db, lambda blocks: blocks.list(ben)) == []


async def test_done_again_it_is_the_first(db, people):
    ann, ben, *_ = people
    first = await block(db, ann, ben)
    assert await block(db, ann, ben, "Benjamin", NOW + 1) == first
    assert await ask(db, lambda blocks: blocks.list(ann)) == [BlockRow(first, "Ben", NOW)]


async def test_only_who_made_it_takes_it_away(db, people):
    ann, ben, *_ = people
    id_ = await block(db, ann, ben)

    async def remove(user):
        async with db.write() as session:
            return await Blocks(session).remove(user, id_)

    assert not await remove(ben)
    assert await remove(ann)
    assert not await remove(ann)
    assert await ask(db, lambda blocks: blocks.between(ann, people)) == set()


async def test_both_directions_count_and_nobody_else(db, people):
    ann, ben, cid, dee = people
    await block(db, ann, ben)
    await block(db, cid, ann)
    await block(db, dee, cid)
    assert await ask(db, lambda blocks: blocks.between(ann, people)) == {ben, cid}
    assert await ask(db, lambda blocks: blocks.between(ann, [ben, dee])) == {ben}
    assert await ask(db, lambda blocks: blocks.between(ann, [])) == set()
    assert await ask(db, lambda blocks: blocks.among(people)) == {
        frozenset((ann, ben)),
        frozenset((cid, ann)),
        frozenset((dee, cid)),
    }
    assert await ask(db, lambda blocks: blocks.among([ben, cid, dee])) == {frozenset((dee, cid))}
    assert await ask(db, lambda blocks: blocks.among([])) == set()


async def test_it_goes_with_either_of_the_two(db, people):
    ann, ben, cid, _ = people
    await block(db, ann, ben)
    await block(db, cid, ann)
    async with db.write() as session:
        await session.execute(delete(User).where(User.id == ben))
    assert await ask(db, lambda blocks: blocks.list(ann)) == []
    assert await ask(db, lambda blocks: blocks.between(ann, people)) == {cid}
    with pytest.raises(IntegrityError):
        await block(db, ann, ben)
