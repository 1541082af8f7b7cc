"""How a case is told: what devices said, what each had seen, and by hand what must come of it.

    both("Two devices type one set's reps apart", "set edited", …why…,
         phone=[edit("s1", 100, reps=8)],
         watch=[edit("s1", 90, reps=6)],
         alternatives=[("s1.reps", [("phone", 8), ("watch", 6)], "later")])

Everybody has seen `start`. What `phone`, `watch` and `tablet` say after it, they say apart: none has seen
what another says there. `then` is a list of (device, op), each by somebody who has seen all before. `both`
makes two cases, one for each order in which the phone's ops and the others' reach the log, and the two must
give one state: who arrives first decides nothing. `told` takes a start and what follows it by devices that
see everything: there the order is the point. `contexts` leaves it to each step what it had seen.

Times are seconds after BEGIN. Expectations are names and values, so that they can be read: what is shown in
part (`shows`), what is there, gone, an alternative, a flag, refused or waiting in whole.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fitai.engine.combine import combined
from fitai.engine.kinds import set_id
from fitai.engine.ops import Record
from fitai.engine.workout import Limits, digest, state
from fitai.sync.fold import fold
from tests.sync.stream import OWNER, Stream

Json = dict[str, Any]

BEGIN = 1_760_000_000_000
DEVICES = {"server": 0, "phone": 1, "watch": 2, "tablet": 3, "copy": 4}
DEVICE_NAMES = {number: name for name, number in DEVICES.items()}
WORKOUTS = {
    "push": "0199b000-0000-7000-8000-000000000001",
    "pull": "0199b000-0000-7000-8000-000000000002",
    "legs": "0199b000-0000-7000-8000-000000000003",
}
WORKOUT = WORKOUTS["push"]
ROWS: Mapping[str, str] = {
    "set added": "all kept; a planned slot's sets meet in one",
    "set edited": "a register per field; shown: causally last, then effective time, then (device, n)",
    "set removed": "removes only what it had seen; a concurrent edit or completion wins",
    "exercise removed": "removes only what it had seen; a set or an edit beside it keeps the exercise",
    "where a set stands": "its exercise is chosen among those that are there before time decides",
    "order of exercises": "its own register; never a conflict; move against remove is removed",
    "exercise edited": "a register per field, superset and target too",
    "workout edited": "a register per field; creating an existing workout writes its fields",
    "workout removed": "removes only what it had seen; the server's own ops keep nothing alive",
    "two workouts": "both kept; a merge is an alias and reversible",
    "transitions": "completed > abandoned > active > paused; an edge illegal in its own context is void",
    "complete or continue": "completed; sets beside it are late; a set that had seen the end reopens",
    "abandoned with sets": "completed with a flag",
    "server yields": "the server's own op has no effect beside any op of a person",
    "note": "three-way line merge on a common parent; overlap keeps both",
    "choose": "the chooser's own new write of a value that had been written",
    "waiting": "a late target, an unknown kind and a newer schema are kept and take effect when known",
    "clocks": "a clock years off changes what is shown, never what exists",
    "contexts": "base, full clocks and forks say what an op had seen",
    "refused": "a void op takes its place and changes nothing",
}


class Said(NamedTuple):
    """One op before it has a counter: entity and workout by name, time in seconds after BEGIN."""

    kind: str
    at: float
    value: Json
    entity: str | None = None
    workout: str = "push"
    v: int = 1


class Step(NamedTuple):
    """An op of a device that had seen the log up to `base`, or what its full `clock` names."""

    device: str
    said: Said
    base: int | None = None
    clock: dict[str, int] | None = None


Alternative = tuple[str, list[tuple[str, Any]], str]


@dataclass
class Case:
    """A case and what is expected of it; see the module's first lines. `order` says who arrived first."""

    name: str
    row: str
    why: str
    order: str
    steps: Sequence[Step]
    status: str = "active"
    there: Mapping[str, Sequence[str]] = field(default_factory=lambda: {"bench": ["s1"], "squat": []})
    gone: Sequence[str] = ()
    shows: Mapping[str, Any] = field(default_factory=dict)
    alternatives: Sequence[Alternative] = ()
    flags: Sequence[Json] = ()
    refused: Sequence[tuple[str, str, str]] = ()
    waits: Sequence[tuple[str, str]] = ()
    combined: Mapping[str, Any] | None = None
    limits: Limits | None = None
    shown_of: str = "push"


