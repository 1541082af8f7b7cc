"""Formats: what a group does when, as data. Who is ahead in it is told by `fitai.engine.groups.measure`.

A format is a tagged object, `{type, …}`; `plan` makes **phases** of it, in ms of the group's elapsed time
(`fitai.engine.groups.clock`), and `deadlines` says when they are by the clock on the wall. Nothing has to
happen at a deadline: every device knows all of them from the start on.

    open      everybody their own workout                       one phase, endless or up to limit_ms
    led       the coach's steps; `group.next` drives everybody   a phase from each `next` to the one after
    emom      every `every_ms` on the minute, `rounds` times     a work phase each
    tabata    work and rest in turns                             20 s, 10 s, 8 rounds by default
    circuit   all stations, `rounds` times, rest between         no rest after the last
    amrap     as many rounds of the tasks as possible            one phase of limit_ms
    for_time  `rounds` of the tasks as fast as possible          one phase of limit_ms
    race      most of a measure, or first to a goal in it        one phase of limit_ms
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, NamedTuple

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from fitai.engine.groups.clock import Clock
from fitai.engine.kinds import DistanceM, Name, Title, free_form, three_places
from fitai.engine.units import thousandths

MAX_PHASES: Final = 2_000
MAX_MS: Final = 86_400_000  # a day

Limit = Annotated[int, Meta(ge=10_000, le=MAX_MS)]
Span = Annotated[int, Meta(ge=1_000, le=3_600_000)]
Pause = Annotated[int, Meta(ge=0, le=3_600_000)]
Rounds = Annotated[int, Meta(ge=1, le=500)]
Amount = Annotated[int, Meta(ge=1, le=2**53)]
Of = Literal["reps", "volume", "distance"]
By = Literal["absolute", "body_weight", "dots"]


class Step(Struct, frozen=True, gc=False):
    """A step of a led class, or a station: {title?, exercise?, target?}; `target` as in a workout's plan."""

    title: Title | None = None
    exercise: Name | None = None
    target: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        force_setattr(self, "target", free_form(self.target))


Steps = Annotated[list[Step], Meta(max_length=200)]


class Task(Struct, frozen=True, gc=False):
    """A part of a round: an exercise with one of reps, distance_m, duration_ms (held, in one set or more)."""

    exercise: Name
    reps: Annotated[int, Meta(ge=1, le=5_000)] | None = None
    distance_m: DistanceM | None = None
    duration_ms: Span | None = None

    def __post_init__(self) -> None:
        three_places(self.distance_m)
        if sum(amount is not None for amount in (self.reps, self.distance_m, self.duration_ms)) != 1:
            raise ValueError("a task has one of reps, distance_m, duration_ms")
        if self.distance_m == 0:
            raise ValueError("distance_m is nothing")

    @property
    def amount(self) -> int:
        """How much a round asks for: reps, mm or ms."""
        if self.distance_m is not None:
            return thousandths(self.distance_m)
        return self.reps or self.duration_ms or 0

    @property
    def worth(self) -> int:
        """What the whole of it adds to a count: its reps; what is no repetition, 1 and only when whole."""
        return self.reps or 1


class Tasks(Struct, frozen=True, gc=False):
    """What a round is made of: each exercise once, so that every set belongs to one task."""

    tasks: Annotated[list[Task], Meta(min_length=1, max_length=50)]

    def __post_init__(self) -> None:
        if len({task.exercise for task in self.tasks}) < len(self.tasks):
            raise ValueError("an exercise is in the tasks twice")

    @property
    def worth(self) -> int:
        """What a round adds to a count."""
        return sum(task.worth for task in self.tasks)


class Measured(Struct, frozen=True, gc=False):
    """{of, by?}: what a board compares, and in relation to what."""

    of: Of
    by: By = "absolute"

    def __post_init__(self) -> None:
        if self.by != "absolute" and self.of != "volume":
            raise ValueError("only volume is compared by body weight")


class Open(Struct, frozen=True, gc=False, tag_field="type", tag="open"):
    """{measure?, limit_ms?}."""

    measure: Measured | None = None
    limit_ms: Limit | None = None


class Led(Struct, frozen=True, gc=False, tag_field="type", tag="led"):
    """{steps, measure?}."""

    steps: Annotated[list[Step], Meta(min_length=1, max_length=200)]
    measure: Measured | None = None


class Emom(Struct, frozen=True, gc=False, tag_field="type", tag="emom"):
    """{rounds, every_ms?, stations?}: round k does station k, in turns."""

    rounds: Rounds
    every_ms: Span = 60_000
    stations: Steps = []


class Tabata(Struct, frozen=True, gc=False, tag_field="type", tag="tabata"):
    """{work_ms?, rest_ms?, rounds?, stations?}: round k does station k, in turns; the last has a rest too."""

    work_ms: Span = 20_000
    rest_ms: Pause = 10_000
    rounds: Rounds = 8
    stations: Steps = []


