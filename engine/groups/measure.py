"""What a member did in a group that counts: worked out of their own workout, typed nowhere twice.

`progress` reads the fold of a member's workout and says how far they are. A set counts when it is done, is no
warm-up, and was done at a time (`te` of its first log, by the clock that the server corrected) at which the
group's clock ran: see `Clock.counted` for the grace. Nothing else matters: not when they joined, not when the
op arrived. So a late sync, an edit and a removal correct it by being folded.

Amounts are integers in the unit that `measured` says: reps, µg (volume), mm, thousandths of the own body
weight, thousandths of a DOTS point, or of tasks the reps done (what is no repetition counts 1 when whole).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from fitai.engine.entities import SetRow, Workout
from fitai.engine.formulas import dots_ppb
from fitai.engine.groups.formats import Amrap, Format, ForTime, Led, Measured, Open, Race, Task, Tasks
from fitai.engine.groups.group import Group, Member
from fitai.engine.groups.roles import TRAINING
from fitai.engine.machine import PHASE, STATUS
from fitai.engine.totals import volume
from fitai.engine.units import divide

REPS: Final = Measured("reps")
UNITS: Final = {"reps": "reps", "volume": "ug", "distance": "mm"}


class Body(NamedTuple):
    """What is known of a member's body: weight in µg, and sex (male, female) for DOTS."""

    weight_ug: int | None = None
    sex: str | None = None


UNKNOWN: Final = Body()


class Measure(NamedTuple):
    """How far a member is by the format's measure.

    amount    the more the better; None where it can not be said: no body weight is known
    time_ms   elapsed ms at which they reached what there is to reach; None while they have not
    of_loads  whether the amount is made of loads
    """

    amount: int | None
    time_ms: int | None = None
    of_loads: bool = False


class Progress(NamedTuple):
    """How far a member is; all of it, before what they choose to show (`fitai.engine.groups.sharing`).

    status, phase  of their workout's machine; rest_ends_at, Unix ms, while a rest runs
    exercise       that of the last set
    sets, reps, distance_mm, duration_ms, volume_ug  sums over what counts; duration: of timed sets
    last           the last set: {exercise, reps, load, rpe}, as typed
    measure        None where the format has no board
    """

    status: str | None = None
    phase: str | None = None
    rest_ends_at: int | None = None
    exercise: str | None = None
    sets: int = 0
    reps: int = 0
    distance_mm: int = 0
    duration_ms: int = 0
    volume_ug: int = 0
    last: Mapping[str, Any] | None = None
    measure: Measure | None = None


class Done(NamedTuple):
    """A set that counts: the elapsed ms at which it was done, itself, its exercise."""

    elapsed: int
    row: SetRow
    exercise: str


def progress(g: Group, member: Member, w: Workout | None, body: Body = UNKNOWN) -> Progress:
    """How far a member is, whose workout of this group is `w`: None or removed, nothing was done."""
    if w is None or w.removed or not w.known:
        return Progress(measure=measure(g.format, (), body))
    done = counted(g, member, w)
    last = done[-1] if done else None
    rest = w.rest
    return Progress(
        status=STATUS[w.state],
        phase=PHASE[w.state],
        rest_ends_at=None if rest is None or rest.remaining_ms is not None else rest.ends_at,
        exercise=None if last is None else last.exercise,
        sets=len(done),
        reps=sum(one.row.reps or 0 for one in done),
        distance_mm=sum(one.row.distance_mm or 0 for one in done),
        duration_ms=sum(one.row.duration_ms or 0 for one in done),
        volume_ug=sum(volume(one.row) for one in done),
        last=None if last is None else _said(last),
        measure=measure(g.format, done, body),
    )


def counted(g: Group, member: Member, w: Workout) -> list[Done]:
    """The sets of a workout that count in the group, in the order in which they were done."""
    done = []
    for row, entry in w.visible_sets():
        if not row.done or row.type == "warmup" or (member.gone and row.at > (member.gone_at or 0)):
            continue
        elapsed = g.clock.counted(row.at)
        if elapsed is not None:
            done.append(Done(elapsed, row, entry.exercise))
    return sorted(done, key=lambda one: (one.elapsed, one.row.at, one.row.id))


def measured(format_: Format) -> str | None:
    """In what the amounts of a format's board are: reps, ug, mm, body_weights or dots (both in thousandths);
    None where it has no board."""
    what = _what(format_)
    if what is None:
        return None
    return {"absolute": UNITS[what.of], "body_weight": "body_weights", "dots": "dots"}[what.by]


