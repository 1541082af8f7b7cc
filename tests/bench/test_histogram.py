from __future__ import annotations

import random

from fitai.bench import histogram
from fitai.bench.histogram import Operation, Recorder


def recorded(seconds):
    recorder = Recorder()
    for one in seconds:
        recorder.record("set", one)
    return recorder.take()["set"]


def test_generators_merged_are_what_one_generator_would_have_measured():
    rng = random.Random(4)
    quick = [rng.uniform(0.001, 0.002) for _ in range(900)]
    slow = [rng.uniform(0.5, 1.0) for _ in range(100)]
    both = histogram.merged([recorded(quick), recorded(slow)])
    assert histogram.summary(both) == histogram.summary(histogram.merged([recorded(quick + slow)]))
    # The mean of the two p99 would be half a second; in truth one in ten waits for longer than that.
    assert histogram.summary(both)["p99"] > 900
    assert histogram.summary(both)["p90"] < 5


def test_percentiles_are_exact_to_three_digits_and_the_most_is_kept():
    told = histogram.summary(histogram.merged([recorded(n / 1000 for n in range(1, 1_001))]))
    assert told["count"] == 1_000
    assert abs(told["p50"] - 500) < 1
    assert abs(told["p99"] - 990) < 1
    assert abs(told["max"] - 1_000) < 1
    assert told["min"] == 1


def test_a_recorder_begins_anew_after_each_interval():
    recorder = Recorder()
    recorder.record("set", 0.001)
    assert set(recorder.take()) == {"set"}
    assert recorder.take() == {}


def test_what_is_shorter_or_longer_than_can_be_told_is_counted_at_the_end():
    told = histogram.summary(histogram.merged([recorded([0.0, -0.001, 5_000.0])]))
    assert told["count"] == 3
    assert told["min"] <= 0.001
    assert abs(told["max"] - 600_000) < 600


def test_an_operation_has_its_whole_and_its_intervals():
    operation = Operation()
    operation.add(0, recorded([0.001] * 10))
    operation.add(1, recorded([0.1] * 5))
    operation.add(0, recorded([0.001] * 10))
    [(number, told)] = operation.settle(1)
    assert (number, told["count"]) == (0, 20)
    assert told["max"] < 2
    assert operation.total.get_total_count() == 25
    assert [number for number, _ in operation.settle(2)] == [1]
    assert operation.settle(3) == []


def test_the_curve_rises_to_the_most():
    points = histogram.curve(histogram.merged([recorded(n / 1000 for n in range(1, 501))]))
    assert points[-1][0] == 100.0
    assert points == sorted(points)
    assert abs(points[-1][1] - 500) < 1


def test_a_histogram_is_told_in_the_interchange_format():
    told = histogram.text(histogram.merged([recorded([0.005])]))
    assert histogram.merged([told.encode()]).get_total_count() == 1
