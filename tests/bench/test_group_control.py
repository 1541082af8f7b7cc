"""What a run with a group must notice, and what it must not mind. The server is a stand-in."""

from __future__ import annotations

import pytest

from fitai.bench import growth
from fitai.bench.plan import Plan
from tests.bench.standin_group import standing_in_for_a_group
from tests.bench.test_control import ran


def plan(**changed):
    asked = {"scenario": "group", "users": 4, "sizes": (4,), "devices": (1,), "duration_s": 1.5, "rate": 12.0}
    return Plan(**{**asked, **changed})


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    monkeypatch.setattr("fitai.bench.scenarios.base.DRAIN_S", 1.0)
    monkeypatch.setattr("fitai.bench.profiles.CHEER_GAP_S", (0.3, 0.6))


async def test_what_everybody_was_shown_as_it_was_sent_is_right():
    async with standing_in_for_a_group() as server:
        crew, measured = await ran(plan(sizes=(2, 4)), server.url)
    assert not crew.totals.failures, crew.totals.counts
    assert crew.totals.counts["views checked"] == 6
    assert [one.participants for one in crew.totals.stretches] == [2, 4]
    for one in crew.totals.stretches:
        sets = measured[f"set, {one.participants} participants"].total.get_total_count()
        told = measured[growth.operation("set", one.participants)].total.get_total_count()
        assert told == sets * one.participants > 0
        assert one.counts["sent"] > sets
        assert one.counts["ticks"] > one.participants
        assert one.counts["bytes"] > one.counts["tick_bytes"] > 20 * one.counts["fields"]
    assert server.seats == []


async def test_a_reader_that_is_told_ticks_as_one_is_shown_the_same():
    async with standing_in_for_a_group(combine=True) as server:
        crew, _ = await ran(plan(), server.url)
    assert not crew.totals.failures, crew.totals.counts
    assert server.ticks > 10


async def test_a_tick_that_one_was_not_told_is_noticed():
    async with standing_in_for_a_group(deaf=1) as server:
        crew, _ = await ran(plan(), server.url)
    assert crew.totals.failures == {"shown wrong": 1}, crew.totals.counts
    assert any("shown wrong – to " in said for said in crew.totals.counts)


async def test_cheers_that_were_not_told_are_noticed():
    async with standing_in_for_a_group(mute=1) as server:
        crew, _ = await ran(plan(), server.url)
    assert crew.totals.failures == {"shown wrong": 4}


async def test_a_record_of_the_group_that_was_not_told_is_noticed():
    async with standing_in_for_a_group(forget=5) as server:
        crew, _ = await ran(plan(), server.url)
    assert set(crew.totals.failures) == {"lost"}
