from __future__ import annotations

import pytest

from fitai.bench import validity
from fitai.bench.validity import Facts


def facts(**changed):
    good = {
        "measured": 3,
        "failures": {},
        "cpu": [0.2, 0.3],
        "lag_ms": 2.0,
        "late_ms": 1.0,
        "cores": 4,
        "load_before": 0.1,
        "system": 0.5,
    }
    return Facts(**{**good, **changed})


def test_a_run_without_failures_whose_client_had_time_is_valid():
    assert validity.reasons(facts()) == []
    assert validity.reasons(facts(late_ms=None)) == []
    assert validity.doubts(facts()) == []


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"failures": {"lost": 2}}, "2 records that a device was never told of"),
        ({"failures": {"doubled": 1}}, "told of twice"),
        ({"failures": {"refused: later": 1_200}}, "1,200 requests refused: later"),
        ({"failures": {"not connected": 1}}, "connections that were not made"),
        ({"cpu": [0.2, 0.9]}, "generator 1 took 90% of a core"),
        ({"lag_ms": 150.0}, "event loops were late by 150 ms"),
        ({"late_ms": 51.0}, "it sent 51 ms later than intended"),
        ({"measured": 0}, "Nothing was measured"),
        ({"interrupted": True}, "interrupted"),
    ],
)
def test_each_thing_that_makes_figures_worthless_is_a_reason(changed, why):
    [reason] = validity.reasons(facts(**changed))
    assert why in reason


def test_a_machine_that_others_use_or_that_is_full_is_a_doubt():
    [before] = validity.doubts(facts(load_before=0.6))
    assert "60%" in before
    [full] = validity.doubts(facts(system=0.97))
    assert "97% of 4 cores" in full
