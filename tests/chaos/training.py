"""What people do meanwhile: they log sets, correct them, rest, finish, and begin again; on whichever of their
devices is at hand, connected or not."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from random import Random
from typing import Any, Protocol

from fitai.engine.kinds import set_id

Json = dict[str, Any]

ACTS = {"set": 45, "slot": 20, "edit": 20, "rest": 8, "move": 4, "finish": 3}
SLOTS = 8
REST_S = (2, 4)
KNOWN = 40  # sets that a device remembers to correct


class Writes(Protocol):
    """A device: where ops are put, durable at once."""

    async def does(self, kind: str, workout: str, value: Json, entity: str | None) -> None: ...

    @property
    def full(self) -> bool: ...


class Person:
    """Somebody who trains. Both devices are theirs, so both know what the person began on either."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.workout = ""
        self.entries: list[str] = []
        self.sets: list[str] = []
        self.written = 0

    async def trains(self, devices: Sequence[Writes], pause_s: float, seconds: float) -> None:
        """Do something after random pauses of `pause_s` on average, for so long. Every second person goes
        before, and says so: then nothing is written to their log any more, not even by the server, and what
        got lost on the way to a device is not made up for by what follows."""
        loop = asyncio.get_running_loop()
        goes = self._random.random() < 0.5
        end = loop.time() + seconds * (self._random.uniform(0.3, 1.0) if goes else 1.0)
        await asyncio.sleep(self._random.random() * 2 * pause_s)
        while loop.time() < end:
            device = self._random.choice(devices)
            if not device.full:
                await self._act(device)
            await asyncio.sleep(self._random.random() * 2 * pause_s)
        if goes and self.workout:
            await self._write(self._random.choice(devices), "workout.complete", {})

    async def _act(self, device: Writes) -> None:
        if not self.workout:
            await self._begin(device)
            return
        act = self._random.choices(list(ACTS), list(ACTS.values()))[0]
        match act:
            case "finish" if len(self.sets) > 4:
                await self._write(device, "workout.complete", {"rating": self._random.randint(1, 5)})
                self.workout = ""
            case "rest":
                await self._write(device, "rest.start", {"seconds": self._random.randint(*REST_S)})
            case "move":
                value = {"position": self._random.choice("abcdxyz")}
                await self._write(device, "exercise.move", value, self._random.choice(self.entries))
            case "edit" if self.sets:
                edits = [("reps", self._random.randint(1, 12)), ("rpe", 8.5)]
                field, changed = self._random.choice(edits)
                target = self._random.choice(self.sets[-KNOWN:])
                await self._write(device, "set.edit", {"field": field, "value": changed}, target)
            case "slot":
                slot = self._random.randint(1, SLOTS)
                self._knows(set_id(self.workout, slot))
                await self._write(device, "set.log", self._result() | {"slot": slot})
            case _:
                entity = self._id()
                self._knows(entity)
                await self._write(device, "set.log", self._result(), entity)

    async def _begin(self, device: Writes) -> None:
        """A workout with a plan of two exercises."""
        self.workout, self.entries, self.sets = self._id(), [self._id(), self._id()], []
        plan = [
            {
                "entry": entry,
                "exercise": exercise,
                "position": position,
                "sets": [{"slot": slot, "target": {"reps": 8}} for slot in slots],
            }
            for entry, exercise, position, slots in zip(
                self.entries,
                ["squat", "bench press"],
                "am",
                [range(1, SLOTS // 2 + 1), range(SLOTS // 2 + 1, SLOTS + 1)],
                strict=True,
            )
        ]
        await self._write(device, "workout.create", {"title": "Legs", "plan": plan})
        await self._write(device, "workout.start", {})

    def _result(self) -> Json:
        return {
            "exercise_entry": self._random.choice(self.entries),
            "type": "working",
            "reps": self._random.randint(1, 12),
            "load": {
                "value": self._random.choice([60, 82.5, 100]),
                "unit": self._random.choice(["kg", "lb"]),
            },
        }

    def _knows(self, entity: str) -> None:
        if entity not in self.sets:
            self.sets.append(entity)

    async def _write(self, device: Writes, kind: str, value: Json, entity: str | None = None) -> None:
        self.written += 1
        await device.does(kind, self.workout, value, entity)

    def _id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))
