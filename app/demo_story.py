"""The workout that the demo plays, what goes wrong in it, and what its devices do apart."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fitai.app.demo_device import Device, NothingCame
from fitai.app.demo_link import Link
from fitai.app.demo_merge import alternative_words, flag_words
from fitai.app.demo_screen import BURST_S, Screen
from fitai.app.demo_server import ServerProcess
from fitai.app.demo_view import records_due
from fitai.engine.kinds import set_id
from fitai.engine.workout import digest

Json = dict[str, Any]

WEEK_MS = 7 * 86_400_000
SET_MS = 90_000  # between the sets of last week's workout
LONG_REST_S = 3  # long enough to kill a server in it and start another
IN_FLIGHT_S = 0.004
SET_APART_S = 0.25  # more than two devices' clocks, each corrected by a message's way, are apart
INSIGHTS_S = 2.0  # the longest wait for insights, which follow after the acknowledgement

Load = tuple[int, float]  # reps, kg


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(slots=True)
class Plan:
    """A workout's id and those of its exercise entries."""

    workout: str = field(default_factory=_new_id)
    squat: str = field(default_factory=_new_id)
    bench: str = field(default_factory=_new_id)
    row: str = field(default_factory=_new_id)

    def creation(self, title: str, sets: Mapping[str, int]) -> Json:
        """The value of workout.create: so many slots for each exercise, bench and row as a superset."""
        entries = [
            (self.squat, "squat", "a", None),
            (self.bench, "bench press", "b", "A"),
            (self.row, "barbell row", "c", "A"),
        ]
        plan = [
            {
                "entry": entry,
                "exercise": exercise,
                "position": position,
                "sets": [{"slot": self.slot(entry, number)} for number in range(1, sets[exercise] + 1)],
                **({"superset": superset} if superset else {}),
            }
            for entry, exercise, position, superset in entries
        ]
        return {"title": title, "units": "kg", "plan": plan}

    def slot(self, entry: str, number: int) -> str:
        """A slot's name, which phone and watch both know."""
        name = {self.squat: "squat", self.bench: "bench", self.row: "row"}[entry]
        return f"{name}-{number}"


@dataclass(slots=True)
class Stage:
    """Everybody who plays, and what happened to them.

    met                 today's state document when the devices had met and nobody had chosen yet
    rests, kills, cuts  that the story has produced
    """

    user: str
    server: ServerProcess
    phone: Device
    watch: Device
    links: Mapping[str, Link]
    screen: Screen
    before: Plan = field(default_factory=Plan)
    today: Plan = field(default_factory=Plan)
    met: Json = field(default_factory=dict)
    rests: int = 0
    kills: int = 0
    cuts: int = 0

    @property
    def devices(self) -> tuple[Device, Device]:
        """The phone and the watch."""
        return self.phone, self.watch

    async def agreed(self) -> None:
        """Wait until all that was written is acknowledged and on both devices, with what follows from it."""
        for device in self.devices:
            await device.reached(0)
        head = max(device.cursor for device in self.devices)
        for device in self.devices:
            await device.reached(head)
        log = await self.phone.client.records()
        due = records_due(self.user, self.before.workout, self.today.workout, log)
        with suppress(NothingCame):  # the proof at the end will say so
            for device in self.devices:
                await device.until(partial(self._told, device, due), "it knew the records", INSIGHTS_S)
        await asyncio.sleep(BURST_S)

    def _told(self, device: Device, due: Json) -> bool:
        return device.records_told(self.today.workout) == due

    async def cut(self, *devices: Device) -> None:
        """Break the connections of devices, and wait until they have noticed."""
        for device in devices:
            self.cuts += 1
            self.links[device.name].cut()
        for device in devices:
            await device.until(partial(_is_away, device), "it noticed")

    async def mend(self, *devices: Device) -> None:
        """Their network is back, and they are told so as a phone's system would."""
        for device in devices:
            self.links[device.name].mend()
        for device in devices:
            await device.client.connect()

    async def rest_over(self, op: Json, author: Device) -> None:
        """Wait until both devices have heard that the rest which `op` began is over."""
        self.rests += 1
        for device in self.devices:
            await device.until(partial(_knows_rest_over, device, author, op), "the rest was over")


async def play(stage: Stage) -> None:
    """All acts."""
    await last_week(stage)
    await under_way(stage)
    await watch_away(stage)
    await lost_acknowledgement(stage)
    await killed_server(stage)
    await basement(stage)
    await meeting(stage)
    await choice(stage)


