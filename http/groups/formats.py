"""A group's format, as the documents tell it. `fitai.engine.groups.formats` is the authority: the same
ranges are told here, and what JSON Schema can not say (an exercise twice in the tasks) is a `bad_value`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from fitai.http.workouts.schemas import PLACES, WHOLE, Name, Passing, Title

Limit = Annotated[int, Field(ge=10_000, le=86_400_000, description="ms"), WHOLE]
Span = Annotated[int, Field(ge=1_000, le=3_600_000, description="ms"), WHOLE]
Pause = Annotated[int, Field(ge=0, le=3_600_000, description="ms"), WHOLE]
Rounds = Annotated[int, Field(ge=1, le=500), WHOLE]
Exercise = Annotated[Name, Field(examples=["squat"])]


class Step(Passing):
    """A step of a led class, or a station. `target` is as in a workout's plan."""

    title: Title | None = None
    exercise: Exercise | None = None
    target: dict[str, Any] | None = None


Steps = Annotated[list[Step], Field(max_length=200)]


class Task(Passing):
    """A part of a round: an exercise, and exactly one of `reps`, `distance_m`, `duration_ms`."""

    exercise: Exercise
    reps: Annotated[int, Field(ge=1, le=5_000), WHOLE] | None = None
    distance_m: (
        Annotated[
            Annotated[int, Field(ge=0, le=1_000_000)] | Annotated[float, Field(ge=0, le=1_000_000)], PLACES
        ]
        | None
    ) = None
    duration_ms: Span | None = None


Tasks = Annotated[list[Task], Field(min_length=1, max_length=50)]


class Measured(Passing):
    """What the board compares; by body weight or DOTS only `volume`."""

    of: Literal["reps", "volume", "distance"]
    by: Literal["absolute", "body_weight", "dots"] = "absolute"


class OpenFormat(Passing):
    """Everybody their own workout."""

    type: Literal["open"]
    measure: Measured | None = None
    limit_ms: Limit | None = None


class LedFormat(Passing):
    """The coach's plan: `next` drives everybody."""

    type: Literal["led"]
    steps: Annotated[list[Step], Field(min_length=1, max_length=200)]
    measure: Measured | None = None


class EmomFormat(Passing):
    """Every minute on the minute, or every `every_ms`; round k does station k, in turns."""

    type: Literal["emom"]
    rounds: Rounds
    every_ms: Span = 60_000
    stations: Steps = Field(default_factory=list)


class TabataFormat(Passing):
    """Work and rest in turns; round k does station k, in turns."""

    type: Literal["tabata"]
    work_ms: Span = 20_000
    rest_ms: Pause = 10_000
    rounds: Rounds = 8
    stations: Steps = Field(default_factory=list)


class CircuitFormat(Passing):
    """All stations, `rounds` times."""

    type: Literal["circuit"]
    stations: Annotated[list[Step], Field(min_length=1, max_length=200)]
    work_ms: Span
    rest_ms: Pause
    rounds: Rounds


class AmrapFormat(Passing):
    """As many rounds of the tasks as possible."""

    type: Literal["amrap"]
    tasks: Tasks
    limit_ms: Limit


class ForTimeFormat(Passing):
    """`rounds` of the tasks as fast as possible."""

    type: Literal["for_time"]
    tasks: Tasks
    rounds: Rounds
    limit_ms: Limit


class RaceFormat(Passing):
    """Most of a measure, or first to `goal` in it (reps, µg or mm). With `exercises` only these count."""

    type: Literal["race"]
    measure: Measured
    limit_ms: Limit
    goal: Annotated[int, Field(ge=1, le=2**53), WHOLE] | None = None
    exercises: Annotated[list[Exercise], Field(min_length=1, max_length=50)] | None = None


Format = Annotated[
    OpenFormat
    | LedFormat
    | EmomFormat
    | TabataFormat
    | CircuitFormat
    | AmrapFormat
    | ForTimeFormat
    | RaceFormat,
    Field(discriminator="type", examples=[{"type": "tabata", "stations": [{"exercise": "squat"}]}]),
]
