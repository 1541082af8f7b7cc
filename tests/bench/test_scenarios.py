"""Every scenario for two seconds against a real server: it does what it says and finds nothing wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from fitai.bench import histogram
from fitai.bench.crew import Crew
from fitai.bench.plan import Plan
from fitai.bench.scenarios import SCENARIOS
from fitai.bench.target import started

ASKED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "connect": ({"users": 12, "devices": (1,)}, {"connect"}),
    "live": ({"users": 4, "rate": 20.0}, {"set", "delivery"}),
    "rooms": (
        {"users": 1, "devices": (3, 6), "window": 2},
        {"set, 3 devices", "delivery to 3", "set, 6 devices", "delivery to 6"},
    ),
    "group": (
        {"sizes": (2, 4), "devices": (1,), "rate": 8.0, "duration_s": 4.0},
        {"set, 2 participants", "tick to 2, set", "tick to 2, heart", "tick to 4, set", "tick to 4, oldest"},
    ),
    "reconnect": ({"users": 4, "rate": 20.0}, {"set", "delivery", "resume", "caught up"}),
    "sync": (
        {"users": 2, "window": 1},
        {"meeting", "push by REST", "push by socket", "pull by REST", "pull by socket"},
    ),
    "rest": ({"users": 3, "devices": (1,), "window": 2}, {"PUT set", "GET list", "GET workout"}),
    "mixed": ({"users": 4, "rate": 40.0}, {"set", "delivery"}),
    "soak": ({"users": 4, "rate": 40.0, "codec": "msgpack"}, {"set", "delivery"}),
}


def plan(scenario, **changed):
    asked = {"scenario": scenario, "users": 4, "devices": (2,), "duration_s": 2.0}
    return Plan(**{**asked, **changed})


def test_every_scenario_is_tried_here():
    assert ASKED.keys() == SCENARIOS.keys()


@pytest.mark.parametrize("name", ASKED)
async def test_a_scenario_measures_what_it_promises_and_the_control_finds_nothing(name):
    changed, promised = ASKED[name]
    asked = plan(name, **changed)
    async with started(asked, None, None) as target:
        people = await target.people.make(asked.users, max(asked.devices))
        crew = Crew(asked, target.url, people, 0, asked.users)
        scenario = SCENARIOS[name](crew)
        try:
            await scenario.prepare()
            crew.recorder.take()
            crew.start = crew.clock()
            await scenario.run()
            await scenario.finish()
            taken = crew.recorder.take()
        finally:
            await crew.close()
            await asyncio.sleep(0.1)
    measured = {
        name: histogram.merged([encoded]).get_total_count()
        for name, encoded in taken.items()
        if not name.startswith("generator ")
    }
    assert not crew.totals.failures, (crew.totals.failures, crew.totals.counts)
    assert promised <= measured.keys(), measured
    HOLDS.get(name, lambda *_: None)(measured, crew.totals.counts)


def _connect(measured: dict[str, int], counts: Counter[str]) -> None:
    assert measured["connect"] == counts["connected"] == 12


def _rooms(measured: dict[str, int], counts: Counter[str]) -> None:
    assert measured["delivery to 3"] >= 2 * measured["set, 3 devices"]
    assert measured["delivery to 6"] >= 5 * measured["set, 6 devices"]


def _group(measured: dict[str, int], counts: Counter[str]) -> None:
    for size in (2, 4):
        assert measured[f"tick to {size}, set"] == size * measured[f"set, {size} participants"]
        assert measured[f"tick to {size}, heart"] > size
    assert counts["views checked"] == 6


def _reconnect(measured: dict[str, int], counts: Counter[str]) -> None:
    assert measured["resume"] == measured["caught up"] == counts["cut off"] == 4


def _sync(measured: dict[str, int], counts: Counter[str]) -> None:
    assert counts["applied"] + counts["merged"] >= 60 * measured["meeting"]


HOLDS = {"connect": _connect, "rooms": _rooms, "group": _group, "reconnect": _reconnect, "sync": _sync}
