from __future__ import annotations

import pytest
from transitions import MachineError

from fitai.engine.machine import (
    EDGES,
    LEAVES,
    PHASE,
    STATUS,
    TABLE,
    TRIGGERS,
    IllegalEdge,
    WorkoutMachine,
    after,
    diagram,
)


def _library(state: str, trigger: str) -> str | None:
    machine = WorkoutMachine(initial=state)
    try:
        machine.trigger(trigger)
    except MachineError:
        return None
    return machine.state


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize("state", LEAVES)
def test_the_table_says_what_the_library_machine_does(state, trigger):
    assert TABLE[state].get(trigger) == _library(state, trigger)


def test_the_table_has_every_state_and_no_trigger_beyond_the_definition():
    assert tuple(TABLE) == LEAVES
    assert {trigger for row in TABLE.values() for trigger in row} == set(TRIGGERS)


def test_a_set_can_be_logged_in_every_state():
    assert all(row["log"] == "active.working" for row in TABLE.values())


def test_a_rest_begins_only_while_active():
    assert {state for state, row in TABLE.items() if "rest" in row} == {"active.working", "active.resting"}


def test_resume_goes_back_to_what_the_pause_interrupted():
    for phase in ("working", "resting"):
        paused = TABLE[f"active.{phase}"]["pause"]
        assert TABLE[paused]["resume"] == f"active.{phase}"


@pytest.mark.parametrize("end", ["completed", "abandoned"])
def test_a_finished_workout_has_no_edges_left(end):
    assert not EDGES & TABLE[end].keys()


def test_an_illegal_edge_says_from_where_and_which():
    with pytest.raises(IllegalEdge) as caught:
        after("paused.resting", "pause")
    assert caught.value.detail == {"from": "paused", "trigger": "pause"}
    assert str(caught.value) == "a workout that is paused cannot pause"


def test_status_and_phase_of_the_states():
    assert (STATUS["active.resting"], PHASE["active.resting"]) == ("active", "resting")
    assert (STATUS["completed"], PHASE["completed"]) == ("completed", None)


def test_the_diagram_draws_every_arrow_of_the_definition():
    lines = diagram().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert "    planned --> active_working: start, log" in lines
    assert "    active_resting --> paused_resting: pause" in lines
    assert "    completed --> active_working: log" in lines
    drawn = [line.partition(": ")[2].split(", ") for line in lines if ": " in line]
    assert {trigger for triggers in drawn for trigger in triggers} == set(TRIGGERS)
    assert diagram() == diagram()
