"""Members who train: a workout in their own stream beside the seat in the room, and the view that ticks make.

`truth` is what everybody should see, worked out of the logs alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from fitai.engine.groups import sharing, ticks
from fitai.engine.groups.board import board
from fitai.engine.groups.measure import on_board, progress
from fitai.persistence.groups import Groups
from fitai.persistence.log import Log
from fitai.sync.fold import fold
from tests.gateways.conftest import PATIENCE, Server, Wire, new_id
from tests.gateways.groups.conftest import Scene, Seated

RACE: dict[str, Any] = {"type": "race", "measure": {"of": "reps"}, "limit_ms": 3_600_000}


class Trainee:
    """A seated member with a workout of their own."""

    def __init__(self, seated: Seated, workout: str) -> None:
        self.seat = seated
        self.wire = seated.wire
        self.workout = workout
        self.entry = new_id()

    @property
    def no(self) -> int:
        number: int = self.seat.ready["member"]
        return number

    async def begin(self) -> Trainee:
        """Create and start the workout."""
        await self.wrote(
            self.wire.op("workout.create", self.workout, {"title": "Class"}),
            self.wire.op("workout.start", self.workout),
            self.wire.op(
                "exercise.add", self.workout, {"exercise": "squat", "position": "a"}, entity=self.entry
            ),
        )
        return self

    async def log(self, reps: int, entity: str | None = None, kilos: float = 50, **more: Any) -> str:
        """Log a set; its id."""
        entity = entity or new_id()
        value = {
            "exercise_entry": self.entry,
            "type": "working",
            "reps": reps,
            "load": {"value": kilos, "unit": "kg"},
        }
        await self.wrote(self.wire.op("set.log", self.workout, value, entity=entity, **more))
        return entity

    async def edit(self, entity: str, field: str, value: Any) -> None:
        await self.wrote(
            self.wire.op("set.edit", self.workout, {"field": field, "value": value}, entity=entity)
        )

    async def remove(self, entity: str) -> None:
        await self.wrote(self.wire.op("set.remove", self.workout, entity=entity))

    async def wrote(self, *ops: dict[str, Any]) -> None:
        answer = await self.wire.push(*ops)
        assert answer["ok"], answer
        assert {result["verdict"] for result in answer["results"]} <= {"applied", "merged"}, answer
        self.wire.base = answer["head"]

    def ticks(self) -> list[dict[str, Any]]:
        """Those of this room since the last join."""
        return ticks_of(self.seat)

    def view(self) -> dict[int, Any]:
        return view_of(self.seat)

    def cheers(self) -> dict[tuple[str, str], int]:
        """All that was told since the last join, by whom they are for and kind."""
        counts: dict[tuple[str, str], int] = {}
        for tick in self.ticks():
            for to, kinds in tick.get("cheers", {}).items():
                for kind, n in kinds.items():
                    counts[to, kind] = counts.get((to, kind), 0) + n
        return counts

    async def hears(self, cheers: dict[tuple[str, str], int]) -> None:
        """Wait until so many cheers were told."""
        await self.wire.until(lambda: self.cheers() == cheers)

    async def hears_of(self, kind: str) -> None:
        """Wait until a record of this kind was told."""
        await self.wire.until(lambda: any(record["kind"] == kind for record in self.seat.records()))

    async def sees(self, no: int, **fields: Any) -> None:
        """Wait until this is shown of a member; None: no such field."""

        def shown() -> bool:
            view = self.view().get(no, {})
            return all(view.get(field) == value for field, value in fields.items())

        try:
            await self.wire.until(shown)
        except TimeoutError:
            raise AssertionError(f"member {no} is shown as {self.view().get(no)}, not {fields}") from None


def ticks_of(seated: Seated) -> list[dict[str, Any]]:
    told = seated.wire.packets[seated._since :]
    return [p[2] for p in told if p[0] == "event" and p[1] == "group:tick" and p[2]["group"] == seated.group]


def view_of(seated: Seated) -> dict[int, Any]:
    """What a client shows that applies all that it was told."""
    view: Mapping[int, Any] = {int(no): fields for no, fields in seated.ready["view"].items()}
    for tick in ticks_of(seated):
        view = ticks.apply(view, {int(no): fields for no, fields in tick["members"].items()})
    return dict(view)


async def trainee(
    scene: Scene,
    group: Seated | None = None,
    wire: Wire | None = None,
    server: Server | None = None,
    format_: dict[str, Any] = RACE,
    **more: Any,
) -> Trainee:
    """Somebody who joins with a workout, or founds the group with one."""
    workout = new_id()
    if group is not None:
        seated = await scene.join(group, wire, server, workout=workout, **more)
        return await Trainee(seated, workout).begin()
    seated = await scene.create(wire or await scene.wire(server), format=format_)
    await seated.do("member.workout", {"workout": workout})
    return await Trainee(seated, workout).begin()


async def live(scene: Scene, host: Trainee) -> None:
    """Everybody begins, now."""
    await host.seat.do("group.start", {"in_ms": 1_000})
    later(scene, 1_000)


def later(scene: Scene, ms: int) -> None:
    """Time goes on, on all nodes."""
    for server in scene.servers:
        server.clock.ahead_ms += ms


async def truth(scene: Scene, group: str, here: Iterable[int]) -> dict[int, Any]:
    """What is to be seen of everybody, when these are connected: out of the logs, and nothing else."""
    g = await scene.folded(group)
    here = set(here)
    done = {}
    async with scene.server.db.read() as session:
        users = {row.member: row for row in await Groups(session).members(group)}
        for no, member in g.members.items():
            w, stream = None, users[no].stream
            if member.workout is not None and stream is not None:
                records = await Log(session).workout_records(stream, member.workout)
                w = fold(member.workout, users[no].user or "", records).workout
            done[no] = progress(g, member, w, users[no].body)
    measures = {no: done[no].measure for no, member in g.members.items() if on_board(g, member)}
    rows = board({no: measure for no, measure in measures.items() if measure is not None})
    views = {}
    for no, member in g.members.items():
        unseen = member.gone in ("kicked", "banned", "erased")
        views[no] = sharing.shown(
            member,
            here=member.here and no in here and not unseen,
            progress=None if unseen else done[no],
            row=None if unseen else rows.get(no),
        )
    return {no: _wired(view) for no, view in views.items() if view}


def _wired(view: Mapping[str, Any]) -> dict[str, Any]:
    return dict(view)


async def agree(scene: Scene, trainees: Iterable[Trainee], here: Iterable[int]) -> dict[int, Any]:
    """Wait until all of these see what the logs tell; returns that."""
    trainees = list(trainees)
    expected = await truth(scene, trainees[0].seat.group, here)
    try:
        async with asyncio.timeout(PATIENCE):
            while any(one.view() != expected for one in trainees):
                await asyncio.sleep(0.02)
    except TimeoutError:
        for one in trainees:
            wrong = {
                no: (one.view().get(no), expected.get(no))
                for no in {*one.view(), *expected}
                if one.view().get(no) != expected.get(no)
            }
            assert not wrong, f"member {one.no} sees (is, should be): {wrong}"
    return expected
