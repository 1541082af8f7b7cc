"""Questions about groups find their few rows by an index, whatever there is besides: 20,000 groups, one of a
thousand people, one person in 3,000 groups. As in `test_paths`."""

from __future__ import annotations

import hashlib
import re
import uuid

import pytest
from sqlalchemy import text

from fitai.engine.ops import Dot
from fitai.persistence import cursors
from fitai.persistence.blocks import Blocks
from fitai.persistence.database import Database
from fitai.persistence.group_erasure import erase_in_groups
from fitai.persistence.group_lists import GroupLists
from fitai.persistence.group_reports import GroupReports
from fitai.persistence.group_results import GroupResults, Result
from fitai.persistence.groups import Entry, Groups
from tests.group_book import GroupBook
from tests.persistence.conftest import NOW
from tests.persistence.plans import analyse, postgres_rows, postgres_scans, sqlite_plan, statements

USERS, GROUPS, OF_MINE, IN_LARGE = 5_000, 20_000, 3_000, 1_000
LARGE = (
    "users",
    "streams",
    "records",
    "groups",
    "group_members",
    "group_devices",
    "group_invites",
    "group_results",
    "group_reports",
    "blocks",
)
REPORTS = 20_000
ENROLLED = '{"n":1,"base":0,"kind":"device.enrol","at":5,"value":{"device":1,"member":1,"name":"a"}}'
CREATED = '{"n":1,"base":1,"kind":"group.create","at":5,"value":{"title":"x","format":{"type":"open"}}}'

# Of group 1 there are 1,000 members, of every other one six; user 1 is in the first 3,000.
FILL = f"""
INSERT INTO users SELECT md5('u' || i)::uuid, 'u' || i, 'u' || i, '-', NULL, 4, 1
FROM generate_series(1, {USERS}) i;
INSERT INTO streams SELECT i, md5('u' || i)::uuid, 'e', 3, 3, 0 FROM generate_series(1, {USERS}) i;
INSERT INTO streams SELECT {USERS} + i, md5('g' || i)::uuid, 'e', 2, 2, 0 FROM generate_series(1, {GROUPS}) i;
SELECT setval(pg_get_serial_sequence('streams', 'id'), {USERS + GROUPS});
INSERT INTO records (stream, seq, device, n, workout, rev, kind, base, te, rt, verdict, hash, body)
SELECT s.id, q, q - 1, 1, CASE WHEN s.id > {USERS} THEN s.owner ELSE md5('w' || s.id)::uuid END, q,
    'x', 0, 0, 0, 'applied', '\\x00', convert_to(CASE q WHEN 1 THEN '{ENROLLED}' ELSE '{CREATED}' END, 'UTF8')
FROM streams s, generate_series(1, 2) q;
INSERT INTO groups
SELECT md5('g' || i)::uuid, {USERS} + i, 2, 'Class', 'open',
    CASE WHEN i % 10 = 0 THEN 'lobby' ELSE 'finished' END, NULL, true, 1, 1, 6, {NOW} + i, {NOW} + i, NULL,
    NULL, NULL, CASE WHEN i % 10 = 0 THEN {NOW} + i END, NULL
FROM generate_series(1, {GROUPS}) i;
INSERT INTO group_members
SELECT md5('g' || i)::uuid, m,
    md5('u' || CASE WHEN m = 1 AND i <= {OF_MINE} THEN 1 ELSE 2 + (i + m) % {USERS - 1} END)::uuid,
    'm', 'participant', NULL, 'progress', md5('w' || i)::uuid, {NOW}, {NOW} + i
FROM generate_series(1, {GROUPS}) i,
    generate_series(1, CASE WHEN i = 1 THEN {IN_LARGE} ELSE 6 END) m;
INSERT INTO group_devices SELECT group_id, member, member, 1 FROM group_members;
INSERT INTO group_invites
SELECT sha256(group_id::text::bytea), group_id, 1 FROM group_members WHERE member = 1;
INSERT INTO group_results
SELECT group_id, member, member, 5, NULL, 1, 5, 0, 0, 0, 0, false FROM group_members;
INSERT INTO group_reports
SELECT md5('r' || i)::uuid, md5('g' || 1 + i % {GROUPS})::uuid, 1, i, 'text',
    md5('u' || 1 + i % {USERS})::uuid, 'x', {NOW} + i,
    CASE WHEN i % 100 > 0 THEN {NOW} END, CASE WHEN i % 100 > 0 THEN 'hidden' END
FROM generate_series(1, {REPORTS}) i;
INSERT INTO blocks
SELECT md5('u' || 1 + i % {USERS})::uuid, md5('u' || 1 + (i * 7 + i / {USERS} + 1) % {USERS})::uuid,
    md5('b' || i)::uuid, 'm', {NOW} FROM generate_series(1, {20 * USERS}) i;
"""


def id_of(words):
    return str(uuid.UUID(hashlib.md5(words.encode(), usedforsecurity=False).hexdigest()))


ME, LARGEST, GROUP = id_of("u1"), id_of("g1"), id_of("g2")


