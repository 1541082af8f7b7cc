"""The demo's proof: it holds for a sound log, and each thing that may go wrong turns its line."""

from __future__ import annotations

import copy
import io
from dataclasses import replace
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
from fitai.engine.kinds import set_id
from fitai.engine.ops import Dot
from fitai.engine.workout import Limits, digest, state
from fitai.sync.fold import Folded
from fitai.sync.log import Context
from fitai.sync.place import Placer
from fitai.sync.wire import WireLimits, decode_op

NOW = 1_780_000_000_000
USER = "0192f3c4-7b1a-7c3e-9d2f-0000000000ff"
TWICE = "one slot logged twice: reps shown, kept"
CHOICE = "open before the choice, after it"
SETS = {"squat": 1, "bench press": 1, "barbell row": 1}


class Log:
    """Takes what is written at once, as a server with one device would."""

    def __init__(self, *workouts):
        folds = {name: Folded(name, USER) for name in workouts}
        self.placer = Placer(0, 0, {}, folds, Limits())

    async def write(self, workout, kind, value, *, entity=None, at=None):
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
async def staged(tmp_path):
    """A stage after the story, and the evidence of it."""
    screen = Screen(Console(file=io.StringIO()), lambda: NOW)
    phone, watch = (Device(name, "test", "json", screen) for name in ("phone", "watch"))
    for number, device in enumerate((phone, watch), 1):
        await device.open(tmp_path, "http://127.0.0.1:9", lambda: NOW)
        await device.client.adopt(USER, number, "token")
    stage = Stage(USER, ServerProcess(tmp_path), phone, watch, {"phone": Link(), "watch": Link()}, screen)
    stage.rests, stage.kills, stage.cuts = 1, 1, 2
    screen.rest_delays_ms, screen.travel_ms = [3], [12.0, 8.0, 90.0]
    log = Log(stage.before.workout, stage.today.workout)
    for plan, kg in ((stage.before, 100), (stage.today, 105)):
        await log.write(plan.workout, "workout.create", plan.creation("Strength", SETS))
        await log_set(cast("Device", log), plan, plan.squat, 1, 8, kg)
    records = log.records
    states = {
        name: state(folded(USER, name, records)) for name in (stage.before.workout, stage.today.workout)
    }
    due = records_due(USER, stage.before.workout, stage.today.workout, records)
    for device in stage.devices:
        device.told = copy.deepcopy(due)
        device.dots = {Dot(one["device"], one["n"]) for one in records}
        device.connects, device.resumes = 3, 2
    phone.written = len(records)
    phone.duplicates = 1
    stage.met = met(set_id(stage.today.workout, "squat-1"))
    logs = {device.name: copy.deepcopy(records) for device in stage.devices}
    digests = {device.name: [digest(one) for one in states.values()] for device in stage.devices}
    yield stage, Evidence(records, states, logs, digests, (0, 0.4))
    for device in stage.devices:
        await device.close()


def met(entity):
    """What the two have before the choice of the 8 reps that the log's one set has."""
    return {
        "alternatives": [
            {
                "of": "set",
                "entity": entity,
                "field": "reps",
                "shown": {"value": 7, "dot": [2, 4], "at": NOW},
                "others": [{"value": 8, "dot": [1, 4], "at": NOW}],
                "why": "later",
            }
        ],
        "flags": [{"flag": "late_sets"}, {"flag": "removed_and_edited"}],
    }


def off(stage, evidence):
    return [count.name for count in proof(stage, evidence) if not count.holds]


async def test_a_sound_run_has_every_count_as_it_must_be(staged):
    assert off(*staged) == []


def _an_ack_too_few(stage, evidence):
    stage.phone.dots.pop()


def _a_record_lost(stage, evidence):
    del evidence.log[1]


def _a_record_twice(stage, evidence):
    evidence.log[2] = dict(evidence.log[1])


def _another_order(stage, evidence):
    log = evidence.logs["watch"]
    log[1], log[2] = log[2], log[1]


def _another_value(stage, evidence):
    evidence.logs["phone"][3]["value"]["reps"] = 6


def _another_view(stage, evidence):
    evidence.digests["watch"][1] = evidence.digests["watch"][0]


def _another_state(stage, evidence):
    evidence.states[stage.today.workout]["title"] = "Another"


def _a_record_not_told(stage, evidence):
    stage.phone.told.popitem()


def _no_alternative(stage, evidence):
    stage.met["alternatives"].clear()


def _one_authors_value_twice(stage, evidence):
    stage.met["alternatives"][0]["others"][0]["dot"] = [2, 3]


def _another_alternative(stage, evidence):
    stage.met["alternatives"] *= 2


def _no_flag(stage, evidence):
    stage.met["flags"].pop()


def _another_flag(stage, evidence):
    stage.met["flags"].append({"flag": "concurrent_transitions"})


def _not_settled(stage, evidence):
    evidence.states[stage.today.workout]["alternatives"] = stage.met["alternatives"]


def _the_other_reps(stage, evidence):
    evidence.states[stage.today.workout]["exercises"][0]["sets"][0]["reps"] = 7


def _a_set_lost(stage, evidence):
    evidence.states[stage.today.workout]["exercises"][0]["sets"].clear()


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
        (_another_value, {"the phone's records, in order"}),
        (_another_view, {"one digest: phone, watch, server"}),
        (_another_state, {"one digest: phone, watch, server"}),
        (_a_record_not_told, {"records announced, as due by the log"}),
        (_no_alternative, {TWICE, CHOICE}),
        (_one_authors_value_twice, {TWICE}),
        (_another_alternative, {TWICE}),
        (_no_flag, {"flags"}),
        (_another_flag, {"flags"}),
        (_not_settled, {CHOICE}),
        (_the_other_reps, {CHOICE}),
        (_a_set_lost, {"sets logged, sets there", CHOICE}),
        (_a_hole, {"holes seen on a connection"}),
        (_a_refusal, {"void or refused"}),
        (_not_resumed, {"connections lost, resumed from a cursor"}),
        (_no_duplicate, {"retries answered as duplicates"}),
        (_an_early_rest, {"rests ended by the server, none early"}),
        (_a_rest_not_told, {"rests ended by the server, none early"}),
    ],
)
async def test_each_fault_turns_its_lines(staged, harm, names):
    harm(*staged)
    assert names <= set(off(*staged))


@pytest.mark.parametrize("stop", [(1, 0.4), (0, 5.2)])
async def test_a_server_that_does_not_stop_cleanly_in_time_is_off(staged, stop):
    stage, evidence = staged
    assert off(stage, replace(evidence, stop=stop)) == ["servers killed, then a clean stop"]


async def test_the_tables_show_sets_records_and_what_is_off(staged):
    stage, evidence = staged
    stage.phone.duplicates = 0
    out = io.StringIO()
    show(Console(file=out, width=100), stage, evidence, proof(stage, evidence))
    text = out.getvalue()
    assert "105 kg" in text
    assert "heaviest load" in text
    assert text.count("OFF") == 1
