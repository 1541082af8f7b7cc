"""What an op says, in words: one line for a person.

Ops name exercise entries and sets by ids, so a `Narrator` hears the records of a stream in order and
remembers what the ids stand for. It takes records as the wire has them, void ones too: a value that is not
what its kind should have is shown as it is, never an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from fitai.engine.kinds import set_id

Value = Mapping[str, Any]

_LONGEST = 160


class Narrator:
    """Tells records in words; give it all records of the workouts that it tells of, in `seq` order."""

    def __init__(self) -> None:
        self._exercises: dict[str, str] = {}
        self._sets: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def tell(self, record: Mapping[str, Any]) -> str:
        """One record, or an op that is none yet, as one line."""
        kind, value = str(record.get("kind")), record.get("value") or {}
        try:
            words = _KINDS[kind](self, record, value) if kind in _KINDS else _unknown(self, record, value)
        except (TypeError, KeyError, ValueError, AttributeError):
            words = _unknown(self, record, value)
        return _one_line(words)

    def exercise(self, entry: Any) -> str:
        """The exercise of an entry."""
        return self._exercises.get(str(entry).lower(), "an exercise")

    def named(self, entity: Any) -> str:
        """What an exercise entry or a set is called."""
        id_ = str(entity or "").lower()
        return self._sets.get(id_) or self.exercise(id_)

    def _learn_exercise(self, entry: Any, exercise: Any) -> str:
        name = self._exercises[str(entry).lower()] = str(exercise)
        return name

    def _learn_set(self, record: Mapping[str, Any], value: Value) -> tuple[str, bool]:
        """The set's name, and whether it was known."""
        id_ = record.get("entity")
        if id_ is None:
            id_ = set_id(str(record["workout"]).lower(), value["slot"])
        id_ = str(id_).lower()
        known = id_ in self._sets
        if not known:
            entry = str(value["exercise_entry"]).lower()
            self._counts[entry] = self._counts.get(entry, 0) + 1
            self._sets[id_] = f"{self.exercise(entry)}, set {self._counts[entry]}"
        return self._sets[id_], known


def _created(narrator: Narrator, record: Mapping[str, Any], value: Value) -> str:
    title = value.get("title")
    words = "created" if title is None else f"created “{title}”"
    planned = [
        f"{narrator._learn_exercise(one['entry'], one['exercise'])} × {len(one.get('sets') or ())}"
        for one in value.get("plan") or ()
    ]
    return f"{words}: {', '.join(planned)}" if planned else words


def _added(narrator: Narrator, record: Mapping[str, Any], value: Value) -> str:
    name = narrator._learn_exercise(record["entity"], value["exercise"])
    return f"added {name}" + (f" to superset {value['superset']}" if value.get("superset") else "")


def _logged(narrator: Narrator, record: Mapping[str, Any], value: Value) -> str:
    name, known = narrator._learn_set(record, value)
    rest = value.get("rest_s")
    parts = [_performance(value)]
    if value.get("type", "working") != "working":
        parts.append(str(value["type"]))
    if value.get("done") is False:
        parts.append("not done")
    if rest:
        parts.append(f"rest {_seconds(rest)}")
    return f"{name}{' again' if known else ''}: {', '.join(part for part in parts if part)}"


def _performance(value: Value) -> str:
    """`5 × 100 kg, RPE 8`, `45 s`, `400 m`: what was done."""
    reps, load = value.get("reps"), value.get("load")
    weight = None if load is None else f"{_number(load['value'])} {load['unit']}"
    if value.get("assisted") and weight is not None:
        weight = f"{weight} help"
    lifted = weight if reps is None else f"{reps} reps" if weight is None else f"{reps} × {weight}"
    parts = [
        lifted,
        None if value.get("duration_ms") is None else _seconds(value["duration_ms"] / 1000),
        None if value.get("distance_m") is None else f"{_number(value['distance_m'])} m",
        value.get("side"),
        None if value.get("rpe") is None else f"RPE {_number(value['rpe'])}",
        None if value.get("rir") is None else f"{_number(value['rir'])} in reserve",
    ]
    return ", ".join(str(part) for part in parts if part)


