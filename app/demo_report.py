"""The end of the demo: what was lifted, what was beaten, and the counts that prove it. All is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from fitai.app.demo_device import Device
from fitai.app.demo_screen import RECORD_NAMES, median
from fitai.app.demo_story import Stage
from fitai.engine.insights import insights
from fitai.engine.ops import Record, Verdict
from fitai.engine.records import workout_bests
from fitai.engine.workout import Workout, digest, state
from fitai.sync.place import SERVER, fold
from fitai.sync.wire import WireLimits, decode_op

Json = dict[str, Any]

_SERVERS_OWN = ("seq", "rev", "device", "te", "verdict", "code", "detail")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was collected when all was over.

    user    whose log it is
    log     every record, as the database's file has them after the server has stopped
    states  {workout: state document}, as the server gave them before
    stop    the server's exit code, and the seconds it took to stop
    """

    user: str
    log: Sequence[Json]
    states: Mapping[str, Json]
    stop: tuple[int, float]


@dataclass(frozen=True, slots=True)
class Count:
    """One line of the proof: what was counted, whether it is as it must be."""

    name: str
    found: str
    holds: bool


def folded(user: str, workout: str, log: Sequence[Json]) -> Workout:
    """The workout as whoever has these records (as the wire has them) sees it."""
    return fold(workout, user, (_record(one) for one in log if one["workout"] == workout)).workout


def proof(stage: Stage, evidence: Evidence) -> list[Count]:
    """All counts, in the order in which they are shown."""
    log = evidence.log
    return [
        *_every_op(stage, log),
        *_one_order(stage, log),
        *_one_state(stage, evidence),
        *_faults(stage, evidence),
    ]


def _every_op(stage: Stage, log: Sequence[Json]) -> list[Count]:
    written = sum(device.written for device in stage.devices)
    acked = sum(device.acknowledged for device in stage.devices)
    theirs = [one for one in log if one["device"] != SERVER]
    dots = Counter((one["device"], one["n"]) for one in log)
    void = [one for one in log if one["verdict"] == "void"]
    refused = [answer for device in stage.devices for answer in device.refusals]
    return [
        Count("ops written, acknowledged", f"{written}, {acked}", 0 < written == acked),
        Count("records of theirs in the log", f"{len(theirs)}", len(theirs) == acked),
        Count("each dot once", f"{len(dots)} dots in {len(log)} records", len(dots) == len(log)),
        Count("void or refused", f"{len(void)}, {len(refused)}", not void and not refused),
    ]


def _one_order(stage: Stage, log: Sequence[Json]) -> list[Count]:
    seqs = [one["seq"] for one in log]
    holes = sum(device.holes for device in stage.devices)
    orders = [device.log == log for device in stage.devices]
    return [
        Count("seq without a gap", f"1 to {max(seqs, default=0)}", seqs == list(range(1, len(log) + 1))),
        Count("rev without a gap in each workout", f"{len(_revs(log))} workouts", _contiguous(_revs(log))),
        Count("holes seen on a connection", f"{holes}", holes == 0),
        *(
            Count(
                f"the {device.name}'s records are the log's, in order",
                f"{len(device.log)} of {len(log)}",
                same,
            )
            for device, same in zip(stage.devices, orders, strict=True)
        ),
    ]


def _one_state(stage: Stage, evidence: Evidence) -> list[Count]:
    server = [digest(evidence.states[name]) for name in _workouts(stage)]
    theirs = {device.name: _digests(stage, device, evidence.user) for device in stage.devices}
    same = all(digests == server for digests in theirs.values())
    told = [_records_told(device, stage.today.workout) for device in stage.devices]
    due = _records_due(stage, evidence)
    return [
        Count("phone, watch, server: digest of today's state", f"{server[-1][:12]}…", same),
        Count(
            "records announced, as due by the log",
            f"{len(told[0])} of {len(due)}",
            told == [due, due] and bool(due),
        ),
    ]


