"""Who may do what in a group: one table, read by the judge, by the documents and by the tests.

    host         runs the group; there is one, or for a moment none
    coach        runs it too, but takes nobody's role who has one of these two
    participant  trains
    spectator    looks on, and may speak where everybody may
    stranger     was let in by the server and is no member yet, or no more
    server       the server's own device, 0

`ALLOWED` has what each may do at all. Acts on another member are limited by whom they are about besides: see
`may_act_on`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

HOST: Final = "host"
COACH: Final = "coach"
PARTICIPANT: Final = "participant"
SPECTATOR: Final = "spectator"
STRANGER: Final = "stranger"
SERVER: Final = "server"

ROLES: Final = (HOST, COACH, PARTICIPANT, SPECTATOR, STRANGER, SERVER)
MEMBERS: Final = frozenset({HOST, COACH, PARTICIPANT, SPECTATOR})
TRAINING: Final = frozenset({HOST, COACH, PARTICIPANT})

_CREW: Final = frozenset({HOST, COACH})

ALLOWED: Final[Mapping[str, frozenset[str]]] = {
    "group.create": frozenset({STRANGER}),
    "group.edit": _CREW,
    "group.invite": _CREW,
    "group.start": _CREW,
    "group.hold": _CREW,
    "group.pause": _CREW,
    "group.resume": _CREW,
    "group.next": _CREW,
    "group.finish": _CREW | {SERVER},
    "group.cancel": frozenset({HOST, SERVER}),
    "group.host": frozenset({SERVER}),
    "member.join": frozenset({STRANGER}),
    "member.leave": MEMBERS,
    "member.role": MEMBERS,
    "member.kick": _CREW,
    "member.ban": _CREW,
    "member.unban": _CREW,
    "member.hand_over": frozenset({HOST}),
    "member.share": TRAINING,
    "member.workout": TRAINING,
    "member.erase": frozenset({SERVER}),
    "chat.say": MEMBERS,
    "chat.hide": MEMBERS | {SERVER},
    "chat.release": frozenset({SERVER}),
    "device.enrol": frozenset({SERVER}),
}


def may(role: str, kind: str) -> bool:
    """Whether a role may do this at all. A kind that is not in the table is nobody's."""
    return role in ALLOWED.get(kind, ())


def may_act_on(role: str, kind: str, *, own: bool, target: str) -> bool:
    """Whether a role that may do `kind` may do it to a member of role `target`; `own`: to oneself.

    The host: to everybody else. A coach: to participants, spectators and strangers. Oneself: take a message
    away, and change one's role as `may_give` says.
    """
    if own:
        return kind in ("member.role", "chat.hide")
    if role == HOST:
        return kind != "member.hand_over" or target in (COACH, PARTICIPANT)
    return role == COACH and target not in _CREW


def may_give(role: str, given: str, *, own: bool) -> bool:
    """Whether a role may be given by `role`, to oneself or to somebody it may act on.

    Nobody becomes host so (that is `member.hand_over`). The host may give any other role, a coach those below
    theirs. Oneself may go down, and between training and looking on; the host has to hand over first.
    """
    if given in (HOST, STRANGER, SERVER) or (own and role == HOST):
        return False
    return given != COACH or (role == HOST and not own)


def table() -> str:
    """`ALLOWED` as a Markdown table."""
    lines = [f"| | {' | '.join(ROLES)} |", f"|---|{'---|' * len(ROLES)}"]
    for kind, roles in ALLOWED.items():
        lines.append(f"| {kind} | {' | '.join('✓' if role in roles else '' for role in ROLES)} |")
    return "\n".join(lines)
