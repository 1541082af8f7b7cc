"""Each question finds its few rows by an index: looked up in the plans, on tables of realistic size.

On PostgreSQL with plans for the values at hand and with plans for any, on one table of records and on
partitions, of which each question reads one. On SQLite, which has no statistics of ours, on empty tables.
"""

from __future__ import annotations

import hashlib
import re
import uuid

import pytest
from sqlalchemy import text

from fitai.engine.ops import Dot
from fitai.engine.timers import IDLE_MS
from fitai.persistence.append import Append, Appender
from fitai.persistence.database import Database
from fitai.persistence.histories import Asked, answers, lay
from fitai.persistence.log import Log
from fitai.persistence.models import IS_LONG
from fitai.persistence.opening import read_opening
from fitai.persistence.projections import Projected, Projector, deadlines
from fitai.persistence.snapshots import Place, Snapshots
from fitai.persistence.workouts import Workouts
from fitai.sync.fold import fold
from tests.persistence.conftest import NOW, a_record
from tests.persistence.plans import analyse, postgres_scans, sqlite_plan, statements
from tests.persistence.test_partitions import partition

STREAMS, WORKOUTS, PER_WORKOUT = 400, 20, 20
MINE, MY_WORKOUTS = 1, 300
HEAD = MY_WORKOUTS * PER_WORKOUT
LARGE = ("records", "workouts", "sets", "snapshots", "exercise_bests", "exercise_marks")

# 166,000 records of 401 people, 8,300 workouts; one person has 6,000 of the records.
FILL = f"""
INSERT INTO users SELECT md5('u' || i)::uuid, 'u' || i, 'u' || i, '-', NULL, 4, 1
FROM generate_series({MINE}, {STREAMS + MINE}) i;
INSERT INTO streams
SELECT i, md5('u' || i)::uuid, 'e', n * {PER_WORKOUT}, n * {PER_WORKOUT}, 0
FROM generate_series({MINE}, {STREAMS + MINE}) i,
    LATERAL (SELECT CASE i WHEN {MINE} THEN {MY_WORKOUTS} ELSE {WORKOUTS} END AS n);
INSERT INTO records (stream, seq, device, n, workout, rev, kind, base, te, rt, verdict, hash, body)
SELECT s.id, q, 1 + q % 3, (q + 2) / 3, md5(s.id || '-' || (q - 1) / {PER_WORKOUT})::uuid,
    (q - 1) % {PER_WORKOUT} + 1, 'set.log', q - 1, {NOW} + q, {NOW} + q,
    CASE WHEN q % 50 = 0 THEN 'void' ELSE 'applied' END, '\\x00',
    convert_to(
        format('{{"n": 1, "base": 0, "kind": "set.log", "at": 5, "note": "%s"}}', repeat('x', 200)), 'UTF8'
    )
FROM streams s, generate_series(1, s.head) q;
INSERT INTO workouts
SELECT s.id, md5(s.id || '-' || w)::uuid, true, false,
    CASE WHEN w < s.head / {PER_WORKOUT} - 1 THEN 'completed' ELSE 'active' END, NULL, NULL,
    CASE WHEN w % 2 = 0 THEN 'legs' END, t, t, t,
    CASE WHEN w < s.head / {PER_WORKOUT} - 1 THEN t + 3600000 END,
    t + 3600000, {PER_WORKOUT}, (w + 1) * {PER_WORKOUT}, 2, 4, 1000,
    CASE WHEN w = s.head / {PER_WORKOUT} - 1 THEN t + 3600000 END, NULL
FROM streams s, generate_series(0, s.head / {PER_WORKOUT} - 1) w,
    LATERAL (SELECT {NOW} + w * 86400000 * 2 AS t);
INSERT INTO snapshots
SELECT stream, workout, seq, -1000, convert_to(format('{{"rev": 1, "pad": "%s"}}', repeat('x', 400)), 'UTF8')
FROM workouts;
INSERT INTO sets (stream, workout, id, place, entry, exercise, done)
SELECT stream, workout, 'set' || i, i, 'e', 'exercise' || (i % 3), true
FROM workouts, generate_series(1, 8) i;
INSERT INTO exercise_bests
SELECT stream, exercise, workout, started_at, '{{"best": {{}}, "reps": {{}}}}'
FROM workouts, unnest(ARRAY['bench', 'squat']) exercise;
INSERT INTO exercise_marks (stream, exercise, workout, started_at, bests)
SELECT stream, exercise, workout, started_at, bests FROM exercise_bests WHERE workout::text < '4';
"""


def mine(number):
    """The id of one of the person's workouts."""
    return str(uuid.UUID(_md5(f"{MINE}-{number}")))


def _md5(words):
    return hashlib.md5(words.encode(), usedforsecurity=False).hexdigest()


def log_questions(log):
    """Every question to the log about one stream."""
    return {
        "read": log.read(MINE, HEAD - 100, 50),
        "read from the start": log.read(MINE, 0, 500),
        "device_positions": log.device_positions(MINE),
        "device_position": log.device_position(MINE, 2),
        "workout_records": log.workout_records(MINE, mine(7)),
        "workout_records up to": log.workout_records(MINE, mine(7), 3, 150),
        "workouts_records": log.workouts_records([(MINE, mine(7)), (MINE, mine(8))]),
        "voids": log.voids(MINE, None, 20),
        "older voids": log.voids(MINE, 3000, 20),
        "find": log.find(MINE, 2, 40, 60),
        "firsts": log.firsts(MINE, HEAD - 100),
        "places": log.places(MINE, [Dot(1, 4), Dot(2, 900), Dot(3, 1)]),
        "revs": log.revs(MINE, [mine(7), mine(8)]),
    }


