"""What does it bring that all who wait share one transaction?

**Question.** Many users push at the same moment, an op each. How many appends a second go through the
appender when 1, 16 and 128 wait at once, on SQLite with full sync: one disk flush for one of them, or for
all?

**Figure.** The rate with so many waiting as a part of the rate one by one. First measured: 12 for 16 (7 …
15), 62 for 128 (17 … 63), on two busy cores in November 2026. With a statement as one call to SQLite's
thread, on quiet ones: 8.2 (7.9 … 9.4) and 20 (19 … 24), of 1,360 a second one by one.

**Control.** Every stream's log holds its records once, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from sqlalchemy import insert

from fitai.bench.micro import report, workload
from fitai.bench.micro.fold import placed
from fitai.bench.micro.push import database
from fitai.bench.micro.report import Figure
from fitai.engine.ops import Record
from fitai.persistence.append import Append, Appender
from fitai.persistence.database import Database
from fitai.persistence.log import Log
from fitai.persistence.models import Stream

WAITING = (1, 16, 128)


def measured(waiting: int, appends: int) -> Callable[[int], float]:
    """Appends per second with so many waiting at once, the streams in turn."""

    async def measure(run: int) -> float:
        each = -(-appends // waiting)
        records, _ = placed(each, run)
        async with database() as db:
            streams = await _streams(db, waiting)
            appender = Appender(db)
            await appender.start()
            try:
                began = asyncio.get_running_loop().time()
                await asyncio.gather(*(_write(appender, stream, records) for stream in streams))
                seconds = asyncio.get_running_loop().time() - began
            finally:
                await appender.close()
            for stream in streams:
                await check(db, stream, records)
        return waiting * each / seconds

    return lambda run: asyncio.run(measure(run))


async def _write(appender: Appender, stream: int, records: Sequence[Record]) -> None:
    for seen, record in enumerate(records):
        await appender.append(Append(stream, "e", seen, [record]))


async def _streams(db: Database, count: int) -> list[int]:
    rows = [
        {
            "id": number,
            "owner": workload.Ids(number).new(0),
            "epoch": "e",
            "head": 0,
            "projected": 0,
            "last_rt": 0,
        }
        for number in range(1, count + 1)
    ]
    async with db.write() as session:
        await session.execute(insert(Stream), rows)
    return [int(str(row["id"])) for row in rows]


async def check(db: Database, stream: int, records: Sequence[Record]) -> None:
    """Raise AssertionError unless the stream holds these records, once and in order."""
    async with db.read() as session:
        stored = await Log(session).read(stream, 0, len(records) + 1)
    assert [(one.seq, one.op.n) for one in stored] == [(one.seq, one.op.n) for one in records], "another log"


def measure(runs: int, appends: int, waiting: Sequence[int] = WAITING) -> list[Figure]:
    """The rates, and each as a part of the first."""
    found = report.interleaved(runs, {str(count): measured(count, appends) for count in waiting})
    first = found[str(waiting[0])]
    figures = [Figure.of(f"append, {count} waiting", "op/s", found[str(count)]) for count in waiting]
    for count in waiting[1:]:
        ratios = [mine / one for mine, one in zip(found[str(count)], first, strict=True)]
        figures.append(Figure.of(f"append, {count} to {waiting[0]} waiting", "ratio", ratios))
    return figures


def main(arguments: Sequence[str]) -> None:
    """Run with the options of the command line."""
    parser = report.parser("append", "Appends that wait together, beside one by one.")
    parser.add_argument("--appends", type=int, default=2_000)
    options = parser.parse_args(arguments)
    question = f"{options.appends} appends of one op each, by how many wait at once."
    figures = measure(options.runs, options.appends)
    report.tell("append", question, figures, report.machine(["sqlalchemy", "aiosqlite"]), options.into)
