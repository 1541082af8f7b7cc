"""The fold of a group: what it is, as a function of its records in the order of the log.

    g = fold(id_, records)
    judge(g, op, stamp)         # reads only
    take(g, record)             # the next record; one that is known is passed over

Before each record time passes up to its `te`, which is its receipt and never goes back. Void records and
those of kinds that this version does not know only take their place. Time is never passed beyond the last
record: one that another node received earlier may still come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from fitai.engine.groups import kinds, roles
from fitai.engine.groups.formats import Called, Led
from fitai.engine.groups.group import Group, Member
from fitai.engine.groups.machine import COUNTDOWN, ENDED, FINISHED, LIVE, TABLE
from fitai.engine.kinds import BadValue, Edit
from fitai.engine.ops import VOID, Dot, Record, Stamp, Verdict

COUNTDOWN_MS: Final = 10_000
RESUME_MS: Final = 3_000


def fold(id_: str, records: Iterable[Record]) -> Group:
    """The group that these records make, in whatever order and how often they are handed over."""
    g = Group(id_)
    for record in sorted(records, key=lambda record: record.seq):
        take(g, record)
    return g


def take(g: Group, record: Record) -> None:
    """Fold the next record as the log has it."""
    if record.seq <= g.seq:
        return
    value = None
    if record.verdict is not VOID:
        try:
            value = kinds.decode(record.op)
        except BadValue:
            pass  # judged void by this version, not by the one that wrote the record
    add(g, record, value)


def add(g: Group, record: Record, value: Any) -> None:
    """Fold the next record, whose decoded value is at hand; None: it has no effect."""
    g.seq, g.te = record.seq, record.te
    _pass_time(g, record.te)
    if value is None:
        return
    if record.verdict is Verdict.DEFERRED:
        if record.op.kind == "chat.say":
            g.held.add(record.dot)
            g.messages += 1
        return
    try:
        _HANDLERS[record.op.kind](g, record, value)
    except LookupError:
        pass  # it builds on an op of a newer version, which this one passed over: so is this


def _pass_time(g: Group, at: int) -> None:
    """What happens by itself up to `at`: the countdown is over, the format is."""
    if g.status in ENDED:
        return
    g.status = g.status_at(at)
    if g.status == FINISHED:
        g.ended_at = g.clock.ends_at


def _move(g: Group, stamp: Stamp, trigger: str) -> None:
    g.status = TABLE[g.status][trigger]
    g.moved = stamp


def _enrol(g: Group, record: Record, value: kinds.DeviceEnrol) -> None:
    member = g.members.setdefault(value.member, Member(value.member))
    member.name = value.name
    g.devices[value.device] = value.member
    g.invites[value.device] = value.invite


def _create(g: Group, record: Record, value: kinds.GroupCreate) -> None:
    g.created = True
    g.title, g.capacity, g.chat, g.open = value.title, value.capacity, value.chat, value.open
    g.arrange(value.format)
    member = g.members[g.devices[record.device]]
    _enter(g, member, roles.HOST, record.te)
    g.host = member.no


def _edit(g: Group, record: Record, value: Edit) -> None:
    if value.field == "format":
        g.arrange(value.value)
        g.moved = record.stamp  # whoever starts must mean this one
    else:
        setattr(g, value.field, value.value)


def _invite(g: Group, record: Record, value: Any) -> None:
    g.invite += 1


def _start(g: Group, record: Record, value: kinds.In) -> None:
    _move(g, record.stamp, "start")
    g.live_at = record.te + (value.in_ms or COUNTDOWN_MS)
    g.clock.run(g.live_at)
    if isinstance(g.format, Led):
        g.called = [Called(0, 0)]


def _hold(g: Group, record: Record, value: Any) -> None:
    _move(g, record.stamp, "hold")
    g.clock.stop(record.te)
    g.live_at, g.called = None, []


def _pause(g: Group, record: Record, value: Any) -> None:
    _move(g, record.stamp, "pause")
    g.clock.stop(record.te)


def _resume(g: Group, record: Record, value: kinds.In) -> None:
    _move(g, record.stamp, "resume")
    g.clock.run(record.te + (value.in_ms or RESUME_MS))


def _next(g: Group, record: Record, value: kinds.GroupNext) -> None:
    g.moved = record.stamp
    from_ms = g.clock.elapsed(record.te + value.in_ms)
    g.called.append(Called(value.to, max(from_ms, g.called[-1].from_ms)))


def _finish(g: Group, record: Record, value: Any) -> None:
    _end(g, record.te)
    _move(g, record.stamp, "finish")
    g.ended_at, g.reason = record.te, value.reason


def _cancel(g: Group, record: Record, value: Any) -> None:
    _end(g, record.te)
    _move(g, record.stamp, "cancel")
    g.ended_at, g.reason = record.te, value.reason


def _end(g: Group, at: int) -> None:
    if g.status in (COUNTDOWN, LIVE):  # paused, the clock stands
        g.clock.stop(at)


def _host(g: Group, record: Record, value: kinds.GroupHost) -> None:
    if g.host is not None:
        g.members[g.host].role = roles.COACH
    g.host = value.member
    g.members[value.member].role = roles.HOST


def _join(g: Group, record: Record, value: kinds.MemberJoin) -> None:
    member = g.members[g.devices[record.device]]
    _enter(g, member, value.as_, record.te)
    member.share = value.share
    if value.workout is not None and value.as_ != roles.SPECTATOR:
        member.workout = value.workout


def _leave(g: Group, record: Record, value: Any) -> None:
    _go(g, g.members[g.devices[record.device]], "left", record.te)


def _role(g: Group, record: Record, value: kinds.MemberRole) -> None:
    g.members[value.member].role = value.role


def _kick(g: Group, record: Record, value: kinds.OfMember) -> None:
    member = g.members[value.member]
    _go(g, member, "kicked", record.te)
    member.needs = g.invite + 1


def _ban(g: Group, record: Record, value: kinds.OfMember) -> None:
    _go(g, g.members[value.member], "banned", record.te)


def _unban(g: Group, record: Record, value: kinds.OfMember) -> None:
    # As if kicked: welcome again, with a code that is newer than the ban.
    member = g.members[value.member]
    member.gone, member.needs = "kicked", g.invite + 1


def _hand_over(g: Group, record: Record, value: kinds.OfMember) -> None:
    g.members[g.devices[record.device]].role = roles.COACH
    g.members[value.member].role = roles.HOST
    g.host = value.member


def _share(g: Group, record: Record, value: kinds.MemberShare) -> None:
    g.members[g.devices[record.device]].share = value.share


def _workout(g: Group, record: Record, value: kinds.MemberWorkout) -> None:
    g.members[g.devices[record.device]].workout = value.workout


def _erase(g: Group, record: Record, value: kinds.OfMember) -> None:
    member = g.members[value.member]
    _go(g, member, "erased", record.te)
    member.name, member.workout = "", None


def _say(g: Group, record: Record, value: Any) -> None:
    g.messages += 1


def _hide(g: Group, record: Record, value: kinds.ChatHide) -> None:
    g.held.discard(Dot(*value.dot))
    g.hidden[Dot(*value.dot)] = value.reason


def _release(g: Group, record: Record, value: kinds.ChatRelease) -> None:
    g.held.discard(Dot(*value.dot))


def _enter(g: Group, member: Member, role: str, at: int) -> None:
    member.role, member.gone, member.joined_at, member.gone_at = role, None, at, None
    g.count += 1


def _go(g: Group, member: Member, how: str, at: int) -> None:
    if member.here:
        g.count -= 1
        member.gone_at = at
        member.was = member.role
    if g.host == member.no:
        g.host = None
    member.role, member.gone = roles.STRANGER, how


_HANDLERS: Final[Mapping[str, Callable[[Group, Record, Any], None]]] = {
    "device.enrol": _enrol,
    "group.create": _create,
    "group.edit": _edit,
    "group.invite": _invite,
    "group.start": _start,
    "group.hold": _hold,
    "group.pause": _pause,
    "group.resume": _resume,
    "group.next": _next,
    "group.finish": _finish,
    "group.cancel": _cancel,
    "group.host": _host,
    "member.join": _join,
    "member.leave": _leave,
    "member.role": _role,
    "member.kick": _kick,
    "member.ban": _ban,
    "member.unban": _unban,
    "member.hand_over": _hand_over,
    "member.share": _share,
    "member.workout": _workout,
    "member.erase": _erase,
    "chat.say": _say,
    "chat.hide": _hide,
    "chat.release": _release,
}
