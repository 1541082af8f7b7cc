"""Random schedules: up to five devices that write, hear of each other, push and pull in parts.

A schedule is a list of small steps, so that what fails can be made small. Each device has its own view of the
log: the run that it has applied, its own ops, and what it heard from another device directly (a phone that
relays a watch). What an op's author had seen is kept as a full vector clock: the truth by which the tests
measure the compact contexts against. Ids come from small pools, so that everything collides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import strategies as st

from fitai.engine.kinds import set_id
from fitai.engine.ops import Dot, Record
from fitai.sync.place import SERVER
from fitai.sync.registers import KEPT
from tests.sync.oracle import Clock
from tests.sync.stream import Stream

Json = dict[str, Any]

WORKOUT = "0199b000-0000-7000-8000-0000000000aa"
OTHERS = ("0199b000-0000-7000-8000-0000000000bb", "0199b000-0000-7000-8000-0000000000cc")
ENTRIES = tuple(f"0199b000-0000-7000-8000-0000000001e{n}" for n in range(3))
SLOTS = (1, 2)
SETS = (*(set_id(WORKOUT, slot) for slot in SLOTS), "0199b000-0000-7000-8000-0000000002a1")
BEGIN = 1_760_000_000_000
DEVICES = 5


class Step(NamedTuple):
    """What one device does next: `verb`, two choices for it, and seconds that its clock moves on."""

    device: int
    verb: str
    a: int
    b: int
    seconds: int


class Written(NamedTuple):
    """An op as its device wrote it, and all that the device had seen."""

    device: int
    raw: Json
    clock: Clock

    @property
    def dot(self) -> Dot:
        return Dot(self.device, self.raw["n"])


@dataclass
class Device:
    """One device's view. `clock` is all that it has seen, its own ops too; `base` its run of the log."""

    number: int
    now: int = BEGIN
    n: int = 0
    base: int = 0
    clock: dict[int, int] = field(default_factory=dict)
    heard: bool = False
    outbox: list[Written] = field(default_factory=list)


# -- what can be said: verb → (a, b) → the op's fields ---------------------------------------------------

TEXTS = tuple(
    "\n-\n".join(lines)
    for lines in (
        ("one", "two", "three"),
        ("one more", "two", "three"),
        ("one", "two", "three more"),
        ("one", "TWO", "three"),
        ("one less", "two", "three"),
    )
)


