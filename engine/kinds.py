"""The kinds of op, v1: what the value of each may be, decoded strictly.

A value is decoded into a typed struct of its kind. Fields that the struct does not have are ignored here and
kept in `op.raw`; fields that it has must be right: types are not guessed ("5" is no number, true is no 1),
decimals have at most 3 places, NaN and infinities do not exist. Two liberties, because JSON libraries differ:
60 and 60.0 are one number, also where an integer is meant, and ids may come in upper case.

A kind that is not here, or a newer schema of one that is, is not wrong: its value is not decoded, and the op
is kept until an upgrade understands it. What is here and wrong raises `BadValue`.

**A new schema.** A value whose meaning has to change (a field split, another unit) gets a new schema number:
its struct describes the newest, and the kind's `upcasts` gain one pure function that says an older value in
the newer way. It is applied each time an older op is decoded; the log keeps what was written. A field that is
only added needs none of that. Whatever changes here, the fold's version is raised with it
(`fitai.sync.version`).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, cast

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import force_setattr

from fitai.engine.ops import Op
from fitai.engine.units import plain

EntityUse = Literal["required", "optional", "none"]

_MAX_LOAD_KG: Final = 3_000
_MAX_LOAD_LB: Final = 6_613
_MAX_TARGET_BYTES: Final = 2_048
_MAX_TARGET_DEPTH: Final = 6
_LAST_MS: Final = 253_402_300_799_999  # the end of the year 9999
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class BadValue(Exception):
    """An op's value is understood and wrong.

    code    'bad_value'
    detail  {field, reason}; `field` is the path inside the value, or 'entity'
    """

    def __init__(self, field: str, reason: str, code: str = "bad_value") -> None:
        super().__init__(f"{field}: {reason}")
        self.code = code
        # The detail is stored in the log and sent to devices, and a reason may quote what was typed.
        self.detail: dict[str, Any] = {"field": field, "reason": _quotable(reason)}


# The parts of values. Ranges are wide enough for every true set, and so narrow that no sum overflows 63 bits.

Title = Annotated[str, Meta(min_length=1, max_length=500)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Reason = Annotated[str, Meta(max_length=200)]
Zone = Annotated[str, Meta(min_length=1, max_length=64)]
Units = Annotated[str, Meta(min_length=1, max_length=16)]
Position = Annotated[str, Meta(min_length=1, max_length=200)]
Superset = Annotated[int, Meta(ge=-(2**53), le=2**53)] | Annotated[str, Meta(min_length=1, max_length=64)]
Slot = Annotated[int, Meta(ge=0, le=2**53)] | Annotated[str, Meta(min_length=1, max_length=64)]
SetType = Literal["warmup", "working", "drop", "failure", "amrap", "myo", "partial", "isometric"]
Side = Literal["left", "right", "both"]
Reps = Annotated[int, Meta(ge=0, le=5_000)]
Effort = Annotated[float, Meta(ge=0, le=10)]
InReserve = Annotated[float, Meta(ge=0, le=100)]
DurationMs = Annotated[int, Meta(ge=0, le=7 * 86_400_000)]
DistanceM = Annotated[float, Meta(ge=0, le=1_000_000)]
RestSeconds = Annotated[int, Meta(ge=0, le=86_400)]
MoreSeconds = Annotated[int, Meta(ge=-86_400, le=86_400)]
Millis = Annotated[int, Meta(ge=0, le=_LAST_MS)]
Rating = Annotated[int, Meta(ge=0, le=10)]
Counter = Annotated[int, Meta(ge=0, le=2**53)]


class Load(Struct, frozen=True, gc=False):
    """A load as typed: at most 3 decimal places, unit kg or lb, up to 3,000 kg."""

    value: Annotated[float, Meta(ge=0)]
    unit: Literal["kg", "lb"]

    def __post_init__(self) -> None:
        three_places(self.value)
        if self.value > (_MAX_LOAD_KG if self.unit == "kg" else _MAX_LOAD_LB):
            raise ValueError(f"is more than {_MAX_LOAD_KG} kg")

    def document(self) -> dict[str, Any]:
        """The JSON shape {value, unit}; whole values as integers."""
        return {"value": plain(self.value), "unit": self.unit}


class PlannedSet(Struct, frozen=True, gc=False):
    """One slot of a plan. `target` is free-form JSON of the planning app; only `rest_s` in it is read."""

    slot: Slot
    target: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        force_setattr(self, "target", free_form(self.target))


class PlannedEntry(Struct, frozen=True, gc=False):
    """One exercise of a plan; `entry` becomes the id of the exercise entry."""

    entry: str
    exercise: Name
    position: Position
    superset: Superset | None = None
    sets: list[PlannedSet] = []
    target: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        force_setattr(self, "entry", lower_uuid(self.entry))
        force_setattr(self, "target", free_form(self.target))
        _ascii(self.position)


class WorkoutCreate(Struct, frozen=True, gc=False):
    """workout.create: {title?, template?, plan?, units?, tz?}."""

    title: Title | None | UnsetType = UNSET
    template: Name | None | UnsetType = UNSET
    plan: list[PlannedEntry] | None = None
    units: Units | None | UnsetType = UNSET
    tz: Zone | None | UnsetType = UNSET

    def __post_init__(self) -> None:
        # A set's id comes from the workout and the slot alone: one slot twice would be one set in two places.
        seen: set[str] = set()
        for entry in self.plan or ():
            for planned in entry.sets:
                name = str(planned.slot)
                if name in seen:
                    raise ValueError(f"slot {name} is planned twice in one workout")
                seen.add(name)


class Empty(Struct, frozen=True, gc=False):
    """A kind that has nothing to say but its name."""


class Reasoned(Struct, frozen=True, gc=False):
    """workout.pause, workout.abandon: {reason?}."""

    reason: Reason | None = None


class WorkoutComplete(Struct, frozen=True, gc=False):
    """workout.complete: {rating? 0..10, note?}; `reason` is the server's own, when nobody came back."""

    rating: Rating | None | UnsetType = UNSET
    note: str | None | UnsetType = UNSET
    reason: Reason | None = None


