"""Existence: who is there, after some have removed and others have gone on.

A **touch** is an op that shows that somebody wants the thing: it was made, edited, logged, restored, noted. A
**remove** cancels exactly the touches that it had seen. The thing is there while a touch is left.

    watch   edit set ─────────────────────────── live: {watch}
    phone   remove set, had not seen the edit ── cancels what it knew; the edit is left: the set is there
    watch   remove set, having seen all ──────── nothing is left: it is gone, and can be restored

So a concurrent edit or completion wins over a removal, and whatever is written later brings the thing back:
an accepted value is never hidden by somebody who did not know it. As with registers, no clock has a say.

One device's touches are seen in their order, so its newest one that is left stands for all of them.

An exercise entry is also held by its sets: what its removal had not seen of a set that is there keeps the
entry, whichever of its kept entries that set is shown in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fitai.engine.entities import Cell, Entry, SetRow, Workout
from fitai.engine.ops import Stamp, saw
from fitai.sync.registers import writes


def touch(cell: Cell, stamp: Stamp) -> None:
    """Somebody did something with the thing, so it is there."""
    live = cell.live
    if isinstance(live, dict):
        live[stamp.device] = stamp
    elif live is None or live.device == stamp.device:
        cell.live = stamp
    else:
        cell.live = {live.device: live, stamp.device: stamp}
    if cell.removes:
        cell.removed = False
        cell.removes = tuple(remove for remove in cell.removes if not saw(stamp, remove))


def remove(cell: Cell, stamp: Stamp) -> None:
    """Somebody took the thing away."""
    cell.live = {one.device: one for one in touches(cell) if not saw(stamp, one)} or None
    cell.removes = (*(one for one in cell.removes if not saw(stamp, one)), stamp)


def touches(cell: Cell) -> Iterable[Stamp]:
    """The touches that are left."""
    live = cell.live
    if isinstance(live, dict):
        return live.values()
    return () if live is None else (live,)


def settle(cell: Cell) -> None:
    """Say whether a set or a workout is there."""
    cell.removed = bool(cell.removes) and not cell.live


def settle_entry(w: Workout, entry: Entry) -> None:
    """Say whether an exercise entry is there."""
    entry.removed = bool(entry.removes) and not entry.live and next(holding(w, entry), None) is None


def holding(w: Workout, entry: Entry) -> Iterator[Stamp]:
    """The touches of the entry's sets that no removal of the entry had seen."""
    for row in w.sets.values():
        if row.known and not row.removed and entry.id in homes(row):
            for one in touches(row):
                if not any(saw(gone, one) for gone in entry.removes):
                    yield one


def homes(row: SetRow) -> list[str]:
    """The entries that a set was put into, all that stand; mostly one."""
    return [one.value for one in writes(row, "exercise_entry")]


def settle_home(w: Workout, row: SetRow) -> None:
    """Show a set that was put into several entries in the one of the greatest rank that is there."""
    standing = sorted(writes(row, "exercise_entry"), key=lambda one: one.stamp.rank, reverse=True)
    for one in standing:
        entry = w.entries.get(one.value)
        if entry is not None and entry.known and not entry.removed:
            row.exercise_entry = one.value
            return
    row.exercise_entry = standing[0].value