def _edited(narrator: Narrator, record: Mapping[str, Any], value: Value) -> str:
    field, new = value["field"], value.get("value")
    if field == "load" and new is not None:
        new = f"{_number(new['value'])} {new['unit']}"
    shown = "nothing" if new is None else new if isinstance(new, str) else json.dumps(new)
    entity = record.get("entity")
    whose = "" if entity is None else f"{narrator.named(entity)}: "
    if entity is not None and field == "exercise":
        narrator._learn_exercise(entity, new)
    return f"{whose}{str(field).replace('_', ' ')} is now {shown}"


def _noted(narrator: Narrator, record: Mapping[str, Any], value: Value) -> str:
    entity = record.get("entity")
    where = "" if entity is None else f" on {narrator.named(entity)}"
    return f"note{where}: {value['text']}"


def _completed(narrator: Narrator, record: Mapping[str, Any], value: Value) -> str:
    rating = value.get("rating")
    return "completed" + (f", rated {rating} of 10" if rating is not None else "") + _because(value)


def _extended(narrator: Narrator, record: Mapping[str, Any], value: Value) -> str:
    seconds = value["seconds"]
    return f"rest {'longer' if seconds >= 0 else 'shorter'} by {_seconds(abs(seconds))}"


def _chosen(narrator: Narrator, record: Mapping[str, Any], value: Value) -> str:
    device, n = value["dot"]
    return f"chose the {value['field']} of op {n} of device {device}"


def _unknown(narrator: Narrator, record: Mapping[str, Any], value: Any) -> str:
    return f"{record.get('kind')} {json.dumps(value, ensure_ascii=False, default=str)}"


def _plain(words: str) -> Callable[[Narrator, Mapping[str, Any], Value], str]:
    return lambda narrator, record, value: words + _because(value)


def _about(words: str) -> Callable[[Narrator, Mapping[str, Any], Value], str]:
    """`words` with {} for what the entity is called."""
    return lambda narrator, record, value: words.format(narrator.named(record.get("entity")))


def _because(value: Value) -> str:
    return f" ({value['reason']})" if value.get("reason") else ""


_KINDS: Mapping[str, Callable[[Narrator, Mapping[str, Any], Value], str]] = {
    "workout.create": _created,
    "workout.start": _plain("started"),
    "workout.pause": _plain("paused"),
    "workout.resume": _plain("resumed"),
    "workout.complete": _completed,
    "workout.abandon": _plain("abandoned"),
    "workout.edit": _edited,
    "workout.remove": _plain("removed the workout"),
    "workout.restore": _plain("brought the workout back"),
    "workout.merge": lambda narrator, record, value: f"merged into {value['into']}",
    "workout.unmerge": _plain("took the merge back"),
    "exercise.add": _added,
    "exercise.edit": _edited,
    "exercise.move": _about("moved {}"),
    "exercise.remove": _about("removed {}"),
    "exercise.restore": _about("brought {} back"),
    "set.log": _logged,
    "set.edit": _edited,
    "set.remove": _about("removed {}"),
    "set.restore": _about("brought {} back"),
    "rest.start": lambda narrator, record, value: f"rest of {_seconds(value['seconds'])}",
    "rest.extend": _extended,
    "rest.skip": _plain("skipped the rest"),
    "note.set": _noted,
    "conflict.choose": _chosen,
}


def _seconds(seconds: float) -> str:
    minutes, left = divmod(seconds, 60)
    if not minutes:
        return f"{_number(left)} s"
    return f"{_number(minutes)} min" + (f" {_number(left)} s" if left else "")


def _number(value: float) -> str:
    """At most three decimals, none that say nothing."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _one_line(text: str) -> str:
    """Visible and short: a note may hold anything, also what moves a terminal's cursor."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