class Edit(Struct, frozen=True, gc=False):
    """workout.edit, exercise.edit, set.edit: {field, value}; `value` is decoded as that field, and then plain
    JSON with whole decimals as integers."""

    field: str
    value: Any = None


class WorkoutMerge(Struct, frozen=True, gc=False):
    """workout.merge: {into}, another workout of the same owner."""

    into: str

    def __post_init__(self) -> None:
        force_setattr(self, "into", lower_uuid(self.into))


class ExerciseAdd(Struct, frozen=True, gc=False):
    """exercise.add: {exercise, position, superset?, target?}; the op's entity is the entry's id."""

    exercise: Name
    position: Position
    superset: Superset | None | UnsetType = UNSET
    target: dict[str, Any] | None | UnsetType = UNSET

    def __post_init__(self) -> None:
        _ascii(self.position)
        if self.target is not UNSET:
            force_setattr(self, "target", free_form(self.target))


class ExerciseMove(Struct, frozen=True, gc=False):
    """exercise.move: {position, superset?}."""

    position: Position
    superset: Superset | None | UnsetType = UNSET

    def __post_init__(self) -> None:
        _ascii(self.position)


class SetLog(Struct, frozen=True, gc=False):
    """set.log: a set as it was done. Absent fields of a known set stay as they are; null clears."""

    exercise_entry: str
    type: SetType
    slot: Slot | None = None
    reps: Reps | None | UnsetType = UNSET
    load: Load | None | UnsetType = UNSET
    rpe: Effort | None | UnsetType = UNSET
    rir: InReserve | None | UnsetType = UNSET
    duration_ms: DurationMs | None | UnsetType = UNSET
    distance_m: DistanceM | None | UnsetType = UNSET
    side: Side | None | UnsetType = UNSET
    assisted: bool | None | UnsetType = UNSET
    rest_s: RestSeconds | None | UnsetType = UNSET
    done: bool | UnsetType = UNSET

    def __post_init__(self) -> None:
        entry = lower_uuid(self.exercise_entry)
        if entry is not self.exercise_entry:
            force_setattr(self, "exercise_entry", entry)
        for decimal in (self.rpe, self.rir, self.distance_m):
            if decimal is not UNSET and decimal is not None:
                three_places(decimal)


