"""What the relay sends and when it looks again, step by step on both engines."""

from __future__ import annotations

import pytest

from fitai.gateways.jobs import meters
from fitai.gateways.jobs.relay import FULL_S, SCAN_S, SENT_MS, WINDOW, Periodic, Relay
from tests.gateways.jobs.kit import NOW, Clock, put, rows

HOURLY = Periodic("sweep", 3_600_000)


class Ends:
    """What a relay sends to: a broker that can be away, and this process."""

    def __init__(self):
        self.sent, self.here, self.away = [], [], False

    async def send(self, ticket):
        if self.away:
            raise ConnectionError("no broker")
        self.sent.append(ticket)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ends():
    return Ends()


def relay(db, clock, ends, *periodic):
    return Relay(db, ends.send, ends.here.append, periodic=periodic, now_ms=clock)


async def test_it_looks_again_when_the_next_is_due_and_often_enough_when_nothing_is_known(db, clock, ends):
    one = relay(db, clock, ends)
    assert await one.step() == SCAN_S
    await put(db, due=NOW + 1_500)
    assert await one.step() == 1.5
    await put(db, due=NOW + 99_000)
    clock.now = NOW + 1_500
    assert await one.step() == 0.0
    assert len(ends.sent) == 1
    assert await one.step() == SCAN_S
    assert len(ends.sent) == 1


async def test_what_nobody_took_is_sent_anew(db, clock, ends):
    job = await put(db)
    one = relay(db, clock, ends)
    await one.step()
    clock.now += SENT_MS - 1
    assert await one.step() == 0.001
    clock.now += 1
    await one.step()
    assert [ticket.job for ticket in ends.sent] == [job, job]
    assert ends.sent[0].token != ends.sent[1].token


async def test_a_full_window_is_waited_for(db, clock, ends):
    for n in range(WINDOW + 1):
        await put(db, n)
    one = relay(db, clock, ends)
    assert await one.step() == 0.0
    assert len(ends.sent) == WINDOW
    assert await one.step() == FULL_S
    assert one.backlog.waiting == WINDOW + 1


async def test_without_a_broker_this_process_runs_them(db, clock, ends):
    ends.away = True
    jobs = {await put(db, n) for n in range(3)}
    await relay(db, clock, ends).step()
    assert ends.sent == []
    assert {ticket.job for ticket in ends.here} == jobs


async def test_a_periodic_job_is_put_once_a_period_by_any_number_of_relays(db, clock, ends):
    relays = [relay(db, clock, ends, HOURLY) for _ in range(3)]
    for ahead in (0, 60_000, 3_600_000, 3_600_001, 7_200_000):
        clock.now = NOW + ahead
        for each in relays:
            await each.step()
    keys = sorted(job.key for job in (await rows(db)).values())
    assert keys == ["sweep:2026-11-25T09:00", "sweep:2026-11-25T10:00", "sweep:2026-11-25T11:00"]


async def test_a_relay_that_starts_again_puts_no_second_one(db, clock, ends):
    for _ in range(2):
        await relay(db, clock, ends, HOURLY).step()
    assert len(await rows(db)) == 1


async def test_gauges_tell_how_much_waits_and_for_how_long(db, clock, ends):
    await put(db, due=NOW - 12_000)
    await put(db, due=NOW + 12_000)
    one = relay(db, clock, ends)
    await one.step()
    assert meters.WAITING._value.get() == 1
    assert meters.OLDEST_SECONDS._value.get() == 12
