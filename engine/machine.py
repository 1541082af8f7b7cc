"""The state machine of one workout: the only definition of what follows what.

    planned → active {working ⇄ resting} ⇄ paused {working, resting} → completed | abandoned

Eight triggers move it. Five are **edges**, which a person takes on purpose and which are judged: `start`,
`pause`, `resume`, `complete`, `abandon`. One that the table does not have raises `IllegalEdge` and changes
nothing. Three follow from what was done and are never refused; where the table has no row they do nothing:

    log        a set was logged. A set that was done was done, so every state has a row: a planned workout
               starts, a rest ends, a pause ends, a finished workout opens again.
    rest       a rest begins: only while active.
    rest_end   a rest is over, skipped, or found past its deadline.

A pause remembers what it interrupted: its two sub-states are those of `active`, and `resume` goes back to the
same one. What hangs on the states besides (deadlines, who ended what when) is the fold's: engine/workout.py.

The definition below is given to the `transitions` library as it stands. Firing a trigger there costs about
40 µs, most of what an op may cost in all, so `TABLE` is compiled from the library's machine at import and is
what the engine reads. tests/engine/test_machine.py fires every trigger in every state on both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from transitions.extensions.nesting import HierarchicalMachine, NestedState

PLANNED: Final = "planned"
WORKING: Final = "active.working"
RESTING: Final = "active.resting"
PAUSED_WORKING: Final = "paused.working"
PAUSED_RESTING: Final = "paused.resting"
COMPLETED: Final = "completed"
ABANDONED: Final = "abandoned"

SEPARATOR: Final = "."

STATES: Final[list[Any]] = [
    PLANNED,
    {"name": "active", "initial": "working", "children": ["working", "resting"]},
    {"name": "paused", "initial": "working", "children": ["working", "resting"]},
    COMPLETED,
    ABANDONED,
]

LEAVES: Final = (PLANNED, WORKING, RESTING, PAUSED_WORKING, PAUSED_RESTING, COMPLETED, ABANDONED)

TRANSITIONS: Final[list[dict[str, Any]]] = [
    {"trigger": "start", "source": PLANNED, "dest": WORKING},
    {"trigger": "pause", "source": WORKING, "dest": PAUSED_WORKING},
    {"trigger": "pause", "source": RESTING, "dest": PAUSED_RESTING},
    {"trigger": "resume", "source": PAUSED_WORKING, "dest": WORKING},
    {"trigger": "resume", "source": PAUSED_RESTING, "dest": RESTING},
    {"trigger": "complete", "source": ["active", "paused"], "dest": COMPLETED},
    {"trigger": "abandon", "source": [PLANNED, "active", "paused"], "dest": ABANDONED},
    {"trigger": "log", "source": [PLANNED, "active", "paused", COMPLETED, ABANDONED], "dest": WORKING},
    {"trigger": "rest", "source": "active", "dest": RESTING},
    {"trigger": "rest_end", "source": RESTING, "dest": WORKING},
    {"trigger": "rest_end", "source": PAUSED_RESTING, "dest": PAUSED_WORKING},
]

EDGES: Final = frozenset({"start", "pause", "resume", "complete", "abandon"})
TRIGGERS: Final = ("start", "pause", "resume", "complete", "abandon", "log", "rest", "rest_end")


class IllegalEdge(Exception):
    """An edge that the machine does not have from this state.

    from_    the status it was tried in: planned, active, paused, completed, abandoned
    trigger  the edge
    """

    def __init__(self, from_: str, trigger: str) -> None:
        super().__init__(f"a workout that is {from_} cannot {trigger}")
        self.from_ = from_
        self.trigger = trigger

    @property
    def detail(self) -> dict[str, str]:
        """{from, trigger}: the detail of the void verdict."""
        return {"from": self.from_, "trigger": self.trigger}


class _State(NestedState):
    separator = SEPARATOR


class WorkoutMachine(HierarchicalMachine):
    """The library's machine over the definition above; its `state` is one of LEAVES."""

    state_cls = _State

    def __init__(self, initial: str = PLANNED) -> None:
        super().__init__(
            states=STATES, transitions=TRANSITIONS, initial=initial, auto_transitions=False, send_event=True
        )


def _inside(state: str, source: str) -> bool:
    return state == source or state.startswith(source + SEPARATOR)


def _compile() -> dict[str, dict[str, str]]:
    """{state: {trigger: next state}} of the library's machine; a nearer source wins over the one around."""
    machine = WorkoutMachine()
    table: dict[str, dict[str, str]] = {}
    for leaf in LEAVES:
        row = table.setdefault(leaf, {})
        for trigger in TRIGGERS:
            fitting = [t for t in machine.get_transitions(trigger) if _inside(leaf, t.source)]
            if fitting:
                row[trigger] = cast("str", max(fitting, key=lambda t: len(t.source)).dest)
    return table


TABLE: Final[Mapping[str, Mapping[str, str]]] = _compile()

STATUS: Final[Mapping[str, str]] = {leaf: leaf.partition(SEPARATOR)[0] for leaf in LEAVES}
PHASE: Final[Mapping[str, str | None]] = {leaf: leaf.partition(SEPARATOR)[2] or None for leaf in LEAVES}


def after(state: str, trigger: str) -> str:
    """The state after an edge. Raises IllegalEdge where the machine has none."""
    nxt = TABLE[state].get(trigger)
    if nxt is None:
        raise IllegalEdge(STATUS[state], trigger)
    return nxt


def diagram() -> str:
    """The machine as a Mermaid stateDiagram-v2, arrows of one pair of states joined."""
    lines = ["stateDiagram-v2", f"    [*] --> {PLANNED}"]
    for state in STATES:
        lines += _composite(state) if isinstance(state, dict) else [f"    {state}"]
    lines += [f"    {_id(a)} --> {_id(b)}: {', '.join(names)}" for (a, b), names in _arrows().items()]
    lines += [f"    {end} --> [*]" for end in (COMPLETED, ABANDONED)]
    return "\n".join(lines) + "\n"


def _composite(state: dict[str, Any]) -> list[str]:
    name, children = state["name"], state["children"]
    inner = [f'        state "{child}" as {name}_{child}' for child in children]
    start = f"        [*] --> {name}_{state['initial']}"
    return [f"    state {name} {{", start, *inner, "    }"]


def _arrows() -> dict[tuple[str, str], list[str]]:
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in TRANSITIONS:
        sources = row["source"] if isinstance(row["source"], list) else [row["source"]]
        for source in sources:
            arrows.setdefault((source, row["dest"]), []).append(row["trigger"])
    return arrows


def _id(state: str) -> str:
    return state.replace(SEPARATOR, "_")