class RestStart(Struct, frozen=True, gc=False):
    """rest.start: {seconds 0..86400}."""

    seconds: RestSeconds


class RestExtend(Struct, frozen=True, gc=False):
    """rest.extend: {seconds}; negative shortens."""

    seconds: MoreSeconds


class NoteSet(Struct, frozen=True, gc=False):
    """note.set: {text, parent?: [device, n]} on the workout (no entity), an exercise entry or a set."""

    text: str
    parent: tuple[Counter, Counter] | None = None


class ConflictChoose(Struct, frozen=True, gc=False):
    """conflict.choose: {field, dot: [device, n]}."""

    field: Name
    dot: tuple[Counter, Counter]


Upcast = Callable[[dict[str, Any]], dict[str, Any]]
"""From a value of one schema to the same said in the next; pure, and its argument stays as it is."""


class Kind(Struct, frozen=True):
    """One kind of op: the type of its value, and whether it names an entity.

    fields   the fields that an edit may name, each with its type
    upcasts  one step for every older schema, from 1 to 2, from 2 to 3, …
    """

    name: str
    value_type: type[Struct]
    entity: EntityUse = "none"
    fields: Mapping[str, Any] = {}
    upcasts: tuple[Upcast, ...] = ()

    @property
    def schema(self) -> int:
        """The newest schema number, the one that `value_type` describes."""
        return len(self.upcasts) + 1


WORKOUT_FIELDS: Final[Mapping[str, Any]] = {
    "title": Title | None,
    "tz": Zone | None,
    "started_at": Millis | None,
    "ended_at": Millis | None,
}
EXERCISE_FIELDS: Final[Mapping[str, Any]] = {
    "exercise": Name,
    "superset": Superset | None,
    "target": dict[str, Any] | None,
}
SET_FIELDS: Final[Mapping[str, Any]] = {
    "exercise_entry": str,
    "type": SetType,
    "reps": Reps | None,
    "load": Load | None,
    "rpe": Effort | None,
    "rir": InReserve | None,
    "duration_ms": DurationMs | None,
    "distance_m": DistanceM | None,
    "side": Side | None,
    "assisted": bool | None,
    "rest_s": RestSeconds | None,
    "done": bool,
}

KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("workout.create", WorkoutCreate),
        Kind("workout.start", Empty),
        Kind("workout.pause", Reasoned),
        Kind("workout.resume", Empty),
        Kind("workout.complete", WorkoutComplete),
        Kind("workout.abandon", Reasoned),
        Kind("workout.edit", Edit, fields=WORKOUT_FIELDS),
        Kind("workout.remove", Empty),
        Kind("workout.restore", Empty),
        Kind("workout.merge", WorkoutMerge),
        Kind("workout.unmerge", Empty),
        Kind("exercise.add", ExerciseAdd, "required"),
        Kind("exercise.edit", Edit, "required", fields=EXERCISE_FIELDS),
        Kind("exercise.move", ExerciseMove, "required"),
        Kind("exercise.remove", Empty, "required"),
        Kind("exercise.restore", Empty, "required"),
        Kind("set.log", SetLog, "optional"),
        Kind("set.edit", Edit, "required", fields=SET_FIELDS),
        Kind("set.remove", Empty, "required"),
        Kind("set.restore", Empty, "required"),
        Kind("rest.start", RestStart),
        Kind("rest.extend", RestExtend),
        Kind("rest.skip", Empty),
        Kind("note.set", NoteSet, "optional"),
        Kind("conflict.choose", ConflictChoose, "optional"),
    )
}


