"""What does a durable push cost, beside an insert of the same rows that does nothing else?

**Question.** A phone sends what it holds after weeks offline, in batches of 500 ops. How many ops per second
go from the bytes of a push to an answer after the commit, through the real host and appender on SQLite with
full sync: decoded, checked, judged, folded, hashed, stored?

**Peer.** The very rows that the push stored, inserted by SQLAlchemy in transactions of 500 into a new
database of the same schema, the same engine and the same settings: the least that storing them costs.

**Figure.** Our rate as a part of the bare insert's: at least 15 %, aim 30 %. The two take turns, batch by
batch, alone. What follows an answer (insights, projections) is done before the next batch and told beside it.

**Control.** Every op is in the log once, in order, and the peer's table holds the same rows.

    python -m fitai.bench.micro push [--runs 5] [--ops 10000]
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from fitai.bench.micro import report, workload
from fitai.bench.micro.report import Figure
from fitai.gateways.bus.memory import MemoryBus, MemoryHub
from fitai.gateways.identity import Identity
from fitai.gateways.live.hosts import Hosts
from fitai.gateways.live.limits import LiveLimits
from fitai.http.media import parse_msgpack
from fitai.http.sync.service import SyncService
from fitai.persistence.append import Appender
from fitai.persistence.database import Database
from fitai.persistence.devices import Devices
from fitai.persistence.models import Base
from fitai.persistence.users import Users

ASKED = 0.15
RECORDS = Base.metadata.tables["records"]
NOW = workload.START + 4_000 * workload.DAY_MS
FOREVER = NOW * 2

Row = dict[str, Any]


@dataclass(slots=True)
class Node:
    """A server without its sockets: the hosts over a database, and the REST mirror's way to them."""

    db: Database
    hosts: Hosts
    sync: SyncService

    async def person(self) -> Identity:
        """A new user with one device."""
        async with self.db.write() as session:
            user = await Users(session).create(
                email=f"{time.perf_counter_ns()}@example.org", password_hash="x", display_name=None, now=NOW
            )
            enrolment = await Devices(session).enrol(
                user.id, name="phone", platform="bench", install_id=None, now=NOW, limit=32
            )
        return Identity(user.id, enrolment.device.id, FOREVER)

    async def push(self, who: Identity, body: bytes) -> dict[str, Any]:
        """One push, from its bytes to the answer after the commit."""
        return await self.sync.push(who, parse_msgpack(body))


@asynccontextmanager
async def database() -> AsyncIterator[Database]:
    """A new SQLite database in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        db = Database.open(f"sqlite:///{Path(folder) / 'bench.db'}")
        try:
            await db.migrate()
            yield db
        finally:
            await db.close()


@asynccontextmanager
async def node(db: Database) -> AsyncIterator[Node]:
    """A running node, without limits on rates."""
    limits = LiveLimits(rates=False)
    appender = Appender(db)
    bus = MemoryBus(MemoryHub())
    hosts = Hosts(db, appender, bus, limits=limits, now_ms=lambda: NOW)
    await appender.start()
    await hosts.start()
    try:
        yield Node(db, hosts, SyncService(db, hosts, lambda: NOW))
    finally:
        await hosts.close()
        await appender.close()
        await bus.close()


@dataclass(slots=True)
class Spent:
    """Seconds that batches took: to their answers, until everything that follows was done, and the bare
    insert of their rows."""

    answered: float = 0.0
    settled: float = 0.0
    bare: float = 0.0


def measured(ops: int) -> Callable[[int], Spent]:
    """Measures both, batch by batch in turn, and holds the control."""

    async def measure(run: int) -> Spent:
        bodies = workload.pushes(list(workload.sessions(run, ops)))
        spent = Spent()
        async with database() as db, database() as other, node(db) as server:
            who = await server.person()
            for body in bodies:
                seen = len(await _rows(other))
                await _push(server, who, body, spent)
                rows = await _rows(db, seen)
                await _insert(other, rows, spent)
            stored = await _rows(db)
            check(stored, ops)
            assert await _rows(other) == stored, "the peer stored other rows"
        return spent

    return lambda run: asyncio.run(measure(run))


async def _push(server: Node, who: Identity, body: bytes, spent: Spent) -> None:
    gc.collect()
    began = time.perf_counter()
    answer = await server.push(who, body)
    spent.answered += time.perf_counter() - began
    assert answer["ok"], answer
    host = await server.hosts.open(who.user)
    await host.flush()
    await host.quiet()
    spent.settled += time.perf_counter() - began


async def _insert(db: Database, rows: Sequence[Row], spent: Spent) -> None:
    gc.collect()
    began = time.perf_counter()
    async with db.write() as session:
        await session.execute(insert(RECORDS), rows)
    spent.bare += time.perf_counter() - began


async def _rows(db: Database, after: int = 0) -> list[Row]:
    async with db.read() as session:
        query = select(*RECORDS.columns).where(RECORDS.c.seq > after).order_by(RECORDS.c.seq)
        return [dict(row) for row in (await session.execute(query)).mappings().all()]


def check(rows: Sequence[Row], ops: int) -> None:
    """Raise AssertionError unless each op is there once, in order, and stands."""
    assert [row["seq"] for row in rows] == list(range(1, ops + 1)), "the log has a hole"
    assert [row["n"] for row in rows] == list(range(1, ops + 1)), "the log is out of order"
    assert {row["verdict"] for row in rows} == {"applied"}, "an op did not stand"


def measure(runs: int, ops: int) -> list[Figure]:
    """Our rates, the bare insert's, and the ones as a part of the other."""
    found = report.interleaved(runs, {"push": measured(ops)})["push"]
    return [
        Figure.of("push to its answer", "op/s", [ops / one.answered for one in found]),
        Figure.of("push and all that follows", "op/s", [ops / one.settled for one in found]),
        Figure.of("bare insert, SQLAlchemy", "op/s", [ops / one.bare for one in found]),
        Figure.of("push to bare insert", "ratio", [one.bare / one.answered for one in found], f"≥ {ASKED}"),
        Figure.of("push and all that follows to it", "ratio", [one.bare / one.settled for one in found]),
    ]


def main(arguments: Sequence[str]) -> None:
    """Run with the options of the command line."""
    parser = report.parser("push", "Durable pushes beside a bare insert.")
    parser.add_argument("--ops", type=int, default=10_000)
    options = parser.parse_args(arguments)
    figures = measure(options.runs, options.ops)
    question = f"{options.ops} ops in batches of {workload.BATCH}, from bytes to an answer after the commit."
    report.tell(
        "push", question, figures, report.machine(["sqlalchemy", "aiosqlite", "msgspec"]), options.into
    )