def _faults(stage: Stage, evidence: Evidence) -> list[Count]:
    again = sum(device.connects - 1 for device in stage.devices)
    resumed = sum(device.resumes for device in stage.devices)
    lost = stage.cuts + stage.kills * len(stage.devices)
    duplicates = sum(device.duplicates for device in stage.devices)
    screen, (code, seconds) = stage.screen, evidence.stop
    late = f", {max(screen.rest_delays_ms)} ms late at most" if screen.rest_delays_ms else ""
    on_time = screen.early_rests == 0 and 0 < stage.rests == len(screen.rest_delays_ms)
    return [
        Count("connections lost, resumed from a cursor", f"{lost}, {resumed}", lost <= again == resumed > 0),
        Count("retries answered as duplicates", f"{duplicates}", duplicates > 0),
        Count("rests ended by the server, none early", f"{stage.rests}{late}", on_time),
        Count(
            "servers killed, then a clean stop", f"{stage.kills}, {seconds:.2f} s", code == 0 and seconds < 5
        ),
        Count(
            "from one device to the other, median",
            f"{median(screen.travel_ms):.1f} ms",
            bool(screen.travel_ms),
        ),
    ]


def show(console: Console, stage: Stage, evidence: Evidence, counts: Sequence[Count]) -> None:
    """Print the three tables."""
    console.print()
    console.print(_sets(stage, evidence.states[stage.today.workout]))
    console.print(_records(stage, evidence))
    console.print(_proof(counts))


def _sets(stage: Stage, document: Json) -> Table:
    table = _table("Today's sets", "exercise", "set", "reps", "load", "RPE", "logged on")
    names = {device.number: device.name for device in stage.devices}
    for exercise in document["exercises"]:
        for number, one in enumerate(exercise["sets"], 1):
            shown = f"{number}" if one["type"] == "working" else f"{number} {one['type']}"
            load = f"{one['load']['value']:g} {one['load']['unit']}"
            effort = "" if one["rpe"] is None else f"{one['rpe']:g}"
            table.add_row(exercise["exercise"], shown, str(one["reps"]), load, effort, names[one["dot"][0]])
    return table


def _records(stage: Stage, evidence: Evidence) -> Table:
    table = _table("Records beaten", "exercise", "record", "now", "before")
    for one in sorted(_records_due(stage, evidence).values(), key=lambda one: one["exercise"]):
        unit = one["unit"]
        name = RECORD_NAMES.get(one["type"], one["type"])
        table.add_row(one["exercise"], name, f"{one['value']:g} {unit}", f"{one['previous']:g} {unit}")
    return table


def _proof(counts: Sequence[Count]) -> Table:
    table = _table("Proof", "counted", "found", "")
    for count in counts:
        mark = "[green]yes[/]" if count.holds else "[bold red]OFF[/]"
        table.add_row(count.name, count.found, mark)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column)
    return table


def _workouts(stage: Stage) -> tuple[str, str]:
    return stage.before.workout, stage.today.workout


def _digests(stage: Stage, device: Device, user: str) -> list[str]:
    """What the device makes of its own records, workout by workout."""
    return [digest(state(folded(user, name, device.log))) for name in _workouts(stage)]


def _records_told(device: Device, workout: str) -> dict[str, Json]:
    return {
        id_: one for id_, one in device.told.items() if one["kind"] == "record" and one["workout"] == workout
    }


def _records_due(stage: Stage, evidence: Evidence) -> dict[str, Json]:
    """The records that the log says were beaten today, computed here and now."""
    before, today = (folded(evidence.user, name, evidence.log) for name in _workouts(stage))
    said = insights(today, workout_bests(before))
    return {id_: one for id_, one in said.items() if one["kind"] == "record"}


def _revs(log: Sequence[Json]) -> dict[str, list[int]]:
    revs: dict[str, list[int]] = {}
    for one in log:
        revs.setdefault(one["workout"], []).append(one["rev"])
    return revs


def _contiguous(runs: Mapping[str, list[int]]) -> bool:
    return all(run == list(range(1, len(run) + 1)) for run in runs.values())


def _record(one: Json) -> Record:
    op, _ = decode_op({key: value for key, value in one.items() if key not in _SERVERS_OWN}, WireLimits())
    return Record(
        op=op,
        seq=one["seq"],
        rev=one["rev"],
        device=one["device"],
        base=op.base or 0,
        beyond=None,
        te=one["te"],
        rt=one["te"],
        verdict=Verdict(one["verdict"]),
        code=one.get("code"),
        detail=one.get("detail"),
    )