def stamp(kind: str) -> dict[str, int]:
    """What an op that is written now says of its schema: {v}, or nothing where it is the first."""
    schema = KINDS[kind].schema if kind in KINDS else 1
    return {"v": schema} if schema > 1 else {}


def decode_value(op: Op) -> Struct | None:
    """The op's value as the struct of its kind; for the edits, `value` is decoded as the named field.

    None where the op is not known: a kind of a newer client, or a newer schema (`v`) of a known kind. Raises
    BadValue, also when an entity is needed and missing.
    """
    kind = KINDS.get(op.kind)
    if kind is None or (op.v != 1 and op.v > kind.schema):
        return None
    body = op.value if not kind.upcasts else _newest(op, kind.upcasts)
    if op.entity is None and kind.entity == "required":
        convert(body, kind.value_type)  # a wrong value is told first
        raise BadValue("entity", "is required")
    if kind.fields:
        try:
            edit: Edit = msgspec.convert(body, _EDITS[op.kind][body["field"]])
        except (LookupError, TypeError, msgspec.ValidationError, RecursionError, UnicodeEncodeError):
            edit = _edit(body, kind)  # looks closer, and tells what is wrong
        if type(edit.value) not in _TEXTLESS:
            _encodable(edit.value)
        return edit
    value: Struct = convert(body, kind.value_type)
    if op.kind in _CHECKS:
        _CHECKS[op.kind](op, value)
    return value


def _newest(op: Op, upcasts: tuple[Upcast, ...]) -> dict[str, Any]:
    """The op's value as the newest schema says it. Nobody has looked at it yet: it may be anything."""
    value = op.value
    try:
        for upcast in upcasts[op.v - 1 :]:
            value = upcast(value)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise BadValue("value", f"is no value of schema {op.v}") from None
    return value


@lru_cache(maxsize=16_384)
def set_id(workout: str, slot: int | str) -> str:
    """The id of a planned slot's set: UUIDv5(workout, slot), so that phone and watch meet in one set."""
    return str(uuid.uuid5(uuid.UUID(workout), str(slot)))


def convert(value: Any, type_: Any) -> Any:
    """A value from outside as `type_`, by the liberties of this module; raises BadValue."""
    typed = _typed(value, type_)
    _encodable(typed)
    return typed


def _typed(value: Any, type_: Any) -> Any:
    try:
        return msgspec.convert(value, type_)
    except (msgspec.ValidationError, RecursionError):
        return _convert_whole_floats(value, type_)
    except UnicodeEncodeError:
        raise BadValue("value", "is not valid text") from None


def _convert_whole_floats(value: Any, type_: Any) -> Any:
    """The second try, with 60.0 read as 60; it is off the usual path, since most clients send integers."""
    try:
        return msgspec.convert(_whole(value), type_)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        missing = _MISSING.fullmatch(reason)
        parts = (path.rstrip("`").lstrip("."), missing[1] if missing else "")
        raise BadValue(".".join(part for part in parts if part) or "value", reason) from None
    except RecursionError:
        raise BadValue("value", "is nested too deeply") from None
    except UnicodeEncodeError:
        raise BadValue("value", "is not valid text") from None


