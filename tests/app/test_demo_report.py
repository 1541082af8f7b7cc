"""The demo's proof: it holds for a sound log, and each thing that may go wrong turns its line."""

from __future__ import annotations

import copy
import io
from typing import cast

import pytest
from rich.console import Console

from fitai.app.demo_device import Device
from fitai.app.demo_link import Link
from fitai.app.demo_report import Evidence, proof, show
from fitai.app.demo_screen import Screen
from fitai.app.demo_server import ServerProcess
from fitai.app.demo_story import Stage, log_set
from fitai.app.demo_view import folded, records_due
from fitai.engine.workout import Limits, state
from fitai.sync.fold import Folded
from fitai.sync.log import Context
from fitai.sync.place import Placer
from fitai.sync.wire import WireLimits, decode_op

NOW = 1_780_000_000_000
USER = "0192f3c4-7b1a-7c3e-9d2f-0000000000ff"
SETS = {"squat": 1, "bench press": 1, "barbell row": 1}


class Log:
    """Takes what is written at once, as a server with one device would."""

    def __init__(self, *workouts):
        folds = {name: Folded(name, USER) for name in workouts}
        self.placer = Placer(0, 0, {}, folds, Limits())

    def write(self, workout, kind, value, *, entity=None, at=None):
        head = self.placer.head
        raw = {
            "n": head + 1,
            "base": head,
            "kind": kind,
            "workout": workout,
            "value": value,
            "at": NOW + head * 1000,
        }
        op = decode_op(raw if entity is None else {**raw, "entity": entity}, WireLimits())[0]
        self.placer.place(1, op, Context(head, None), op.at, 0)

    @property
    def records(self):
        return [record.wire() for record in self.placer.records]


@pytest.fixture
def staged(tmp_path):
    """A stage after the story, and the evidence of it."""
    screen = Screen(Console(file=io.StringIO()), lambda: NOW)
    phone, watch = (
        Device(name, n, "t", "json", lambda: NOW, screen) for n, name in enumerate(("phone", "watch"), 1)
    )
    stage = Stage(USER, ServerProcess(tmp_path), phone, watch, Link(), Link(), screen)
    stage.rests, stage.kills, stage.cuts = 1, 1, 2
    screen.rest_delays_ms, screen.travel_ms = [3], [12.0, 8.0, 90.0]
    log = Log(stage.before.workout, stage.today.workout)
    for plan, kg in ((stage.before, 100), (stage.today, 105)):
        log.write(plan.workout, "workout.create", plan.creation("Strength", SETS))
        log_set(cast("Device", log), plan, plan.squat, 1, 5, kg)
    records = log.records
    states = {
        name: state(folded(USER, name, records)) for name in (stage.before.workout, stage.today.workout)
    }
    due = records_due(USER, stage.before.workout, stage.today.workout, records)
    for device in stage.devices:
        device.log = copy.deepcopy(records)
        device.told = copy.deepcopy(due)
        device.connects, device.resumes = 3, 2
    phone.written = phone.acknowledged = len(records)
    phone.duplicates = 1
    return stage, Evidence(records, states, (0, 0.4))


def off(stage, evidence):
    return [count.name for count in proof(stage, evidence) if not count.holds]


def test_a_sound_run_has_every_count_as_it_must_be(staged):
    assert off(*staged) == []


def _an_ack_too_few(stage, evidence):
    stage.phone.acknowledged -= 1


def _a_record_lost(stage, evidence):
    del evidence.log[1]


def _a_record_twice(stage, evidence):
    evidence.log[2] = dict(evidence.log[1])


def _another_order(stage, evidence):
    stage.watch.log[1], stage.watch.log[2] = stage.watch.log[2], stage.watch.log[1]


def _another_value(stage, evidence):
    stage.watch.log[3]["value"]["reps"] = 6


def _another_state(stage, evidence):
    evidence.states[stage.today.workout]["title"] = "Another"


def _a_record_not_told(stage, evidence):
    stage.phone.told.popitem()


def _a_hole(stage, evidence):
    stage.watch.holes = 1


def _a_refusal(stage, evidence):
    stage.watch.refusals.append({"code": "gap"})


def _not_resumed(stage, evidence):
    stage.phone.resumes -= 1


def _no_duplicate(stage, evidence):
    stage.phone.duplicates = 0


def _an_early_rest(stage, evidence):
    stage.screen.early_rests = 1


def _a_rest_not_told(stage, evidence):
    stage.screen.rest_delays_ms.clear()


@pytest.mark.parametrize(
    ("harm", "names"),
    [
        (_an_ack_too_few, {"ops written, acknowledged", "records of theirs in the log"}),
        (_a_record_lost, {"records of theirs in the log", "seq without a gap"}),
        (_a_record_twice, {"each dot once", "seq without a gap"}),
        (_another_order, {"the watch's records, in order"}),
        (_another_value, {"the watch's records, in order", "one digest: phone, watch, server"}),
        (_another_state, {"one digest: phone, watch, server"}),
        (_a_record_not_told, {"records announced, as due by the log"}),
        (_a_hole, {"holes seen on a connection"}),
        (_a_refusal, {"void or refused"}),
        (_not_resumed, {"connections lost, resumed from a cursor"}),
        (_no_duplicate, {"retries answered as duplicates"}),
        (_an_early_rest, {"rests ended by the server, none early"}),
        (_a_rest_not_told, {"rests ended by the server, none early"}),
    ],
)
def test_each_fault_turns_its_lines(staged, harm, names):
    harm(*staged)
    assert names <= set(off(*staged))


@pytest.mark.parametrize("stop", [(1, 0.4), (0, 5.2)])
def test_a_server_that_does_not_stop_cleanly_in_time_is_off(staged, stop):
    stage, evidence = staged
    assert off(stage, Evidence(evidence.log, evidence.states, stop)) == ["servers killed, then a clean stop"]


def test_the_tables_show_sets_records_and_what_is_off(staged):
    stage, evidence = staged
    stage.phone.duplicates = 0
    out = io.StringIO()
    show(Console(file=out, width=100), stage, evidence, proof(stage, evidence))
    text = out.getvalue()
    assert "105 kg" in text
    assert "heaviest load" in text
    assert text.count("OFF") == 1
