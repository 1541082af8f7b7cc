"""Groups in the database: written with their records, never behind, and found by whoever may."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from fitai.engine.groups import timers
from fitai.engine.groups.clock import GRACE_MS
from fitai.persistence.append import BadRow, HeadMoved
from fitai.persistence.groups import Entry, Exists, Groups
from fitai.persistence.log import Log
from fitai.persistence.models import Stream, User
from fitai.persistence.users import Users
from tests.persistence.conftest import EPOCH, NOW
from tests.persistence.group_people import PHONE, WATCH, GroupPeople

WORKOUT = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"


@pytest.fixture
async def group(db, appender, person):
    """Three people; the first is about to make a group."""
    return GroupPeople(db, appender, [await person() for _ in range(3)])


async def row(group):
    async with group.db.read() as session:
        return await Groups(session).row(group.id)


async def members(group):
    async with group.db.read() as session:
        return await Groups(session).members(group.id)


async def test_a_group_begins_with_its_records_its_host_and_its_device(group, stored):
    group.book.create(format={"type": "emom", "rounds": 3})
    stream = await group.begin(now=NOW)

    at = await row(group)
    assert (at.stream, at.epoch, at.head, at.seq) == (stream, EPOCH, 2, 2)
    assert (at.title, at.format, at.status, at.host, at.members) == ("Class", "emom", "lobby", 1, 1)
    assert (at.created_at, at.results_at, at.due_at) == (NOW, None, timers.LOBBY_IDLE_MS)
    [host] = await members(group)
    assert (host.member, host.user, host.name, host.role) == (1, group.user(1), "m1", "host")
    assert host.stream == group.people[0].id
    async with group.db.read() as session:
        assert await Groups(session).devices(group.id) == {(group.user(1), PHONE): 1}
        found = await Log(session).stream(stream)
    assert (found.owner, found.projected, found.last_rt) == (group.id, 2, group.book.records[-1].rt)
    assert [record.op.kind for record in await stored(stream)] == ["device.enrol", "group.create"]


@pytest.mark.parametrize("whose", ["group", "user"])
async def test_an_id_that_is_taken_makes_no_group_and_leaves_the_transaction_usable(group, whose):
    group.book.create()
    if whose == "group":
        await group.begin()
    else:
        group.book.g.id = group.user(2)
    async with group.db.write() as session:
        with pytest.raises(Exists):
            await Groups(session).begin(
                group.book.g, EPOCH, group.book.records, [Entry(1, group.user(1), 1, PHONE)], NOW
            )
        assert await Users(session).get(group.user(1)) is not None
    async with group.db.read() as session:
        count = len((await session.execute(select(Stream.id))).all())
    assert count == 3 + (whose == "group")


async def test_who_joins_is_written_with_the_append(group):
    group.book.create()
    await group.begin()
    group.book.now = 5_000
    group.book.join(2, share="everything", workout=WORKOUT)
    group.book.join(3, "spectator")
    await group.append(now=NOW + 5_000)

    at = await row(group)
    assert (at.seq, at.head, at.members, at.updated_at) == (6, 6, 3, 5_000)
    assert at.created_at == NOW
    _, second, third = await members(group)
    assert (second.user, second.role, second.share, second.workout) == (
        group.user(2),
        "participant",
        "everything",
        WORKOUT,
    )
    assert (second.joined_at, third.role, third.stream) == (5_000, "spectator", group.people[2].id)
    async with group.db.read() as session:
        groups = Groups(session)
        assert await groups.member_of(group.id, group.user(3)) == 3
        assert await groups.member_of(group.id, "0" * 8 + "-0000-0000-0000-" + "0" * 12) is None
        assert (await Log(session).stream(group.stream)).projected == 6


def kept(member):
    """What is projected of a member."""
    return (member.name, member.role, member.gone, member.share, member.workout, member.joined_at)


async def test_another_device_of_a_member_is_one_row_more_and_a_known_one_none(group):
    group.book.create()
    await group.begin()
    for _ in range(2):
        async with group.db.write() as session:
            await Groups(session).enrol(
                group.id, [Entry(1, group.user(1), 1, PHONE), Entry(1, group.user(1), 2, WATCH)]
            )
    async with group.db.read() as session:
        devices = await Groups(session).devices(group.id)
    assert devices == {(group.user(1), PHONE): 1, (group.user(1), WATCH): 2}
    assert len(await members(group)) == 1


async def test_nobody_is_two_members(group):
    group.book.create()
    await group.begin()
    with pytest.raises(IntegrityError):
        async with group.db.write() as session:
            await Groups(session).enrol(group.id, [Entry(2, group.user(1), 2, WATCH)])
    assert len(await members(group)) == 1


async def test_who_is_gone_is_not_let_in_and_nothing_of_the_append_is_stored(group):
    group.book.create()
    await group.begin()
    async with group.db.write() as session:
        await session.execute(delete(User).where(User.id == group.user(2)))
    group.book.join(2)

    with pytest.raises(BadRow):
        await group.append()

    assert (await row(group)).head == 2
    assert len(await members(group)) == 1


async def test_an_append_that_lost_leaves_the_projections_alone(group):
    group.book.create()
    await group.begin()
    group.stored = 1  # as if one record less was known
    group.book.join(2)

    with pytest.raises(HeadMoved):
        await group.append()

    at = await row(group)
    assert (at.head, at.seq, at.members) == (2, 2, 1)
    assert len(await members(group)) == 1


async def test_roles_follow_whoever_hands_over_and_whoever_goes(group):
    group.book.create()
    group.book.join(2)
    group.book.join(3)
    await group.begin()
    group.book("member.hand_over", member=2)
    await group.append()
    assert [m.role for m in await members(group)] == ["coach", "host", "participant"]
    group.book("member.leave", by=2)
    group.book("group.host", by=0, member=1, was=None, reason="left")
    group.book("member.kick", member=3)
    await group.append()

    assert [(m.role, m.gone) for m in await members(group)] == [
        ("host", None),
        ("stranger", "left"),
        ("stranger", "kicked"),
    ]
    at = await row(group)
    assert (at.host, at.members) == (1, 1)


async def test_every_row_is_what_the_fold_says(group):
    """Whatever happened: the rows that the appends touched, and those that they did not."""
    book = group.book.create()
    await group.begin()
    for play in (
        lambda: (book.join(2), book.join(3)),
        lambda: (book("member.role", member=2, role="coach"), book("chat.say", by=3, text="hi")),
        lambda: (book("member.share", by=3, share="presence"), book("member.workout", by=3, workout=WORKOUT)),
        lambda: (book("group.host", by=0, member=3, was=1, reason="lost"),),
        lambda: (book("member.ban", by=3, member=1), book("chat.say", by=1, text="no")),
        lambda: (book("member.unban", by=3, member=1), book("x.new", by=2, member=[1], was={})),
        lambda: (book("member.leave", by=2), book("member.join", by=2)),
    ):
        play()
        await group.append()
        folded = {no: kept(member) for no, member in book.g.members.items()}
        assert {member.member: kept(member) for member in await members(group)} == folded
        at = await row(group)
        assert (at.seq, at.host, at.members, at.status) == (book.g.seq, book.g.host, book.g.count, "lobby")


async def test_time_alone_moves_what_is_due_until_the_results_are_written(group):
    """An EMOM of a minute, started at second 20 for second 30: nobody writes anything any more."""
    book = group.book.create(format={"type": "emom", "rounds": 1, "every_ms": 60_000})
    await group.begin()
    book("group.start", 20)
    await group.append(now=20_000)

    async def due(until):
        async with group.db.read() as session:
            return await Groups(session).due(until, 10)

    async def looked(now):
        async with group.db.write() as session:
            await Groups(session).project(book.g, group.stream, (), now)

    at = await row(group)
    assert (at.status, at.live_at, at.ends_at) == ("countdown", 30_000, 90_000)
    assert [at.status_at(now) for now in (29_999, 30_000, 89_999, 90_000)] == [
        "countdown",
        "live",
        "live",
        "finished",
    ]
    assert (at.ended_by(89_999), at.ended_by(90_000)) == (None, 90_000)
    assert await due(29_999) == []
    assert await due(30_000) == [(group.id, 30_000)]
    await looked(30_000)
    assert await due(89_999) == []
    await looked(90_000)
    assert await due(10**12) == [(group.id, 90_000 + GRACE_MS)]


async def test_an_older_picture_replaces_no_newer_one(group):
    older = GroupPeople(group.db, group.appender, group.people)
    group.book.create()
    older.book.create()
    await group.begin()
    group.book("group.edit", field="title", value="Evening")
    await group.append()

    async with group.db.write() as session:
        await Groups(session).project(older.book.g, group.stream, (), NOW)

    assert (await row(group)).title == "Evening"


async def test_codes_are_found_by_their_hashes(group):
    group.book.create()
    await group.begin()
    first, second = b"1" * 32, b"2" * 32
    async with group.db.write() as session:
        await Groups(session).invite(group.id, 1, first)
    group.book("group.invite")
    await group.append(also=lambda session: Groups(session).invite(group.id, 2, second))
    async with group.db.read() as session:
        groups = Groups(session)
        assert await groups.by_code(first) == (group.id, 1)
        assert await groups.by_code(second) == (group.id, 2)
        assert await groups.by_code(b"3" * 32) is None
    assert (await row(group)).invite == 2


async def test_a_group_that_nobody_made_is_none(db):
    async with db.read() as session:
        groups = Groups(session)
        assert await groups.row(WORKOUT) is None
        assert await groups.members(WORKOUT) == []
        assert await groups.devices(WORKOUT) == {}