def other_questions(session):
    """Every question about a person's workouts, and those of the timers about everybody's."""
    workouts, snapshots = Workouts(session), Snapshots(session)
    late = NOW + 86_400_000 * 2 * 150
    asked = Asked((mine(200),), late, {"bench", "squat"})
    cursor = "WzE3ODAwMDAwMDAwMDAsIjAxOTJmM2M0LTdiMWEtN2MzZS05ZDJmLTVhNmI3YzhkOWUwZiJd"
    return {
        "list": workouts.list(MINE),
        "list, later page": workouts.list(MINE, cursor=cursor),
        "list of a time": workouts.list(MINE, since=late, until=late + 10**9, status="completed"),
        "list by exercise": workouts.list(MINE, exercise="exercise1"),
        "get": workouts.get(MINE, mine(7)),
        "snapshot": workouts.snapshot(MINE, mine(7)),
        "open_ids": workouts.open_ids(MINE),
        "merges": workouts.merges(MINE),
        "overlapping": workouts.overlapping(MINE, "legs", late, late + 3_600_000),
        "changed_after": workouts.changed_after(MINE, 40, 5),
        "due": workouts.due(late, 50),
        "unchanged": snapshots.unchanged(MINE, 3000, None, 20),
        "unchanged, later page": snapshots.unchanged(MINE, 3000, Place(late, mine(7)), 20),
        "moved": snapshots.moved(MINE, HEAD - 50),
        "opening": read_opening(session, str(uuid.UUID(_md5(f"u{MINE}"))), NOW + 5),
        "histories": answers(session, [(MINE, [asked])]),
    }


async def writes(db):
    """What appends and projects, and the questions of those who project."""
    projector, due = Projector(db), deadlines(IDLE_MS, IDLE_MS)
    appender = Appender(db)
    await appender.start()
    records = [a_record(HEAD + i, n=10_000 + i, workout=mine(1), rev=100 + i) for i in (1, 2)]
    await appender.append(Append(MINE, "e", HEAD, records))
    await appender.close()
    await projector.renew(due)
    await projector.project(MINE, "e", [Projected.of(fold(mine(1), "owner", records).workout, None)], HEAD)
    await lay(db, MINE, "bench", (2**63 - 1, mine(0)))


async def asked_of(db):
    """{question: its statements}."""
    found = {}
    async with db.read() as session:
        for name, question in {
            **log_questions(Log(session)),
            **other_questions(session),
        }.items():
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
    await db.close()
    return postgres_url


async def faults(url, among, *, executed=False):
    """What is wrong with the plans: tables read from end to end, and more than one partition, which may only
    be told while a plan is `executed`."""
    db = Database.open(url)
    await analyse(db)
    wrong, looked_at = [], set()
    for name, found in (await asked_of(db)).items():
        for statement in found:
            for generic in (False, True):
                scans = await postgres_scans(url, statement, generic=generic, executed=executed)
                large = [(how, table) for how, table in scans if re.sub(r"_\d+$", "", table) in among]
                looked_at |= {table for _, table in large}
                whole = [table for how, table in large if how == "Seq Scan"]
                partitions = {table for _, table in large if table.startswith("records_")}
                if whole or len(partitions) > 1:
                    wrong.append((name, generic, scans, statement[0]))
    await db.close()
    return wrong, looked_at


async def test_no_question_reads_a_table_from_end_to_end(filled):
    wrong, looked_at = await faults(filled, LARGE)
    assert not wrong, wrong
    assert looked_at == set(LARGE)


async def test_each_question_to_the_log_reads_one_partition_by_an_index(filled):
    partition(filled)
    wrong, looked_at = await faults(filled, ("records",), executed=True)
    assert not wrong, wrong
    assert len(looked_at) >= 1
    assert all(re.fullmatch(r"records_\d+", table) for table in looked_at)


async def test_sqlite_searches_and_does_not_scan(sqlite_url):
    db = Database.open(sqlite_url)
    async with db.write() as session:
        await session.execute(text(f"INSERT INTO streams VALUES ({MINE}, 'u', 'e', {HEAD}, 0, 0)"))
    wrong, steps = [], []
    for name, found in (await asked_of(db)).items():
        for statement in found:
            for step in await sqlite_plan(db, statement):
                steps.append(step)
                if re.match(rf"SCAN (r|{'|'.join(LARGE)})\b", step):
                    wrong.append((name, step, statement[0]))
    assert not wrong, wrong
    for index in ("ix_workouts_open", "ix_workouts_changed", "ix_workouts_template", "ix_workouts_long"):
        assert any(index in step for step in steps), f"nothing uses {index}"
    await db.close()


def test_the_index_of_long_workouts_knows_when_one_without_an_end_is_over():
    assert f"updated_at + {IDLE_MS})" in IS_LONG.text


async def test_a_table_that_is_read_from_end_to_end_is_noticed(filled):
    db = Database.open(filled)
    async with db.read() as session:
        with statements() as seen:
            await session.execute(text("SELECT count(*) FROM records WHERE kind = 'x'"))
    assert await postgres_scans(filled, seen[0], generic=False) == [("Seq Scan", "records")]
    await db.close()
