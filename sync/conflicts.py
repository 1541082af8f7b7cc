"""Conflicts as data: what was decided without a person, told so that a person can look and settle it.

An **alternative** is a register in which different values stand beside each other:

    {of, entity, field, shown: {value, dot, at}, others: [{value, dot, at}], why}

`of` is workout, exercise or set, `entity` its id (null for the workout), `at` the effective time (Unix ms),
`dot` names the op and with it the device. `why` the shown one is shown: `later` (its time), `dot` (equal
times; the greater device and counter), `there` (the exercise that a later write put the set into is
removed). `conflict.choose {field, dot}` settles it. The order of exercises is never worth a question.

A **flag** tells of a decision that is no choice between values:

    {flag: "late_sets", sets, devices}                logged without having seen the end
    {flag: "abandoned_with_sets", dots, sets}         completed, as sets were logged beside the abandoning
    {flag: "concurrent_transitions", status, edges}   [{edge, dot, at}] that had not seen each other
    {flag: "removed_and_edited", of, entity,          both [{dot, at}]: it is there, since somebody went on
            removed, kept}                            with it who had not seen that it was removed
    {flag: "notes_merged", of, entity, dots}          versions in one text
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from orjson import OPT_SORT_KEYS, dumps

from fitai.engine.entities import Cell, Document, Entry, Workout, Write
from fitai.engine.machine import COMPLETED, STATUS
from fitai.engine.ops import Stamp, outranks, saw
from fitai.sync.existence import holding, touches
from fitai.sync.notes import Note, Version
from fitai.sync.registers import greatest, shown, writes
from fitai.sync.timeline import ENDS, Timeline

UNDISPUTED: Final = frozenset({"position"})
"""Registers in which a concurrent write is never a conflict."""

_CLAIMS: Final = {"complete": "completed", "abandon": "abandoned", "pause": "paused"}


class Conflicts:
    """The conflicts of one workout: where they are is kept at hand by the fold, what they are is worked out
    when somebody asks.

    contested  (of, entity, field) of a register in which several writes stand, or once did → its cell
    removed    (of, entity) of what was ever removed → its cell
    notes      by what they are about
    line       the workout's timeline
    """

    __slots__ = ("contested", "line", "notes", "removed")

    def __init__(self, line: Timeline) -> None:
        self.contested: dict[tuple[str, str, str], Cell] = {}
        self.removed: dict[tuple[str, str], Cell] = {}
        self.notes: dict[str | None, Note] = {}
        self.line = line

    def alternatives(self, w: Workout) -> list[Document]:
        """The alternatives of a workout, by (of, entity, field)."""
        contested = [(cell, field) for (_, _, field), cell in self.contested.items()]
        found = [*_of_registers(w, contested), *_of_notes(w, self.notes)]
        return sorted(found, key=lambda one: (one["of"], one["entity"] or "", one["field"]))

    def flags(self, w: Workout) -> list[Document]:
        """The flags of a workout, in a fixed order."""
        found = [
            *_of_ends(w, self.line),
            *_of_edges(w, self.line),
            *_of_removals(w, self.removed.values()),
            *_of_merged(w, self.notes),
        ]
        return sorted(found, key=lambda one: (one["flag"], one.get("of", ""), one.get("entity") or ""))


# Alternatives.


def _of_registers(w: Workout, contested: Iterable[tuple[Cell, str]]) -> Iterator[Document]:
    for cell, field in contested:
        values = _distinct(writes(cell, field))
        if len(values) < 2 or field in UNDISPUTED:
            continue
        shown = _shown(cell, field, values)
        others = [one for one in values if one is not shown]
        yield {
            **_about(w, cell),
            "field": field,
            "shown": _value(shown),
            "others": [_value(one) for one in others],
            "why": _why(shown, others[0]),
        }


def _distinct(standing: Sequence[Write]) -> list[Write]:
    """Of equal values the write of the greatest rank; the greatest first."""
    values: list[Write] = []
    for one in sorted(standing, key=_rank, reverse=True):
        for other in values:
            if same(one.value, other.value):
                break
        else:
            values.append(one)
    return values


def _rank(one: Write) -> tuple[int, int, int]:
    stamp = one.stamp
    return (stamp.te, stamp.device, stamp.n)


def same(a: Any, b: Any) -> bool:
    """Whether two JSON values are one; true is no 1."""
    return bool(a == b) and dumps(a, option=OPT_SORT_KEYS) == dumps(b, option=OPT_SORT_KEYS)


def _shown(cell: Cell, field: str, values: list[Write]) -> Write:
    value = shown(cell, field)
    return next((one for one in values if same(one.value, value)), greatest(values))


def _why(shown: Write, other: Write) -> str:
    if outranks(other.stamp, shown.stamp):
        return "there"
    return "later" if shown.stamp.te > other.stamp.te else "dot"


def _of_notes(w: Workout, notes: Mapping[str | None, Note]) -> Iterator[Document]:
    for entity, note in notes.items():
        shown = note.shown()
        if not shown.others:
            continue
        same_text = [one for one in note.standing() if one.text == shown.text]
        first = max(same_text, key=lambda one: one.stamp.rank)
        others = [_value(_write(one)) for one in shown.others]
        yield {
            **_about_note(w, entity),
            "field": "note",
            "shown": _value(_write(first)),
            "others": others,
            "why": _why(_write(first), _write(shown.others[0])),
        }


def _write(version: Version) -> Write:
    return Write(version.stamp, version.text)


def _value(one: Write) -> Document:
    stamp = one.stamp
    return {"value": one.value, "dot": [stamp.device, stamp.n], "at": stamp.te}


def _who(stamp: Stamp) -> Document:
    return {"dot": [stamp.device, stamp.n], "at": stamp.te}


def _about(w: Workout, cell: Cell) -> Document:
    return {"of": cell.of, "entity": None if cell is w else cell.id}


def _about_note(w: Workout, entity: str | None) -> Document:
    if entity is None:
        return {"of": "workout", "entity": None}
    return {"of": "set" if entity in w.sets else "exercise", "entity": entity}


# Flags.


def _of_ends(w: Workout, line: Timeline) -> Iterator[Document]:
    if w.state != COMPLETED:
        return
    ends = line.standing_ends()
    late = line.late(ends)
    if not late:
        return
    sets = sorted({event.set for event in late if event.set is not None})
    if ends[0].trigger == "abandon":
        dots = sorted(list(end.stamp.dot) for end in ends)
        yield {"flag": "abandoned_with_sets", "dots": dots, "sets": sets}
    else:
        devices = sorted({event.stamp.device for event in late})
        yield {"flag": "late_sets", "sets": sets, "devices": devices}


def _of_edges(w: Workout, line: Timeline) -> Iterator[Document]:
    frontier = line.frontier
    if len(frontier) < 2:
        return
    if any(event.trigger in ENDS for event in frontier):
        frontier = [event for event in frontier if event.trigger != "log"]
    if len({_CLAIMS.get(event.trigger, "active") for event in frontier}) < 2:
        return
    edges = [{"edge": event.trigger, **_who(event.stamp)} for event in frontier]
    edges.sort(key=lambda edge: (edge["at"], edge["dot"]))
    yield {"flag": "concurrent_transitions", "status": STATUS[w.state], "edges": edges}


def _of_removals(w: Workout, removed: Iterable[Cell]) -> Iterator[Document]:
    for cell in removed:
        if cell.removed or not cell.removes:
            continue
        holders = [*touches(cell), *(holding(w, cell) if isinstance(cell, Entry) else ())]
        against = [(gone, kept) for gone in cell.removes for kept in holders if _apart(gone, kept)]
        if against:
            yield {
                "flag": "removed_and_edited",
                **_about(w, cell),
                "removed": _each({gone.dot: gone for gone, _ in against}.values()),
                "kept": _each({kept.dot: kept for _, kept in against}.values()),
            }


def _apart(a: Stamp, b: Stamp) -> bool:
    return not saw(a, b) and not saw(b, a)


def _each(stamps: Iterable[Stamp]) -> Sequence[Document]:
    return [_who(stamp) for stamp in sorted(stamps, key=lambda stamp: stamp.rank)]


def _of_merged(w: Workout, notes: Mapping[str | None, Note]) -> Iterator[Document]:
    for entity, note in notes.items():
        merged = note.shown().merged
        if merged:
            dots = sorted(list(version.stamp.dot) for version in merged)
            yield {"flag": "notes_merged", **_about_note(w, entity), "dots": dots}
