"""The checker sees what it is for: each kind of harm, done to a small log, is told."""

from __future__ import annotations

import uuid
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from fitai.engine.ops import Record
from fitai.sync.wire import decode_record
from tests.chaos.checks import Checks
from tests.chaos.roamer import Roamer

WORKOUT = str(uuid.UUID(int=1))
ENTRY = str(uuid.UUID(int=2))
KINDS = ["workout.create", "workout.start", "set.log", "set.log", "workout.pause"]


def wire(seq: int, kind: str) -> dict[str, Any]:
    device = 0 if kind == "workout.pause" else 1
    value: dict[str, Any] = (
        {"exercise_entry": ENTRY, "type": "working", "reps": seq} if kind == "set.log" else {}
    )
    told = {
        "n": seq if device else 1,
        "base": seq - 1,
        "kind": kind,
        "workout": WORKOUT,
        "at": seq,
        "value": value,
    }
    if kind == "set.log":
        told["entity"] = str(uuid.UUID(int=10 + seq))
    return told | {"device": device, "seq": seq, "rev": seq, "te": seq, "verdict": "applied"}


@pytest.fixture
def wires():
    return [wire(seq, kind) for seq, kind in enumerate(KINDS, 1)]


@pytest.fixture
def checks():
    told: list[str] = []
    return Checks(SimpleNamespace(wrong=told.append)), told  # type: ignore[arg-type]


def roamer(wires) -> Roamer:
    device = Roamer(
        "user",
        1,
        http=None,  # type: ignore[arg-type]
        ways=[],
        token=str,
        codec="json",
        random=Random(1),
        wrong=print,
    )
    device.next_n = 5
    device.log = {each["seq"]: each for each in wires}
    device.acked = {each["n"]: each["seq"] for each in wires if each["device"] == 1}
    return device


def records(wires) -> list[Record]:
    return [decode_record(each) for each in wires]


def test_nothing_is_said_of_a_device_and_a_log_that_agree(checks, wires):
    it, told = checks
    it._log("user", records(wires))
    it._roamer(roamer(wires), records(wires))
    assert told == []


def test_an_acknowledged_op_that_is_missing_is_seen(checks, wires):
    it, told = checks
    it._roamer(roamer(wires), records(wires[:3]))
    assert any("acknowledged, and not there: [(4, 4)]" in each for each in told)
    assert any("wrote 4 ops, the log has 3" in each for each in told)


def test_an_acknowledged_op_in_another_place_is_seen(checks, wires):
    it, told = checks
    device = roamer(wires)
    device.acked[3], device.acked[4] = 4, 3
    it._roamer(device, records(wires))
    assert any("acknowledged, and not there" in each for each in told)


def test_a_record_that_a_device_lacks_or_has_otherwise_is_seen(checks, wires):
    it, told = checks
    it._roamer(roamer(wires[:4]), records(wires))
    it._roamer(roamer([*wires[:2], wires[2] | {"te": 99}, *wires[3:]]), records(wires))
    assert ["at 5 it has None" in told[0], "at 3 it has" in told[1]] == [True, True]


def test_a_hole_and_a_double_in_the_log_are_seen(checks, wires):
    it, told = checks
    it._log("user", records([*wires[:2], *wires[3:]]))
    assert any("has a hole" in each for each in told)
    assert any("device 1 has 4 instead of 3" in each for each in told)
    told.clear()
    it._log("user", records([*wires[:3], wires[2] | {"seq": 4, "rev": 4}]))
    assert any("device 1 has 3 instead of 4" in each for each in told)


def test_a_server_that_acts_twice_on_one_silence_is_seen(checks, wires):
    it, told = checks
    again = wires[4] | {"seq": 6, "rev": 6, "n": 2}
    it._log("user", records([*wires, again]))
    assert told == [f"user: the server acted twice on {WORKOUT}, at 5 and 6"]


def test_another_state_is_seen(checks, wires):
    it, told = checks
    it._same("node 1", WORKOUT, {"status": "active"}, {"status": "paused"})
    assert told == [f"node 1: {WORKOUT} is another: .status: the device has 'active', the server 'paused'"]
