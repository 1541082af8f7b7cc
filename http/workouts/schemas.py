"""What the workouts routes accept and answer.

Bodies follow the protocol's kinds (`fitai.engine.kinds` is the authority; the same ranges are told here, so
that the documents tell them). Fields that this version does not know are passed on where a body becomes the
value of one op, and ignored elsewhere. A field that is absent stays as it is; null clears.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fitai.http.frame import Schema
from fitai.http.paging import Paged, PageQuery

LAST_MS = 253_402_300_799_999  # the end of the year 9999
NOTE_BYTES = 8192

_UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"


def _whole(value: Any) -> Any:
    """60.0 is 60: JSON libraries differ in how they write integers."""
    return int(value) if type(value) is float and value.is_integer() else value


def _three_places(value: int | float) -> int | float:
    if round(value, 3) != value:
        raise ValueError("at most 3 decimal places")
    return value


def _note(text: str) -> str:
    if len(text.encode()) > NOTE_BYTES:
        raise ValueError(f"at most {NOTE_BYTES} bytes")
    return text


def is_uuid(text: str) -> bool:
    """Whether this is a UUID in its usual form, in upper or lower case."""
    return re.fullmatch(_UUID, text) is not None


Uuid = Annotated[str, Field(pattern=f"^{_UUID}$", examples=["0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"])]
LowerUuid = Annotated[Uuid, AfterValidator(str.lower)]
# After the bounds of a type: what stands between a type and its bounds hides them from the documents.
WHOLE = BeforeValidator(_whole)
PLACES = AfterValidator(_three_places)
Millis = Annotated[int, Field(ge=0, le=LAST_MS, description="Unix ms"), WHOLE]
Seconds = Annotated[int, Field(ge=0, le=86_400), WHOLE]
Note = Annotated[str, AfterValidator(_note)]
Title = Annotated[str, Field(min_length=1, max_length=500)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Position = Annotated[str, Field(pattern=r"^[ -~]{1,200}$")]
Superset = (
    Annotated[int, Field(ge=-(2**53), le=2**53), WHOLE] | Annotated[str, Field(min_length=1, max_length=64)]
)
Slot = Annotated[int, Field(ge=0, le=2**53), WHOLE] | Annotated[str, Field(min_length=1, max_length=64)]
SetType = Literal["warmup", "working", "drop", "failure", "amrap", "myo", "partial", "isometric"]
Status = Literal["planned", "active", "paused", "completed", "abandoned"]


class Passing(Schema):
    """A body that becomes one op's value: what this version does not know is passed on."""

    model_config = ConfigDict(extra="allow")

    def given(self) -> dict[str, Any]:
        """The fields that were given, as typed."""
        return self.model_dump(exclude_unset=True)


# -- paths and queries -------------------------------------------------------------------------------


class WorkoutPath(BaseModel):
    """A workout's id."""

    id: LowerUuid


class ExercisePath(WorkoutPath):
    """An exercise by its place among the workout's exercises, from 0."""

    exerciseIndex: int = Field(ge=0, le=100_000)


class SetPath(WorkoutPath):
    """A set by its place among all sets of the workout, in the order of its exercises, from 0."""

    setIndex: int = Field(ge=0, le=100_000)


class SharePath(BaseModel):
    """A share: its secret token to open it, its id to revoke it."""

    share: str = Field(min_length=1, max_length=64)


class ListQuery(PageQuery):
    """Which workouts, newest first."""

    status: Status | None = Field(None, description="Only workouts in this state.")
    # `from` is a word of Python's.
    from_: int | None = Field(
        None, alias="from", ge=0, le=LAST_MS, description="Started (or created) at or after, Unix ms."
    )
    to: int | None = Field(None, ge=0, le=LAST_MS, description="Started (or created) before, Unix ms.")
    exercise: str | None = Field(
        None, min_length=1, max_length=200, description="Only workouts with a set of it."
    )


# -- bodies ------------------------------------------------------------------------------------------


class PlannedSet(Passing):
    """One planned set. `target` is the app's own; its `rest_s` starts the rest when the set is done."""

    slot: Slot
    target: dict[str, Any] | None = None


class PlannedEntry(Passing):
    """One planned exercise; `entry` becomes its id."""

    entry: Uuid
    exercise: Name
    position: Position
    superset: Superset | None = None
    sets: list[PlannedSet] = Field(default_factory=list)
    target: dict[str, Any] | None = None


