"""Does an op cost more where there are many already?

**Question.** Four people have 1,000, 10,000, 100,000 and 1,000,000 ops in their logs, years of workouts each,
with the projections that belong to them. What does each pay for a live op in a workout that is going on, for
a batch of 500 from a phone that was away, and for the first op after a while, for which the server has to
open the log?

**Figure.** The cost at 1,000,000 as a part of the cost at 1,000: flat is 1. The four take turns in one
database, op by op and batch by batch, so that neither the machine's mood nor the size of the file tells them
apart.

**Control.** Each log holds what was seeded and what was pushed, in one order.

    python -m fitai.bench.micro growth [--sizes 1000 10000 100000 1000000] [--live 50] [--batches 3]
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgpack
import orjson

from fitai.bench.micro import report, workload
from fitai.bench.micro.push import NOW, Node, database, node
from fitai.bench.micro.report import Figure
from fitai.bench.micro.workload import BATCH, SESSION, Op
from fitai.gateways.identity import Identity
from fitai.persistence.database import Database
from fitai.persistence.log import Log

SIZES = (1_000, 10_000, 100_000, 1_000_000)
LIFE_MS = 3_650 * workload.DAY_MS  # the time over which a log was written, whatever its size
OPENED = 3  # times that the server begins anew

Row = dict[str, Any]


@dataclass(slots=True)
class Person:
    """Somebody with a log of `size` ops, the ops that come next, and the milliseconds that pushes took."""

    size: int
    who: Identity
    ops: Iterator[Op]
    pushed: int = 0
    spent: dict[str, list[float]] = field(default_factory=dict)

    async def push(self, server: Node, what: str, count: int = 1) -> None:
        """Push the next ops, and note what it took until the answer, and until all that follows was done."""
        body = msgpack.packb({"ops": list(islice(self.ops, count))})
        began = time.perf_counter()
        answer = await server.push(self.who, body)
        answered = time.perf_counter()
        assert answer["ok"], answer
        self.pushed += count
        host = await server.hosts.open(self.who.user)
        await host.flush()
        await host.quiet()
        self.spent.setdefault(what, []).append((answered - began) * 1_000)
        self.spent.setdefault(f"{what}, and all that follows", []).append(
            (time.perf_counter() - began) * 1_000
        )


async def measured(sizes: Sequence[int], live: int, batches: int) -> list[Person]:
    """What people with logs of these sizes paid."""
    async with database() as db:
        async with node(db) as server:
            people = [await _begin(server, size) for size in sizes]
        for stream, person in enumerate(people, 1):
            await asyncio.to_thread(_seed, db, stream, person)
        for _ in range(OPENED):
            async with node(db) as server:
                for person in people:
                    await person.push(server, "first op")
                for _ in range(live):
                    for person in people:
                        await person.push(server, "live op")
                for _ in range(batches):
                    for person in people:
                        await person.push(server, "batch", BATCH)
        for stream, person in enumerate(people, 1):
            await _check(db, stream, person)
    return people


async def _begin(server: Node, size: int) -> Person:
    """A person with one workout, pushed: what the others are made after."""
    every = LIFE_MS * SESSION // size
    ops = workload.sessions(size, 10 * size + 1_000_000, start=NOW - 2 * LIFE_MS, every=every)
    person = Person(size, await server.person(), ops)
    await person.push(server, "begin", SESSION)
    return person


def _seed(db: Database, stream: int, person: Person) -> None:
    """Write a life of workouts, records and projections, as if they had been pushed."""
    with closing(sqlite3.connect(str(db.url.database))) as connection, connection:
        connection.row_factory = sqlite3.Row
        tables = ("records", "workouts", "exercise_bests")
        models = {name: _rows(connection, name, stream) for name in tables}
        record = models["records"][0]
        rev, workout = 0, ""
        for chunk in _chunks(islice(person.ops, person.size - person.pushed), 20_000):
            rows: dict[str, list[Row]] = {name: [] for name in tables}
            for op in chunk:
                rev = rev + 1 if op["workout"] == workout else 1
                workout = op["workout"]
                person.pushed += 1
                rows["records"].append(record | _record(op, person.pushed, rev))
                if op["kind"] == "workout.start":
                    began = {"workout": workout, "started_at": op["at"]}
                    rows["exercise_bests"] += [one | began for one in models["exercise_bests"]]
                    began |= {"seq": person.pushed, "happened_at": op["at"]}
                    rows["workouts"] += [one | began for one in models["workouts"]]
            for name, its in rows.items():
                _insert(connection, name, its)
        head = {"head": person.pushed, "stream": stream}
        connection.execute("UPDATE streams SET head = :head, projected = :head WHERE id = :stream", head)


def _rows(connection: sqlite3.Connection, table: str, stream: int) -> list[Row]:
    return [dict(row) for row in connection.execute(f"SELECT * FROM {table} WHERE stream = ?", (stream,))]


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    if rows:
        values = ", ".join(f":{name}" for name in rows[0])
        connection.executemany(f"INSERT INTO {table} ({', '.join(rows[0])}) VALUES ({values})", rows)


def _record(op: Op, seq: int, rev: int) -> Row:
    return {
        "seq": seq,
        "n": op["n"],
        "workout": op["workout"],
        "rev": rev,
        "kind": op["kind"],
        "te": op["at"],
        "hash": seq.to_bytes(16, "big"),
        "body": orjson.dumps(op),
    }


def _chunks(ops: Iterator[Op], size: int) -> Iterator[list[Op]]:
    while chunk := list(islice(ops, size)):
        yield chunk


async def _check(db: Database, stream: int, person: Person) -> None:
    """Raise AssertionError unless the log holds all, in one order."""
    async with db.read() as session:
        row = await Log(session).stream(stream)
        assert row is not None
        assert row.head == person.pushed, "ops are missing"
        last = await Log(session).read(stream, person.pushed - BATCH, BATCH)
    assert [record.op.n for record in last] == list(range(person.pushed - BATCH + 1, person.pushed + 1))


def measure(sizes: Sequence[int], live: int, batches: int) -> list[Figure]:
    """The costs by the size of the log, and the largest one's as a part of the smallest one's."""
    people = asyncio.run(measured(sizes, live, batches))
    figures = []
    for what in people[0].spent:
        if what.startswith("begin"):
            continue
        figures += [Figure.of(f"{what}: {one.size:,} ops", "ms", one.spent[what]) for one in people]
        first, last = (figures[place].median for place in (-len(people), -1))
        asked = "flat: about 1" if "follows" not in what else ""
        figures.append(Figure.of(f"{what}: most to least", "ratio", [last / first], asked))
    return figures


def main(arguments: Sequence[str]) -> None:
    """Run with the options of the command line."""
    parser = report.parser("growth", "The cost of an op by the log's size.")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="ops in the logs")
    parser.add_argument("--live", type=int, default=50, help="live ops of each person each time")
    parser.add_argument("--batches", type=int, default=3, help="batches of each person each time")
    options = parser.parse_args(arguments)
    figures = measure(options.sizes, options.live, options.batches)
    question = f"Milliseconds of a push by the log's size: a live op, a batch of {BATCH}, the first op."
    report.tell("growth", question, figures, report.machine(["sqlalchemy", "aiosqlite"]), options.into)
