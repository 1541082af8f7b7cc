"""A person in the gym: which op comes next. Ids and numbers from a seed, so that a run can be made again."""

from __future__ import annotations

import random
from typing import Any, NamedTuple
from uuid import UUID

from fitai.bench import profiles


class Act(NamedTuple):
    """An op without its device's part (`n`, `base`)."""

    kind: str
    workout: str
    value: dict[str, Any]
    entity: str | None
    at: int


class Lifter:
    """Begins a workout, does its sets, ends it, begins the next. Times are Unix ms given by the caller."""

    def __init__(self, seed: object) -> None:
        self._random = random.Random(f"lifter {seed}")
        self._workout = ""
        self._entries: list[str] = []
        self._sets = 0

    @property
    def workout(self) -> str:
        """The id of the present workout."""
        return self._workout

    @property
    def tired(self) -> bool:
        """Nothing is left to do in this workout, or there is none."""
        return not self._entries or self._sets >= profiles.SETS_PER_SESSION

    def begin(self, at: int) -> list[Act]:
        """End the present workout, if any, and begin another with its exercises."""
        acts = [Act("workout.complete", self._workout, {"rating": 8}, None, at)] if self._entries else []
        self._workout = self._id(at)
        chosen = self._random.sample(profiles.EXERCISES, profiles.EXERCISES_PER_SESSION)
        self._entries = [self._id(at) for _ in chosen]
        self._sets = 0
        acts.append(Act("workout.create", self._workout, {"title": "Push day"}, None, at))
        acts.append(Act("workout.start", self._workout, {}, None, at))
        for place, (entry, exercise) in enumerate(zip(self._entries, chosen, strict=True)):
            value = {"exercise": exercise, "position": f"a{place}"}
            acts.append(Act("exercise.add", self._workout, value, entry, at))
        return acts

    def log_set(self, at: int) -> Act:
        """The next set of the present workout."""
        chance = self._random
        per_exercise = -(-profiles.SETS_PER_SESSION // len(self._entries))
        entry = self._entries[min(self._sets // per_exercise, len(self._entries) - 1)]
        self._sets += 1
        value = {
            "exercise_entry": entry,
            "type": "working",
            "reps": chance.randint(*profiles.REPS),
            "load": {"value": chance.choice(profiles.LOADS_KG), "unit": "kg"},
            "rpe": chance.choice(profiles.EFFORTS),
        }
        return Act("set.log", self._workout, value, self._id(at), at)

    def offline(self, count: int, at: int) -> list[Act]:
        """At least `count` acts of sessions without a network, up to `at`; a workout is begun with all its
        exercises."""
        acts: list[Act] = []
        while len(acts) < count:
            when = at - 60_000 * (count - len(acts))
            acts += self.begin(when) if self.tired else [self.log_set(when)]
        return acts

    def _id(self, at: int) -> str:
        """A UUID of version 7, as clients make them."""
        bits = self._random.getrandbits
        return str(UUID(int=at << 80 | 7 << 76 | bits(12) << 64 | 2 << 62 | bits(62)))
