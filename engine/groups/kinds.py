"""The kinds of op in a group's stream, v1: what the value of each may be, decoded as those of workouts are.

ARCHITECTURE.md (Groups) has the table. Members and devices are the small integers of this stream, a dot is
[device, n]. A kind that is not here belongs to a newer client: it is kept and has no effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

from fitai.engine.groups.formats import Format
from fitai.engine.kinds import BadValue, Edit, Empty, Reason, Reasoned, Title, convert, lower_uuid
from fitai.engine.ops import Op

Number = Annotated[int, Meta(ge=1, le=2**31)]
Serial = Annotated[int, Meta(ge=1, le=2**31)]
DisplayName = Annotated[str, Meta(max_length=200)]
Capacity = Annotated[int, Meta(ge=1, le=100_000)]
Chat = Literal["all", "training", "off"]
Share = Literal["everything", "progress", "presence"]
Text = Annotated[str, Meta(max_length=500)]
DotValue = tuple[Annotated[int, Meta(ge=0, le=2**31)], Annotated[int, Meta(ge=1, le=2**53)]]


class DeviceEnrol(Struct, frozen=True, gc=False):
    """device.enrol: {device, member, name, invite?}; of a known device: its newest name and invitation."""

    device: Number
    member: Number
    name: DisplayName
    invite: Serial | None = None


class GroupCreate(Struct, frozen=True, gc=False):
    """group.create: {title, format, capacity?, chat?, open?}."""

    title: Title
    format: Format
    capacity: Capacity | None = None
    chat: Chat = "all"
    open: bool = True


class In(Struct, frozen=True, gc=False):
    """group.start, group.resume: {in_ms?}, 1 s to 10 min ahead, so that every device has heard of it."""

    in_ms: Annotated[int, Meta(ge=1_000, le=600_000)] | None = None


class GroupNext(Struct, frozen=True, gc=False):
    """group.next: {to, in_ms?}: the index of the step, and up to 10 s until it begins."""

    to: Annotated[int, Meta(ge=0, le=199)]
    in_ms: Annotated[int, Meta(ge=0, le=10_000)] = 1_000


class GroupHost(Struct, frozen=True, gc=False):
    """group.host: {member, was, reason}: the successor of `was`; null: nobody hosted."""

    member: Number
    was: Number | None
    reason: Literal["lost", "left"]


class MemberJoin(Struct, frozen=True, gc=False):
    """member.join: {as?, share?, workout?}."""

    as_: Literal["participant", "spectator"] = field(name="as", default="participant")
    share: Share = "progress"
    workout: str | None = None

    def __post_init__(self) -> None:
        if self.workout is not None:
            force_setattr(self, "workout", lower_uuid(self.workout))


class MemberRole(Struct, frozen=True, gc=False):
    """member.role: {member, role}."""

    member: Number
    role: Literal["coach", "participant", "spectator"]


class OfMember(Struct, frozen=True, gc=False):
    """member.kick, ban, unban, hand_over, erase: {member, reason?}."""

    member: Number
    reason: Reason | None = None


class MemberShare(Struct, frozen=True, gc=False):
    """member.share: {share}."""

    share: Share


class MemberWorkout(Struct, frozen=True, gc=False):
    """member.workout: {workout}, one of the author's own; null takes it away."""

    workout: str | None

    def __post_init__(self) -> None:
        if self.workout is not None:
            force_setattr(self, "workout", lower_uuid(self.workout))


class ChatSay(Struct, frozen=True, gc=False):
    """chat.say: {text}. Nobody may say nothing (`judgement`); but a message whose text is withheld, or was
    taken out of the log, is one all the same."""

    text: Text = ""


class ChatHide(Struct, frozen=True, gc=False):
    """chat.hide: {dot, reason?}."""

    dot: DotValue
    reason: Reason | None = None


class ChatRelease(Struct, frozen=True, gc=False):
    """chat.release: {dot, text}: the text again, since those who hear it were not told it before."""

    dot: DotValue
    text: Text = ""


FIELDS: Final[Mapping[str, Any]] = {
    "title": Title,
    "format": Format,
    "capacity": Capacity | None,
    "chat": Chat,
    "open": bool,
}

KINDS: Final[Mapping[str, type[Struct]]] = {
    "device.enrol": DeviceEnrol,
    "group.create": GroupCreate,
    "group.edit": Edit,
    "group.invite": Empty,
    "group.start": In,
    "group.hold": Reasoned,
    "group.pause": Reasoned,
    "group.resume": In,
    "group.next": GroupNext,
    "group.finish": Reasoned,
    "group.cancel": Reasoned,
    "group.host": GroupHost,
    "member.join": MemberJoin,
    "member.leave": Empty,
    "member.role": MemberRole,
    "member.kick": OfMember,
    "member.ban": OfMember,
    "member.unban": OfMember,
    "member.hand_over": OfMember,
    "member.share": MemberShare,
    "member.workout": MemberWorkout,
    "member.erase": OfMember,
    "chat.say": ChatSay,
    "chat.hide": ChatHide,
    "chat.release": ChatRelease,
}


def decode(op: Op) -> Struct | None:
    """The op's value as the struct of its kind; None for a kind or schema of a newer client. Raises
    BadValue."""
    type_ = KINDS.get(op.kind)
    if type_ is None or op.v != 1:
        return None
    value: Struct = convert(op.value, type_)
    return _edit(value) if isinstance(value, Edit) else value


def _edit(edit: Edit) -> Edit:
    if edit.field not in FIELDS:
        raise BadValue("field", f"{edit.field[:40]!r} is none of {', '.join(FIELDS)}")
    try:
        return Edit(edit.field, convert(edit.value, FIELDS[edit.field]))
    except BadValue as bad:
        raise BadValue(f"value.{bad.detail['field']}", bad.detail["reason"]) from None