async def last_week(stage: Stage) -> None:
    """A workout that the phone logged without a network a week ago: something to beat."""
    stage.screen.act("Last week, logged on the phone without a network")
    phone, plan = stage.phone, stage.before
    start = stage.screen.now_ms() - WEEK_MS
    stage.screen.quiet = True
    await phone.write(
        plan.workout,
        "workout.create",
        plan.creation("Strength", {"squat": 1, "bench press": 1, "barbell row": 1}),
        at=start,
    )
    await phone.write(plan.workout, "workout.start", {}, at=start)
    lifts: list[tuple[str, Load]] = [(plan.squat, (5, 100)), (plan.bench, (8, 60)), (plan.row, (8, 55))]
    for place, (entry, (reps, kg)) in enumerate(lifts, 1):
        await log_set(phone, plan, entry, 1, reps, kg, at=start + place * SET_MS)
    await phone.write(plan.workout, "workout.complete", {"rating": 7}, at=start + 4 * SET_MS)
    for device in stage.devices:
        await device.client.connect()
    await stage.agreed()
    stage.screen.quiet = False
    stage.screen.tell(
        "phone",
        f"brought {phone.written} ops, a week old, in the order they were made",
        f"seq 1 to {phone.cursor}",
    )


async def under_way(stage: Stage) -> None:
    """Both devices log, with a rest between."""
    stage.screen.act("Today, on both devices at once")
    phone, watch, plan = stage.phone, stage.watch, stage.today
    await phone.write(
        plan.workout,
        "workout.create",
        plan.creation("Strength", {"squat": 4, "bench press": 3, "barbell row": 3}),
    )
    await phone.write(plan.workout, "workout.start", {})
    await log_set(phone, plan, plan.squat, 1, 8, 60, type="warmup")
    resting = await log_set(phone, plan, plan.squat, 2, 5, 100, rpe=7, rest_s=1)
    await stage.agreed()
    await stage.rest_over(resting, phone)
    await log_set(watch, plan, plan.squat, 3, 5, 102.5, rpe=8)
    await stage.agreed()


async def watch_away(stage: Stage) -> None:
    """The watch loses its network, both go on, the watch comes back."""
    stage.screen.act("The watch loses its connection, and both go on")
    phone, watch, plan = stage.phone, stage.watch, stage.today
    await stage.cut(watch)
    await log_set(watch, plan, plan.squat, 4, 5, 105, rpe=9)
    await log_set(phone, plan, plan.bench, 1, 8, 60, rpe=7)
    await phone.write(plan.workout, "note.set", {"text": "Slept well, everything moves fast."})
    await phone.reached(0)
    await stage.mend(watch)
    await stage.agreed()


async def lost_acknowledgement(stage: Stage) -> None:
    """The op arrives, its acknowledgement does not: the phone cannot know, and pushes it again."""
    stage.screen.act("An acknowledgement is lost on its way to the phone")
    phone, watch, plan = stage.phone, stage.watch, stage.today
    stage.links["phone"].swallow()
    resting = await log_set(phone, plan, plan.row, 1, 8, 57.5, rest_s=1)
    await watch.until(partial(_has, watch, phone, resting), "it saw the phone's set")
    stage.screen.tell("watch", "has the set already; the phone still waits for its acknowledgement")
    await stage.cut(phone)
    answered = phone.duplicates
    await stage.mend(phone)
    await stage.agreed()
    stage.screen.tell(
        "phone",
        "pushed it again, since it could not know",
        f"{phone.duplicates - answered} answered as duplicate",
    )
    await stage.rest_over(resting, phone)


