from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transitions import MachineError

from fitai.engine.groups.machine import ENDED, STATES, TABLE, TRIGGERS, GroupMachine, diagram


def _library(state: str, trigger: str) -> str | None:
    machine = GroupMachine(initial=state)
    try:
        machine.trigger(trigger)
    except MachineError:
        return None
    return machine.state


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize("state", STATES)
def test_the_table_says_what_the_library_machine_does(state, trigger):
    assert TABLE[state].get(trigger) == _library(state, trigger)


@given(st.lists(st.sampled_from(TRIGGERS), max_size=30))
def test_any_way_through_the_table_is_one_through_the_library_machine(triggers):
    machine, state = GroupMachine(), "lobby"
    for trigger in triggers:
        to = TABLE[state].get(trigger)
        if to is None:
            with pytest.raises(MachineError):
                machine.trigger(trigger)
        else:
            machine.trigger(trigger)
            state = to
        assert machine.state == state


def test_the_table_has_every_state_and_no_trigger_beyond_the_definition():
    assert tuple(TABLE) == STATES
    assert {trigger for row in TABLE.values() for trigger in row} == set(TRIGGERS)


def test_an_end_is_an_end_and_can_be_reached_from_everywhere_else():
    assert all(not TABLE[state] for state in ENDED)
    assert all(TABLE[state]["cancel"] == "cancelled" for state in STATES if state not in ENDED)


def test_the_diagram_draws_every_arrow():
    lines = diagram().splitlines()
    arrows = [line.strip() for line in lines if ": " in line]
    assert len(arrows) == sum(len(set(row.values())) for row in TABLE.values())
    assert "countdown --> live: go" in arrows
    assert lines[-2:] == ["    finished --> [*]", "    cancelled --> [*]"]
