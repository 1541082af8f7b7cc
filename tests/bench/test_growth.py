"""How a group's costs grow: rows, powers and goals of stretches that are made up."""

from __future__ import annotations

import pytest

from fitai.bench import growth
from fitai.bench.growth import Stretch

SECONDS = 20.0
POINT = {"p50": 120.0, "p90": 230.0, "p99": 260.0, "max": 300.0}


def stretch(people, began=100.0, *, bytes_a_change=20, power=1.0, ticks=4.0):
    """Everybody is told of what `people` ** `power` are."""
    told = round(people**power * people * SECONDS)
    counts = {
        "sent": round(people * SECONDS),
        "fields": told,
        "tick_bytes": told * bytes_a_change,
        "bytes": told * bytes_a_change + 1_000,
        "ticks": round(people * SECONDS * ticks),
    }
    return Stretch(people, began, began + SECONDS, 0.5, counts)


def points(began, cpu):
    return [{"t": began + second, "cpu": cpu, "rss": 1.0} for second in range(1, 21)]


def summaries(people, p99=260.0):
    return {growth.operation(what, people): {**POINT, "p99": p99} for what in ("heart", "set", "oldest")}


def test_a_row_tells_what_each_participant_got_and_took():
    grown = growth.document([stretch(50)], points(100.0, 0.1), 1.0, summaries(50))
    [row] = grown["rows"]
    assert row["sent_per_s"] == 50.0
    assert row["changes_per_s"] == 50.0
    assert row["bytes_per_change"] == 20.0
    assert row["bytes_per_s"] == pytest.approx(1_001.0)
    assert row["ticks_per_s"] == 4.0
    assert row["cpu"] == pytest.approx(0.1)
    assert row["cpu_ms_per_s"] == pytest.approx(2.0)
    assert row["cpu_us_per_change"] == pytest.approx(0.1 * 1e6 / (50 * 50))
    assert row["set"]["p99"] == 260.0
    assert grown["powers"] == {}
    assert [len(cells) for cells in growth.cells(grown)] == [len(growth.COLUMNS)]


def test_the_cpu_is_that_of_the_intervals_within_and_no_others():
    around = [{"t": 100.5, "cpu": 9.0}, {"t": 121.0, "cpu": 9.0}, {"t": 90.0, "system_cpu": 1.0}]
    [row] = growth.document([stretch(10)], points(100.0, 0.2) + around, 1.0, {})["rows"]
    assert row["cpu"] == pytest.approx(0.2)


def test_a_server_that_is_not_to_be_seen_has_no_cpu_and_its_bytes_are_told():
    grown = growth.document([stretch(10), stretch(500, 200.0)], [], 1.0, summaries(500))
    assert "cpu" not in grown["rows"][0]
    assert grown["powers"].keys() == {"bytes"}
    assert "–" in growth.cells(grown)[0]
    assert growth.document([], [], 1.0, {}) == {"rows": [], "powers": {}, "goals": []}


def grown(small, large, cpu_small=0.05, cpu_large=0.6, p99=260.0):
    told = points(small.began, cpu_small) + points(large.began, cpu_large)
    return growth.document([small, large], told, 1.0, summaries(500, p99))


def missed(told):
    return [goal["what"] for goal in told["goals"] if not goal["met"]]


def test_what_grows_as_what_changed_is_linear():
    told = grown(stretch(10), stretch(500, 200.0))
    assert told["powers"]["bytes"] == pytest.approx(1.0, abs=0.02)
    assert told["powers"]["CPU"] < 0
    assert missed(told) == []
    assert len(told["goals"]) == 7


def test_what_grows_faster_than_what_changed_is_seen():
    told = grown(stretch(10, bytes_a_change=20), stretch(500, 200.0, bytes_a_change=60))
    assert told["powers"]["bytes"] == pytest.approx(1.28, abs=0.02)
    assert missed(told) == ["bytes a participant, as a power of what changed"]
    told = grown(stretch(10), stretch(500, 200.0), cpu_small=0.0001)
    assert "CPU a participant, as a power of what changed" in missed(told)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"cpu_large": 0.71}, {"server, 500 participants"}),
        ({"p99": 500.0}, {"tick to 500, heart", "tick to 500, set"}),
    ],
)
def test_the_goals_at_500(changed, what):
    assert set(missed(grown(stretch(10), stretch(500, 200.0), **changed))) == what


def test_more_than_four_ticks_a_second_are_too_many():
    assert missed(grown(stretch(10, ticks=4.2), stretch(500, 200.0))) == ["ticks to each of 10"]