# -- what devices say ----------------------------------------------------------------------------------


def id_of(name: str) -> str:
    """A stable id for a readable name; `slot 1` is the set of that planned slot."""
    if name.startswith("slot "):
        return set_id(WORKOUT, name.removeprefix("slot "))
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def op(kind: str, at: float, entity: str | None = None, **value: Any) -> Said:
    """Any op; `v` and `workout` may be given too."""
    workout, v = value.pop("workout", "push"), value.pop("v", 1)
    return Said(kind, at, value, entity, workout, v)


def edit(name: str, at: float, **fields: Any) -> Said:
    """set.edit, exercise.edit or workout.edit of the one field that is given."""
    ((which, value),) = fields.items()
    if which == "exercise_entry":
        value = id_of(value)
    kind = "workout" if name == "workout" else "exercise" if name in ENTRIES else "set"
    return Said(f"{kind}.edit", at, {"field": which, "value": value}, None if kind == "workout" else name)


def log(name: str | None, at: float, into: str = "bench", **value: Any) -> Said:
    """set.log; a number for `load` is kg. Without a name the slot names the set."""
    workout = value.pop("workout", "push")
    if isinstance(value.get("load"), int | float):
        value["load"] = kg(value["load"])
    return Said("set.log", at, {"exercise_entry": id_of(into), "type": "working", **value}, name, workout)


def add(name: str, at: float, position: str, **value: Any) -> Said:
    """exercise.add; its name is also its exercise."""
    return op("exercise.add", at, name, exercise=name, position=position, **value)


def remove(name: str, at: float) -> Said:
    return op(f"{'exercise' if name in ENTRIES else 'set'}.remove", at, name)


def restore(name: str, at: float) -> Said:
    return op(f"{'exercise' if name in ENTRIES else 'set'}.restore", at, name)


def move(name: str, at: float, position: str, **more: Any) -> Said:
    return op("exercise.move", at, name, position=position, **more)


def note(text: str, at: float, parent: tuple[str, int] | None = None, on: str | None = None) -> Said:
    """note.set; `parent` as (device's name, n)."""
    value: Json = {"text": text}
    if parent is not None:
        value["parent"] = [DEVICES[parent[0]], parent[1]]
    return Said("note.set", at, value, on)


def choose(name: str, at: float, which: str, dot: tuple[str, int]) -> Said:
    """conflict.choose of what the op (device's name, n) wrote."""
    value = {"field": which, "dot": [DEVICES[dot[0]], dot[1]]}
    return Said("conflict.choose", at, value, None if name == "workout" else name)


def kg(value: float) -> Json:
    return {"value": value, "unit": "kg"}


def lb(value: float) -> Json:
    return {"value": value, "unit": "lb"}


ENTRIES = ("bench", "squat", "row", "dip")
TRAINING = (
    op("workout.create", 0, title="Push"),
    add("bench", 1, "a0"),
    add("squat", 2, "a1"),
    op("workout.start", 10),
    log("s1", 20, reps=5, load=60),
)
"""What most cases start from: the phone's ops 1 to 5."""

PLANNED = (
    op(
        "workout.create",
        0,
        title="Push",
        plan=[
            {
                "entry": id_of("bench"),
                "exercise": "bench",
                "position": "a0",
                "sets": [{"slot": 1}, {"slot": 2}],
            },
            {"entry": id_of("squat"), "exercise": "squat", "position": "a1"},
        ],
    ),
    op("workout.start", 10),
)
"""A workout with two planned slots: the phone's ops 1 and 2. Nothing is logged yet."""


