from __future__ import annotations

import subprocess
import sys

import pytest

from fitai.bench import watch
from fitai.bench.watch import Processes, Watch

TEXT = """\
# HELP fitai_loop_lag_seconds Lag.
# TYPE fitai_loop_lag_seconds histogram
fitai_loop_lag_seconds_bucket{le="0.001",worker="0"} 90.0
fitai_loop_lag_seconds_bucket{le="0.01",worker="0"} 99.0
fitai_loop_lag_seconds_bucket{le="+Inf",worker="0"} 100.0
fitai_loop_lag_seconds_sum{worker="0"} 0.5
fitai_loop_lag_seconds_count{worker="0"} 100.0
fitai_loop_lag_seconds_bucket{le="0.001",worker="1"} 10.0
fitai_loop_lag_seconds_bucket{le="0.01",worker="1"} 10.0
fitai_loop_lag_seconds_bucket{le="+Inf",worker="1"} 10.0
fitai_loop_lag_seconds_sum{worker="1"} 0.01
fitai_loop_lag_seconds_count{worker="1"} 10.0
# HELP other Other.
# TYPE other counter
other_total 3.0
"""


def test_histograms_of_all_workers_are_added():
    found = watch.meters(TEXT, [watch.LOOP_LAG, watch.BATCH_ROWS])
    assert found.keys() == {watch.LOOP_LAG}
    meter = found[watch.LOOP_LAG]
    assert meter.count == 110
    assert meter.mean == pytest.approx(0.51 / 110)
    assert meter.quantile(0.5) == 0.001
    assert meter.quantile(0.99) == 0.01
    assert meter.quantile(1.0) == 0.01  # beyond the last bound nothing finer is known


def test_what_was_observed_between_two_moments():
    before = watch.meters(TEXT, [watch.LOOP_LAG])[watch.LOOP_LAG]
    after = watch.Meter({bound: count + 5 for bound, count in before.buckets.items()}, before.sum + 1, 115)
    since = after.since(before)
    assert since.count == 5
    assert since.sum == pytest.approx(1.0)
    assert since.quantile(0.99) == 0.001
    assert before.since(before).mean == 0.0


def test_a_process_and_its_children_are_measured_together():
    child = "import time; a = bytearray(80_000_000); print(1, flush=True); time.sleep(60)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            processes = Processes(process.pid)
            found = processes.sample()
            assert found is not None
            assert found["rss"] > 80_000_000
            again = processes.sample()
            assert again is not None
            assert again["cpu"] >= 0
        finally:
            for one in [*processes._root.children(), processes._root]:
                one.kill()
    assert processes.sample() is None


def test_a_server_that_is_away_and_has_no_metrics_gives_what_there_is():
    with Watch("http://127.0.0.1:9", None, "token", 60.0) as watched:
        pass
    assert [point.keys() for point in watched.points] == [{"t", "system_cpu"}] * 2
