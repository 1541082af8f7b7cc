"""From a request to ops: what each write under /workouts means, decided on the state it will be appended to.

A plan is a pure function of the state document (None: no such workout). The session host calls it inside
the append, again at each retry, so that what it decides holds at the very place where its ops land. It
raises rather than write what cannot stand: REST callers get an answer, the log gets no void.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fitai.engine import machine
from fitai.engine.kinds import decode_value, set_id
from fitai.engine.machine import IllegalEdge
from fitai.engine.ops import Op
from fitai.gateways.live.jobs import Intent
from fitai.http.problems import FieldError, Problem, invalid, not_found
from fitai.http.workouts import positions
from fitai.http.workouts.schemas import ExerciseWrite, Rest, SetWrite, WorkoutCreate, WorkoutEdit

Document = dict[str, Any]
Plan = Callable[[Document | None], list[Intent]]


def create(body: WorkoutCreate) -> Plan:
    """A new workout; already_exists when the id is taken."""
    value = body.given()
    value.pop("id", None)
    note = value.pop("note", None)

    def plan(document: Document | None) -> list[Intent]:
        if document is not None:
            raise Problem("already_exists")
        return checked([Intent("workout.create", value), *_note(note)])

    return plan


def edit(body: WorkoutEdit) -> Plan:
    """The given fields of a workout itself."""
    given = body.model_dump(exclude_unset=True)

    def plan(document: Document | None) -> list[Intent]:
        document = there(document)
        _check_order({**document, **given})
        # Writing `workout.create` again writes the fields that it names, and these have no edit of their own.
        again = {field: value for field, value in given.items() if field in ("template", "units")}
        intents = [Intent("workout.create", again)] if again else []
        fields = [field for field in ("title", "tz", "started_at", "ended_at") if field in given]
        intents += [Intent("workout.edit", {"field": field, "value": given[field]}) for field in fields]
        return checked([*intents, *_given_note(given)])

    return plan


def remove() -> Plan:
    """The workout is removed (and can be restored)."""

    def plan(document: Document | None) -> list[Intent]:
        there(document)
        return [Intent("workout.remove", {})]

    return plan


def edge(trigger: str, value: Mapping[str, Any]) -> Plan:
    """One edge of the machine: start, pause, resume, complete or abandon; raises IllegalEdge."""

    def plan(document: Document | None) -> list[Intent]:
        machine.after(_leaf(there(document)), trigger)
        return checked([Intent(f"workout.{trigger}", value)])

    return plan


def rest(body: Rest) -> Plan:
    """Start, extend or skip a rest. What would have no effect now is an illegal edge here: the caller
    should hear of it."""

    def plan(document: Document | None) -> list[Intent]:
        document = there(document)
        if body.action == "start":
            machine.after(_leaf(document), "rest")
            return checked([Intent("rest.start", {"seconds": body.seconds})])
        if document["rest"] is None:
            raise IllegalEdge(document["status"], f"rest_{body.action}")
        value = {"seconds": body.seconds} if body.action == "extend" else {}
        return checked([Intent(f"rest.{body.action}", value)])

    return plan


def write_exercise(index: int, body: ExerciseWrite) -> Plan:
    """The given fields of the exercise at `index`, or a new one at the end."""
    given, entity = body.given(), str(uuid.uuid4())

    def plan(document: Document | None) -> list[Intent]:
        exercises = there(document)["exercises"]
        if index > len(exercises):
            raise not_found()
        if index == len(exercises):
            return checked(_add_exercise(given, exercises, entity))
        entry = exercises[index]
        return checked(_edit_exercise(given, entry["id"]), entry)

    return plan


def remove_exercise(index: int) -> Plan:
    """The exercise at `index` is removed with its sets."""

    def plan(document: Document | None) -> list[Intent]:
        exercises = there(document)["exercises"]
        if index >= len(exercises):
            raise not_found()
        entry = exercises[index]
        return checked([Intent("exercise.remove", {}, entry["id"])], entry)

    return plan


def write_set(index: int, body: SetWrite) -> Plan:
    """The given fields of the set at `index`, or a new one."""
    given, entity = body.given(), str(uuid.uuid4())

    def plan(document: Document | None) -> list[Intent]:
        document = there(document)
        sets = flat_sets(document)
        if index > len(sets):
            raise not_found()
        if index == len(sets):
            return checked(_log_set(given, document, entity))
        entry, row = sets[index]
        return checked(_write_set(given, entry, row), entry)

    return plan


def remove_set(index: int) -> Plan:
    """The set at `index` is removed."""

    def plan(document: Document | None) -> list[Intent]:
        sets = flat_sets(there(document))
        if index >= len(sets):
            raise not_found()
        entry, row = sets[index]
        return checked([Intent("set.remove", {}, row["id"])], entry)

    return plan


def there(document: Document | None) -> Document:
    """The document of a workout that is there; not_found for an unknown and for a removed one."""
    if document is None or document["removed"]:
        raise not_found()
    return document


def flat_sets(document: Document) -> list[tuple[Document, Document]]:
    """(exercise entry, set) of each set, in the order of the exercises."""
    return [(entry, row) for entry in document["exercises"] for row in entry["sets"]]


def checked(intents: list[Intent], entry: Document | None = None) -> list[Intent]:
    """The intents, each decoded by its kind's own rules first, so that all stand or none is written.

    What an exercise entry of the document holds may belong to a workout that was merged into it, and is
    written there. Raises BadValue.
    """
    for intent in intents:
        decode_value(
            Op(
                n=1,
                base=0,
                clock=None,
                kind=intent.kind,
                workout="",
                entity=intent.entity,
                value=dict(intent.value),
                at=0,
                v=1,
                raw={},
            )
        )
    if entry is not None and "workout" in entry:
        return [replace(intent, workout=entry["workout"]) for intent in intents]
    return intents


def _leaf(document: Document) -> str:
    phase = document["phase"]
    status: str = document["status"]
    return status if phase is None else f"{status}{machine.SEPARATOR}{phase}"


def _check_order(document: Document) -> None:
    started, ended = document["started_at"], document["ended_at"]
    if started is not None and ended is not None and ended < started:
        raise invalid([FieldError("body", "ended_at", "order", "lies before started_at")])


def _note(text: str | None, entity: str | None = None) -> list[Intent]:
    return [] if text is None else [Intent("note.set", {"text": text}, entity)]


def _given_note(given: Mapping[str, Any], entity: str | None = None) -> list[Intent]:
    """A note that was given; null empties it."""
    return _note(given["note"] or "", entity) if "note" in given else []


def _add_exercise(given: dict[str, Any], exercises: list[Document], entity: str) -> list[Intent]:
    if given.get("exercise") is None:
        raise invalid([FieldError("body", "exercise", "missing", "is needed for a new exercise")])
    value = {key: item for key, item in given.items() if key != "note"}
    if value.get("position") is None:
        value["position"] = positions.after(exercises[-1]["position"] if exercises else None)
    return [Intent("exercise.add", value, entity), *_note(given.get("note"), entity)]


def _edit_exercise(given: dict[str, Any], entity: str) -> list[Intent]:
    moved = {"position": given["position"]} if given.get("position") is not None else {}
    if moved and "superset" in given:
        moved["superset"] = given["superset"]
    fields = [field for field in ("exercise", "superset", "target") if field in given and field not in moved]
    edits = [Intent("exercise.edit", {"field": name, "value": given[name]}, entity) for name in fields]
    moves = [Intent("exercise.move", moved, entity)] if moved else []
    return [*edits, *moves, *_given_note(given, entity)]


_SET_FIELDS = (
    "exercise_entry",
    "type",
    "reps",
    "load",
    "rpe",
    "rir",
    "duration_ms",
    "distance_m",
    "side",
    "assisted",
    "rest_s",
    "done",
)


def _log_set(given: dict[str, Any], document: Document, entity: str) -> list[Intent]:
    """A new set. Of a planned slot the engine makes the id, so that all devices meet in one set."""
    value = {key: item for key, item in given.items() if key != "note"}
    value["exercise_entry"] = _entry_for(given, document)
    value["type"] = given.get("type") or "working"
    if given.get("slot") is None:
        return [Intent("set.log", value, entity), *_note(given.get("note"), entity)]
    entity = set_id(document["id"], given["slot"])
    if any(row["id"] == entity for _, row in flat_sets(document)):
        raise Problem("already_exists", "The set of this slot is logged; write it at its own index.")
    return [Intent("set.log", value), *_note(given.get("note"), entity)]


def _entry_for(given: Mapping[str, Any], document: Document) -> str:
    """The entry that a new set belongs to: as given, else by its planned slot, else the last one."""
    entries = document["exercises"]
    known = {entry["id"] for entry in entries}
    wanted: str | None = given.get("exercise_entry")
    if wanted is None and given.get("slot") is not None:
        wanted = next((entry["id"] for entry in entries if _planned(given["slot"], entry)), None)
    elif wanted is None and entries:
        wanted = entries[-1]["id"]
    if wanted is None or wanted not in known:
        raise invalid([FieldError("body", "exercise_entry", "unknown", "names no exercise of this workout")])
    return wanted


def _planned(slot: int | str, entry: Document) -> Document | None:
    return next((planned for planned in entry["plan"] if str(planned["slot"]) == str(slot)), None)


def _write_set(given: dict[str, Any], entry: Document, row: Document) -> list[Intent]:
    """A set that is done now is logged, with all that follows from it (its rest, a resume); any other
    change is a correction, field by field."""
    if given.get("slot") is not None and str(given["slot"]) != str(row["slot"]):
        raise invalid([FieldError("body", "slot", "fixed", "a set keeps its slot")])
    written = {field: given[field] for field in _SET_FIELDS if field in given}
    if written.get("done") is True and not row["done"]:
        value = {"exercise_entry": entry["id"], "type": row["type"], **written}
        return [Intent("set.log", value, row["id"]), *_given_note(given, row["id"])]
    edits = [Intent("set.edit", {"field": name, "value": item}, row["id"]) for name, item in written.items()]
    return [*edits, *_given_note(given, row["id"])]