class WorkoutCreate(Passing):
    """A new workout. With an `id` of the client's (a UUID, v7 preferred), or one is made."""

    id: LowerUuid | None = None
    title: Title | None = None
    template: Name | None = None
    plan: list[PlannedEntry] | None = None
    units: Annotated[str, Field(min_length=1, max_length=16)] | None = None
    tz: Annotated[str, Field(min_length=1, max_length=64, examples=["Europe/Zurich"])] | None = None
    note: Note | None = None


class WorkoutEdit(Schema):
    """A workout's own fields. `started_at` and `ended_at` log a past workout."""

    title: Title | None = None
    template: Name | None = None
    units: Annotated[str, Field(min_length=1, max_length=16)] | None = None
    tz: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    started_at: Millis | None = None
    ended_at: Millis | None = None
    note: Note | None = None

    @model_validator(mode="after")
    def _in_order(self) -> WorkoutEdit:
        if self.started_at is not None and self.ended_at is not None and self.ended_at < self.started_at:
            raise ValueError("ended_at lies before started_at")
        return self


class Nothing(Passing):
    """No fields are needed."""


class Reasoned(Passing):
    """Why, in a few words."""

    reason: Annotated[str, Field(max_length=200)] | None = None


class Complete(Passing):
    """How it was."""

    rating: Annotated[int, Field(ge=0, le=10), WHOLE] | None = None
    note: Note | None = None


class Rest(Schema):
    """Start a rest of `seconds`, extend the running one by `seconds` (negative shortens), or skip it."""

    action: Literal["start", "extend", "skip"] = "start"
    seconds: Annotated[int, Field(ge=-86_400, le=86_400), WHOLE] | None = None

    @model_validator(mode="after")
    def _seconds_fit(self) -> Rest:
        if self.action != "skip" and self.seconds is None:
            raise ValueError(f"{self.action} needs seconds")
        if self.action == "start" and self.seconds is not None and self.seconds < 0:
            raise ValueError("a rest cannot start with less than 0 seconds")
        return self


class Load(Schema):
    """A load as typed."""

    value: Annotated[Annotated[int, Field(ge=0, le=6_613)] | Annotated[float, Field(ge=0, le=6_613)], PLACES]
    unit: Literal["kg", "lb"]


class ExerciseWrite(Passing):
    """An exercise of a workout: what is given is written. A new one needs `exercise`; without `position`
    (a fractional index, ASCII bytewise) it comes last."""

    exercise: Name | None = None
    position: Position | None = None
    superset: Superset | None = None
    target: dict[str, Any] | None = None
    note: Note | None = None


class SetWrite(Passing):
    """A set: what is given is written. A new one belongs to `exercise_entry` (without it to the exercise
    that plans its `slot`, else to the last one) and is a working set unless `type` says otherwise."""

    exercise_entry: LowerUuid | None = None
    slot: Slot | None = None
    type: SetType | None = None
    reps: Annotated[int, Field(ge=0, le=5_000), WHOLE] | None = None
    load: Load | None = None
    rpe: (
        Annotated[Annotated[int, Field(ge=0, le=10)] | Annotated[float, Field(ge=0, le=10)], PLACES] | None
    ) = None
    rir: (
        Annotated[Annotated[int, Field(ge=0, le=100)] | Annotated[float, Field(ge=0, le=100)], PLACES] | None
    ) = None
    duration_ms: Annotated[int, Field(ge=0, le=7 * 86_400_000), WHOLE] | None = None
    distance_m: (
        Annotated[
            Annotated[int, Field(ge=0, le=1_000_000)] | Annotated[float, Field(ge=0, le=1_000_000)], PLACES
        ]
        | None
    ) = None
    side: Literal["left", "right", "both"] | None = None
    assisted: bool | None = None
    rest_s: Seconds | None = Field(None, description="Starts a rest of this length when the set is done.")
    done: bool | None = None
    note: Note | None = None


SharedField = Literal[
    "title", "status", "started_at", "ended_at", "units", "rating", "exercises", "sets", "totals", "notes"
]


class ShareCreate(Schema):
    """A link to chosen fields of a workout. `sets` brings the exercises along; `notes` are all notes of
    what is shown. Without `expires_in` (seconds) it holds until it is revoked."""

    fields: Annotated[list[SharedField], Field(min_length=1, max_length=10)]
    expires_in: Annotated[int, Field(ge=60, le=366 * 86_400), WHOLE] | None = None


