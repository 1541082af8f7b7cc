"""Erasing a person in their groups: nothing in the database leads to them, and everybody else goes on."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import select, text

from fitai.engine.groups.document import digest, document
from fitai.engine.groups.fold import fold
from fitai.engine.ops import Dot
from fitai.persistence import group_erasure
from fitai.persistence.append import Append, Appender, BadRow
from fitai.persistence.blocks import Blocks
from fitai.persistence.database import CommitUnknown, Database, Unavailable
from fitai.persistence.erasure import Erasure
from fitai.persistence.group_erasure import erase_in_groups
from fitai.persistence.group_reports import GroupReports
from fitai.persistence.group_results import GroupResults, Result
from fitai.persistence.groups import Groups
from fitai.persistence.log import Log
from fitai.persistence.models import Base, RecordRow
from tests.persistence.conftest import NOW
from tests.persistence.group_people import GroupPeople

NAME, WORDS = "m2", "my left knee hurts"
WORKOUT = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"


@pytest.fixture
async def people(person):
    return [await person() for _ in range(4)]


@pytest.fixture
async def group(db, appender, people):
    """A live group of four, in which the second said things, was reported, held, released and ranked."""
    return await a_group(db, appender, people, 0xAA)


async def a_group(db, appender, people, number, host=1):
    group = GroupPeople(db, appender, people)
    book = group.book
    book.g.id = f"018f0000-0000-7000-8000-{number:012x}"
    book.create(format={"type": "open", "measure": {"of": "reps"}})
    for member in range(2, len(people) + 1):
        book.join(member, share="everything", workout=WORKOUT)
    if host != 1:
        book("member.hand_over", member=host)
    book.live(20)
    book("chat.say", 30, by=2, text=WORDS)
    book("chat.say", by=2, held=True, text=WORDS)
    held = [2, book.counters[2]]
    book("chat.say", by=2, held=True, text=WORDS)
    book("chat.release", by=0, dot=held, text=WORDS)
    book("chat.say", by=3, text="get well soon")
    book("group.cancel", by=2, reason=WORDS)  # forbidden, unless they host
    await group.begin()
    async with db.write() as session:
        for reporter, n in ((group.user(3), held[1]), (None, held[1] + 1)):
            await GroupReports(session).add(
                group.id, Dot(2, n), WORDS, reporter=reporter, reason="x", now=NOW
            )
        await GroupReports(session).add(
            group.id, Dot(3, 2), "get well soon", reporter=group.user(2), reason=WORDS, now=NOW
        )
        await Blocks(session).add(group.user(3), group.user(2), NAME, NOW)
        lines = [Result(no, no, 10 - no, None, 1, 1, 0, 0, 0, 0) for no in (1, 2, 3)]
        await GroupResults(session).write(group.id, lines, NOW)
    return group


async def everything(db):
    """All bytes of all tables, as text."""
    found = []
    async with db.read() as session:
        for table in Base.metadata.sorted_tables:
            found += [f"{table.name}: {list(row)}" for row in (await session.execute(select(table))).all()]
    return "\n".join(found)


async def places(db, stream):
    """Of each record all but its body and detail."""
    kept = [column for column in RecordRow.__table__.columns if column.name not in ("body", "detail")]
    async with db.read() as session:
        query = select(*kept).where(RecordRow.stream == stream).order_by(RecordRow.seq)
        return [tuple(row) for row in (await session.execute(query)).all()]


async def log_of(group):
    async with group.db.read() as session:
        return await Log(session).read(group.stream, 0, 10_000)


async def forget(db, user):
    """The rest of the erasure, of the person's own data."""
    async with db.write() as session:
        stream = await Erasure(session).forget(user)
    assert stream is not None
    async with db.write() as session:
        await Erasure(session).delete_log(stream)


async def members(group):
    async with group.db.read() as session:
        return await Groups(session).members(group.id)


async def test_nothing_in_the_database_leads_to_them(db, group):
    user = group.user(2)
    before = await places(db, group.stream)
    for what in (user, NAME, WORDS):
        assert what in await everything(db)

    await erase_in_groups(db, user, NOW)
    await forget(db, user)

    left = await everything(db)
    for what in (user, f"'{NAME}'", f'"{NAME}"', WORDS):
        assert what not in left
    assert "get well soon" in left and "'m3'" in left and '"m3"' in left
    after = await places(db, group.stream)
    assert after[: len(before)] == before, "places, counters, hashes and verdicts are what they were"
    assert len(after) == len(before) + 1


