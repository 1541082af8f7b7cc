"""What a person does in a gym, and what a nasty one would: the same slots on two devices, edits of what
another device removes, completing what another goes on with."""

from __future__ import annotations

import uuid
from random import Random
from typing import Any

from fitai.engine.kinds import set_id
from tests.simulation.device import Device
from tests.simulation.server import Json

KINDS = {
    "slot": 20,
    "set": 8,
    "set.edit": 14,
    "set.remove": 6,
    "set.restore": 2,
    "exercise.add": 4,
    "exercise.edit": 3,
    "exercise.move": 5,
    "exercise.remove": 3,
    "exercise.restore": 1,
    "workout.start": 3,
    "workout.pause": 3,
    "workout.resume": 3,
    "workout.complete": 4,
    "workout.abandon": 2,
    "workout.edit": 5,
    "workout.create": 1,
    "workout.remove": 1,
    "workout.restore": 1,
    "workout.merge": 1,
    "workout.unmerge": 1,
    "rest.start": 2,
    "rest.extend": 1,
    "rest.skip": 1,
    "note.set": 8,
    "conflict.choose": 6,
    "unknown": 2,
    "bad": 2,
}

LINES = ["knee felt fine", "slow negatives", "new belt", "paused reps", "left side weak"]


class Workload:
    """Chooses the next op of a device. All ids that were ever made are known to everybody, so that a device
    may name what it has not heard of yet."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.workouts = [self.id() for _ in range(3)]
        self.entries = {workout: [self.id() for _ in range(2)] for workout in self.workouts}
        self.sets = {workout: [set_id(workout, slot) for slot in range(1, 5)] for workout in self.workouts}

    def id(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def plan(self, workout: str) -> Json:
        """A workout.create with two exercises of two slots each."""
        entries = [
            {
                "entry": entry,
                "exercise": ["squat", "bench press"][i],
                "position": "am"[i],
                "superset": 1,
                "sets": [{"slot": 2 * i + j, "target": {"rest_s": 60}} for j in (1, 2)],
            }
            for i, entry in enumerate(self.entries[workout][:2])
        ]
        value = {"title": "legs", "template": "monday", "plan": entries}
        return {"kind": "workout.create", "workout": workout, "value": value}

    def next(self, device: Device | None) -> Json:
        """{kind, workout, value, entity?}; without a device nothing is looked up."""
        kind = self.random.choices(list(KINDS), list(KINDS.values()))[0]
        workout = self.random.choices(self.workouts, [6, 3, 1])[0]
        op: Json = {"kind": kind, "workout": workout, "value": {}}
        make = getattr(self, "_" + kind.replace(".", "_"), None)
        if make is not None:
            op |= make(workout, device) if kind in ("note.set", "conflict.choose") else make(workout)
        return op

    # -- sets ------------------------------------------------------------------------------------------

    def _result(self, workout: str) -> Json:
        pick = self.random.choice
        value: Json = {
            "exercise_entry": pick(self.entries[workout]),
            "type": pick(["working", "warmup", "amrap"]),
        }
        some = {
            "reps": self.random.randint(1, 12),
            "load": {"value": self.random.randint(20, 200) / 2, "unit": pick(["kg", "lb"])},
            "rpe": self.random.randint(12, 20) / 2,
            "rest_s": pick([None, 30, 90]),
            "done": pick([True, True, False]),
        }
        return value | {name: some[name] for name in sorted(some) if self.random.random() < 0.6}

    def _slot(self, workout: str) -> Json:
        slot = self.random.randint(1, 4)
        entry = self.entries[workout][(slot - 1) // 2]
        return {"kind": "set.log", "value": {**self._result(workout), "slot": slot, "exercise_entry": entry}}

    def _set(self, workout: str) -> Json:
        entity = self.id()
        if self.random.random() < 0.3:
            entity = self.random.choice(self.sets[workout])
        else:
            self.sets[workout].append(entity)
        return {"kind": "set.log", "value": self._result(workout), "entity": entity}

    def _a_set(self, workout: str) -> Json:
        return {"entity": self.random.choice(self.sets[workout])}

    def _set_edit(self, workout: str) -> Json:
        fields = {
            "reps": self.random.randint(1, 12),
            "done": True,
            "type": "failure",
            **self._result(workout),
        }
        field = self.random.choice(sorted(fields))
        return {**self._a_set(workout), "value": {"field": field, "value": fields[field]}}

    _set_remove = _set_restore = _a_set

    # -- exercises ---------------------------------------------------------------------------------------

    def _an_entry(self, workout: str) -> Json:
        return {"entity": self.random.choice(self.entries[workout])}

    def _position(self) -> str:
        return "".join(self.random.choices("abcmnz", k=self.random.randint(1, 3)))

    def _exercise_add(self, workout: str) -> Json:
        entity = self.id()
        self.entries[workout].append(entity)
        return {"entity": entity, "value": {"exercise": "row", "position": self._position()}}

    def _exercise_edit(self, workout: str) -> Json:
        field, value = self.random.choice(
            [("exercise", "deadlift"), ("exercise", "lunge"), ("superset", 2), ("target", {"rest_s": 45})]
        )
        return {**self._an_entry(workout), "value": {"field": field, "value": value}}

    def _exercise_move(self, workout: str) -> Json:
        return {**self._an_entry(workout), "value": {"position": self._position()}}

    _exercise_remove = _exercise_restore = _an_entry

    # -- the workout ---------------------------------------------------------------------------------------

    def _workout_create(self, workout: str) -> Json:
        return self.plan(workout)

    def _workout_complete(self, workout: str) -> Json:
        value: Json = {"rating": self.random.randint(0, 10)}
        return {"value": value | ({"note": self._text()} if self.random.random() < 0.3 else {})}

    def _workout_edit(self, workout: str) -> Json:
        at = 1_780_000_000_000 + self.random.randint(0, 10_000_000)
        field, value = self.random.choice(
            [
                ("title", self.random.choice(["legs", "arms", None])),
                ("tz", "UTC"),
                ("started_at", at),
                ("ended_at", at),
            ]
        )
        return {"value": {"field": field, "value": value}}

    def _workout_merge(self, workout: str) -> Json:
        return {"value": {"into": self.random.choice([other for other in self.workouts if other != workout])}}

    def _rest_start(self, workout: str) -> Json:
        return {"value": {"seconds": self.random.randint(10, 200)}}

    _rest_extend = _rest_start

    # -- notes and choices -----------------------------------------------------------------------------------

    def _text(self) -> str:
        return "\n".join(self.random.choice(LINES) for _ in range(self.random.randint(1, 4)))

    def _note_set(self, workout: str, device: Device | None) -> Json:
        op: Json = {"value": {"text": self._text()}}
        where = self.random.random()
        if where > 0.5:
            op |= self._a_set(workout) if where > 0.75 else self._an_entry(workout)
        parent = None if device is None else last_note(device, workout, op.get("entity"))
        if parent is not None and self.random.random() < 0.8:
            dot, text = parent
            lines = text.split("\n")
            lines[self.random.randrange(len(lines))] = self.random.choice(LINES)
            op["value"] = {"text": "\n".join(lines), "parent": dot}
        return op

    def _conflict_choose(self, workout: str, device: Device | None) -> Json:
        found: list[Any] = []
        if device is not None:
            found = (device.state(workout) or {}).get("alternatives", [])
        if not found:
            return {"value": {"field": "title", "dot": [1, self.random.randint(1, 20)]}}
        alternative = self.random.choice(found)
        dot = self.random.choice(alternative["others"])["dot"]
        entity = {} if alternative["entity"] is None else {"entity": alternative["entity"]}
        return {**entity, "value": {"field": alternative["field"], "dot": dot}}

    # -- what does not fit ------------------------------------------------------------------------------

    def _unknown(self, workout: str) -> Json:
        """A newer app writes what nobody here understands yet."""
        if self.random.random() < 0.5:
            return {"kind": "mood.set", "value": {"mood": self.random.randint(1, 5)}}
        return {"kind": "set.log", "v": 2, **self._a_set(workout), "value": {"tempo": "3-1-1"}}

    def _bad(self, workout: str) -> Json:
        value = self.random.choice([{"field": "reps", "value": -3}, {"field": "colour", "value": 1}, {}])
        return {"kind": "set.edit", **self._a_set(workout), "value": value}


def last_note(device: Device, workout: str, entity: str | None) -> tuple[list[int], str] | None:
    """The dot and text of the newest note that a device knows of something."""
    found = [
        (op, [author, op["n"]])
        for author, op in [
            *((row.device, row.body) for row in device.store.of(workout)),
            *((device.held.author, op) for op in device.store.outbox(workout)),
        ]
        if op["kind"] == "note.set" and op.get("entity") == entity and author is not None
    ]
    return (found[-1][1], found[-1][0]["value"]["text"]) if found else None
