"""Judging an op of a group: can it stand where it is in the log?

The order of the questions is the order of the answers: is it readable, may its author do that at all, does
the machine allow it, had its author seen what it moves on from, is there whom it is about. What is void has
no effect and blocks nothing behind it. Codes: ARCHITECTURE.md (Groups).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fitai.engine.groups import kinds, roles
from fitai.engine.groups.formats import Led
from fitai.engine.groups.group import Group, Member
from fitai.engine.groups.machine import ENDED, LIVE, LOBBY, TABLE
from fitai.engine.judgement import Judgement
from fitai.engine.kinds import BadValue, Edit
from fitai.engine.ops import APPLIED, VOID, Dot, Op, Stamp, Verdict, saw


@dataclass(frozen=True)
class GroupLimits:
    """What one group may hold.

    capacity  members who are in it at once; the group's own capacity may be lower
    known     members and devices that it ever knew
    messages  in its chat
    ops       of all kinds, those that were refused too
    """

    capacity: int = 1_000
    known: int = 20_000
    messages: int = 20_000
    ops: int = 200_000


DEFAULT_LIMITS: Final = GroupLimits()

EDGE_OF: Final[Mapping[str, str]] = {
    "group.start": "start",
    "group.hold": "hold",
    "group.pause": "pause",
    "group.resume": "resume",
    "group.finish": "finish",
    "group.cancel": "cancel",
}

# Ending a group is meant whatever it does at the moment; these are meant for what the author saw.
_AS_SEEN: Final = frozenset({"group.start", "group.hold", "group.pause", "group.resume", "group.next"})


class _Void(Exception):
    def __init__(self, code: str, **detail: Any) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail or None


def judge(g: Group, op: Op, stamp: Stamp, limits: GroupLimits = DEFAULT_LIMITS) -> Judgement:
    """What becomes of `op` on the group before it; reads only, raises nothing. `stamp` is its place: its te
    is the receipt, its base what the author had seen."""
    try:
        if g.seq >= limits.ops:
            raise _Void("limit", limit="ops", max=limits.ops)
        value = kinds.decode(op)
        if value is None:
            return Judgement(Verdict.DEFERRED)
        role = g.role_of(stamp.device)
        if role is None or not roles.may(role, op.kind) or not (g.created or op.kind in _FIRST):
            raise _forbidden(role, op)
        _edge(g, op, stamp)
        rule = _RULES.get(op.kind)
        if rule is not None:
            rule(_Case(g, op, stamp, role, limits), value)
    except BadValue as bad:
        return Judgement(VOID, bad.code, bad.detail)
    except _Void as void:
        return Judgement(VOID, void.code, void.detail)
    return Judgement(APPLIED, None, None, value)


def admits(
    g: Group, member: Member | None, invite: int | None, at: int, limits: GroupLimits = DEFAULT_LIMITS
) -> Judgement:
    """Whether who is not here might join at `at` with a code of that serial (None: without one): what `judge`
    would say of their member.join, before their device is let in. `member` is who they were, if anybody."""
    try:
        if g.seq >= limits.ops:
            raise _Void("limit", limit="ops", max=limits.ops)
        if not g.created or (member is not None and member.gone == "erased"):
            raise _Void("forbidden", role=roles.STRANGER, kind="member.join")
        if member is None and len(g.devices) >= limits.known:
            raise _Void("limit", limit="known", max=limits.known)
        _may_join(g, member or Member(0), invite, g.status_at(at), limits)
    except _Void as void:
        return Judgement(VOID, void.code, void.detail)
    return Judgement(APPLIED, None, None)


_FIRST: Final = frozenset({"device.enrol", "group.create"})


def _forbidden(role: str | None, op: Op) -> _Void:
    return _Void("forbidden", role=role or roles.STRANGER, kind=op.kind)


def _edge(g: Group, op: Op, stamp: Stamp) -> None:
    trigger = EDGE_OF.get(op.kind)
    status = g.status_at(stamp.te)
    if trigger is not None and trigger not in TABLE[status]:
        raise _Void("illegal_edge", **{"from": status}, trigger=trigger)
    if op.kind in _AS_SEEN and g.moved is not None and not saw(stamp, g.moved):
        raise _Void("stale", seq=g.moved.seq)


@dataclass(frozen=True)
class _Case:
    """An op at its place, with its author's role."""

    g: Group
    op: Op
    stamp: Stamp
    role: str
    limits: GroupLimits

    @property
    def status(self) -> str:
        return self.g.status_at(self.stamp.te)

    @property
    def author(self) -> Member | None:
        return self.g.member_of(self.stamp.device)

    def illegal(self, trigger: str) -> _Void:
        return _Void("illegal_edge", **{"from": self.status}, trigger=trigger)

    def target(self, no: int) -> Member:
        """The member that the op is about, whom its author may do that to."""
        member = self.g.members.get(no)
        if member is None or member.gone == "erased":
            raise _Void("member", member=no)
        own = self.author is member
        if not roles.may_act_on(self.role, self.op.kind, own=own, target=member.role):
            raise _forbidden(self.role, self.op)
        return member

    def present(self, no: int) -> Member:
        """The same, and they are a member."""
        member = self.target(no)
        if not member.here:
            raise _Void("member", member=no)
        return member


