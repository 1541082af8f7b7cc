"""Which records go to whom, and with what in them. Positions are everybody's: `from..to` covers what is left
out.

    void                                     its author's devices only
    a message that is held or was taken away  its author and the crew whole, others without its value
    one of somebody whom its reader blocked   without its value; the same where it is the other way round
    what an erased member said               nobody's: it is emptied in the log as well
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from fitai.engine.groups.group import Group, Member
from fitai.engine.groups.roles import COACH, HOST
from fitai.engine.ops import VOID, Dot, Record

WHOLE: Final = ""
NOTHING: Final = "nothing"
NOBODY: Final[Collection[int]] = ()


def tell(g: Group, record: Record, to: Member, hidden: Collection[int] = NOBODY) -> dict[str, Any] | None:
    """The record as a member hears it now, or None: it is not for them. `g` is the newest state: a record
    that is read again later is told as it may be told then. `hidden` are members of whom one of the two does
    not want to hear the other."""
    return told(g, record, heard(g, record, to, hidden))


def heard(g: Group, record: Record, to: Member, hidden: Collection[int] = NOBODY) -> str:
    """How a member hears a record: WHOLE, NOTHING, or why without its text: erased, held, hidden, blocked."""
    if record.verdict is VOID:
        return WHOLE if g.member_of(record.device) is to else NOTHING
    dot = _message(record)
    return WHOLE if dot is None else _withheld(g, dot, to, hidden)


def heard_by_all(g: Group, record: Record, hidden: Collection[int] = NOBODY) -> str | None:
    """How all hear a record; None where it depends on who does. `hidden` are all who are from anybody."""
    if record.verdict is VOID:
        return None
    dot = _message(record)
    if dot is None:
        return WHOLE
    author = g.member_of(dot.device)
    if author is not None and author.gone == "erased":
        return "erased"
    alike = dot not in g.held and dot not in g.hidden and (author is None or author.no not in hidden)
    return WHOLE if alike else None


def told(g: Group, record: Record, how: str) -> dict[str, Any] | None:
    """The record as who hears it so is told; None: nothing."""
    if how == NOTHING:
        return None
    if record.op.kind == "device.enrol" and record.verdict is not VOID:
        return _enrolled(g, record)
    return _wire(record) if how == WHOLE else {**_wire(record), "value": {}, "withheld": how}


def _message(record: Record) -> Dot | None:
    """The message whose text a record has."""
    if record.op.kind == "chat.say":
        return record.dot
    return Dot(*record.op.value["dot"]) if record.op.kind == "chat.release" else None


def _withheld(g: Group, dot: Dot, to: Member, hidden: Collection[int]) -> str:
    """Why a member does not hear a message's text, or WHOLE: they do."""
    author = g.member_of(dot.device)
    if author is not None and author.gone == "erased":
        return "erased"
    if author is not None and author.no in hidden:
        return "blocked"
    if author is to or to.role in (HOST, COACH):
        return WHOLE
    if dot in g.held:
        return "held"
    return "hidden" if dot in g.hidden else WHOLE


def _enrolled(g: Group, record: Record) -> dict[str, Any]:
    told = _wire(record)
    value = {key: item for key, item in told["value"].items() if key != "invite"}
    member = g.members.get(value["member"])
    if member is not None and member.gone == "erased":
        value["name"] = ""
    return {**told, "value": value}


def _wire(record: Record) -> dict[str, Any]:
    told = record.wire()
    told.pop("workout", None)  # it is the group's id: the event says that
    return told
