"""What is left in the log of a member whose account is gone: that they did something, and not what they said.

Their records keep their places, counters and hashes, so that cursors and retries hold. What leads to a person
is taken out of the ops where they lie: the name in `device.enrol`, the texts of messages, also where the
server said them again, reasons, which workout was theirs, and all that we do not read (fields that we do not
know, void ops, kinds of newer versions). What made the group what it is stays: its title, format and steps,
and why it ended. So from `member.erase` on the group folds to the same as before.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from fitai.engine.groups import kinds
from fitai.engine.groups.group import Group
from fitai.engine.kinds import BadValue
from fitai.engine.ops import VOID, Op, Record

_ENVELOPE: Final = ("n", "base", "clock", "kind", "workout", "at", "v")
_ENDS: Final = frozenset({"group.finish", "group.cancel"})


def emptied(g: Group, record: Record, member: int) -> dict[str, Any] | None:
    """The op, as it lies in the log, without what leads to a member; None when nothing in it does. `g` holds
    the record, or a later one."""
    op = record.op
    if g.devices.get(record.device) == member:
        return _raw(op, {} if record.verdict is VOID else _left(op))
    if record.device != 0:
        return None
    if op.kind == "device.enrol" and op.value.get("member") == member:
        return _raw(op, {**op.value, "name": ""})
    if op.kind == "chat.release" and g.devices.get(op.value["dot"][0]) == member:
        return _raw(op, {**op.value, "text": ""})
    return None


def _raw(op: Op, value: dict[str, Any]) -> dict[str, Any]:
    return {**{key: op.raw[key] for key in _ENVELOPE if key in op.raw}, "value": value}


def _left(op: Op) -> dict[str, Any]:
    """Of an op's value what the fold reads, without words of their own."""
    try:
        value = kinds.decode(op)
    except BadValue:
        return {}
    if value is None:
        return {}
    left: dict[str, Any] = msgspec.to_builtins(value)
    without = {"text": "", "workout": None} | ({} if op.kind in _ENDS else {"reason": None})
    return {key: without.get(key, item) for key, item in left.items()}
