"""What a batch of a room's jobs would write: records at their places, and the rows that go with them.

Nothing of it is true until the append commits. On failure it is thrown away, and the jobs are placed anew on
another one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from fitai.engine.groups import kinds
from fitai.engine.groups.group import SERVER_DEVICE, Group, Member
from fitai.engine.groups.judgement import GroupLimits, admits, judge
from fitai.engine.groups.measure import UNKNOWN, Body
from fitai.engine.judgement import Judgement
from fitai.engine.kinds import BadValue
from fitai.engine.ops import VOID, Dot, Op, Record, Stamp
from fitai.gateways.groups.codes import Codes
from fitai.gateways.groups.reports import tell_admins
from fitai.gateways.groups.roster import Roster
from fitai.persistence.database import WriteSession
from fitai.persistence.group_reports import GroupReports
from fitai.persistence.groups import Entry, Groups
from fitai.sync.groups import GroupPlacer
from fitai.sync.log import Context, Position
from fitai.sync.wire import Refusal, WireLimits, decode_op

_WIRE = WireLimits()


@dataclass(frozen=True, slots=True)
class Person:
    """Who wants to be let in: the user, which device of theirs speaks, what they are called, all whom they
    blocked or who blocked them, and what they tell of their body."""

    user: str
    device: int
    name: str
    avoids: Collection[str] = ()
    body: Body = field(default=UNKNOWN, repr=False)


@dataclass(frozen=True, slots=True)
class Held:
    """A message that moderation has to look at."""

    dot: Dot
    text: str
    reason: str


class Draft(GroupPlacer):
    """See the module's first lines. `g` is changed; `now` (Unix ms) is when all of it is received."""

    def __init__(
        self,
        g: Group,
        last_rt: int,
        positions: Mapping[int, Position],
        limits: GroupLimits,
        roster: Roster,
        now: int,
    ) -> None:
        super().__init__(g, last_rt, positions, limits)
        self.group = g
        self.entries: list[Entry] = []
        self.held: list[Held] = []
        self.now = max(now, last_rt)
        self._limits_of_group = limits
        self._roster = roster
        self._invite = g.invite

    # -- who is who --------------------------------------------------------------------------------

    def member(self, user: str) -> Member | None:
        """Who a user is in this group, if they ever were let in."""
        no = self._roster.members.get(user)
        if no is None:
            no = next((entry.member for entry in self.entries if entry.user == user), None)
        return None if no is None else self.group.members.get(no)

    def device(self, user: str, device: int) -> int | None:
        """The number of a user's device."""
        known = self._roster.devices.get((user, device))
        if known is not None:
            return known
        mine = (e.device for e in self.entries if (e.user, e.user_device) == (user, device))
        return next(mine, None)

    def let_in(self, person: Person, invite: int | None = None) -> int:
        """The number of a person's device, enrolled by the server if it is not, or came with an older
        code."""
        g, member = self.group, self.member(person.user)
        device = self.device(person.user, person.device)
        if device is not None and (invite is None or g.invites.get(device) == invite):
            return device
        no = member.no if member is not None else max(g.members, default=0) + 1
        number = device if device is not None else max(g.devices, default=0) + 1
        value: dict[str, Any] = {"device": number, "member": no, "name": person.name}
        if invite is not None:
            value["invite"] = invite
        self.write(SERVER_DEVICE, "device.enrol", value)
        if device is None:
            self.entries.append(Entry(no, person.user, number, person.device))
        return number

    def admit(self, person: Person, code_opens: bool, value: Mapping[str, Any]) -> int:
        """Let a person in and have them join, with a code that opens the group or without one; returns the
        number of their device. Raises Refusal, and nothing is placed then."""
        g, member = self.group, self.member(person.user)
        invite = g.invite if code_opens else None
        if member is None and not code_opens:
            raise unknown()
        if any(self._here(user) for user in person.avoids):
            raise unknown()  # that somebody blocked them is nobody's business
        refuse(admits(g, member, invite, self.now, self._limits_of_group))
        try:
            kinds.decode(self._op(SERVER_DEVICE, "member.join", value, self.now))
        except BadValue as bad:
            refuse(Judgement(VOID, bad.code, bad.detail))
        device = self.let_in(person, invite)
        self.write(device, "member.join", value)
        return device

    def found(self, person: Person, value: Mapping[str, Any]) -> None:
        """Make the group, which the person hosts. Raises Refusal; the draft is of no use then."""
        record = self.write(self.let_in(person), "group.create", value)
        refuse(Judgement(record.verdict, record.code, record.detail))

    def _here(self, user: str) -> bool:
        member = self.member(user)
        return member is not None and member.here

    def _any_device(self, member: Member) -> int:
        return next(device for device, no in self.group.devices.items() if no == member.no)

    # -- ops that are written here -----------------------------------------------------------------

    def check_for(self, member: Member, kind: str, value: Mapping[str, Any]) -> None:
        """Raise Refusal where an op of a member's that has seen everything could not stand."""
        self.check(self._any_device(member), kind, value)

    def check(self, device: int, kind: str, value: Mapping[str, Any]) -> None:
        """The same of a device."""
        op = self._op(device, kind, value, self.now)
        stamp = Stamp(self.head + 1, device, op.n, self.now, self.head)
        refuse(judge(self.group, op, stamp, self._limits_of_group))

    def write(self, device: int, kind: str, value: Mapping[str, Any], at: int | None = None) -> Record:
        """Place an op of a device that has seen everything. Raises Refusal for what is too large."""
        op = self._op(device, kind, value, self.now if at is None else at)
        context = Context(self.head, self.position(device).beyond)
        return self.place_all(device, [op], [context], self.now)[0]

    def _op(self, device: int, kind: str, value: Mapping[str, Any], at: int) -> Op:
        n = self.position(device).next_n
        raw = {"n": n, "base": self.head, "kind": kind, "workout": self.group.id, "value": value, "at": at}
        return decode_op(raw, _WIRE)[0]

    # -- the rows that go with it ------------------------------------------------------------------

    async def begin(self, session: WriteSession, epoch: str, codes: Codes) -> None:
        """Write a group that was made here: its stream, its records, and what goes with them."""
        await Groups(session).begin(self.group, epoch, self.records, self.entries, self.now)
        await self._invites(session, 1, codes)

    async def rows(self, session: WriteSession, stream: int, codes: Codes) -> None:
        """Write them, in the transaction of the records; maybe more than once."""
        g, groups = self.group, Groups(session)
        await groups.enrol(g.id, self.entries)
        await self._invites(session, self._invite + 1, codes)
        for held in self.held:
            added = await GroupReports(session).add(
                g.id, held.dot, held.text, reporter=None, reason=held.reason, now=self.now
            )
            if added is not None:
                await tell_admins(session, self.now)
        await groups.project(g, stream, self.records, self.now)

    async def _invites(self, session: WriteSession, first: int, codes: Codes) -> None:
        for serial in range(first, self.group.invite + 1):
            hashed = codes.hash_of(codes.code(self.group.id, serial))
            assert hashed is not None, "it is a code"
            await Groups(session).invite(self.group.id, serial, hashed)


def refuse(judged: Judgement) -> None:
    """Raise what an op that could not stand is told, if it could not."""
    if judged.verdict is VOID:
        assert judged.code is not None, "what is void says why"
        more = {} if judged.detail is None else {"detail": judged.detail}
        raise Refusal(judged.code, _WORDS.get(judged.code, "this can not be done now"), **more)


def unknown() -> Refusal:
    """What is told of a group that is not there, or not for who asks."""
    return Refusal("not_found", "there is no such group, or no code that opens it")


_WORDS: Mapping[str, str] = {
    "bad_value": "the value is not of the shape that this kind has",
    "limit": "there is no room for more of this",
    "forbidden": "your role in this group does not allow that",
    "illegal_edge": "the group is in no state for that",
    "stale": "the group has moved on; look again",
    "full": "the group is full",
    "banned": "you may not join this group any more",
    "closed": "nobody new may join this group",
    "invite_over": "this code opens the group no more",
    "member": "there is no such member here",
    "chat_off": "there is no chat for you in this group",
}