def weighs(format_: Format) -> bool:
    """Whether a format's board needs to know the members' bodies."""
    what = _what(format_)
    return what is not None and what.by != "absolute"


def on_board(g: Group, member: Member) -> bool:
    """Whether a member is ranked: who trains, and who left, with what they did until then; not who shows
    presence only, who looks on, or who had to go."""
    trains = member.role in TRAINING or (member.gone == "left" and member.was in TRAINING)
    return trains and member.share != "presence" and _what(g.format) is not None


def measure(format_: Format, done: Iterable[Done], body: Body = UNKNOWN) -> Measure | None:
    """The format's measure of what was done; None where it has no board."""
    match format_:
        case ForTime():
            return _for_time(format_, done)
        case Amrap():
            return _amrap(format_, done)
        case Race():
            return _race(format_, done, body)
        case _:
            what = _what(format_)
            return None if what is None else _most(what, done, body)


def _what(format_: Format) -> Measured | None:
    """What a format's board compares. In intervals and tasks it is reps."""
    match format_:
        case Open() | Led() | Race():
            return format_.measure
        case _:
            return REPS


_OF: Final[Mapping[str, Callable[[SetRow], int]]] = {
    "reps": lambda row: row.reps or 0,
    "volume": volume,
    "distance": lambda row: row.distance_mm or 0,
}


def _most(what: Measured, done: Iterable[Done], body: Body) -> Measure:
    of = _OF[what.of]
    return Measure(_fair(sum(of(one.row) for one in done), what, body), None, what.of == "volume")


def _race(race: Race, done: Iterable[Done], body: Body) -> Measure:
    done = [one for one in done if race.exercises is None or one.exercise in race.exercises]
    result = _most(race.measure, done, body)
    if race.goal is None:
        return result
    of, sum_ = _OF[race.measure.of], 0
    for one in done:
        sum_ += of(one.row)
        if sum_ >= race.goal:
            return result._replace(time_ms=one.elapsed)
    return result


def _fair(amount: int, what: Measured, body: Body) -> int | None:
    if what.by == "absolute":
        return amount
    if not body.weight_ug:
        return None
    if what.by == "body_weight":
        return divide(amount * 1000, body.weight_ug)
    ppb = None if body.sex is None else dots_ppb(body.weight_ug, body.sex)
    return None if ppb is None else divide(amount * ppb, 10**15)  # µg · ppb of points a kg, in thousandths


def _for_time(tasks: ForTime, done: Iterable[Done]) -> Measure:
    sums = dict.fromkeys((task.exercise for task in tasks.tasks), 0)
    whole = tasks.worth * tasks.rounds
    by_exercise = {task.exercise: task for task in tasks.tasks}
    for one in done:
        task = by_exercise.get(one.exercise)
        if task is None:
            continue
        sums[task.exercise] += _of_task(task, one.row)
        if _within(tasks, sums, tasks.rounds) == whole:
            return Measure(whole, one.elapsed)
    return Measure(_within(tasks, sums, tasks.rounds))


def _amrap(tasks: Amrap, done: Iterable[Done]) -> Measure:
    sums = dict.fromkeys((task.exercise for task in tasks.tasks), 0)
    by_exercise = {task.exercise: task for task in tasks.tasks}
    for one in done:
        task = by_exercise.get(one.exercise)
        if task is not None:
            sums[task.exercise] += _of_task(task, one.row)
    rounds = min(sums[task.exercise] // task.amount for task in tasks.tasks)
    return Measure(_within(tasks, sums, rounds + 1))


def _within(tasks: Tasks, sums: Mapping[str, int], rounds: int) -> int:
    """How much of so many rounds is done; what is beyond them, of one task, does not help another."""
    return sum(_worth(task, sums[task.exercise], rounds) for task in tasks.tasks)


def _worth(task: Task, sum_: int, rounds: int) -> int:
    if task.reps is not None:
        return min(sum_, task.reps * rounds)
    return min(sum_ // task.amount, rounds)


def _of_task(task: Task, row: SetRow) -> int:
    if task.reps is not None:
        return row.reps or 0
    return (row.distance_mm if task.distance_m is not None else row.duration_ms) or 0


def _said(done: Done) -> dict[str, Any]:
    row = done.row
    said = {"exercise": done.exercise, "reps": row.reps, "load": row.load, "rpe": row.rpe}
    return {key: value for key, value in said.items() if value is not None}
