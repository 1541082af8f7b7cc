"""Registers: one per field, holding every write that no other write had seen.

A write replaces exactly the writes that its author had seen. What it had not seen stays beside it, as an
alternative that a person can see and choose; nothing else ever removes a value. So which values stand is
decided by what was seen and by nothing else. Which of them is *shown* is the one of the greatest (te,
device, n), and that is all that a clock decides.

A device's own later write has seen its earlier ones: there are never more values than devices.

    watch   w1: reps 8  ──────────────────────┐
    phone   p1: reps 7, had not seen w1 ──────┤  two values; shown: the later one
    phone   p2: choose w1's, had seen both ───┘  one value again, 8, written by p2

Choosing is writing: `conflict.choose` writes the value of the op that it names once more, in the chooser's
name and context. Therefore the last few values that were replaced are kept (`KEPT`): what a person chose may
have been replaced meanwhile by somebody who did not know of the choice.

In memory a register that one write holds, by far the most common, is only that write's stamp; its value is
what the cell shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fitai.engine.entities import Cell, Held, Replaced, Write
from fitai.engine.ops import Dot, Stamp, outranks, saw

KEPT: Final = 16
"""Replaced writes that a register remembers, to be chosen again."""

_MANY: Final = 256
"""Of so many replaced writes of a cell those are forgotten that no register remembers."""


def write(cell: Cell, field: str, value: Any, stamp: Stamp) -> bool:
    """Write a field; `value` is plain JSON and shared with the register from now on. True where by this write
    several stand in the register, and before only one."""
    by, shown = cell.registers[field]
    held: Held = getattr(cell, by)
    if isinstance(held, Stamp):
        was = getattr(cell, shown)
        if not saw(stamp, held):
            setattr(cell, by, (Write(held, was), Write(stamp, value)))
            if outranks(stamp, held):
                setattr(cell, shown, value)
            return True
        _remember(cell, Replaced(held, was, field))
    elif held is not None:
        return _write_beside(cell, field, held, Write(stamp, value))
    setattr(cell, by, stamp)
    setattr(cell, shown, value)
    return False


def _write_beside(cell: Cell, field: str, held: tuple[Write, ...], new: Write) -> bool:
    """Write a field in which several writes stand."""
    standing = []
    for one in held:
        if saw(new.stamp, one.stamp):
            _remember(cell, Replaced(one.stamp, one.value, field))
        else:
            standing.append(one)
    standing.append(new)
    by, shown = cell.registers[field]
    setattr(cell, by, tuple(standing) if len(standing) > 1 else new.stamp)
    setattr(cell, shown, greatest(standing).value)
    return False


def shown(cell: Cell, field: str) -> Any:
    """What is shown of a field."""
    return getattr(cell, cell.registers[field][1])


def knew(cell: Cell, field: str, stamp: Stamp) -> bool:
    """Whether an op had seen any write of a register, one that stands or one that was replaced."""
    return any(saw(stamp, one.stamp) for one in (*writes(cell, field), *replaced(cell, field)))


def writes(cell: Cell, field: str) -> Sequence[Write]:
    """What stands in a register, in log order."""
    held: Held = getattr(cell, cell.registers[field][0])
    if held is None:
        return ()
    return (Write(held, shown(cell, field)),) if isinstance(held, Stamp) else held


def greatest(standing: Sequence[Write]) -> Write:
    """The write that is shown."""
    shown = standing[0]
    for one in standing:
        if outranks(one.stamp, shown.stamp):
            shown = one
    return shown


def find(cell: Cell, field: str, dot: Dot) -> Write | None:
    """The write of the op `dot` in a register, standing or lately replaced."""
    known = [*writes(cell, field), *replaced(cell, field)]
    return next((one for one in known if one.stamp.dot == dot), None)


def replaced(cell: Cell, field: str) -> Sequence[Write]:
    """What was replaced in a register lately, in log order."""
    return [one for one in cell.past or () if one.field == field][-KEPT:]


def _remember(cell: Cell, one: Replaced) -> None:
    past = cell.past
    if past is None:
        cell.past = [one]
        return
    past.append(one)
    if len(past) % _MANY == 0:
        fields = dict.fromkeys(one.field for one in past)
        kept = {id(one) for field in fields for one in replaced(cell, field)}
        cell.past = [one for one in past if id(one) in kept]