async def test_the_record_tells_everybody_and_the_projections_follow(db, group):
    seen = document(group.book.g)
    await erase_in_groups(db, group.user(2), NOW)

    log = await log_of(group)
    last = log[-1]
    assert (last.op.kind, last.op.value, last.device, last.verdict) == (
        "member.erase",
        {"member": 2},
        0,
        "applied",
    )
    assert last.rt == max(NOW, group.book.records[-1].rt)
    g = fold(group.id, log)
    assert (g.members[2].gone, g.members[2].name, g.count) == ("erased", "", 3)
    assert document(g)["messages"] == seen["messages"] == 4
    async with db.read() as session:
        at = await Groups(session).row(group.id)
        assert (at.seq, at.head, at.members, at.status) == (g.seq, g.seq, 3, "live")
        stream = await Log(session).stream(group.stream)
        assert stream.projected == stream.head == g.seq
        assert await Groups(session).devices(group.id) == {(group.user(no), 1): no for no in (1, 3, 4)}
    gone = (await members(group))[1]
    assert (gone.user, gone.name, gone.role, gone.gone, gone.workout, gone.stream) == (
        None,
        "",
        "stranger",
        "erased",
        None,
        None,
    )


async def test_results_keep_the_line_and_reports_of_what_others_said_stay(db, group):
    await erase_in_groups(db, group.user(2), NOW)
    async with db.read() as session:
        frozen = {line.member: line.frozen for line in await GroupResults(session).of(group.id)}
        reports = (await GroupReports(session).page()).items
    assert frozen == {1: False, 2: True, 3: False}
    assert [(report.device, report.reporter) for report in reports] == [(3, group.user(2))]


async def test_who_has_pushed_already_is_answered_the_same(db, group):
    """A retry finds its counter, and the same hash."""
    said = next(record for record in group.book.records if record.op.kind == "chat.say")
    async with db.read() as session:
        [before] = await Log(session).find(group.stream, said.device, said.op.n, said.op.n)
    await erase_in_groups(db, group.user(2), NOW)
    async with db.read() as session:
        [after] = await Log(session).find(group.stream, said.device, said.op.n, said.op.n)
        position = await Log(session).device_position(group.stream, 2)
    assert position.next_n == group.book.counters[2] + 1
    assert (after.hash, after.seq, after.dot) == (before.hash, before.seq, before.dot)
    assert after.op.value == {"text": ""}


async def test_a_host_who_is_erased_has_left(db, appender, people):
    group = await a_group(db, appender, people, 0xBB, host=2)
    await erase_in_groups(db, group.user(2), NOW)
    async with db.read() as session:
        at = await Groups(session).row(group.id)
    assert (at.host, at.members) == (None, 3)
    g = fold(group.id, await log_of(group))
    assert g.host is None and g.members[2].gone == "erased"


async def test_all_groups_of_a_person_and_only_theirs(db, appender, people):
    groups = [await a_group(db, appender, people, number) for number in (1, 2, 3)]
    other = GroupPeople(db, appender, [people[0], people[2]])
    other.book.create()
    other.book.join(2)
    await other.begin()
    before = await places(db, other.stream)
    await erase_in_groups(db, people[1].owner, NOW)
    for group in groups:
        assert [(member.user is None) for member in await members(group)] == [False, True, False, False]
        assert (await log_of(group))[-1].op.kind == "member.erase"
    assert await places(db, other.stream) == before
    await erase_in_groups(db, people[1].owner, NOW)
    assert len(await log_of(groups[0])) == len(groups[0].book.records) + 1, "once, however often it is done"


@pytest.mark.parametrize("gone", ["left", "kicked", "banned", "never joined"])
async def test_who_is_no_member_any_more_is_erased_too(db, appender, people, gone):
    group = GroupPeople(db, appender, people[:2])
    group.book.create()
    group.book.let_in(2)
    if gone != "never joined":
        group.book("member.join", by=2)
        group.book("chat.say", by=2, text=WORDS)
    if gone == "left":
        group.book("member.leave", by=2)
    elif gone in ("kicked", "banned"):
        group.book(f"member.{'kick' if gone == 'kicked' else 'ban'}", member=2, reason="rude")
        group.book.let_in(2)  # void for who is banned, with the name in it
    await group.begin()
    await erase_in_groups(db, group.user(2), NOW)
    await forget(db, group.user(2))
    left = await everything(db)
    assert WORDS not in left and '"m2"' not in left and "'m2'" not in left
    assert "rude" in left or gone not in ("kicked", "banned"), "what others said of it is theirs"


async def test_a_race_that_is_lost_is_run_again_behind_what_was_faster(db, group, monkeypatch):
    """The room is open elsewhere: ops come between the reading and the append, three times, also of those who
    are erased."""
    appended, faster = Appender.append, 3

    async def append(self, append: Append) -> None:
        nonlocal faster
        if self is not group.appender and faster:
            faster -= 1
            group.book("chat.say", by=2, text=WORDS)
            group.book("chat.say", by=3, text="faster")
            await group.append()
        await appended(self, append)

    monkeypatch.setattr(Appender, "append", append)
    await erase_in_groups(db, group.user(2), NOW)

    assert faster == 0
    log = await log_of(group)
    assert [record.op.kind for record in log[-3:]] == ["chat.say", "chat.say", "member.erase"]
    assert len(log) == len(group.book.records) + 1
    assert WORDS not in str([record.op.raw for record in log])
    assert str([record.op.raw for record in log]).count("faster") == 3


