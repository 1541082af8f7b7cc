"""What does the derived side of the database cost the server, beside the driver alone?

**Question.** A workout is logged: 28 ops, twenty sets. Its projections are written twice on the way, those of
people who log at the same time in one transaction, and its five exercises are compared with what the person
did before. How much processor time takes one write, and one question about history?

**Peer.** The driver alone (`sqlite3`, `asyncpg`): `executemany` of the very rows into another database of the
same schema, a transaction for as many workouts; a `SELECT` of the very rows that a history is made of.

**Figure.** Milliseconds of the process's processor time, those of the event loop's thread (which one server
runs out of first), and the rate by the clock. On two busy cores in November 2026, of the loop's thread,
before these were prepared statements that take all that wait, and after:

    |            | one write, half | one write, all | a history | the driver's own insert, select |
    |------------|-----------------|----------------|-----------|---------------------------------|
    | SQLite     |     1.35 → 0.25 |    1.58 → 0.34 | 4.7 → 0.6 |                      0.17, 0.12 |
    | PostgreSQL |     1.73 → 0.28 |    2.12 → 0.47 | 5.0 → 0.7 |                      0.14, 0.15 |


**Control.** Every history is the one that all earlier workouts come to; every set is stored, and the peer
inserts exactly the rows that were stored.

    python -m fitai.bench.micro projections [--runs 5] [--people 48] [--past 20] [--engines sqlite postgresql]
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing, nullcontext
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import insert, text

from fitai.bench import stores
from fitai.bench.micro import report, workload
from fitai.bench.micro.fold import OWNER, placed
from fitai.bench.micro.push import database
from fitai.bench.micro.report import Figure
from fitai.engine.ops import Record
from fitai.engine.records import Bests, bests_of, workout_bests
from fitai.engine.workout import Workout
from fitai.gateways.live.histories import Histories
from fitai.persistence.database import Database
from fitai.persistence.histories import Asked
from fitai.persistence.models import Stream
from fitai.persistence.projections import Projected, Projector
from fitai.sync.fold import fold

ENGINES = ("sqlite", "postgresql")
TABLES = ("workouts", "snapshots", "sets", "exercise_bests")
BATCH = 16  # people who wait together
ASKERS = 4  # questions at once

Rows = dict[str, list[tuple[Any, ...]]]


@dataclass(slots=True)
class Life:
    """A person's earlier workouts, the one that goes on after half of its ops, and when it is over."""

    past: Sequence[Workout]
    half: Workout
    whole: Workout

    @classmethod
    def of(cls, past: int, run: int) -> Life:
        """A life from a seed."""
        records, _ = placed((past + 1) * workload.SESSION, run)
        its: dict[str, list[Record]] = {}
        for record in records:
            its.setdefault(record.op.workout, []).append(record)
        *earlier, last = its
        half = fold(last, OWNER, its[last][: workload.SESSION // 2]).workout
        return cls([_folded(its[name]) for name in earlier], half, _folded(its[last]))

    @property
    def history(self) -> dict[str, Bests]:
        """What the last workout is compared with."""
        found = bests_of(workout_bests(workout) for workout in self.past)
        exercises = {entry.exercise for entry in self.whole.entries.values()}
        return {exercise: bests for exercise, bests in found.items() if exercise in exercises}


@dataclass(slots=True)
class Spent:
    """Seconds of the clock, of the process's and of the loop's processor time, for one of so many."""

    clock: float
    process: float
    loop: float


async def spent(count: int, work: Callable[[], Awaitable[None]]) -> Spent:
    """What `count` things cost that `work` does, each of them."""
    gc.collect()
    began = time.perf_counter(), time.process_time(), time.thread_time()
    await work()
    ended = time.perf_counter(), time.process_time(), time.thread_time()
    return Spent(*((end - begin) / count for begin, end in zip(began, ended, strict=True)))


async def measured(engine: str, url: str, people: int, past: int, run: int) -> dict[str, Spent]:
    """Everything once, on one engine."""
    life = Life.of(past, run)
    history = life.history
    found: dict[str, Spent] = {}
    async with _database(engine, url) as db, _database(engine, url) as other:
        streams = list(range(1, people + 1))
        for each in (db, other):
            async with each.write() as session:
                await session.execute(insert(Stream), [_stream(number) for number in streams])
        earlier = [Projected.of(workout, None) for workout in life.past]
        projector, histories = Projector(db), Histories(db)
        for stream in streams:
            await projector.project(stream, "e", earlier, 1)

        async def write(workout: Workout) -> None:
            for start in range(0, people, BATCH):
                await asyncio.gather(
                    *(
                        projector.project(stream, "e", [Projected.of(workout, workout.seq)], workout.seq)
                        for stream in streams[start : start + BATCH]
                    )
                )

        async def ask() -> None:
            for start in range(0, people, ASKERS):
                answers = await asyncio.gather(
                    *(_ask(histories, stream, life.whole) for stream in streams[start : start + ASKERS])
                )
                for answer in answers:
                    assert answer == history, "another history"

        await asyncio.gather(*(_ask(histories, 1, life.whole) for _ in range(ASKERS)))  # connects
        found["project, half of a workout"] = await spent(people, lambda: write(life.half))
        found["history of five exercises"] = await spent(people, ask)
        found["project, all of it"] = await spent(people, lambda: write(life.whole))
        rows = await _rows(db, life.whole.id)
        assert len(rows["sets"]) == people * len(life.whole.sets), "sets are missing"
        found["the driver inserts all of it"] = await spent(people, lambda: _insert(other, rows))
        assert await _rows(other, life.whole.id) == rows, "the peer stored other rows"
        found["the driver selects the history"] = await spent(people, lambda: _select(db, streams, life))
    return found


async def _ask(histories: Histories, stream: int, workout: Workout) -> dict[str, Bests]:
    exercises = {entry.exercise for entry in workout.entries.values()}
    found, _ = await histories.before(stream, [Asked([workout.id], None, exercises)])
    return found[0]


def _folded(records: Sequence[Record]) -> Workout:
    return fold(records[0].op.workout, OWNER, records).workout


def _stream(number: int) -> dict[str, Any]:
    owner = workload.Ids(number).new(0)
    return {"id": number, "owner": owner, "epoch": "e", "head": 10**9, "projected": 0, "last_rt": 0}


@asynccontextmanager
async def _database(engine: str, url: str) -> AsyncIterator[Database]:
    if engine == "sqlite":
        async with database() as db:
            yield db
        return
    name = f"bench_{time.perf_counter_ns()}"
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}")
    db = Database.open(f"{url.rpartition('/')[0]}/{name}")
    try:
        await db.migrate()
        yield db
    finally:
        await db.close()
        await connection.execute(f"DROP DATABASE {name}")
        await connection.close()


async def _rows(db: Database, workout: str) -> Rows:
    """What is stored of the workout, of all people, in the order of their keys."""
    found: Rows = {}
    async with db.read() as session:
        for table in TABLES:
            query = text(f"SELECT * FROM {table} WHERE workout = :workout ORDER BY 1, 2, 3")
            found[table] = [tuple(row) for row in (await session.execute(query, {"workout": workout})).all()]
    return found


async def _insert(db: Database, rows: Rows) -> None:
    """The rows, a transaction for `BATCH` people, by the driver."""
    last = max(row[0] for row in rows["workouts"])
    chunks = [
        {table: [row for row in its if start < row[0] <= start + BATCH] for table, its in rows.items()}
        for start in range(0, last, BATCH)
    ]
    path = str(db.url.database)
    if db.dialect == "sqlite":
        with closing(sqlite3.connect(path)) as plain:
            plain.execute("PRAGMA synchronous = FULL")
            plain.execute("PRAGMA foreign_keys = ON")
            for chunk in chunks:
                with plain:
                    for table, its in chunk.items():
                        plain.executemany(_statement(table, its, ["?"] * len(its[0])), its)
        return
    async with _plain(db) as connection:
        for chunk in chunks:
            async with connection.transaction():
                for table, its in chunk.items():
                    places = [f"${place}" for place, _ in enumerate(its[0], 1)]
                    await connection.executemany(_statement(table, its, places), its)


def _statement(table: str, rows: Sequence[Sequence[Any]], places: Sequence[str]) -> str:
    return f"INSERT INTO {table} VALUES ({', '.join(places)})"


async def _select(db: Database, streams: Sequence[int], life: Life) -> None:
    """The rows that the history of each person is made of, by the driver."""
    exercises = sorted(life.history)
    places = ", ".join("?" * len(exercises))
    query = (
        f"SELECT started_at, workout, bests FROM exercise_bests WHERE stream = ? AND exercise IN ({places})"
    )
    if db.dialect == "sqlite":
        with closing(sqlite3.connect(str(db.url.database))) as plain:
            for stream in streams:
                assert plain.execute(query, (stream, *exercises)).fetchall(), "no rows"
        return
    for place in range(1, len(exercises) + 2):
        query = query.replace("?", f"${place}", 1)
    async with _plain(db) as connection:
        for stream in streams:
            assert await connection.fetch(query, stream, *exercises), "no rows"


@asynccontextmanager
async def _plain(db: Database) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(db.url.set(drivername="postgresql").render_as_string(False))
    try:
        yield connection
    finally:
        await connection.close()


def measure(runs: int, people: int, past: int, engines: Sequence[str] = ENGINES) -> list[Figure]:
    """What each costs on each engine, and each of ours as a part of its peer's."""
    figures = []
    for engine in engines:
        with stores.postgres() if engine == "postgresql" else nullcontext("") as url:
            found = [asyncio.run(measured(engine, url, people, past, run)) for run in range(runs)]
        for name in found[0]:
            its = [one[name] for one in found]
            figures += [
                Figure.of(f"{name}, {engine}", "ms CPU", [one.process * 1_000 for one in its]),
                Figure.of(f"{name}, {engine}: loop", "ms CPU", [one.loop * 1_000 for one in its]),
                Figure.of(f"{name}, {engine}", "1/s", [1 / one.clock for one in its]),
            ]
    return figures


def main(arguments: Sequence[str]) -> None:
    """Run with the options of the command line."""
    parser = report.parser("projections", "Projections and histories, beside the driver alone.")
    parser.add_argument("--people", type=int, default=48, help="people whose workouts are projected")
    parser.add_argument("--past", type=int, default=20, help="earlier workouts of each")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    options = parser.parse_args(arguments)
    figures = measure(options.runs, options.people, options.past, options.engines)
    question = (
        f"The workouts of {options.people} people, {BATCH} at once, {options.past} earlier ones of each."
    )
    report.tell("projections", question, figures, report.machine(["sqlalchemy", "asyncpg"]), options.into)
