"""One job at a time on both engines, with a clock that stands still."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from structlog.testing import capture_logs

from fitai.gateways.jobs import runner as module
from fitai.gateways.jobs.contract import Kinds, Permanent, Temporary
from fitai.gateways.jobs.outcome import Dead, Done, Interrupted, Later
from fitai.gateways.jobs.runner import Runner
from fitai.persistence.database import Unavailable
from fitai.persistence.jobs import Jobs
from tests.gateways.jobs.kit import NOW, Clock, kind, put, rows, until


@pytest.fixture
def clock():
    return Clock()


def runner(db, clock, *kinds, at_a_time=4):
    return Runner(db, Kinds(kinds), now_ms=clock, chance=Random(1), at_a_time=at_a_time)


async def send(db, clock, lasting_ms=30_000):
    async with db.write() as session:
        return await Jobs(session).send(now=clock(), until=clock() + lasting_ms, window=100)


async def test_a_handler_gets_the_payload_and_the_name_of_the_job(db, clock):
    seen = []

    async def handle(attempt, note):
        seen.append((attempt.job, attempt.number, attempt.now, note.n))

    job = await put(db, 7)
    [ticket] = await send(db, clock)
    assert await runner(db, clock, kind(handle)).run(ticket) == Done()
    assert seen == [(job, 1, NOW, 7)]
    assert await runner(db, clock, kind(handle)).run(ticket) is None
    assert len(seen) == 1


async def test_one_that_fails_is_run_again_when_it_is_due_and_keeps_its_name(db, clock):
    seen = []

    async def handle(attempt, note):
        seen.append(attempt)
        if attempt.number < 3:
            raise Temporary("not yet")

    job = await put(db)
    run = runner(db, clock, kind(handle))
    while (await rows(db))[job].done_at is None:
        tickets = await send(db, clock)
        if not tickets:
            clock.now = (await rows(db))[job].due_at
        for ticket in tickets:
            await run.run(ticket)
    assert [(attempt.job, attempt.number) for attempt in seen] == [(job, 1), (job, 2), (job, 3)]
    assert (await rows(db))[job].error is None


async def test_poison_is_dead_with_a_clear_reason(db, clock):
    async def handle(attempt, note):
        raise AssertionError("never reached")

    async with db.write() as session:
        bad = await Jobs(session).put("note", {"n": "seven"}, now=NOW)
        strange = await Jobs(session).put("riddle", {}, now=NOW)
    run = runner(db, clock, kind(handle))
    outcomes = {ticket.kind: await run.run(ticket) for ticket in await send(db, clock)}
    assert isinstance(outcomes["note"], Dead)
    assert isinstance(outcomes["riddle"], Later)
    found = await rows(db)
    assert found[bad].error.startswith("bad payload: n: ")
    assert found[strange].error == "unknown kind: riddle"
    while (await rows(db))[strange].dead_at is None:
        clock.now = (await rows(db))[strange].due_at
        for ticket in await send(db, clock):
            await run.run(ticket)
    assert (await rows(db))[strange].error.startswith("unknown kind: riddle (given up after 12")


async def test_an_exception_is_logged_whole_and_stored_as_its_type(db, clock):
    async def handle(attempt, note):
        raise RuntimeError("secret")

    job = await put(db)
    [ticket] = await send(db, clock)
    with capture_logs() as logs:
        await runner(db, clock, kind(handle)).run(ticket)
    assert (await rows(db))[job].error == "RuntimeError (the log has more)"
    assert [log["job"] for log in logs if log["event"] == "job_raised"] == [job]


async def test_a_handler_that_takes_too_long_is_cancelled_and_counts_as_failed(db, clock):
    ended = []

    async def handle(attempt, note):
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    job = await put(db)
    [ticket] = await send(db, clock)
    outcome = await runner(db, clock, kind(handle, within_s=0.05)).run(ticket)
    assert isinstance(outcome, Later)
    assert ended == [True]
    assert (await rows(db))[job].error == "took longer than it may"


async def test_a_job_that_kills_its_workers_is_dead_after_its_attempts(db, clock):
    """A handler after which no worker lives writes no outcome: the claims alone tell."""
    never = asyncio.Event()

    async def handle(attempt, note):
        never.set()

    job = await put(db)
    for _ in range(2):
        [ticket] = await send(db, clock)
        async with db.write() as session:
            assert await Jobs(session).take(ticket, until=clock() + 1000)
        clock.now += 1000
    [ticket] = await send(db, clock)
    outcome = await runner(db, clock, kind(handle, attempts=2)).run(ticket)
    assert isinstance(outcome, Dead) and "never ended" in outcome.error
    assert not never.is_set()
    assert (await rows(db))[job].dead_at == clock.now


async def test_closing_waits_for_handlers_then_gives_their_jobs_back(db, clock):
    begun, free = [], asyncio.Event()

    async def quick(attempt, note):
        begun.append("quick")
        await free.wait()

    async def slow(attempt, note):
        begun.append("slow")
        await asyncio.sleep(60)

    first, second, third = await put(db, name="quick"), await put(db, name="slow"), await put(db, name="slow")
    run = runner(db, clock, kind(quick, "quick"), kind(slow, "slow"), at_a_time=2)
    tickets = {ticket.job: ticket for ticket in await send(db, clock)}
    running = [asyncio.create_task(run.run(tickets[job])) for job in (first, second, third)]
    await until(lambda: len(begun) == 2)
    asyncio.get_running_loop().call_later(0.05, free.set)
    await run.close(0.3)
    assert await asyncio.gather(*running) == [Done(), Interrupted(), None]
    found = await rows(db)
    assert found[first].done_at == NOW
    assert (found[second].attempts, found[second].claimed_by, found[second].due_at) == (0, None, NOW)
    assert found[third].attempts == 0
    assert [ticket.job for ticket in await send(db, clock)] == [second]
    assert {ticket.job for ticket in await send(db, Clock(NOW + 30_000))} == {second, third}


async def test_no_more_than_so_many_run_at_a_time(db, clock):
    now, most = 0, 0

    async def handle(attempt, note):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1

    for _ in range(8):
        await put(db)
    run = runner(db, clock, kind(handle), at_a_time=3)
    await asyncio.gather(*(run.run(ticket) for ticket in await send(db, clock)))
    assert most == 3


async def test_an_outcome_is_written_once_more_when_the_database_was_away(db, clock, monkeypatch):
    monkeypatch.setattr(module, "AGAIN_S", (0.0, 0.0))
    written = module._written
    away = iter([True, True, False])

    async def sometimes(*arguments):
        if next(away):
            raise Unavailable("away")
        return await written(*arguments)

    monkeypatch.setattr(module, "_written", sometimes)

    async def handle(attempt, note):
        pass

    job = await put(db)
    [ticket] = await send(db, clock)
    await runner(db, clock, kind(handle)).run(ticket)
    assert (await rows(db))[job].done_at == NOW


async def test_permanent_is_dead_and_can_be_revived(db, clock):
    well = False

    async def handle(attempt, note):
        if not well:
            raise Permanent("no such mailbox")

    job = await put(db)
    run = runner(db, clock, kind(handle))
    for ticket in await send(db, clock):
        await run.run(ticket)
    assert (await rows(db))[job].error == "no such mailbox"
    well = True
    async with db.write() as session:
        assert await Jobs(session).revive(now=NOW) == 1
    for ticket in await send(db, clock):
        assert await run.run(ticket) == Done()
