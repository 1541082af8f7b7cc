"""Which records go to whom, and with what in them. Positions are everybody's: `from..to` covers what is left
out.

    void                                     its author's devices only
    a message that is held or was taken away  its author and the crew whole, others without its value
    what an erased member said               nobody's: it is emptied in the log as well
"""

from __future__ import annotations

from typing import Any

from fitai.engine.groups.group import Group, Member
from fitai.engine.groups.roles import COACH, HOST
from fitai.engine.ops import VOID, Dot, Record


def tell(g: Group, record: Record, to: Member) -> dict[str, Any] | None:
    """The record as a member hears it now, or None: it is not for them. `g` is the newest state: a record
    that is read again later is told as it may be told then."""
    if record.verdict is VOID:
        return _wire(record) if g.member_of(record.device) is to else None
    if record.op.kind == "device.enrol":
        return _enrolled(g, record)
    dot = _message(record)
    why = None if dot is None else _withheld(g, dot, to)
    told = _wire(record)
    return told if why is None else {**told, "value": {}, "withheld": why}


def _message(record: Record) -> Dot | None:
    """The message whose text a record has."""
    if record.op.kind == "chat.say":
        return record.dot
    return Dot(*record.op.value["dot"]) if record.op.kind == "chat.release" else None


def _withheld(g: Group, dot: Dot, to: Member) -> str | None:
    """Why a member does not hear a message's text: erased, held, hidden; None: they do."""
    author = g.member_of(dot.device)
    if author is not None and author.gone == "erased":
        return "erased"
    if author is to or to.role in (HOST, COACH):
        return None
    if dot in g.held:
        return "held"
    return "hidden" if dot in g.hidden else None


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