def questions(session):
    groups, lists, results = Groups(session), GroupLists(session), GroupResults(session)
    reports, blocks = GroupReports(session), Blocks(session)
    middle = cursors.write(NOW + OF_MINE // 2, LARGEST)
    return {
        "row": groups.row(GROUP),
        "by_code": groups.by_code(b"x" * 32),
        "members": groups.members(GROUP),
        "member_of": groups.member_of(LARGEST, ME),
        "devices": groups.devices(GROUP),
        "due": groups.due(NOW + 500, 50),
        "of_user": lists.of_user(ME, now=NOW),
        "of_user, later page": lists.of_user(ME, now=NOW, after=middle),
        "of_user, one status": lists.of_user(ME, now=NOW, status="finished"),
        "mine": lists.mine(ME, GROUP),
        "of_workout": lists.of_workout(ME, id_of("w7")),
        "of_workouts": lists.of_workouts(ME, [id_of("w7"), id_of("w8")]),
        "results": results.of(GROUP),
        "stale": results.stale(GROUP),
        "report": reports.get(id_of("r1")),
        "reports": reports.page(limit=20),
        "open reports": reports.page(open=True, limit=20),
        "open reports, later page": reports.page(
            open=True, after=cursors.write(NOW + REPORTS // 2, GROUP), limit=20
        ),
        "blocks": blocks.list(ME),
        "between": blocks.between(ME, [id_of("u2")]),
        "among": blocks.among([id_of("u2"), id_of("u3"), ME]),
    }


async def writes(db):
    """What an append brings along, a report, results, and an erasure."""
    book = GroupBook().create()
    book.g.id = GROUP
    async with db.write() as session:
        groups, reports = Groups(session), GroupReports(session)
        await groups.enrol(GROUP, [Entry(1, ME, 1, 1)])
        await groups.project(book.g, USERS + 2, book.records, NOW)
        await groups.invite(GROUP, 2, b"y" * 32)
        id_ = await reports.add(GROUP, Dot(1, 1), "x", reporter=id_of("u3"), reason="", now=NOW)
        if id_ is not None:
            await reports.resolve(id_, "hidden", NOW)
        await GroupResults(session).write(GROUP, [Result(1, 1, 5, None, 1, 1, 0, 0, 0, 0)], NOW)
        await Blocks(session).add(ME, id_of("u9"), "x", NOW)
        await Blocks(session).remove(ME, id_of("b1"))


async def asked_of(db):
    """{question: its statements}."""
    found = {}
    async with db.read() as session:
        for name, question in questions(session).items():
            with statements() as seen:
                await question
            found[name] = list(seen)
    with statements() as seen:
        await writes(db)
    found["writes"] = list(seen)
    return found


@pytest.fixture
async def filled(postgres_url):
    """The URL of a database of realistic size."""
    db = Database.open(postgres_url, statement_s=120)
    for statement in FILL.split(";\n"):
        if statement.strip():
            async with db.write() as session:
                await (await session.connection()).exec_driver_sql(statement)
    await analyse(db)
    await db.close()
    return postgres_url


async def test_no_question_about_groups_reads_a_table_from_end_to_end(filled):
    db = Database.open(filled)
    wrong, looked_at = [], set()
    for name, found in (await asked_of(db)).items():
        for statement in found:
            for generic in (False, True):
                scans = await postgres_scans(filled, statement, generic=generic)
                looked_at |= {table for _, table in scans}
                wrong += [
                    (name, generic, table, statement[0])
                    for how, table in scans
                    if how == "Seq Scan" and table in LARGE
                ]
    await db.close()
    assert not wrong, wrong
    assert looked_at >= set(LARGE) - {"users"}


async def test_a_page_of_a_persons_groups_costs_as_much_however_many_they_have(filled):
    """The rows that PostgreSQL reads for a page of twenty, of 3,000 groups: about twenty."""
    db = Database.open(filled)
    async with db.read() as session:
        for after in (None, cursors.write(NOW + 20, LARGEST), cursors.write(NOW + OF_MINE - 20, LARGEST)):
            with statements() as seen:
                page = await GroupLists(session).of_user(ME, now=NOW, after=after, limit=20)
            assert len(page.items) in (19, 20)
            scans = await postgres_rows(filled, seen[0])
            assert scans["group_members"] <= 25, scans
            assert scans["groups"] <= 25, scans
    await db.close()


async def test_an_erasure_looks_at_their_groups_alone(filled):
    """User 1 in 3,000 groups would take a while; the one of the last six is in a few."""
    db = Database.open(filled)
    user = id_of("u2")
    async with db.read() as session:
        count = await session.scalar(
            text("SELECT count(*) FROM group_members WHERE user_id = :user"), {"user": user}
        )
    assert count == 24
    async with db.write() as session:  # in the log all but the host are nobody: leave them out
        await session.execute(
            text("DELETE FROM group_members WHERE user_id = :user AND member > 1"), {"user": user}
        )
    with statements() as seen:
        await erase_in_groups(db, user, NOW)
    assert len(seen) > 10
    for statement in seen:
        scans = await postgres_scans(filled, statement, generic=False)
        assert [table for how, table in scans if how == "Seq Scan" and table in LARGE] == [], statement[0]
    await db.close()


async def test_sqlite_searches_groups_and_does_not_scan(sqlite_url):
    db = Database.open(sqlite_url)
    wrong, steps = [], []
    async with db.read() as session:
        for name, question in questions(session).items():
            with statements() as seen:
                await question
            for statement in seen:
                for step in await sqlite_plan(db, statement):
                    steps.append(step)
                    whole = re.match(rf"SCAN ({'|'.join(LARGE)})$", step)
                    if whole or ("USE TEMP B-TREE FOR ORDER BY" in step and name.startswith("of_user")):
                        wrong.append((name, step, statement[0]))
    await db.close()
    assert not wrong, wrong
    for index in (
        "ix_groups_due",
        "ix_group_members_user",
        "ix_group_members_workout",
        "ix_group_reports_open",
        "ix_blocks_blocked",
    ):
        assert any(index in step for step in steps), f"nothing uses {index}"