# -- cases ---------------------------------------------------------------------------------------------


def both(
    name: str,
    row: str,
    why: str,
    *,
    start: Sequence[Said] = TRAINING,
    then: Sequence[tuple[str, Said]] = (),
    phone: Sequence[Said] = (),
    watch: Sequence[Said] = (),
    tablet: Sequence[Said] = (),
    waits_if_first: Sequence[tuple[str, str]] = (),
    **expected: Any,
) -> list[Case]:
    """Two cases: the phone's ops reach the log first, or last. `waits_if_first` is what of the phone's waits
    when it is first there."""
    others = {"watch": watch, "tablet": tablet}
    apart = {device: said for device, said in others.items() if said}
    assert phone and apart, name
    begun = [Step("phone", said, seen) for seen, said in enumerate(start)]
    mine = [Step("phone", said, len(start)) for said in phone]
    theirs = [Step(device, said, len(start)) for device, all_ in apart.items() for said in all_]
    backwards = [Step(d, said, len(start)) for d, all_ in reversed(apart.items()) for said in all_]
    count = len(start) + len(mine) + len(theirs)
    after = [Step(device, said, count + number) for number, (device, said) in enumerate(then)]
    other = next(iter(apart))
    orders = (
        (f"{name}; the phone's arrives first", "phone first", [*mine, *theirs]),
        (f"{name}; the {other}'s arrives first", "phone last", [*backwards, *mine]),
    )
    cases = [
        Case(title, row, why, order, [*begun, *apart_steps, *after], **expected)
        for title, order, apart_steps in orders
    ]
    cases[0].waits = waits_if_first or cases[0].waits
    return cases


def told(
    name: str,
    row: str,
    why: str,
    *steps: tuple[str, Said],
    start: Sequence[Said] = TRAINING,
    **expected: Any,
) -> list[Case]:
    """One case in which every op has seen all before it."""
    everything = [*(("phone", said) for said in start), *steps]
    played = [Step(device, said, seen) for seen, (device, said) in enumerate(everything)]
    return [Case(name, row, why, "seen", played, **expected)]


def contexts(
    name: str, row: str, why: str, *steps: Step, start: Sequence[Said] = TRAINING, **expected: Any
) -> list[Case]:
    """One case whose steps say themselves what each had seen."""
    begun = [Step("phone", said, seen) for seen, said in enumerate(start)]
    return [Case(name, row, why, expected.pop("order", "seen"), [*begun, *steps], **expected)]


def flag(name: str, of: str | None = None, **more: Any) -> Json:
    """A flag as it is read here: devices and ids by name. `of` names what it is about."""
    if of is None:
        return {"flag": name, **more}
    return {"flag": name, "about": of, **more}


def settled(of: str, removed: Sequence[str], kept: Sequence[str]) -> Json:
    """The flag of something that was removed on some devices and written on others."""
    return flag("removed_and_edited", of, removed=list(removed), kept=list(kept))


# -- playing -------------------------------------------------------------------------------------------


def play(case: Case) -> list[Record]:
    """The records of a case, placed by the real placer."""
    stream = Stream(case.limits)
    counters: dict[str, int] = {}
    for step in case.steps:
        n = counters[step.device] = counters.get(step.device, 0) + 1
        stream.append(DEVICES[step.device], _raw(step, n))
    return stream.records


def _raw(step: Step, n: int) -> Json:
    said = step.said
    raw: Json = {"n": n}
    if step.clock is None:
        raw["base"] = step.base
    else:
        raw["clock"] = {str(DEVICES[device]): upto for device, upto in step.clock.items()}
    raw |= {"kind": said.kind, "workout": WORKOUTS[said.workout]}
    if said.entity is not None:
        raw["entity"] = id_of(said.entity)
    raw |= {"value": said.value, "at": BEGIN + round(said.at * 1000)}
    return raw if said.v == 1 else {**raw, "v": said.v}


