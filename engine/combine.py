"""Merged workouts: one that was started twice, shown as one.

`workout.merge {into}` says that a workout is the same as another. Nothing is moved and nothing rewritten:
each keeps its own records and its own fold, and what is shown of the one named is a view that holds the
other's exercises and sets besides its own. So it can be undone at any time, by saying that it is not so.

Whose exercises a view holds is followed along the aliases, from workout to workout. Two devices may name each
other's workout; then the smallest id of the circle is the one that holds the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Final

from fitai.engine.entities import Document, Entry, SetRow, Workout
from fitai.engine.totals import ended_at, started_at, times

ALIASING: Final = frozenset({"workout.merge", "workout.unmerge", "conflict.choose"})
"""The kinds of ops after which a workout may be merged into another than before."""


def alias(w: Workout, into: Workout) -> bool:
    """Whether `w` is shown in `into`. While that was never created, or is removed, a workout merged into it
    stands for itself: it must not vanish with what somebody else removed."""
    return w.merged_into == into.id and into.known and not into.removed


def root(aliases: Mapping[str, str], workout: str) -> str:
    """The workout that shows this one's exercises: itself, unless it is merged. `aliases`: {merged: into}."""
    path = [workout]
    while (into := aliases.get(path[-1])) is not None:
        if into in path:
            return min(path[path.index(into) :])
        path.append(into)
    return path[-1]


def sources(aliases: Mapping[str, str], workout: str) -> list[str]:
    """The other workouts that a workout's view holds, by id; none when it is merged itself."""
    return sorted(name for name in aliases if name != workout and root(aliases, name) == workout)


def combined(target: Workout, others: Sequence[Workout]) -> Workout:
    """The view of `target` that holds what is there in `others` too. Reads only; the view is to be read only.

    State, rest and title are the target's. It began with the first of them and, once over, ended with the
    last; the time spent adds up. An entry from another workout says which by its `workout`.
    """
    there = [one for one in others if one.known and not one.removed]
    if not there:
        return target
    view = copy(target)
    view.merged = [one.id for one in there]
    view.entries, view.sets = dict(target.entries), dict(target.sets)
    view.conflicts = _Together(target, there)
    for one in there:
        _take(view, one)
    view.started_at = min(_known(started_at(w) for w in (target, *there)), default=None)
    view.started_edit = None
    if ended_at(target) is not None:
        view.ended_at, view.ended_edit = max(_known(ended_at(w) for w in (target, *there))), None
    view.last_te = max(_known(w.last_te for w in (target, *there)), default=None)
    return view


class _Together:
    """The conflicts of a view: the target's, and each other's with the workout that they are in."""

    def __init__(self, target: Workout, others: Sequence[Workout]) -> None:
        self._target = target
        self._others = others

    def alternatives(self, w: Workout) -> list[Document]:
        found = self._target.conflicts.alternatives(self._target)
        for one in self._others:
            found += [{**its, "workout": one.id} for its in one.conflicts.alternatives(one)]
        return found

    def flags(self, w: Workout) -> list[Document]:
        found = self._target.conflicts.flags(self._target)
        for one in self._others:
            found += [{**its, "workout": one.id} for its in one.conflicts.flags(one)]
        return found


def _take(view: Workout, one: Workout) -> None:
    """The same entry may have been planned in both: in the view each has a key of its own."""
    for entry in one.entries.values():
        view.entries[_key(one, entry.id)] = _entry(one, entry)
    for row in one.sets.values():
        view.sets[_key(one, row.id)] = _row(one, row)
    view.sets = dict(sorted(view.sets.items(), key=lambda item: item[1].key))
    spent = times(one)
    view.work_ms += spent.work_ms
    view.rest_ms += spent.rest_ms


def _entry(one: Workout, entry: Entry) -> Entry:
    twin = copy(entry)
    twin.workout = one.id
    return twin


def _row(one: Workout, row: SetRow) -> SetRow:
    twin = copy(row)
    twin.exercise_entry = _key(one, row.exercise_entry)
    return twin


def _key(one: Workout, id_: str) -> str:
    return f"{one.id}/{id_}"


def _known(moments: Iterable[int | None]) -> list[int]:
    return [moment for moment in moments if moment is not None]
