"""The simulator, in short: some seeds on each run of the suite. `make simulate` runs a thousand."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

import pytest
import structlog

from tests.simulation.run import Outcome, simulate

SEEDS = 48
STEPS = 50
FAULTS = {
    "app killed",
    "backup restored",
    "bus deaf",
    "clock jump",
    "clone",
    "double",
    "drop",
    "forked",
    "killed after a commit",
    "killed before a commit",
    "late double",
    "lost ack",
    "mixed versions",
    "partition",
    "reinstall",
    "reorder",
    "server killed",
    "server restored",
    "signed out",
    "two processes",
    "watch relayed",
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Faults are logged by the server as they should be, and there are thousands of them."""
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(wrapper_class=before)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    """Filled by the seeds."""
    return []


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_all_devices_agree_with_the_server_and_nothing_is_lost(seed, outcomes, sqlite_template):
    outcome = simulate(seed, sqlite_template, STEPS)
    outcomes.append(outcome)
    assert outcome.defect is None, outcome.defect
    assert len(outcome.log) >= STEPS // 4
    assert outcome.written >= STEPS // 3


def test_work_was_done_and_every_fault_really_struck(outcomes):
    assert len(outcomes) == SEEDS
    struck = sum((outcome.struck for outcome in outcomes), Counter[str]())
    assert {fault for fault, count in struck.items() if count} == FAULTS | {"lost answer"}
    kinds = sum((outcome.kinds for outcome in outcomes), Counter[str]())
    assert len(kinds) > 25


def test_a_seed_is_one_story(sqlite_template):
    once, again = (simulate(7, sqlite_template, STEPS) for _ in range(2))
    assert once.log == again.log
    assert once.struck == again.struck
