"""kill -9 of a real server under the load of fifty users, twice, and what must be left of it.

The load comes from devices (see tests/gateways/device.py) that push without end, keep what nobody has
acknowledged, and after the crash come back with their cursors and push it again.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from sqlalchemy import delete, select

from fitai.engine.ops import Record
from fitai.persistence.database import Database
from fitai.persistence.log import Log
from fitai.persistence.models import ExerciseBests, SetRow, Snapshot, Stream, WorkoutRow
from tests.gateways.device import Device
from tests.system.conftest import Process, now_ms, people

USERS = 50
ENOUGH = 500  # acknowledged ops to wait for before each kill
IN_FLIGHT = 12  # ops that a device sends ahead of their acknowledgements
CATCH_UP_S = 30.0
PROJECTIONS = (WorkoutRow, SetRow, ExerciseBests, Snapshot)

pytestmark = pytest.mark.timeout(240)


class Lifter:
    """A device of somebody who trains without end, through everything that happens to the server."""

    def __init__(self, user: str, id: int, workout: str, entry: str) -> None:
        self.device = Device(user, id)
        self.workout = workout
        self.dying = False  # it will read nothing more before its own end
        self._entry = entry
        self._rng = random.Random(f"{user}.{id}")

    def begins(self) -> None:
        at = now_ms()
        self.device.write("workout.create", self.workout, {"title": "Push day"}, at=at)
        self.device.write("workout.start", self.workout, at=at)
        value = {"exercise": "bench-press", "position": "a0"}
        self.device.write("exercise.add", self.workout, value, entity=self._entry, at=at)

    async def trains(self) -> None:
        """Push one to four ops at a time, with several pushes on their way, until the transport is gone."""
        wire = self.device.wire
        assert wire is not None
        await self.device.push()  # what was left over
        while not wire._reader.done():
            before = len(self.device.outbox)
            for _ in range(self._rng.randint(1, 4)):
                self._acts()
            with suppress(ConnectionError):
                await self.device.push(before)
            while len(self.device.outbox) > IN_FLIGHT and not wire._reader.done():
                await asyncio.sleep(0.01)
                if not self.dying:
                    self.device.read()

    def _acts(self) -> None:
        if self._rng.random() < 0.1:
            self.device.write("workout.start", self.workout, at=now_ms())  # void: it has begun long ago
            return
        value = {"exercise_entry": self._entry, "type": "working", "reps": self._rng.randint(1, 12)}
        value["load"] = {"value": self._rng.choice([60, 82.5]), "unit": self._rng.choice(["kg", "lb"])}
        self.device.write("set.log", self.workout, value, entity=str(uuid.uuid4()), at=now_ms())


class Rester:
    """A device of somebody who rests between two sets while the server dies."""

    def __init__(self, user: str, id: int, seconds: int) -> None:
        self.device = Device(user, id)
        self.workout = str(uuid.uuid4())
        self._seconds = seconds

    async def rests(self, process: Process) -> None:
        await self.device.connect(process)
        at = now_ms()
        for kind in ("workout.create", "workout.start"):
            self.device.write(kind, self.workout, at=at)
        self.device.write("rest.start", self.workout, {"seconds": self._seconds}, at=at)
        await self.device.flush()
        self.ends_at = at + self._seconds * 1000

    async def is_told(self, process: Process) -> None:
        """Come back; the end of the rest is told, not early, by the dot of its start."""
        await self.device.cut()
        await self.device.connect(process, cursor=self.device.place)
        assert self.device.wire is not None
        over = await self.device.wire.event("insight", lambda insight: insight["kind"] == "rest_over")
        assert now_ms() >= self.ends_at, "told before the rest was over"
        assert over["dot"] == [self.device.id, 3]
        assert over["at"] == self.ends_at

    def told(self) -> Counter[tuple[int, int]]:
        """How often each rest was told on this connection; a client counts each once."""
        assert self.device.wire is not None
        insights = self.device.wire.events("insight")
        return Counter(tuple(i["dot"]) for i in insights if i["kind"] == "rest_over")


@asynccontextmanager
async def cut_at_the_end(people: Sequence[Lifter | Rester]) -> AsyncIterator[None]:
    """Whatever happens, no connection is left open."""
    try:
        yield
    finally:
        for person in people:
            await person.device.cut()


async def lifters(url: str) -> list[Lifter]:
    """Fifty people; every second one trains with two devices in one workout."""
    made = []
    for index, (user, devices) in enumerate(await people(url, USERS, devices=2)):
        workout, entry = str(uuid.uuid4()), str(uuid.uuid4())
        made += [Lifter(user, device, workout, entry) for device in devices[: 1 + index % 2]]
    return made


async def load_until_killed(process: Process, all_of_them: Sequence[Lifter]) -> None:
    """Let them train; kill the server in the middle, and with it every third device, which has not read
    the last of what it was told."""
    before = acknowledged(all_of_them)
    training = [asyncio.get_running_loop().create_task(lifter.trains()) for lifter in all_of_them]
    while acknowledged(all_of_them) < before + ENOUGH:
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in training), "a device stopped by itself"
    for lifter in all_of_them[::3]:
        lifter.dying = True
    more = acknowledged(all_of_them) + ENOUGH // 5
    while acknowledged(all_of_them) < more:
        await asyncio.sleep(0.02)
    process.kill()
    await asyncio.gather(*training)
    waiting = sum(len(lifter.device.outbox) for lifter in all_of_them)
    assert waiting > len(all_of_them), "the server was not killed in the middle of anything"


def acknowledged(all_of_them: Sequence[Lifter]) -> int:
    return sum(len(lifter.device.acked) for lifter in all_of_them)


async def come_back(process: Process, all_of_them: Sequence[Lifter]) -> None:
    for lifter in all_of_them:
        lifter.dying = False
        await lifter.device.cut()
        ready = await lifter.device.connect(process, cursor=lifter.device.place)
        assert ready["resumed"] is True
        assert ready["next_n"] > max(lifter.device.acked, default=0)


async def check_log(db: Database, all_of_them: Sequence[Lifter]) -> Counter[str]:
    """Every acknowledged op is there once, at its place; all counters are without holes. Counts verdicts."""
    verdicts: Counter[str] = Counter()
    async with db.read() as session:
        log = Log(session)
        for user in {lifter.device.user for lifter in all_of_them}:
            row = await log.stream_of(user)
            assert row is not None
            records = await log.read(row.id, 0, 1_000_000)
            assert [record.seq for record in records] == list(range(1, row.head + 1))
            for lifter in all_of_them:
                if lifter.device.user == user:
                    check_device(lifter.device, records)
            revs = [record.rev for record in records]  # each of them has one workout
            assert revs == list(range(1, len(records) + 1))
            verdicts.update(record.verdict.value for record in records)
    return verdicts


def check_device(device: Device, records: Sequence[Record]) -> None:
    own = [(record.op.n, record.seq) for record in records if record.device == device.id]
    assert [n for n, _ in own] == list(range(1, len(own) + 1)), "an op is missing, doubled or out of order"
    lost = device.acked.items() - dict(own).items()
    assert not lost, f"acknowledged and not there: {lost}"
    raws = {record.op.n: record.op.raw for record in records if record.device == device.id}
    unacked = {op["n"]: op for op in device.outbox}
    for n in raws.keys() & unacked.keys():
        assert raws[n] == unacked[n], "stored otherwise than it was sent"


async def projected(db: Database) -> dict[str, list[str]]:
    """All projections, when they have caught up with the log and stand still."""
    seen = None
    async with asyncio.timeout(CATCH_UP_S):
        while True:
            async with db.read() as session:
                behind = select(Stream.id).where(Stream.projected < Stream.head)
                lagging = (await session.execute(behind)).all()
            rows = await projections(db)
            if rows == seen and not lagging:
                return rows
            seen = rows
            await asyncio.sleep(0.7)


async def projections(db: Database) -> dict[str, list[str]]:
    found = {}
    async with db.read() as session:
        for table in PROJECTIONS:
            rows = (await session.execute(select(*table.__table__.columns))).mappings().all()
            found[table.__tablename__] = sorted(repr(sorted(row.items())) for row in rows)
    return found


async def rebuild(process: Process, db: Database) -> dict[str, list[str]]:
    """Lose every projection, then `fitai rebuild`."""
    async with db.write() as session:
        for table in PROJECTIONS:
            await session.execute(delete(table))
    command = [sys.executable, "-m", "fitai.app.command", "rebuild"]
    done = await asyncio.to_thread(
        subprocess.run, command, env=process.variables(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return await projections(db)


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_a_server_killed_under_load_has_all_that_it_acknowledged_once(
    database_url: str, make_process: Callable[..., Awaitable[Process]], db: Database
) -> None:
    process = await make_process(database_url, FITAI_LIMITS="off")
    all_of_them = await lifters(database_url)
    async with cut_at_the_end(all_of_them):
        for lifter in all_of_them:
            await lifter.device.connect(process)
            lifter.begins()
        for _ in range(2):
            await load_until_killed(process, all_of_them)
            await check_log(db, all_of_them)
            await process.start()
            await come_back(process, all_of_them)
        for lifter in all_of_them:
            await lifter.device.flush()
        duplicates = sum(lifter.device.counts["duplicates"] for lifter in all_of_them)
        verdicts = await check_log(db, all_of_them)
        assert verdicts.total() == acknowledged(all_of_them) >= 2 * ENOUGH
        assert verdicts["void"] > 20
        assert duplicates > 0, "nobody's acknowledgement was lost"
        written = await projected(db)
        assert len(written["workouts"]) == USERS
        assert len(written["sets"]) > ENOUGH
    process.kill()
    assert await rebuild(process, db) == written


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_rests_that_end_while_the_server_is_down_or_later_are_told_and_never_early(
    database_url: str, make_process: Callable[..., Awaitable[Process]]
) -> None:
    process = await make_process(database_url)
    accounts = await people(database_url, 6)
    resters = [
        Rester(user, device, seconds)
        for (user, (device,)), seconds in zip(accounts, [2, 2, 2, 10, 10, 10], strict=True)
    ]
    async with cut_at_the_end(resters):
        await asyncio.gather(*(rester.rests(process) for rester in resters))
        process.kill()
        await asyncio.sleep(max(0, resters[0].ends_at - now_ms()) / 1000 + 0.2)
        await process.start()
        await asyncio.gather(*(rester.is_told(process) for rester in resters))
        for rester in resters:
            assert set(rester.told()) == {(rester.device.id, 3)}
