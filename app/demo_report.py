"""The end of the demo: what was lifted, what was beaten, and the counts that prove it. All is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from fitai.app.demo_screen import amount, median, record_name
from fitai.app.demo_story import Stage
from fitai.app.demo_view import records_due
from fitai.engine.kinds import set_id
from fitai.engine.workout import digest
from fitai.sync.place import SERVER

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was collected when all was over.

    log      every record, as the database's file has them after the server has stopped
    states   {workout: state document}, as the server gave them before, the older workout first
    logs     {device: its records}, as its own file has them
    digests  {device: the digests of what it shows}, in the order of the states
    stop     the server's exit code, and the seconds it took to stop
    """

    log: Sequence[Json]
    states: Mapping[str, Json]
    logs: Mapping[str, Sequence[Json]]
    digests: Mapping[str, Sequence[str]]
    stop: tuple[int, float]


@dataclass(frozen=True, slots=True)
class Count:
    """One line of the proof: what was counted, whether it is as it must be."""

    name: str
    found: str
    holds: bool


def proof(stage: Stage, evidence: Evidence) -> list[Count]:
    """All counts, in the order in which they are shown."""
    log = evidence.log
    return [
        *_every_op(stage, log),
        *_one_order(stage, evidence),
        *_one_state(stage, evidence),
        *_merge(stage, evidence),
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


def _one_order(stage: Stage, evidence: Evidence) -> list[Count]:
    log = evidence.log
    seqs = [one["seq"] for one in log]
    holes = sum(device.holes for device in stage.devices)
    return [
        Count("seq without a gap", f"1 to {max(seqs, default=0)}", seqs == list(range(1, len(log) + 1))),
        Count("rev without a gap in each workout", f"{len(_revs(log))} workouts", _contiguous(_revs(log))),
        Count("holes seen on a connection", f"{holes}", holes == 0),
        *(
            Count(f"the {name}'s records, in order", f"{len(theirs)} of {len(log)}, as stored", theirs == log)
            for name, theirs in evidence.logs.items()
        ),
    ]


def _one_state(stage: Stage, evidence: Evidence) -> list[Count]:
    server = [digest(document) for document in evidence.states.values()]
    theirs = [evidence.digests[device.name] for device in stage.devices]
    told = [device.records_told(stage.today.workout) for device in stage.devices]
    due = _records_due(stage, evidence)
    return [
        Count("one digest: phone, watch, server", f"{server[-1][:12]}…", theirs == [server, server]),
        Count(
            "records announced, as due by the log",
            f"{len(told[0])} of {len(due)}",
            told == [due, due] and bool(due),
        ),
    ]


def _merge(stage: Stage, evidence: Evidence) -> list[Count]:
    """What the devices did apart: both values of one slot are there, and nothing that was logged has gone."""
    left, document = stage.met["alternatives"], evidence.states[stage.today.workout]
    shown = [one["shown"] for one in left]
    others = [other for one in left for other in one["others"]]
    values = [one["value"] for one in shown + others]
    authors = {one["dot"][0] for one in shown + others}
    flags = [flag["flag"] for flag in stage.met["flags"]]
    sets = {one["id"]: one["reps"] for exercise in document["exercises"] for one in exercise["sets"]}
    logged = _sets_logged(stage, evidence)
    settled = [sets.get(one["entity"]) for one in left] == [other["value"] for other in others]
    still = document["alternatives"]
    return [
        Count(
            "one slot logged twice: reps shown, kept",
            ", ".join(f"{value}" for value in values),
            values == [7, 8] and len(authors) == len(stage.devices),
        ),
        Count("flags", ", ".join(flags), sorted(flags) == ["late_sets", "removed_and_edited"]),
        Count("sets logged, sets there", f"{len(logged)}, {len(sets)}", logged == set(sets)),
        Count(
            "open before the choice, after it",
            f"{len(left)}, {len(still)}",
            settled and bool(left) and not still,
        ),
    ]


def _sets_logged(stage: Stage, evidence: Evidence) -> set[str]:
    """The ids of today's sets, by the log alone."""
    today = (one for one in evidence.log if one["workout"] == stage.today.workout)
    return {set_id(one["workout"], one["value"]["slot"]) for one in today if one["kind"] == "set.log"}


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
    console.print(proof_table(counts))


def _sets(stage: Stage, document: Json) -> Table:
    table = empty_table("Today's sets", "exercise", "set", "reps", "load", "RPE", "logged on")
    names = {device.number: device.name for device in stage.devices}
    for exercise in document["exercises"]:
        for number, one in enumerate(exercise["sets"], 1):
            shown = f"{number}" if one["type"] == "working" else f"{number} {one['type']}"
            load = f"{one['load']['value']:g} {one['load']['unit']}"
            effort = "" if one["rpe"] is None else f"{one['rpe']:g}"
            table.add_row(exercise["exercise"], shown, str(one["reps"]), load, effort, names[one["dot"][0]])
    return table


def _records(stage: Stage, evidence: Evidence) -> Table:
    table = empty_table("Records beaten", "exercise", "record", "now", "before")
    for one in sorted(_records_due(stage, evidence).values(), key=lambda one: one["exercise"]):
        now, before = amount(one["value"], one["unit"]), amount(one["previous"], one["unit"])
        table.add_row(one["exercise"], record_name(one), now, before)
    return table


def proof_table(counts: Sequence[Count]) -> Table:
    """The counts, and whether each holds."""
    table = empty_table("Proof", "counted", "found", "")
    for count in counts:
        mark = "[green]yes[/]" if count.holds else "[bold red]OFF[/]"
        table.add_row(count.name, count.found, mark)
    return table


def empty_table(title: str, *columns: str) -> Table:
    """Columns under a title."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column)
    return table


def _records_due(stage: Stage, evidence: Evidence) -> dict[str, Json]:
    """The records that the log says were beaten today, computed here and now."""
    return records_due(stage.user, stage.before.workout, stage.today.workout, evidence.log)


def _revs(log: Sequence[Json]) -> dict[str, list[int]]:
    revs: dict[str, list[int]] = {}
    for one in log:
        revs.setdefault(one["workout"], []).append(one["rev"])
    return revs


def _contiguous(runs: Mapping[str, list[int]]) -> bool:
    return all(run == list(range(1, len(run) + 1)) for run in runs.values())
