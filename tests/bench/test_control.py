"""What a run must notice: a stall in full, and every kind of wrong delivery. The server is a stand-in."""

from __future__ import annotations

import asyncio

from fitai.bench import histogram
from fitai.bench.crew import Crew
from fitai.bench.plan import Plan
from fitai.bench.scenarios import SCENARIOS
from tests.bench.standin import people, standing_in

STALL_S = 1.5


def plan(**changed):
    asked = {"scenario": "live", "users": 1, "devices": (2,), "duration_s": 2.5, "rate": 40.0}
    return Plan(**{**asked, **changed})


async def ran(asked: Plan, url: str) -> tuple[Crew, dict[str, histogram.Operation]]:
    """The crew after a run of the scenario, and what it measured."""
    crew = Crew(asked, url, people(asked.users, max(asked.devices)), 0, asked.users)
    scenario = SCENARIOS[asked.scenario](crew)
    measured: dict[str, histogram.Operation] = {}
    try:
        await scenario.prepare()
        crew.recorder.take()
        crew.start = crew.clock()
        await scenario.run()
        await scenario.finish()
        for name, encoded in crew.recorder.take().items():
            measured.setdefault(name, histogram.Operation()).add(0, encoded)
    finally:
        await crew.close()
        await asyncio.sleep(0.05)
    return crew, measured


def slow(operation: histogram.Operation) -> int:
    """How many took longer than half of the stall."""
    total = operation.total
    half = STALL_S / 2 * 1e6
    return sum(
        item.count_added_in_this_iter_step
        for item in total.get_recorded_iterator()
        if item.value_iterated_to > half
    )


async def test_a_stalled_server_is_charged_for_every_send_that_was_intended_meanwhile():
    async with standing_in(stall=STALL_S, healthy=10) as server:
        crew, measured = await ran(plan(), server.url)
    assert not crew.totals.failures
    # 40 a second were intended: those of the first half of the stall waited for longer than half of it.
    assert slow(measured["set"]) > 15
    assert slow(measured["delivery"]) >= slow(measured["set"])


async def test_a_closed_loop_meets_the_same_stall_once():
    async with standing_in(stall=STALL_S, healthy=10) as server:
        _, measured = await ran(plan(rate=None, window=1), server.url)
    assert slow(measured["set"]) == 1


async def test_every_acknowledged_op_that_another_device_was_told_of_once_is_right():
    async with standing_in() as server:
        crew, measured = await ran(plan(users=3, duration_s=1.0), server.url)
    assert not crew.totals.failures
    assert crew.totals.counts["checked"] == sum(server.heads.values())
    assert measured["delivery"].total.get_total_count() == measured["set"].total.get_total_count() > 0


async def test_a_record_that_is_told_twice_is_counted():
    async with standing_in(double=12) as server:
        crew, _ = await ran(plan(duration_s=1.0), server.url)
    assert crew.totals.failures == {"doubled": 1}


async def test_a_record_that_is_never_told_is_counted(monkeypatch):
    monkeypatch.setattr("fitai.bench.scenarios.base.DRAIN_S", 0.3)
    async with standing_in(lose=12) as server:
        crew, _ = await ran(plan(duration_s=1.0), server.url)
    assert crew.totals.failures["lost"] >= 1


async def test_what_was_refused_is_sent_again_in_order_and_counted():
    async with standing_in(refuse=5) as server:
        crew, measured = await ran(plan(duration_s=1.0), server.url)
    assert set(crew.totals.failures) == {"refused: later"}
    assert server.pushes > measured["set"].total.get_total_count()