async def test_two_workers_at_once_erase_once(db, group):
    await asyncio.gather(*(erase_in_groups(db, group.user(2), NOW) for _ in range(3)))
    kinds = [record.op.kind for record in await log_of(group)]
    assert kinds.count("member.erase") == 1 and kinds[-1] == "member.erase"


async def test_a_log_that_began_anew_meanwhile_is_read_anew(db, group, monkeypatch):
    """A backup was restored between the reading and the append."""
    appended, anew = Appender.append, 1

    async def append(self, append: Append) -> None:
        nonlocal anew
        if anew:
            anew = 0
            async with db.write() as session:
                await session.execute(
                    text("UPDATE streams SET epoch = 'f' WHERE id = :id"), {"id": group.stream}
                )
        await appended(self, append)

    monkeypatch.setattr(Appender, "append", append)
    await erase_in_groups(db, group.user(2), NOW)
    assert (await log_of(group))[-1].op.kind == "member.erase"
    assert WORDS not in str([record.op.raw for record in await log_of(group)])


async def test_a_long_log_is_read_in_parts_and_a_full_group_is_left_too(db, appender, people, monkeypatch):
    monkeypatch.setattr(group_erasure, "PAGE", 7)
    group = GroupPeople(db, appender, people[:2])
    group.book.create()
    group.book.join(2)
    for number in range(50):
        group.book("chat.say", by=1 + number % 2, text=f"{WORDS} {number}")
    group.book.limits = type(group.book.limits)(ops=len(group.book.records))
    assert group.book("chat.say", by=2, text=WORDS).code == "limit"
    await group.begin()
    await erase_in_groups(db, group.user(2), NOW)
    log = await log_of(group)
    assert log[-1].verdict == "applied"
    texts = [(record.device, record.op.value.get("text")) for record in log if record.op.kind == "chat.say"]
    assert [text for device, text in texts if device == 2] == [*[""] * 25, None]
    assert all(text.startswith(WORDS) for device, text in texts if device == 1)
    assert digest(document(fold(group.id, log)))


class _Crash(Exception):
    """The process is gone."""


@pytest.mark.parametrize("when", ["before", "after"])
async def test_wherever_it_was_cut_off_the_next_run_ends_it(db, appender, people, monkeypatch, when):
    """Before and after each commit in turn: an attempt dies, others follow until one comes through."""
    groups = [await a_group(db, appender, people, number) for number in (1, 2, 3)]
    user, written = people[1].owner, Database.write
    commits, died = 0, 0

    @asynccontextmanager
    async def write(self):
        nonlocal commits, died
        commits += 1
        dies = commits % 2 == 1
        async with written(self) as session:
            yield session
            if dies and when == "before":
                died += 1
                raise _Crash
        if dies:
            died += 1
            raise _Crash

    monkeypatch.setattr(Database, "write", write)
    for _ in range(20):
        try:
            await erase_in_groups(db, user, NOW)
            break
        except BadRow:  # what the appender makes of it
            continue
    monkeypatch.undo()

    assert died >= 2
    await forget(db, user)
    left = await everything(db)
    assert user not in left and WORDS not in left and f'"{NAME}"' not in left
    for group in groups:
        kinds = [record.op.kind for record in await log_of(group)]
        assert kinds.count("member.erase") == 1


async def test_a_commit_whose_outcome_is_unknown_is_looked_up(db, group, monkeypatch):
    written, lost = Database.write, 1

    @asynccontextmanager
    async def write(self):
        nonlocal lost
        async with written(self) as session:
            yield session
        if lost:
            lost = 0
            raise CommitUnknown("the connection was lost")

    monkeypatch.setattr(Database, "write", write)
    await erase_in_groups(db, group.user(2), NOW)
    kinds = [record.op.kind for record in await log_of(group)]
    assert kinds.count("member.erase") == 1
    assert (await members(group))[1].user is None


async def test_an_absent_database_leaves_it_to_the_next_run(db, group, monkeypatch):
    monkeypatch.setattr(group_erasure, "PATIENCE_S", 0.2)
    written = Database.write

    @asynccontextmanager
    async def write(self):
        raise Unavailable("away")
        yield

    monkeypatch.setattr(Database, "write", write)
    with pytest.raises(Unavailable):
        await erase_in_groups(db, group.user(2), NOW)
    monkeypatch.setattr(Database, "write", written)
    assert (await members(group))[1].user == group.user(2)
    await erase_in_groups(db, group.user(2), NOW)
    assert (await members(group))[1].user is None