async def killed_server(stage: Stage) -> None:
    """kill -9 in the middle of a rest, with ops on their way."""
    stage.screen.act("The server is killed in the middle of a rest, with ops on their way")
    phone, watch, plan = stage.phone, stage.watch, stage.today
    lifted = await log_set(watch, plan, plan.bench, 2, 8, 62.5, rpe=8)
    await phone.until(
        partial(_has, phone, watch, lifted), "it saw the watch's set"
    )  # which ends no rest then
    resting = await log_set(phone, plan, plan.row, 2, 8, 57.5, rpe=8, rest_s=LONG_REST_S)
    await stage.agreed()
    await phone.write(plan.workout, "note.set", {"text": "Next time 65 on the bench."}, entity=plan.bench)
    heaviest = set_id(plan.workout, plan.slot(plan.squat, 4))
    await watch.write(plan.workout, "set.edit", {"field": "reps", "value": 6}, entity=heaviest)
    await asyncio.sleep(IN_FLIGHT_S)  # both are on their way; whether they arrive is chance
    stage.kills += 1
    await stage.server.kill()
    stage.screen.tell("server", "killed with SIGKILL", style="bold red")
    for device in stage.devices:
        await device.until(partial(_is_away, device), "it noticed")
    await watch.write(plan.workout, "note.set", {"text": "Six, not five: I counted again."}, entity=heaviest)
    before = stage.screen.elapsed_s
    port = await stage.server.start()
    for link in stage.links.values():
        link.target = port
    stage.screen.tell(
        "server",
        f"started again on the same data, in {stage.screen.elapsed_s - before:.2f} s",
        style="bold green",
    )
    await stage.agreed()
    await stage.rest_over(resting, phone)


async def basement(stage: Stage) -> None:
    """Neither knows of the other, and both do what can not stand beside what the other does."""
    stage.screen.act("A basement without a network: phone and watch log apart, the same set too")
    phone, watch, plan = stage.phone, stage.watch, stage.today
    await stage.cut(phone, watch)
    warmup = set_id(plan.workout, plan.slot(plan.squat, 1))
    await log_set(phone, plan, plan.bench, 3, 8, 62.5)
    await asyncio.sleep(SET_APART_S)
    await log_set(watch, plan, plan.bench, 3, 7, 62.5)
    await watch.write(plan.workout, "set.remove", {}, entity=warmup)
    await phone.write(plan.workout, "set.edit", {"field": "reps", "value": 10}, entity=warmup)
    await phone.write(plan.workout, "workout.complete", {"rating": 9})
    await log_set(watch, plan, plan.row, 3, 9, 57.5)
    for device in stage.devices:
        shown = await device.shows(plan.workout)
        sets = sum(len(exercise["sets"]) for exercise in shown["exercises"])
        stage.screen.tell(device.name, f"shows it {shown['status']}, with {sets} sets")


async def meeting(stage: Stage) -> None:
    """The network is back: nothing that somebody logged is lost, and what is open is said."""
    stage.screen.act("They meet")
    await stage.mend(*stage.devices)
    await stage.agreed()
    stage.met = await stage.phone.shows(stage.today.workout)
    names = {device.number: device.name for device in stage.devices if device.number is not None}
    for alternative in stage.met["alternatives"]:
        stage.screen.tell("merge", *alternative_words(alternative, stage.screen.named, names))
    for flag in stage.met["flags"]:
        stage.screen.tell("merge", *flag_words(flag, stage.screen.named, names))


async def choice(stage: Stage) -> None:
    """One op settles a conflict, on all devices."""
    stage.screen.act("A person chooses")
    phone, workout = stage.phone, stage.today.workout
    for alternative in stage.met["alternatives"]:
        value = {"field": alternative["field"], "dot": alternative["others"][0]["dot"]}
        await phone.write(workout, "conflict.choose", value, entity=alternative["entity"])
    await stage.agreed()
    for device in stage.devices:
        stage.screen.tell(device.name, f"digest {await device.client.digest(workout)}")
    served = await phone.client.ask("workout:get", {"workout": workout})
    stage.screen.tell("server", f"digest {digest(served['state'])}")


async def log_set(
    device: Device,
    plan: Plan,
    entry: str,
    number: int,
    reps: int,
    kg: float,
    *,
    at: int | None = None,
    **more: Any,
) -> Json:
    """A set that was done in its planned slot; `more` are further fields of set.log."""
    value = {
        "exercise_entry": entry,
        "slot": plan.slot(entry, number),
        "type": "working",
        "reps": reps,
        "load": {"value": kg, "unit": "kg"},
        "done": True,
        **more,
    }
    return await device.write(plan.workout, "set.log", value, at=at)


def _is_away(device: Device) -> bool:
    return not device.here


def _has(device: Device, author: Device, op: Json) -> bool:
    return (author.number, op["n"]) in device.dots


def _knows_rest_over(device: Device, author: Device, op: Json) -> bool:
    dot = [author.number, op["n"]]
    return any(one["kind"] == "rest_over" and one["dot"] == dot for one in device.told.values())