class Circuit(Struct, frozen=True, gc=False, tag_field="type", tag="circuit"):
    """{stations, work_ms, rest_ms, rounds}."""

    stations: Annotated[list[Step], Meta(min_length=1, max_length=200)]
    work_ms: Span
    rest_ms: Pause
    rounds: Rounds

    def __post_init__(self) -> None:
        if len(self.stations) * self.rounds * 2 > MAX_PHASES:
            raise ValueError(f"more than {MAX_PHASES} phases")


class Amrap(Tasks, frozen=True, gc=False, tag_field="type", tag="amrap", kw_only=True):
    """{tasks, limit_ms}."""

    limit_ms: Limit


class ForTime(Tasks, frozen=True, gc=False, tag_field="type", tag="for_time", kw_only=True):
    """{tasks, rounds, limit_ms}."""

    rounds: Rounds
    limit_ms: Limit


class Race(Struct, frozen=True, gc=False, tag_field="type", tag="race"):
    """{measure, limit_ms, goal?, exercises?}: `goal` in reps, µg or mm; `exercises`: only these count."""

    measure: Measured
    limit_ms: Limit
    goal: Amount | None = None
    exercises: Annotated[list[Name], Meta(min_length=1, max_length=50)] | None = None

    def __post_init__(self) -> None:
        if self.goal is not None and self.measure.by != "absolute":
            raise ValueError("a goal is absolute")


Format = Open | Led | Emom | Tabata | Circuit | Amrap | ForTime | Race


class Phase(NamedTuple):
    """What is done from one reading of the group's clock to another.

    kind      work or rest
    round     from 1
    station   index of the step or station, None without any
    from_ms   elapsed ms; until_ms None where it goes on until somebody says so
    """

    kind: str
    round: int
    station: int | None
    from_ms: int
    until_ms: int | None


class Called(NamedTuple):
    """A step that a coach has called: its index, and the elapsed ms at which it begins."""

    step: int
    from_ms: int


def plan(format_: Format, called: Sequence[Called] = ()) -> list[Phase]:
    """The phases of a format, each from the end of the one before; `called`: the steps so far, if led."""
    match format_:
        case Led():
            ends = [after.from_ms for _, after in pairwise(called)]
            spans = zip(called, [*ends, None], strict=True) if called else ()
            return [
                Phase("work", turn, step.step, step.from_ms, until)
                for turn, (step, until) in enumerate(spans, 1)
            ]
        case Emom():
            turns = ((turn, _in_turn(format_.stations, turn)) for turn in range(1, format_.rounds + 1))
            return _lay(("work", turn, station, format_.every_ms) for turn, station in turns)
        case Tabata():
            turns = ((turn, _in_turn(format_.stations, turn)) for turn in range(1, format_.rounds + 1))
            return _lay(
                (kind, turn, station, ms)
                for turn, station in turns
                for kind, ms in (("work", format_.work_ms), ("rest", format_.rest_ms))
            )
        case Circuit():
            phases = _lay(
                (kind, turn, station, ms)
                for turn in range(1, format_.rounds + 1)
                for station in range(len(format_.stations))
                for kind, ms in (("work", format_.work_ms), ("rest", format_.rest_ms))
            )
            return phases if phases[-1].kind == "work" else phases[:-1]
        case _:
            return [Phase("work", 1, None, 0, format_.limit_ms)]


def limit(format_: Format) -> int | None:
    """The elapsed ms at which a format ends; None for those that end when somebody says so."""
    return None if isinstance(format_, Led) else plan(format_)[-1].until_ms


def current(phases: Sequence[Phase], elapsed: int) -> Phase | None:
    """The phase that the clock is in; None after the last."""
    for phase in reversed(phases):
        if phase.from_ms <= elapsed:
            return phase if phase.until_ms is None or elapsed < phase.until_ms else None
    return None


class Deadline(NamedTuple):
    """A phase and when it begins and ends by the server's time, Unix ms; None where nobody knows yet."""

    phase: Phase
    at: int | None
    until: int | None


def deadlines(phases: Iterable[Phase], clock: Clock) -> list[Deadline]:
    """When the phases are, as far as the runs of the clock tell."""
    return [
        Deadline(
            phase, clock.wall(phase.from_ms), None if phase.until_ms is None else clock.wall(phase.until_ms)
        )
        for phase in phases
    ]


def _in_turn(stations: Sequence[Step], turn: int) -> int | None:
    return (turn - 1) % len(stations) if stations else None


def _lay(spans: Iterable[tuple[str, int, int | None, int]]) -> list[Phase]:
    """Phases end to end; those of no length are left out."""
    phases, at = [], 0
    for kind, turn, station, ms in spans:
        if ms:
            phases.append(Phase(kind, turn, station, at, at + ms))
            at += ms
    return phases