def _enrol(case: _Case, value: kinds.DeviceEnrol) -> None:
    g = case.g
    if g.devices.get(value.device, value.member) != value.member:
        raise BadValue("device", "is another member's")
    if value.device not in g.devices and len(g.devices) >= case.limits.known:
        raise _Void("limit", limit="known", max=case.limits.known)
    member = g.members.get(value.member)
    if member is not None and member.gone in ("banned", "erased"):
        raise _Void("banned" if member.gone == "banned" else "member", member=value.member)


def _create(case: _Case, value: kinds.GroupCreate) -> None:
    if case.g.created:
        raise case.illegal("create")
    _fits(case, value.capacity)


def _edit(case: _Case, value: Edit) -> None:
    if value.field == "format" and case.status != LOBBY:
        raise case.illegal("edit")
    if value.field == "capacity":
        _fits(case, value.value)


def _fits(case: _Case, capacity: int | None) -> None:
    if capacity is not None and capacity > case.limits.capacity:
        raise _Void("limit", limit="capacity", max=case.limits.capacity)


def _invite(case: _Case, value: Any) -> None:
    if case.status in ENDED:
        raise case.illegal("invite")


def _next(case: _Case, value: kinds.GroupNext) -> None:
    g = case.g
    if not isinstance(g.format, Led) or case.status != LIVE:
        raise case.illegal("next")
    if value.to >= len(g.format.steps):
        raise BadValue("to", f"there are {len(g.format.steps)} steps")
    # The machine stands in live without a record that moved it there: the first step was called by time.
    now = g.called[-1].step if g.called else 0
    if value.to == now:
        raise case.illegal("next")


def _host(case: _Case, value: kinds.GroupHost) -> None:
    if value.was != case.g.host:
        raise _Void("stale", seq=case.g.seq)
    member = case.g.members.get(value.member)
    if member is None or member.role not in (roles.COACH, roles.PARTICIPANT):
        raise _Void("member", member=value.member)


def _join(case: _Case, value: kinds.MemberJoin) -> None:
    member, invite = case.author, case.g.invites.get(case.stamp.device)
    _may_join(case.g, member, invite, case.status, case.limits)


def _may_join(g: Group, member: Member | None, invite: int | None, status: str, limits: GroupLimits) -> None:
    if status in ENDED:
        raise _Void("illegal_edge", **{"from": status}, trigger="join")
    if member is None or member.gone == "banned":
        raise _Void("banned")
    if member.gone != "left":  # who went by themselves may come back by themselves
        if not g.open:
            raise _Void("closed")
        if invite is None or invite != g.invite or invite < member.needs:
            raise _Void("invite_over")
    capacity = min(g.capacity or limits.capacity, limits.capacity)
    if g.count >= capacity:
        raise _Void("full", capacity=capacity)


def _role(case: _Case, value: kinds.MemberRole) -> None:
    member = case.present(value.member)
    if not roles.may_give(case.role, value.role, own=member is case.author):
        raise _forbidden(case.role, case.op)


def _present(case: _Case, value: kinds.OfMember) -> None:
    case.present(value.member)


def _ban(case: _Case, value: kinds.OfMember) -> None:
    if case.target(value.member).gone == "banned":
        raise _Void("member", member=value.member)


def _unban(case: _Case, value: kinds.OfMember) -> None:
    if case.target(value.member).gone != "banned":
        raise _Void("member", member=value.member)


def _erase(case: _Case, value: kinds.OfMember) -> None:
    member = case.g.members.get(value.member)
    if member is None or member.gone == "erased":
        raise _Void("member", member=value.member)


def _say(case: _Case, value: kinds.ChatSay) -> None:
    g = case.g
    if not value.text.strip():
        raise BadValue("text", "says nothing")
    if g.chat == "off" or (g.chat == "training" and case.role == roles.SPECTATOR):
        raise _Void("chat_off")
    if g.messages >= case.limits.messages:
        raise _Void("limit", limit="messages", max=case.limits.messages)


def _hide(case: _Case, value: kinds.ChatHide) -> None:
    said_by = case.g.member_of(value.dot[0])
    if said_by is None:
        raise BadValue("dot", "names nobody's message")
    own = said_by is case.author
    if case.role != roles.SERVER and not roles.may_act_on(
        case.role, case.op.kind, own=own, target=said_by.role
    ):
        raise _forbidden(case.role, case.op)
    if Dot(*value.dot) not in case.g.hidden and len(case.g.hidden) >= case.limits.messages:
        raise _Void("limit", limit="messages", max=case.limits.messages)


def _release(case: _Case, value: kinds.ChatRelease) -> None:
    if Dot(*value.dot) not in case.g.held:
        raise BadValue("dot", "names no message that is held")


_RULES: Final[Mapping[str, Callable[[_Case, Any], None]]] = {
    "device.enrol": _enrol,
    "group.create": _create,
    "group.edit": _edit,
    "group.invite": _invite,
    "group.next": _next,
    "group.host": _host,
    "member.join": _join,
    "member.role": _role,
    "member.kick": _present,
    "member.ban": _ban,
    "member.unban": _unban,
    "member.hand_over": _present,
    "member.erase": _erase,
    "chat.say": _say,
    "chat.hide": _hide,
    "chat.release": _release,
}