def vector(case: Case) -> Json:
    """The case as clients get it. Raises AssertionError where the fold is not what was expected by hand."""
    records = play(case)
    document = _document(records, WORKOUTS[case.shown_of])
    Readable(records, document).check(case)
    out: Json = {
        "name": case.name,
        "row": case.row,
        "order": case.order,
        "why": case.why,
        "workout": WORKOUTS[case.shown_of],
        "records": [wire(record) for record in records],
        "state": document,
        "digest": digest(document),
    }
    if case.combined is not None:
        out["combined"] = _combined(records, case)
    return out


def wire(record: Record) -> Json:
    """The record as every device sees it, its fields in an order to be read."""
    told = record.wire()
    assert set(told) <= set(_FIELDS), told
    return {name: told[name] for name in _FIELDS if name in told}


_FIELDS = (
    *(
        "seq",
        "rev",
        "device",
        "n",
        "base",
        "clock",
        "context",
        "kind",
        "v",
        "workout",
        "entity",
        "value",
        "at",
    ),
    *("te", "verdict", "code", "detail"),
)


def _document(records: Sequence[Record], workout: str) -> Json:
    return state(fold(workout, OWNER, [r for r in records if r.op.workout == workout]).workout)


def _combined(records: Sequence[Record], case: Case) -> Json:
    assert case.combined is not None
    names = sorted({record.op.workout for record in records})
    folds = {name: fold(name, OWNER, [r for r in records if r.op.workout == name]) for name in names}
    target = WORKOUTS[case.shown_of]
    sources = [folds[name].workout for name in names if folds[name].workout.merged_into == target]
    document = state(combined(folds[target].workout, sources))
    sets = {_entry_name(e["id"]): [_set_name(s["id"]) for s in e["sets"]] for e in document["exercises"]}
    assert sets == case.combined["there"], f"{case.name}: {sets}"
    for key, value in case.combined.get("shows", {}).items():
        assert _at(document, key) == value, f"{case.name}: combined {key} is {_at(document, key)!r}"
    return {"sources": [w.id for w in sources], "state": document, "digest": digest(document)}


# -- what is expected, against what came ---------------------------------------------------------------

_SET_NAMES = [*(f"s{n}" for n in range(1, 10)), *(f"slot {n}" for n in range(1, 4))]


def _entry_name(id_: str) -> str:
    return next((name for name in ENTRIES if id_of(name) == id_), id_)


def _set_name(id_: str) -> str:
    return next((name for name in _SET_NAMES if id_of(name) == id_), id_)


def _at(document: Json, path: str) -> Any:
    found: Any = document
    for part in path.split("."):
        found = found[int(part)] if isinstance(found, list) else found[part]
    return found


