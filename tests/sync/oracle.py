"""An oracle over the promise: from what was written and what each author had seen, what a workout must show.

It is written from the design's words and shares no line with the fold. It is naive on purpose: it keeps every
op, compares each with every other, and knows of causality only the full vector clock that each op was written
under: `a` is before `b` if and only if `a.n <= clock(b)[a.device]`. Positions in the log, bases and what lies
beyond them do not occur here.

    no silent loser   every accepted value is shown, or stands as an alternative, or was replaced by an op
                      that had seen it, or went with what was removed by an op that had seen it
    no ghost          and nothing else is shown
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from fitai.engine.ops import Dot, Record

Json = dict[str, Any]
Clock = Mapping[int, int]
Entity = str | None
SERVER = 0

SET_FIELDS = "type reps load rpe rir duration_ms distance_m side assisted rest_s done exercise_entry"
ENTRY_FIELDS = "exercise position superset target"
WORKOUT_FIELDS = "title template units tz"
EDGES = {
    "workout.start": "active",
    "workout.resume": "active",
    "set.log": "active",
    "workout.pause": "paused",
    "workout.complete": "completed",
    "workout.abandon": "abandoned",
}
GIVEN = {"exercise.add": ENTRY_FIELDS, "exercise.move": "position superset"}
LEGAL: Mapping[str, set[str]] = {
    "planned": {"workout.start", "workout.abandon"},
    "active": {"workout.pause", "workout.complete", "workout.abandon"},
    "paused": {"workout.resume", "workout.complete", "workout.abandon"},
    "completed": set(),
    "abandoned": set(),
}
KINDS = {
    *EDGES,
    *(f"workout.{name}" for name in ("create", "edit", "remove", "restore", "merge", "unmerge")),
    *(f"exercise.{name}" for name in ("add", "edit", "move", "remove", "restore")),
    *(f"set.{name}" for name in ("edit", "remove", "restore")),
    *(f"rest.{name}" for name in ("start", "extend", "skip")),
    "note.set",
    "conflict.choose",
}


class Register(NamedTuple):
    of: str
    entity: Entity
    field: str


class Fact(NamedTuple):
    """An accepted op of a kind that is known, with all that its author had seen."""

    dot: Dot
    kind: str
    entity: Entity
    value: Json
    te: int
    clock: Clock

    def saw(self, other: Fact) -> bool:
        return other.dot.n <= self.clock.get(other.dot.device, 0)

    @property
    def rank(self) -> tuple[int, int, int]:
        return (self.te, *self.dot)


class Write(NamedTuple):
    fact: Fact
    value: Any


def clocks_of(records: Iterable[Record]) -> dict[Dot, Clock]:
    """The full vector clocks of the records of a whole stream, as the protocol defines their contexts."""
    records = sorted(records, key=lambda record: record.seq)
    clocks: dict[Dot, Clock] = {}
    for record in records:
        clock = {record.device: record.op.n - 1, **(record.beyond or {})}
        for other in records[: record.base]:
            clock[other.device] = max(other.op.n, clock.get(other.device, 0))
        clock[record.device] = record.op.n - 1
        clocks[record.dot] = clock
    return clocks


class Oracle:
    """What must be so of one workout; `clocks` names all that the author of each op had seen."""

    def __init__(self, workout: str, records: Iterable[Record], clocks: Mapping[Dot, Clock]) -> None:
        self.workout = workout
        self.facts = [
            Fact(r.dot, r.op.kind, self._entity(r), plain(r.op.value), r.te, clocks[r.dot])
            for r in sorted(records, key=lambda record: record.seq)
            if r.verdict != "void" and r.op.kind in KINDS and r.op.v == 1
        ]
        self.by_dot = {fact.dot: fact for fact in self.facts}
        self.sets = {f.entity or "" for f in self.facts if f.kind == "set.log"}
        self.entries = {f.entity or "" for f in self.facts if f.kind == "exercise.add"}
        self.entries |= {planned["entry"] for f in self.facts for planned in f.value.get("plan") or ()}

    def _entity(self, record: Record) -> Entity:
        if record.op.kind == "set.log" and record.op.entity is None:
            return str(uuid.uuid5(uuid.UUID(self.workout), str(record.op.value["slot"])))
        return record.op.entity

    # -- registers ---------------------------------------------------------------------------------

    @cached_property
    def writes(self) -> dict[Register, list[Write]]:
        """Every write of every register."""
        found: dict[Register, list[Write]] = defaultdict(list)
        for fact in self.facts:
            for register, value in self._writes_of(fact):
                found[register].append(Write(fact, value))
        return found

    def _writes_of(self, fact: Fact) -> Iterable[tuple[Register, Any]]:
        of, _, what = fact.kind.partition(".")
        value, here = fact.value, Register(of, fact.entity, "")
        if what == "edit":
            return [(here._replace(field=value["field"]), value.get("value"))]
        if what in ("merge", "unmerge"):
            return [(here._replace(field="merged_into"), value.get("into"))]
        if fact.kind in GIVEN:
            return _given(here, value, GIVEN[fact.kind])
        if fact.kind == "workout.complete":
            return _given(here, value, "rating" if self._legal(fact) else "")
        if fact.kind in ("workout.create", "set.log", "conflict.choose"):
            tell = {"create": self._created, "log": self._logged, "choose": self._chosen}
            return tell[what](fact)
        return ()

    def _created(self, fact: Fact) -> Iterator[tuple[Register, Any]]:
        yield from _given(Register("workout", None, ""), fact.value, WORKOUT_FIELDS)
        for planned in fact.value.get("plan") or ():
            entry = Register("exercise", planned["entry"], "")
            yield from ((w, given) for w, given in _given(entry, planned, ENTRY_FIELDS) if given is not None)
            for one in planned.get("sets", ()):
                yield entry._replace(field=f"plan:{one['slot']}"), one.get("target")

    def _logged(self, fact: Fact) -> Iterator[tuple[Register, Any]]:
        here = Register("set", fact.entity, "")
        yield from _given(here, fact.value, SET_FIELDS)
        if fact.value.get("slot") is not None:
            yield here._replace(field="slot"), fact.value["slot"]
        if self._reopens(fact):
            yield Register("workout", None, "ended_at"), None

    def _chosen(self, fact: Fact) -> Iterator[tuple[Register, Any]]:
        named = self.by_dot.get(Dot(*fact.value["dot"]))
        if named is None or not fact.saw(named):
            return
        for register, value in self._writes_of(named):
            if register.entity == fact.entity and register.field == fact.value["field"]:
                yield register, value

    def _reopens(self, fact: Fact) -> bool:
        """Whether a logged set takes back an end that was typed, as far as its author knew."""
        seen = [other for other in self.facts if fact.saw(other)]
        typed = any(f.kind == "workout.edit" and f.value["field"] == "ended_at" for f in seen)
        return typed and self.status(seen) in ("completed", "abandoned")

    def standing(self, register: Register) -> list[Write]:
        """The writes that no other write of the register had seen, the greatest rank first."""
        return unseen(self.writes.get(register, []))

    # -- notes -------------------------------------------------------------------------------------

    @cached_property
    def versions(self) -> dict[Entity, list[Write]]:
        """Every version of every note."""
        found: dict[Entity, list[Write]] = defaultdict(list)
        for fact in self.facts:
            for entity, text in self._versions_of(fact):
                found[entity].append(Write(fact, text))
        return found

    def _versions_of(self, fact: Fact) -> Iterator[tuple[Entity, Any]]:
        if fact.kind == "note.set":
            yield fact.entity, fact.value["text"]
        elif fact.kind == "workout.complete" and "note" in fact.value and self._legal(fact):
            yield None, fact.value["note"]
        elif fact.kind == "conflict.choose" and fact.value["field"] == "note":
            named = self.by_dot.get(Dot(*fact.value["dot"]))
            if named is not None and fact.saw(named):
                yield from ((e, text) for e, text in self._versions_of(named) if e == fact.entity)

    # -- existence ---------------------------------------------------------------------------------

    def there(self, entity: str) -> bool:
        """Whether a set or an exercise entry that is known was not removed."""
        return bool(self._live_of_set(entity) if entity in self.sets else self._live_of_entry(entity))

    def visible(self, set_: str) -> bool:
        """Whether a set is seen: it is there, and so is an exercise that it was put into."""
        return self.there(set_) and self.home(set_) is not None

    def home(self, set_: str) -> str | None:
        """The entry that a set is shown in: of those that are there, the one put down last."""
        standing = self.standing(Register("set", set_, "exercise_entry"))
        return next((w.value for w in standing if w.value in self.entries and self.there(w.value)), None)

    @property
    def removed(self) -> bool:
        """Whether the workout is removed."""
        removes = self._of_kind("workout.remove", None)
        no_touch = ("workout.remove", "workout.merge", "workout.unmerge")
        touches = [f for f in self.facts if f.dot.device != SERVER and f.kind not in no_touch]
        return bool(removes) and not _left(touches, removes)

    def _live_of_set(self, set_: str) -> list[Fact]:
        touches = self._touches(set_, "set.log", "set.edit", "set.restore")
        return _left(touches, self._of_kind("set.remove", set_))

    def _live_of_entry(self, entry: str) -> list[Fact]:
        touches = self._touches(entry, "exercise.add", "exercise.edit", "exercise.restore")
        for fact in self.facts:
            if any(planned["entry"] == entry for planned in fact.value.get("plan") or ()):
                touches.append(fact)
        for set_ in self.sets:
            homes = self.standing(Register("set", set_, "exercise_entry"))
            if any(write.value == entry for write in homes):
                touches += self._live_of_set(set_)
        return _left(touches, self._of_kind("exercise.remove", entry))

    def _touches(self, entity: str, *kinds: str) -> list[Fact]:
        """The ops that show that somebody wants a thing: noting and choosing are among them for all."""
        named = [fact for fact in self.facts if fact.entity == entity]
        chosen = [f for f in named if f.kind == "conflict.choose" and self._chooses(f)]
        return [fact for fact in named if fact.kind in (*kinds, "note.set")] + chosen

    def _chooses(self, fact: Fact) -> bool:
        return any(True for _ in (*self._chosen(fact), *self._versions_of(fact)))

    def _of_kind(self, kind: str, entity: Entity) -> list[Fact]:
        return [fact for fact in self.facts if fact.kind == kind and fact.entity == entity]

    # -- transitions -------------------------------------------------------------------------------

    def status(self, facts: Sequence[Fact] | None = None) -> str:
        """completed > abandoned > active > paused, over the events that no other event had seen."""
        facts = self.facts if facts is None else facts
        events = [fact for fact in facts if fact.kind in EDGES and self._stands(fact, facts)]
        frontier = [one for one in events if not any(other.saw(one) for other in events)]
        claims = {EDGES[event.kind] for event in frontier}
        if "abandoned" in claims and "completed" not in claims:
            ends = [event for event in frontier if event.kind == "workout.abandon"]
            logs = [event for event in events if event.kind == "set.log"]
            beside = any(not any(end.saw(log) for end in ends) for log in logs)
            return "completed" if beside else "abandoned"
        return next((claim for claim in ("completed", "active", "paused") if claim in claims), "planned")

    def _stands(self, event: Fact, facts: Sequence[Fact]) -> bool:
        if event.dot.device == SERVER and any(
            one.dot.device != SERVER and not one.saw(event) and not event.saw(one) for one in facts
        ):
            return False
        return event.kind == "set.log" or self._legal(event)

    def _legal(self, edge: Fact) -> bool:
        if edge.dot not in self._judged:
            seen = [other for other in self.facts if edge.saw(other)]
            self._judged[edge.dot] = edge.kind in LEGAL[self.status(seen)]
        return self._judged[edge.dot]

    @cached_property
    def _judged(self) -> dict[Dot, bool]:
        return {}

    # -- the document ------------------------------------------------------------------------------

    def complaints(self, document: Json) -> list[str]:
        """All in which a state document breaks the promise."""
        return list(_Inspection(self, document).complaints())


class _Inspection:
    """One document against one oracle."""

    def __init__(self, oracle: Oracle, document: Json) -> None:
        self.oracle = oracle
        self.document = document
        self.entries = {entry["id"]: entry for entry in document["exercises"]}
        self.sets = {row["id"]: row for entry in document["exercises"] for row in entry["sets"]}
        self.homes = {row["id"]: e["id"] for e in document["exercises"] for row in e["sets"]}
        self.alternatives = {
            Register(one["of"], one["entity"], one["field"]): one for one in document["alternatives"]
        }

    def complaints(self) -> Iterator[str]:
        yield from self._existence()
        if self.document["status"] != self.oracle.status():
            yield f"status is {self.document['status']} and not {self.oracle.status()}"
        for register in self.oracle.writes:
            yield from self._register(register)
        for entity in self.oracle.versions:
            yield from self._note(entity)
        for register in self.alternatives:
            if register not in self.oracle.writes and register.field != "note":
                yield f"{register} was never written and has alternatives"

    def _existence(self) -> Iterator[str]:
        oracle = self.oracle
        if self.document["removed"] != oracle.removed:
            yield f"the workout's removed is {self.document['removed']}"
        visible = {set_ for set_ in oracle.sets if oracle.visible(set_)}
        if set(self.sets) != visible:
            yield f"sets {sorted(self.sets)} are shown and not {sorted(visible)}"
        for set_ in visible & set(self.sets):
            if self.homes[set_] != oracle.home(set_):
                yield f"set {set_} is shown in {self.homes[set_]} and not in {oracle.home(set_)}"
        there = {entry for entry in oracle.entries if oracle.there(entry)}
        if set(self.entries) != there:
            yield f"exercises {sorted(self.entries)} are shown and not {sorted(there)}"
        gone = {entity for entity in oracle.sets | oracle.entries if not oracle.there(entity)}
        told = {one["id"] for one in self.document["removed_entities"]}
        if told != gone:
            yield f"removed are {sorted(told)} and not {sorted(gone)}"

    def _register(self, register: Register) -> Iterator[str]:
        standing = self.oracle.standing(register)
        devices = {write.fact.dot.device for write in standing}
        if len(devices) != len(standing):
            yield f"{register} holds more values than devices"
        values = distinct(standing)
        found = self.alternatives.get(register)
        if len(values) > 1 and register.field != "position":
            yield from self._choice(register, values, found)
        elif found is not None:
            yield f"{register} has alternatives, where {[write.value for write in values]} stands"
        if self._is_shown(register):
            shown, expected = self._shown(register), self._expected(register, values)
            if not same(shown, expected):
                yield f"{register} shows {shown!r} and not {expected!r}"

    def _choice(self, register: Register, values: list[Write], found: Json | None) -> Iterator[str]:
        if found is None:
            if self._is_shown(register):
                yield f"{register} has lost all but one of {[write.value for write in values]}"
            return
        told = [found["shown"], *found["others"]]
        expected = [{"value": w.value, "dot": list(w.fact.dot), "at": w.fact.te} for w in values]
        if sorted(told, key=str) != sorted(expected, key=str):
            yield f"{register} offers {told} and not {expected}"
        if found["others"] != [one for one in expected if one != found["shown"]]:
            yield f"{register} does not offer the newest first: {found['others']}"

    def _expected(self, register: Register, values: list[Write]) -> Any:
        if register.field == "exercise_entry":
            return self.oracle.home(register.entity or "")
        return values[0].value

    def _is_shown(self, register: Register) -> bool:
        if register.entity is None:
            typed = self.oracle.standing(register)[0].value
            return register.field not in ("started_at", "ended_at") or typed is not None
        return register.entity in self.sets or register.entity in self.entries

    def _shown(self, register: Register) -> Any:
        field = register.field
        if register.entity is None:
            return self.document.get(field)
        if register.of == "set":
            return self.homes[register.entity] if field == "exercise_entry" else self._of_set(register)
        entry = self.entries[register.entity]
        if field.startswith("plan:"):
            return next(slot["target"] for slot in entry["plan"] if f"plan:{slot['slot']}" == field)
        return entry[field]

    def _of_set(self, register: Register) -> Any:
        value = self.sets[register.entity or ""][register.field]
        unset = register.field == "assisted" and value is False
        return self.oracle.standing(register)[0].value or None if unset else value

    def _note(self, entity: Entity) -> Iterator[str]:
        owner = self.document if entity is None else self.sets.get(entity) or self.entries.get(entity)
        if owner is None:
            return
        values = distinct(unseen(self.oracle.versions[entity]))
        of = "workout" if entity is None else "set" if entity in self.sets else "exercise"
        found = self.alternatives.get(Register(of, entity, "note"))
        texts = {write.value for write in values}
        if len(values) == 1 or found is not None:
            told = {one["value"] for one in [found["shown"], *found["others"]]} if found else {owner["note"]}
            if told != texts or owner["note"] != values[0].value:
                yield f"the note of {entity} shows {owner['note']!r} of {told}, where {texts} stand"
        else:
            yield from self._merged(entity, owner["note"], values)

    def _merged(self, entity: Entity, text: str, values: list[Write]) -> Iterator[str]:
        dots = sorted(list(write.fact.dot) for write in values)
        told = [
            flag["dots"]
            for flag in self.document["flags"]
            if flag["flag"] == "notes_merged" and flag["entity"] == entity
        ]
        if told != [dots]:
            yield f"the note of {entity} has lost one of {dots}: merged are {told}"
        known = {write.value for write in self.oracle.versions[entity] if write not in values}
        old = {line for text_ in known if text_ is not None for line in text_.split("\n")}
        for write in values:
            new = [line for line in write.value.split("\n") if line not in old]
            if lost := [line for line in new if line not in text.split("\n")]:
                yield f"the note of {entity} has lost the lines {lost}"


def _given(of: Register, value: Json, fields: str) -> Iterator[tuple[Register, Any]]:
    """A write for each of these fields that an op gives; what it leaves out it does not write."""
    for field in fields.split():
        if field in value:
            yield of._replace(field=field), value[field]


def unseen(writes: Sequence[Write]) -> list[Write]:
    """The writes that no other of them had seen, the greatest rank first."""
    left = [one for one in writes if not any(other.fact.saw(one.fact) for other in writes)]
    return sorted(left, key=lambda write: write.fact.rank, reverse=True)


def _left(touches: Sequence[Fact], removes: Sequence[Fact]) -> list[Fact]:
    return [touch for touch in touches if not any(remove.saw(touch) for remove in removes)]


def distinct(writes: Sequence[Write]) -> list[Write]:
    """The first write of each value."""
    values: list[Write] = []
    for write in writes:
        if not any(same(write.value, other.value) for other in values):
            values.append(write)
    return values


def same(a: Any, b: Any) -> bool:
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def plain(value: Any) -> Any:
    """A value as JSON numbers mean it: 60.0 is 60."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value