def _edit(kind: str, entity: str | None, fields: Mapping[str, Sequence[Any]], b: int) -> Json:
    name = list(fields)[b % len(fields)]
    values = fields[name]
    said: Json = {"kind": kind, "value": {"field": name, "value": values[b // len(fields) % len(values)]}}
    return said if entity is None else {**said, "entity": entity}


_SET_FIELDS: Mapping[str, Sequence[Any]] = {
    "reps": (5, 8, None),
    "load": ({"value": 60, "unit": "kg"}, {"value": 60, "unit": "lb"}, None),
    "exercise_entry": ENTRIES,
    "done": (True, False),
    "rpe": (8, 8.5),
}
_ENTRY_FIELDS: Mapping[str, Sequence[Any]] = {
    "exercise": ("squat", "bench"),
    "superset": (1, None),
    "target": ({"rest_s": 60}, None),
}
_WORKOUT_FIELDS: Mapping[str, Sequence[Any]] = {
    "title": ("A", "B", None),
    "ended_at": (BEGIN + 1, BEGIN + 2, None),
    "tz": ("Europe/Berlin", "Asia/Tokyo"),
}


def _log(a: int, b: int) -> Json:
    value: Json = {"exercise_entry": ENTRIES[b % 3], "type": ("working", "warmup")[b % 2]}
    value |= ({}, {"reps": 5}, {"reps": 8}, {"done": False}, {"rest_s": 60}, {"done": True, "reps": None})[
        b % 6
    ]
    if a % 3 < 2:
        return {"kind": "set.log", "value": {**value, "slot": SLOTS[a % 3]}}
    return {"kind": "set.log", "value": value, "entity": SETS[2]}


def _add(a: int, b: int) -> Json:
    value: Json = {"exercise": ("squat", "bench")[b % 2], "position": ("a0", "a1")[b // 2 % 2]}
    value |= ({}, {"superset": 1}, {"target": {"rest_s": 30}})[b % 3]
    return {"kind": "exercise.add", "value": value, "entity": ENTRIES[a % 3]}


def _create(a: int, b: int) -> Json:
    slots = [{"slot": slot, "target": (None, {"reps": 5})[b % 2]} for slot in SLOTS[: a % 3]]
    plan = [{"entry": ENTRIES[0], "exercise": "squat", "position": "a0", "sets": slots}]
    return {
        "kind": "workout.create",
        "value": ({}, {"title": "A"}, {"plan": plan}, {"title": "B", "plan": plan})[b % 4],
    }


def _note(a: int, b: int) -> Json:
    said: Json = {"kind": "note.set", "value": {"text": TEXTS[b % len(TEXTS)]}}
    return said if a < 4 else {**said, "entity": (SETS[0], ENTRIES[0])[a - 4]}


def _complete(a: int, b: int) -> Json:
    value = ({}, {"rating": 3}, {"rating": 4}, {"note": TEXTS[a % len(TEXTS)]})[b % 4]
    return {"kind": "workout.complete", "value": value}


def _of(kind: str, pool: Sequence[str]) -> Callable[[int, int], Json]:
    return lambda a, b: {"kind": kind, "value": {}, "entity": pool[a % len(pool)]}


def _bare(kind: str) -> Callable[[int, int], Json]:
    return lambda a, b: {"kind": kind, "value": {}}


SAYS: Mapping[str, Callable[[int, int], Json]] = {
    "log": _log,
    "edit set": lambda a, b: _edit("set.edit", SETS[a % 3], _SET_FIELDS, b),
    "remove set": _of("set.remove", SETS),
    "restore set": _of("set.restore", SETS),
    "add": _add,
    "edit exercise": lambda a, b: _edit("exercise.edit", ENTRIES[a % 3], _ENTRY_FIELDS, b),
    "move": lambda a, b: {
        "kind": "exercise.move",
        "value": ({"position": "a5"}, {"position": "a6", "superset": 2})[b % 2],
        "entity": ENTRIES[a % 3],
    },
    "remove exercise": _of("exercise.remove", ENTRIES),
    "restore exercise": _of("exercise.restore", ENTRIES),
    "create": _create,
    "edit workout": lambda a, b: _edit("workout.edit", None, _WORKOUT_FIELDS, b),
    "start": _bare("workout.start"),
    "pause": _bare("workout.pause"),
    "resume": _bare("workout.resume"),
    "complete": _complete,
    "abandon": _bare("workout.abandon"),
    "remove workout": _bare("workout.remove"),
    "restore workout": _bare("workout.restore"),
    "merge": lambda a, b: {"kind": "workout.merge", "value": {"into": OTHERS[b % 2]}},
    "unmerge": _bare("workout.unmerge"),
    "rest": lambda a, b: {"kind": "rest.start", "value": {"seconds": 60}},
    "extend": lambda a, b: {"kind": "rest.extend", "value": {"seconds": (-30, 30)[b % 2]}},
    "skip": _bare("rest.skip"),
    "note": _note,
    "unknown": lambda a, b: {"kind": "set.celebrate", "value": {}, "entity": SETS[a % 3]},
    "newer": lambda a, b: {"kind": "set.edit", "value": {"patch": {}}, "entity": SETS[a % 3], "v": 2},
    "bad": lambda a, b: {"kind": "set.edit", "value": {"field": "reps", "value": -1}, "entity": SETS[a % 3]},
}
"""Choosing and a note's parent depend on what the device has seen, see `World.say`."""

PLUMBING = ("sync", "push", "pull", "hear")


THEMES: Sequence[Sequence[str]] = (
    ("log", "edit set", "remove set", "restore set", "choose"),
    ("log", "edit set", "remove exercise", "restore exercise", "move", "add", "edit exercise", "choose"),
    ("log", "start", "pause", "resume", "complete", "abandon", "server"),
    ("log", "rest", "extend", "skip", "pause", "resume", "complete"),
    ("note", "choose", "complete", "remove set", "remove exercise"),
    ("create", "edit workout", "choose", "remove workout", "restore workout", "merge", "unmerge", "move"),
)


@st.composite
def steps(draw: st.DrawFn, most: int = 50) -> list[Step]:
    """Schedules of so many steps at most. Each is about a few verbs only, so that they meet often."""
    theme = draw(st.sampled_from(THEMES))
    verbs = draw(st.lists(st.sampled_from(theme), min_size=2, max_size=5, unique=True))
    verbs += draw(st.lists(st.sampled_from([*SAYS, "choose", "server"]), max_size=2))
    step = st.builds(
        Step,
        device=st.integers(1, draw(st.integers(2, DEVICES))),
        verb=st.one_of(st.sampled_from(verbs), st.sampled_from(verbs), st.sampled_from(PLUMBING)),
        a=st.integers(0, 5),
        b=st.integers(0, 29),
        seconds=st.sampled_from([0, 1, 40, 0, 3_600, -3_600]),
    )
    count = draw(st.integers(1, most))
    return draw(st.lists(step, min_size=count, max_size=count))


class World:
    """Devices, and the stream that all of them write to. `written` are all ops as they were said.

    Of what was replaced a register remembers so many writes only, and so nothing is written more often than
    that: what can still be chosen would be for the order of arrival to say, as limits are.
    """

    def __init__(self, schedule: Sequence[Step], *, begun: bool = True) -> None:
        self.stream = Stream()
        self.devices = {number: Device(number) for number in range(1, DEVICES + 1)}
        self.written: dict[Dot, Written] = {}
        self.writes: Counter[tuple[str | None, str]] = Counter()
        self.server = Device(SERVER)
        if begun:
            self._begin()
        for step in schedule:
            self.take(step)
        for device in self.devices.values():
            self.push(device, len(device.outbox))

    def _begin(self) -> None:
        first = self.devices[1]
        for verb, a, b in (("create", 2, 2), ("add", 1, 1), ("log", 0, 3), ("note", 0, 0)):
            self.say(first, SAYS[verb](a, b))
        self.push(first, len(first.outbox))
        for device in self.devices.values():
            self.pull(device, self.stream.head)

    @property
    def records(self) -> list[Record]:
        """The records of the workout that the schedules are about: all of the stream's."""
        return self.stream.records

    @property
    def clocks(self) -> dict[Dot, Clock]:
        """What the author of every op had seen."""
        return {dot: one.clock for dot, one in self.written.items()}

    def take(self, step: Step) -> None:
        """Do one step."""
        device = self.devices[step.device]
        device.now += step.seconds * 1000
        if step.verb == "push":
            self.push(device, step.a + 1)
        elif step.verb == "pull":
            self.pull(device, step.b // 3 + 1)
        elif step.verb == "sync":
            self.push(device, len(device.outbox))
            self.pull(device, self.stream.head)
        elif step.verb == "hear":
            self.hear(device, self.devices[step.a % DEVICES + 1], whole=step.b % 2 == 0)
        elif step.verb == "server":
            self.act(step)
        elif step.verb == "choose":
            self.choose(device, step.a * 30 + step.b, known=step.seconds != 0)
        else:
            said = SAYS[step.verb](step.a, step.b)
            if step.verb == "note" and step.seconds >= 0:
                self._parent(device, said)
            self.say(device, said)

    def say(self, device: Device, said: Json) -> None:
        """Write an op into the outbox, its context as base or, where the device heard more, as clock."""
        names = _chooseable({"value": {}, **said})
        if any(self.writes[name] >= KEPT for name in names):
            return
        self.writes.update(names)
        device.n += 1
        clock = dict(device.clock)
        raw: Json = {"n": device.n, "workout": WORKOUT, "at": device.now, **said}
        if device.heard:
            raw["clock"] = {str(number): n for number, n in clock.items()}
        else:
            raw["base"] = device.base
        written = Written(device.number, raw, clock)
        device.clock[device.number] = device.n
        self.written[written.dot] = written
        device.outbox.append(written)

    def push(self, device: Device, most: int) -> None:
        """Push the first ops of the outbox; before them whatever they heard of that is not in the log yet."""
        for written in device.outbox[:most]:
            for number, n in written.clock.items():
                if number != device.number:
                    other = self.devices.get(number)
                    while other is not None and other.outbox and other.outbox[0].raw["n"] <= n:
                        self.push(other, 1)
            self.stream.append(device.number, written.raw)
            device.outbox.remove(written)

    def pull(self, device: Device, most: int) -> None:
        """Apply the next records of the log."""
        for record in self.records[device.base : device.base + most]:
            device.base = record.seq
            device.clock[record.device] = max(record.op.n, device.clock.get(record.device, 0))

    def hear(self, device: Device, other: Device, *, whole: bool) -> None:
        """Learn from another device, past the server, all that it knows, or only what it wrote itself."""
        if device is other:
            return
        device.heard = True
        heard = other.clock if whole else {other.number: other.n}
        for number, n in heard.items():
            device.clock[number] = max(n, device.clock.get(number, 0))

    def act(self, step: Step) -> None:
        """An op of the server's own, at the head of the log."""
        server = self.server
        self.pull(server, self.stream.head)
        server.now = max([BEGIN, *(record.te for record in self.records)])
        self.say(server, SAYS[("pause", "complete", "abandon")[step.a % 3]](0, 0))
        self.push(server, 1)

    def choose(self, device: Device, which: int, *, known: bool) -> None:
        """Choose some value or text, which the device knows of or not."""
        ops = [one for one in self.written.values() if not known or self._knows(device, one)]
        choices = [(one.dot, *named) for one in ops for named in _chooseable(one.raw)]
        if choices:
            dot, entity, name = choices[which % len(choices)]
            said: Json = {"kind": "conflict.choose", "value": {"field": name, "dot": list(dot)}}
            self.say(device, said if entity is None else {**said, "entity": entity})

    def _knows(self, device: Device, one: Written) -> bool:
        return one.raw["n"] <= device.clock.get(one.device, 0)

    def _parent(self, device: Device, said: Json) -> None:
        versions = [
            one.dot
            for one in self.written.values()
            if self._knows(device, one)
            and one.raw["kind"] == "note.set"
            and one.raw.get("entity") == said.get("entity")
        ]
        if versions:
            said["value"]["parent"] = list(versions[-1])


def _chooseable(raw: Json) -> list[tuple[str | None, str]]:
    value, entity = raw["value"], raw.get("entity")
    if raw["kind"].endswith(".edit") and raw.get("v", 1) == 1:
        return [(entity, value["field"])]
    if raw["kind"] == "set.log":
        entity = entity or set_id(WORKOUT, value["slot"])
        return [(entity, name) for name in ("type", "reps", "exercise_entry", "done") if name in value]
    if raw["kind"] == "note.set" or (raw["kind"] == "workout.complete" and "note" in value):
        return [(entity, "note")]
    if raw["kind"] == "conflict.choose":
        return [(entity, value["field"])]
    return []