class Readable:
    """A state document in the words of the cases."""

    def __init__(self, records: Sequence[Record], document: Json) -> None:
        self.records = {record.dot: record for record in records}
        self.document = document
        self.entries = {_entry_name(entry["id"]): entry for entry in document["exercises"]}
        self.sets = {_set_name(s["id"]): s for entry in document["exercises"] for s in entry["sets"]}

    def check(self, case: Case) -> None:
        """Compare everything that the case expects; the difference is the message."""
        expected = {
            "status": case.status,
            "there": {name: list(sets) for name, sets in case.there.items()},
            "gone": sorted(case.gone),
            "shows": dict(case.shows),
            "alternatives": sorted(_plain(a) for a in case.alternatives),
            "flags": sorted((_sorted(f) for f in case.flags), key=str),
            "refused": list(case.refused),
            "waits": list(case.waits),
        }
        came = {
            "status": self.document["status"],
            "there": {n: [_set_name(s["id"]) for s in e["sets"]] for n, e in self.entries.items()},
            "gone": sorted(self._name(e["id"]) for e in self.document["removed_entities"]),
            "shows": {path: self.shown(path) for path in case.shows},
            "alternatives": sorted(self.alternatives()),
            "flags": sorted((_sorted(self.flag(f)) for f in self.document["flags"]), key=str),
            "refused": self._verdicts("void", lambda r: (self._who(r.dot), r.op.kind, r.code)),
            "waits": self._verdicts("deferred", lambda r: (self._who(r.dot), r.op.kind)),
        }
        wrong = {key: (expected[key], came[key]) for key in expected if expected[key] != came[key]}
        assert not wrong, f"{case.name} ({case.order}): " + "; ".join(
            f"{key} should be {should!r} and is {is_!r}" for key, (should, is_) in wrong.items()
        )
        assert list(came["there"]) == list(expected["there"]), f"{case.name}: order {list(came['there'])}"

    def shown(self, path: str) -> Any:
        """`s1.reps`, `bench.position` or a field of the workout; times in seconds after BEGIN."""
        name, _, rest = path.partition(".")
        owner = self.sets.get(name) or self.entries.get(name)
        value = _at(self.document, path) if owner is None else _at(owner, rest)
        if path.endswith(".dot"):
            return self._who(value)
        dated = path.endswith((".at", "_at")) and value is not None
        return (value - BEGIN) / 1000 if dated else value

    def alternatives(self) -> list[Any]:
        """[(what, [(device, value), …] shown first, why)]; each dot must have the time of its op."""
        out = []
        for found in self.document["alternatives"]:
            values = [found["shown"], *found["others"]]
            for one in values:
                assert one["at"] == self.records[tuple(one["dot"])].te, found
            name = "workout" if found["entity"] is None else self._name(found["entity"])
            assert found["of"] == _kind_of(name), found
            told = [(self._who(one["dot"]), self._value(found["field"], one["value"])) for one in values]
            out.append(_plain((f"{name}.{found['field']}", told, found["why"])))
        return out

    def flag(self, flag: Json) -> Json:
        """The flag with devices and ids by name, and without what can be looked up by its dots."""
        out = {}
        for key, value in flag.items():
            if key == "of":
                out["about"] = self._name(flag["entity"]) if flag.get("entity") else value
            elif key == "sets":
                out[key] = sorted(_set_name(id_) for id_ in value)
            elif key == "devices":
                out[key] = [DEVICE_NAMES[number] for number in value]
            elif key == "dots":
                out[key] = [self._who(dot) for dot in value]
            elif key == "edges":
                out[key] = [[edge["edge"], self._dated(edge)] for edge in value]
            elif key in ("removed", "kept"):
                out[key] = [self._dated(one) for one in value]
            elif key != "entity":
                out[key] = value
        return out

    def _dated(self, one: Json) -> str:
        assert one["at"] == self.records[tuple(one["dot"])].te, one
        return self._who(one["dot"])

    def _value(self, which: str, value: Any) -> Any:
        if which == "exercise_entry":
            return _entry_name(value)
        if which in ("started_at", "ended_at") and value is not None:
            return (value - BEGIN) / 1000
        return value

    def _name(self, id_: str) -> str:
        name = _entry_name(id_)
        return _set_name(id_) if name == id_ else name

    def _who(self, dot: Any) -> str:
        return DEVICE_NAMES[dot[0]]

    def _verdicts(self, verdict: str, tell: Callable[[Record], Any]) -> list[Any]:
        return [tell(record) for record in self.records.values() if record.verdict.value == verdict]


def _kind_of(name: str) -> str:
    return "workout" if name == "workout" else "exercise" if name in ENTRIES else "set"


def _plain(alternative: Any) -> Any:
    what, values, why = alternative
    return (what, [list(value) for value in values], why)


def _sorted(flag: Json) -> Json:
    return dict(sorted(flag.items()))
