"""kill -9: what was acknowledged is there, once, and nothing is half there."""

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import text

from fitai.persistence.database import Database
from fitai.persistence.log import Log

WRITER = Path(__file__).parent / "crash_writer.py"
STREAMS = range(1, 7)
ENOUGH = 150  # acknowledgements to wait for before each kill


async def prepare(url):
    db = Database.open(url)
    await db.migrate()
    async with db.write() as session:
        for stream in STREAMS:
            owner = f"0192f3c4-7b1a-7c3e-9d2f-00000000000{stream}"
            await session.execute(text(f"INSERT INTO streams VALUES ({stream}, '{owner}', 'e', 0, 0, 0)"))
    await db.close()


class Writer:
    """A writing process and the lines that it has printed."""

    def __init__(self, url):
        command = [sys.executable, str(WRITER), url, *map(str, STREAMS)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines = []

    def read(self, count):
        """Wait for so many more acknowledgements."""
        while count:
            line = self._process.stdout.readline()
            assert line, "the writer ended by itself"
            if line.startswith("ack "):
                self.lines.append(line)
                count -= 1

    def kill(self):
        """kill -9; what it had printed before that counts."""
        self._process.kill()
        rest, _ = self._process.communicate()
        complete = rest.rpartition("\n")[0]
        self.lines += [line for line in complete.splitlines() if line.startswith("ack ")]

    def acknowledged(self):
        """Counter of (stream, device, n)."""
        return Counter(tuple(map(int, line.split()[1:])) for line in self.lines)


async def check(url, acknowledged):
    """Everything acknowledged is stored once; every stream is contiguous, whole, and as long as its head."""
    db = Database.open(url)
    stored = Counter()
    async with db.read() as session:
        log = Log(session)
        heads = await log.heads(STREAMS)
        for stream in STREAMS:
            records = await log.read(stream, 0, 1_000_000)
            assert [record.seq for record in records] == list(range(1, heads[stream] + 1))
            assert [record.op.n for record in records] == list(range(1, heads[stream] + 1))
            stored.update((stream, record.device, record.op.n) for record in records)
    await db.close()
    assert sum(acknowledged.values()) >= ENOUGH
    assert set(stored.values()) == {1}
    missing = acknowledged - stored
    assert not missing, f"acknowledged and lost: {missing}"
    assert set(acknowledged.values()) == {1}, "acknowledged twice"


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_a_killed_writer_loses_nothing_that_it_acknowledged(database_url):
    await prepare(database_url)
    acknowledged = Counter()
    for _ in range(2):  # the second one goes on where the first was killed
        writer = Writer(database_url)
        await asyncio.to_thread(writer.read, ENOUGH)
        writer.kill()
        acknowledged += writer.acknowledged()
        await check(database_url, acknowledged)


async def test_a_database_server_that_crashes_under_load_loses_nothing_that_it_acknowledged(postgres_server):
    url = postgres_server.url("postgres")
    await prepare(url)
    writer = Writer(url)
    try:
        for _ in range(2):
            await asyncio.to_thread(writer.read, ENOUGH)
            await asyncio.to_thread(postgres_server.crash)
            await asyncio.to_thread(postgres_server.start)
        await asyncio.to_thread(writer.read, ENOUGH)  # it has recovered by itself
    finally:
        writer.kill()
    await check(url, writer.acknowledged())
