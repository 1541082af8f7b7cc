"""What is reported waits for an admin, is told once a person, and goes with whoever said it."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from fitai.engine.ops import Dot
from fitai.persistence import cursors
from fitai.persistence.group_models import GroupMember
from fitai.persistence.group_reports import GroupReports
from tests.persistence.conftest import NOW
from tests.persistence.group_people import GroupPeople

SAID = Dot(2, 2)


@pytest.fixture
async def group(db, appender, person):
    group = GroupPeople(db, appender, [await person() for _ in range(3)])
    group.book.create()
    group.book.join(2)
    group.book.join(3)
    group.book("chat.say", by=2, text="rude\x00")
    await group.begin()
    return group


async def report(group, dot=SAID, reporter=3, now=NOW, reason="insult"):
    async with group.db.write() as session:
        whose = None if reporter is None else group.user(reporter)
        return await GroupReports(session).add(
            group.id, dot, "rude\x00", reporter=whose, reason=reason, now=now
        )


async def page(group, **filters):
    async with group.db.read() as session:
        return await GroupReports(session).page(**filters)


async def ids(group, **filters):
    return [one.id for one in (await page(group, **filters)).items]


async def resolve(group, id_, outcome="hidden", now=NOW + 9):
    async with group.db.write() as session:
        return await GroupReports(session).resolve(id_, outcome, now)


async def test_a_report_has_the_text_as_it_was(group):
    id_ = await report(group)
    [found] = (await page(group)).items
    assert (found.id, found.group, found.dot, found.text) == (id_, group.id, SAID, "rude\ufffd")
    assert (found.reporter, found.reason, found.created_at) == (group.user(3), "insult", NOW)
    assert (found.resolved_at, found.outcome) == (None, None)
    async with group.db.read() as session:
        assert await GroupReports(session).get(id_) == found


async def test_the_same_person_reports_a_message_once(group):
    first = await report(group)
    assert await report(group, now=NOW + 1, reason="again") == first
    assert await report(group, reporter=1, now=NOW + 2) != first
    assert await report(group, dot=Dot(2, 3)) != first
    assert len(await ids(group)) == 3


async def test_what_moderation_holds_has_no_reporter(group):
    await report(group, reporter=None, reason="link")
    [held] = (await page(group, open=True)).items
    assert (held.reporter, held.reason) == (None, "link")


async def test_pages_go_from_the_newest_on_and_open_ones_apart(group):
    made = [await report(group, dot=Dot(2, 2 + i), now=NOW + i // 2) for i in range(5)]
    assert set(await ids(group)) == set(made)
    first = await page(group, limit=2)
    second = await page(group, limit=2, after=first.next_cursor)
    third = await page(group, limit=2, after=second.next_cursor)
    assert third.next_cursor is None
    shown = [one.id for part in (first, second, third) for one in part.items]
    assert shown == await ids(group)
    assert [one.created_at for one in (await page(group)).items] == [NOW + 2, NOW + 1, NOW + 1, NOW, NOW]

    await resolve(group, made[4])
    assert await ids(group, open=True) == [id_ for id_ in shown if id_ != made[4]]
    assert await ids(group, open=False) == [made[4]]
    with pytest.raises(cursors.BadCursor):
        await page(group, after="x")


async def test_one_decision_settles_all_reports_of_a_message_once(group):
    ids_ = [await report(group), await report(group, reporter=1), await report(group, reporter=None)]
    other = await report(group, dot=Dot(2, 3))
    settled = await resolve(group, ids_[1])
    assert settled is not None and settled.dot == SAID
    assert await ids(group, open=True) == [other]
    assert {(one.resolved_at, one.outcome) for one in (await page(group, open=False)).items} == {
        (NOW + 9, "hidden")
    }
    for id_ in (*ids_, "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"):
        assert await resolve(group, id_, "dismissed") is None


async def test_nothing_is_kept_of_what_an_erased_person_said(group):
    await report(group)
    kept = await report(group, dot=Dot(1, 1))
    async with group.db.write() as session:
        await GroupReports(session).forget(group.id, {2, 7})
        its = update(GroupMember).where(GroupMember.group_id == group.id, GroupMember.member == 2)
        await session.execute(its.values(user_id=None))
    assert await ids(group) == [kept]
    assert await report(group) is None, "the text that a node still has is not written any more"
    assert await report(group, dot=Dot(9, 1)) is None, "nobody's device"
    assert await ids(group) == [kept]