def _whole(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    return value


def _quotable(reason: str) -> str:
    return reason[:200].encode("utf-8", "replace").decode()


def _encodable(typed: Any) -> None:
    """Refuse text that no JSON can carry (lone surrogates): it would break every reader of the state."""
    try:
        msgspec.json.encode(typed)
    except (UnicodeEncodeError, OverflowError, TypeError, ValueError):
        raise BadValue("value", "is not valid text") from None


def _edit(body: dict[str, Any], kind: Kind) -> Edit:
    field: Any = body.get("field")
    type_ = _EDITS[kind.name].get(field) if type(field) is str else None
    if type_ is None:
        named = convert(body, Edit).field
        raise BadValue("field", f"{named[:40]!r} is none of {', '.join(kind.fields)}")
    edit: Edit = _typed(body, type_)
    return edit


def _edit_type(field: str, type_: Any) -> type[Edit]:
    """`Edit` as it is for one field. A value that is left out is null, where null may be."""
    check = _FIELD_CHECKS.get(field)
    namespace = {} if check is None else {"__post_init__": lambda edit: _check_edit(edit, check)}
    try:
        msgspec.convert(None, type_)
        value: tuple[Any, ...] = ("value", type_, None)
    except msgspec.ValidationError:
        value = ("value", type_)
    fields = [("field", Literal[field]), value]
    name = f"Edit_{field}"
    made = msgspec.defstruct(name, fields, bases=(Edit,), namespace=namespace, frozen=True, gc=False)
    return cast("type[Edit]", made)


def _check_edit(edit: Edit, check: Callable[[Any], Any]) -> None:
    force_setattr(edit, "value", check(edit.value))


_TEXTLESS: Final = frozenset({int, float, bool, type(None)})


def _check_set_log(op: Op, value: Any) -> None:
    if op.entity is None and value.slot is None:
        raise BadValue("entity", "is required without a slot")


def _check_merge(op: Op, value: Any) -> None:
    if value.into == op.workout:
        raise BadValue("into", "is the same workout")


_CHECKS: Final[Mapping[str, Callable[[Op, Any], None]]] = {
    "set.log": _check_set_log,
    "workout.merge": _check_merge,
}


def three_places(value: float | None) -> float | None:
    """Raise ValueError for more than 3 decimal places, NaN and infinities."""
    if value is not None and round(value, 3) != value:
        raise ValueError("has more than 3 decimal places")
    return value


def lower_uuid(text: str) -> str:
    """An id in lower case; ValueError when it is no UUID."""
    if _UUID.fullmatch(text) is not None:
        return text
    lower = text.lower()
    if _UUID.fullmatch(lower) is None:
        raise ValueError("is not a UUID")
    return lower


def _ascii(position: str) -> None:
    if not (position.isascii() and position.isprintable()):
        raise ValueError("position is not printable ASCII")


def free_form(target: Any) -> Any:
    """A copy of a free-form target: JSON values only, bounded in size and depth, whole floats as integers."""
    if target is None:
        return None
    clean = _json(target, _MAX_TARGET_DEPTH)
    if len(msgspec.json.encode(clean)) > _MAX_TARGET_BYTES:
        raise ValueError(f"target is larger than {_MAX_TARGET_BYTES} bytes")
    rest = clean.get("rest_s")
    if rest is not None and (type(rest) is not int or not 0 <= rest <= 86_400):
        raise ValueError("target.rest_s is no number of seconds from 0 to 86400")
    return clean


def _json(value: Any, depth: int) -> Any:
    if depth == 0:
        raise ValueError("target is nested too deeply")
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return _within(value)
    if isinstance(value, float):
        return _within(int(value) if value.is_integer() else value)
    if isinstance(value, list | tuple):
        return [_json(item, depth - 1) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _json(item, depth - 1) for key, item in value.items()}
    raise ValueError("target is not JSON")


def _within(number: float) -> float:
    if not -(2**53) <= number <= 2**53:  # also false for NaN
        raise ValueError("target has a number out of range")
    return number


def _decimal(value: float | None) -> int | float | None:
    three_places(value)
    return None if value is None else plain(value)


def _load(load: Load | None) -> dict[str, Any] | None:
    return None if load is None else load.document()


_FIELD_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "exercise_entry": lower_uuid,
    "load": _load,
    "rpe": _decimal,
    "rir": _decimal,
    "distance_m": _decimal,
    "target": free_form,
}

_EDITS: Final[Mapping[str, Mapping[str, type[Edit]]]] = {
    kind.name: {field: _edit_type(field, type_) for field, type_ in kind.fields.items()}
    for kind in KINDS.values()
    if kind.fields
}
