"""Seeds of workers that crash, brokers that lose, double and reorder, and transactions that are rolled back.

Whatever the order of things: a job of a committed transaction has been run to its end, or is dead by its own
fault; one of a transaction that was rolled back never ran; and nothing is left over.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import pytest

from fitai.gateways.jobs.contract import Kinds, Permanent, Temporary
from fitai.gateways.jobs.relay import SENT_MS, Periodic, Relay
from fitai.gateways.jobs.runner import MARGIN_S, Runner
from fitai.persistence.jobs import Jobs
from tests.gateways.jobs.kit import Clock, kind, rows

SEEDS = range(12)
JOBS = 25
STEPS = 120
ATTEMPTS = 6
WITHIN_S = 20.0


class RolledBack(Exception):
    pass


class Killed(BaseException):
    """kill -9 at this point: nothing more is written by that attempt."""


class World:
    """Two nodes on one database: each with a relay and a runner, joined by one bad broker."""

    def __init__(self, db, seed):
        self.db = db
        self.chance = Random(seed)
        self.clock = Clock()
        self.queue = []
        self.running = set()
        self.calm = False
        self.committed, self.undone = {}, set()
        self.begun, self.ended, self.crashes, self.lost = Counter(), Counter(), 0, 0
        hourly = Periodic("hourly", 3_600_000)
        kinds = Kinds([kind(self.handle, attempts=ATTEMPTS, within_s=WITHIN_S)])
        self.runners = [
            Runner(db, kinds, now_ms=self.clock, chance=self.chance, at_a_time=4) for _ in range(2)
        ]
        self.relays = [
            Relay(db, self.send, self.run_here, periodic=[hourly], now_ms=self.clock) for _ in range(2)
        ]

    def perhaps_die(self):
        if not self.calm and self.chance.random() < 0.06:
            self.crashes += 1
            raise Killed

    async def handle(self, attempt, note):
        self.begun[note.n] += 1
        self.perhaps_die()
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)
        if note.n % 7 == 3:
            raise Permanent("its own fault")
        if note.n % 7 == 4 or (not self.calm and self.chance.random() < 0.2):
            raise Temporary("not now")
        self.ended[note.n] += 1
        self.perhaps_die()

    async def send(self, ticket):
        fate = 1.0 if self.calm else self.chance.random()
        if fate < 0.1:
            raise ConnectionError("the broker is away")
        if fate < 0.25:
            self.lost += 1
            return
        self.queue += [ticket] * (2 if fate < 0.35 else 1)

    def run_here(self, ticket):
        task = asyncio.get_running_loop().create_task(self.chance.choice(self.runners).run(ticket))
        self.running.add(task)
        task.add_done_callback(self.over)

    def over(self, task):
        self.running.discard(task)
        assert task.exception() is None or isinstance(task.exception(), Killed)

    async def put(self, n):
        due = self.clock() + self.chance.choice([0, 0, 5_000, 90_000])
        try:
            async with self.db.write() as session:
                await Jobs(session).put("note", {"n": n}, now=self.clock(), due=due)
                if self.chance.random() < 0.3:
                    raise RolledBack
            self.committed[n] = True
        except RolledBack:
            self.undone.add(n)

    async def step(self):
        what = self.chance.random()
        if what < 0.3:
            await self.chance.choice(self.relays).step()
        elif what < 0.6 and self.queue:
            self.run_here(self.queue.pop(self.chance.randrange(len(self.queue))))
        else:
            self.clock.now += self.chance.choice([1, 400, 3_000, SENT_MS, int((WITHIN_S + MARGIN_S) * 1000)])
        for _ in range(self.chance.randrange(30)):
            await asyncio.sleep(0)

    async def settle(self):
        """No faults any more, until nothing is left to do."""
        self.calm = True
        for _ in range(400):
            for relay in self.relays:
                await relay.step()
            while self.queue:
                self.run_here(self.queue.pop(0))
            if self.running:
                await asyncio.wait(set(self.running))
            self.clock.now += 60_000
            found = await rows(self.db)
            if all(job.done_at or job.dead_at for job in found.values() if job.kind == "note"):
                return found
        raise AssertionError("there is always something left to do")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("seed", SEEDS)
async def test_every_committed_job_comes_to_an_end_and_no_other_is_ever_run(db, seed):
    world = World(db, seed)
    for n in range(JOBS):
        await world.put(n)
        for _ in range(STEPS // JOBS):
            await world.step()
    found = {job.id: job for job in (await world.settle()).values() if job.kind == "note"}
    assert len(found) == len(world.committed)
    assert not world.undone & set(world.begun)
    dead = sum(job.dead_at is not None for job in found.values())
    done = [job for job in found.values() if job.done_at is not None]
    assert dead + len(done) == len(found)
    assert all(job.payload == {} for job in done)
    never_well = {n for n in world.committed if n % 7 in (3, 4)}
    assert not never_well & set(world.ended)
    # What can go well did, unless it was out of luck as often as it may: that is told by its error.
    gone = [job for job in found.values() if job.dead_at is not None]
    assert all("its own fault" in job.error or "given up" in job.error for job in gone)
    assert len(set(world.ended)) >= len(done) > 0
    assert {job.payload["n"] for job in gone} | set(world.ended) >= set(world.committed)
    assert world.crashes + world.lost > 0
    hours = [job for job in (await rows(db)).values() if job.kind == "hourly"]
    assert len({job.key for job in hours}) == len(hours) >= 1
