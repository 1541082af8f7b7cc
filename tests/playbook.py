"""A playbook: ops of some devices on one workout, told in seconds, judged and folded as the log would."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import settings

from fitai.engine.kinds import set_id
from fitai.engine.ops import Op, Record, Stamp
from fitai.engine.workout import Judgement, Limits, Workout, state
from fitai.sync.fold import Folded

# A busy machine is no defect: how long an example takes is not what these tests are about.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

WORKOUT = "018f0000-0000-7000-8000-000000000001"


def named(name: str) -> str:
    """A stable UUID for a readable name."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


class Playbook:
    """One workout and its records so far.

    `book("rest.start", 10, seconds=60)` plays an op dated second 10. Times of the engine are ms, so second 10
    is 10,000. An op's base is the head unless it is given.
    """

    def __init__(self, workout: str = WORKOUT, limits: Limits | None = None) -> None:
        self.folded = Folded(workout, "owner")
        self.limits = limits or Limits()
        self.records: list[Record] = []
        self.counters: dict[int, int] = {}
        self.now = 0

    def op(
        self,
        kind: str,
        value: dict[str, Any],
        entity: str | None = None,
        device: int = 1,
        v: int = 1,
        base: int | None = None,
    ) -> Op:
        n = self.counters[device] = self.counters.get(device, 0) + 1
        return Op(
            n=n,
            base=len(self.records) if base is None else base,
            clock=None,
            kind=kind,
            workout=self.w.id,
            entity=entity,
            value=value,
            at=self.now,
            v=v,
            raw={},
        )

    def __call__(
        self,
        kind: str,
        at: float | None = None,
        *,
        entity: str | None = None,
        device: int = 1,
        v: int = 1,
        base: int | None = None,
        **value: Any,
    ) -> Judgement:
        if at is not None:
            self.now = round(at * 1000)
        op = self.op(kind, value, entity, device, v, base)
        stamp = Stamp(len(self.records) + 1, device, op.n, self.now, op.base or 0)
        judgement = self.folded.judge(op, stamp, self.limits)
        self.take(op, judgement, device)
        return judgement

    def take(self, op: Op, judgement: Judgement, device: int = 1) -> Record:
        place = len(self.records) + 1
        record = Record(
            op=op,
            seq=place,
            rev=place,
            device=device,
            base=op.base or 0,
            beyond=None,
            te=self.now,
            rt=self.now,
            verdict=judgement.verdict,
            code=judgement.code,
            detail=judgement.detail,
        )
        self.folded.take(record)
        self.records.append(record)
        return record

    def create(self, at: float | None = 0, **value: Any) -> Playbook:
        assert self("workout.create", at, **value).verdict == "applied"
        return self

    def exercise(self, name: str, exercise: str = "", at: float | None = None, **value: Any) -> str:
        """Add an exercise entry; its name is also its exercise and its position unless given."""
        value.setdefault("position", name)
        self("exercise.add", at, entity=named(name), exercise=exercise or name, **value)
        return named(name)

    def log(self, entry: str, slot: int | str, at: float | None = None, **value: Any) -> str:
        """Log a working set in the entry of that name, load as (value, unit) or kg; the set's id."""
        load = value.get("load")
        if isinstance(load, int | float):
            value["load"] = {"value": load, "unit": "kg"}
        elif isinstance(load, tuple):
            value["load"] = {"value": load[0], "unit": load[1]}
        value.setdefault("type", "working")
        self("set.log", at, exercise_entry=named(entry), slot=slot, **value)
        return set_id(self.w.id, slot)

    @property
    def w(self) -> Workout:
        return self.folded.workout

    @property
    def state(self) -> dict[str, Any]:
        return state(self.w)

    @property
    def at(self) -> str:
        """Where the machine stands: `active.resting`, `completed`, …"""
        return self.w.state

    def tell(self, story: list[tuple[float, str, dict[str, Any], str]]) -> None:
        """Play (second, kind, value, outcome) rows and compare all outcomes at once, for a readable diff.

        An outcome is the machine's state after the op, with the code in front where the op was void.
        """
        told = []
        for second, kind, value, _ in story:
            judgement = self(kind, second, **value)
            told.append((second, kind, value, f"{judgement.code}: {self.at}" if judgement.code else self.at))
        assert told == story


@pytest.fixture
def book() -> Playbook:
    """An empty workout."""
    return Playbook()


@pytest.fixture
def new_book() -> type[Playbook]:
    """To make several, or one with limits."""
    return Playbook


@pytest.fixture
def id_of():
    """A stable UUID for a readable name."""
    return named
