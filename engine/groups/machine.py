"""The state machine of a group: the only definition of what follows what.

    lobby → countdown → live ⇄ paused → finished | cancelled

Seven triggers move it. `go` is time's alone: a countdown is over and everybody begins. `finish` is a person's
or, at the end of a format, time's. All others are taken on purpose, by those whom `fitai.engine.groups.roles`
lets. `hold` takes everybody out of the countdown, back to the lobby.

As with workouts (`fitai.engine.machine`) the definition is given to the `transitions` library as it stands,
and `TABLE`, compiled from the library's machine at import, is what runs; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from transitions import Machine

LOBBY: Final = "lobby"
COUNTDOWN: Final = "countdown"
LIVE: Final = "live"
PAUSED: Final = "paused"
FINISHED: Final = "finished"
CANCELLED: Final = "cancelled"

STATES: Final = (LOBBY, COUNTDOWN, LIVE, PAUSED, FINISHED, CANCELLED)
ENDED: Final = frozenset({FINISHED, CANCELLED})

TRANSITIONS: Final[list[dict[str, Any]]] = [
    {"trigger": "start", "source": LOBBY, "dest": COUNTDOWN},
    {"trigger": "hold", "source": COUNTDOWN, "dest": LOBBY},
    {"trigger": "go", "source": COUNTDOWN, "dest": LIVE},
    {"trigger": "pause", "source": LIVE, "dest": PAUSED},
    {"trigger": "resume", "source": PAUSED, "dest": LIVE},
    {"trigger": "finish", "source": [LIVE, PAUSED], "dest": FINISHED},
    {"trigger": "cancel", "source": [LOBBY, COUNTDOWN, LIVE, PAUSED], "dest": CANCELLED},
]

TRIGGERS: Final = ("start", "hold", "go", "pause", "resume", "finish", "cancel")


class GroupMachine(Machine):
    """The library's machine over the definition above; its `state` is one of STATES."""

    def __init__(self, initial: str = LOBBY) -> None:
        super().__init__(
            states=list(STATES),
            transitions=TRANSITIONS,
            initial=initial,
            auto_transitions=False,
            send_event=True,
        )


def _compile() -> dict[str, dict[str, str]]:
    """{state: {trigger: next state}} of the library's machine."""
    machine = GroupMachine()
    table: dict[str, dict[str, str]] = {state: {} for state in STATES}
    for trigger in TRIGGERS:
        for transition in machine.get_transitions(trigger):
            table[transition.source][trigger] = cast("str", transition.dest)
    return table


TABLE: Final[Mapping[str, Mapping[str, str]]] = _compile()


def diagram() -> str:
    """The machine as a Mermaid stateDiagram-v2, arrows of one pair of states joined."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, row in TABLE.items():
        for trigger, to in row.items():
            arrows.setdefault((state, to), []).append(trigger)
    lines = ["stateDiagram-v2", f"    [*] --> {LOBBY}"]
    lines += [f"    {a} --> {b}: {', '.join(names)}" for (a, b), names in arrows.items()]
    lines += [f"    {end} --> [*]" for end in STATES if end in ENDED]
    return "\n".join(lines) + "\n"
