"""The fault harness, in short: one small seed with every fault. `make chaos` runs more and larger ones."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.chaos.faults import KINDS, due, plan
from tests.chaos.stack import template
from tests.chaos.world import Scale, World

SMALL = Scale(users=16, phones=1, training_s=12.0, pause_s=0.5, kinds=KINDS, more=0)
SEED = 4
PATIENCE = 60.0

pytestmark = pytest.mark.timeout(240)


async def test_whatever_dies_nothing_acknowledged_is_lost_and_all_devices_agree():
    async with template() as data:
        outcome = await World(SEED, data, SMALL).run()
    assert outcome.wrong == [], "\n".join(outcome.story)
    assert set(outcome.struck) == set(KINDS)
    assert all(outcome.struck.values()), f"not all struck: {outcome.struck}"
    assert outcome.counts["acked"] > 200, outcome.counts
    assert outcome.counts["duplicates"] > 0, "no answer was lost"
    assert outcome.counts["resumed"] > 0


def test_a_seed_is_one_plan_and_two_in_a_row_have_every_kind():
    for seed in range(0, 50, 2):
        assert {*due(seed), *due(seed + 1)} == set(KINDS)
        drawn = plan(seed, due(seed), 24.0, 3, 2)
        assert drawn == plan(seed, due(seed), 24.0, 3, 2)
        assert Counter(due(seed)) <= Counter(fault.kind for fault in drawn)
        assert all(fault.at + fault.lasts <= 24.0 + 2.0 for fault in drawn)


def test_asked_to_end_it_leaves_neither_processes_nor_folders():
    with tempfile.TemporaryDirectory(prefix="fitai-chaos-test-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may run as somebody else
        # As a shell starts what it leaves in the background: deaf to SIGINT.
        command = ["sh", "-c", "trap '' INT; exec $0 -m tests.chaos.run --seeds 1", sys.executable]
        run = subprocess.Popen(command, env={"TMPDIR": folder, "PATH": "/usr/bin:/bin"}, cwd=Path.cwd())
        try:
            deadline, children = time.monotonic() + PATIENCE, []
            while len(children) < 5:  # PostgreSQL with its own, Redis, nodes
                assert time.monotonic() < deadline and run.poll() is None
                time.sleep(0.05)
                children = psutil.Process(run.pid).children(recursive=True)
            run.send_signal(signal.SIGINT)
            run.wait(PATIENCE)
        finally:
            run.kill()
            run.wait()
        gone, alive = psutil.wait_procs(children, 5.0)
        assert not alive
        assert gone
        assert list(Path(folder).iterdir()) == []