# -- answers -----------------------------------------------------------------------------------------


class Open(Schema):
    """An answer that may carry more than is named here."""

    model_config = ConfigDict(extra="allow")


class SetState(Open):
    """A logged set; `dot` [device, n] names the op that made it."""

    id: str
    slot: int | str | None
    type: str
    reps: int | None
    load: Load | None
    rpe: float | None
    rir: float | None
    duration_ms: int | None
    distance_m: float | None
    side: str | None
    assisted: bool | None
    rest_s: int | None
    done: bool
    note: str | None
    at: int
    dot: list[int]


class PlannedState(Open):
    """A planned set and the id that its set has or will have."""

    slot: int | str
    set: str
    target: dict[str, Any] | None


class ExerciseState(Open):
    """An exercise of a workout with its plan and its sets, in order. `workout` names the one that brought it,
    where that was merged into this one."""

    id: str
    exercise: str
    position: str
    superset: int | str | None
    target: dict[str, Any] | None
    note: str | None
    plan: list[PlannedState]
    sets: list[SetState]
    workout: str | None = None


class RestState(Open):
    """The running rest; `remaining_ms` while the workout is paused."""

    dot: list[int]
    started_at: int
    seconds: int
    ends_at: int | None
    remaining_ms: int | None = None


class Value(Open):
    """A value that stands in a field: `dot` [device, n] names the op that wrote it, `at` (Unix ms) when."""

    value: Any
    dot: list[int]
    at: int


class Alternative(Open):
    """Values that were written to one field by devices that did not know of each other.

    `why` the shown one is shown: by its time (`later`), by device at equal times (`dot`), or since the
    exercise that a later one named is removed (`there`). `conflict.choose {field, dot}` settles it.
    """

    of: Literal["workout", "exercise", "set"]
    entity: str | None
    field: str
    shown: Value
    others: list[Value]
    why: Literal["later", "dot", "there"]
    workout: str | None = None


class Flag(Open):
    """What was decided without a person, where it is no choice between values; the fields depend on it."""

    flag: Literal[
        "late_sets", "abandoned_with_sets", "concurrent_transitions", "removed_and_edited", "notes_merged"
    ]
    workout: str | None = None


class Workout(Open):
    """A workout's state, folded from its ops; times in Unix ms. `merged` are the workouts that this one shows
    besides, `merged_into` the one that shows it. `group` is the one that it is part of; snapshots do not tell
    it. The ETag changes with every op of what is shown, and with the group."""

    id: str
    rev: int
    created: bool
    removed: bool
    status: Status
    phase: Literal["working", "resting"] | None
    title: str | None
    template: str | None
    units: str | None
    tz: str | None
    created_at: int | None
    started_at: int | None
    ended_at: int | None
    updated_at: int | None
    rating: int | None
    reason: str | None
    note: str | None
    rest: RestState | None
    exercises: list[ExerciseState]
    totals: dict[str, Any]
    flags: list[Flag]
    alternatives: list[Alternative]
    merged: list[str] | None = None
    merged_into: str | None = None
    group: str | None = None


class WorkoutSummary(Schema):
    """A workout as lists show it. Times in Unix ms; volume in micrograms, warm-ups left out."""

    id: str
    rev: int
    status: Status
    phase: Literal["working", "resting"] | None
    title: str | None
    template: str | None
    created_at: int | None
    started_at: int | None
    ended_at: int | None
    updated_at: int | None
    exercises: int
    sets: int
    volume_ug: int
    group: str | None


class WorkoutPage(Paged):
    """A page of workouts; without `next_cursor` it is the last."""

    workouts: list[WorkoutSummary]


class ShareLink(Schema):
    """A link to a workout. Whoever has `url` can read the chosen fields until it expires or is revoked."""

    id: str
    workout: str
    fields: list[str]
    token: str
    url: str
    created_at: int
    expires_at: int | None


class Shares(Schema):
    """The links that are still open, newest first."""

    shares: list[ShareLink]


class SharedWorkout(Open):
    """The chosen fields of a shared workout, as they are now."""

    title: str | None = None
    status: Status | None = None
    started_at: int | None = None
    ended_at: int | None = None
    units: str | None = None
    rating: int | None = None
    note: str | None = None
    exercises: list[dict[str, Any]] | None = None
    totals: dict[str, Any] | None = None
