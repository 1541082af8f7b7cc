"""What a group is made of while it is folded: itself, its members, its devices, its clock.

`fitai.engine.groups.fold` writes it, record by record, and everything else reads it. Times are Unix ms of the
server. Reading `status` is not enough to know where the group is: time moves it, too. `status_at` says it for
any moment from the last record on, without changing anything.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

from msgspec import Struct

from fitai.engine.groups import formats
from fitai.engine.groups.clock import Clock
from fitai.engine.groups.formats import Called, Format, Open, Phase
from fitai.engine.groups.machine import COUNTDOWN, FINISHED, LIVE, LOBBY
from fitai.engine.groups.roles import MEMBERS, SERVER, STRANGER
from fitai.engine.ops import Dot, Stamp

SERVER_DEVICE = 0


class Member(Struct):
    """A person in a group.

    no         their number in this stream, never given twice
    name       as the server had it when their newest device was let in; "" for an account that is gone
    role       host, coach, participant, spectator; stranger while they are no member
    gone       why they are no member any more: left, kicked, banned, erased; None while they are, and before
    was        the role in which they went
    joined_at  when they joined last; gone_at, when they went last
    share      everything, progress, presence
    workout    which of their own workouts is the one of this group
    needs      the serial that an invitation must have at least, for who was kicked
    """

    no: int
    name: str = ""
    role: str = STRANGER
    gone: str | None = None
    was: str | None = None
    joined_at: int | None = None
    gone_at: int | None = None
    share: str = "progress"
    workout: str | None = None
    needs: int = 0

    @property
    def here(self) -> bool:
        """Whether they are a member now; being connected is another question."""
        return self.role in MEMBERS


class Group:
    """One group as the records make it.

    seq, te    of the last record
    created    group.create was there
    host       the member who hosts; None for a moment after they went
    members    by number, those who went too; devices: the member of each device
    invites    the serial of the code that a device came with; `invite` is that of the code which opens now
    live_at    when the countdown is over, or was; ended_at, when the group was over, by time or by somebody
    called     the steps that a coach called, if led
    moved      the record that moved the machine last
    held       messages that moderation has to look at; hidden: those that were taken away, and why
    messages   how many were sent
    """

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.seq = 0
        self.te = 0
        self.created = False
        self.status = LOBBY
        self.title = ""
        self.capacity: int | None = None
        self.chat = "all"
        self.open = True
        self.host: int | None = None
        self.members: dict[int, Member] = {}
        self.devices: dict[int, int] = {}
        self.invites: dict[int, int | None] = {}
        self.invite = 1
        self.count = 0  # of members who are here
        self.live_at: int | None = None
        self.ended_at: int | None = None
        self.reason: str | None = None
        self.called: list[Called] = []
        self.moved: Stamp | None = None
        self.held: set[Dot] = set()
        self.hidden: dict[Dot, str | None] = {}
        self.messages = 0
        self.arrange(Open())

    def copied(self) -> Group:
        """The same group, on which what follows may be tried without changing this one."""
        other = copy.copy(self)
        other.members = {no: copy.copy(member) for no, member in self.members.items()}
        other.devices, other.invites = dict(self.devices), dict(self.invites)
        other.held, other.hidden, other.called = set(self.held), dict(self.hidden), list(self.called)
        other.clock = Clock(self.clock.limit)
        other.clock.runs = list(self.clock.runs)
        return other

    def arrange(self, format_: Format) -> None:
        """Take another format, before anything has begun."""
        self.format = format_
        self.clock = Clock(formats.limit(format_))
        self._phases = formats.plan(format_)

    @property
    def phases(self) -> list[Phase]:
        """What is done when; of a led group, as far as it was called."""
        return formats.plan(self.format, self.called) if self.called else self._phases

    def status_at(self, at: int) -> str:
        """Where the group is at a moment from the last record on: the state after what time does."""
        status, ends_at = self.status, self.clock.ends_at
        if status == COUNTDOWN and self.live_at is not None and at >= self.live_at:
            status = LIVE
        return FINISHED if status == LIVE and ends_at is not None and at >= ends_at else status

    def member_of(self, device: int) -> Member | None:
        """Whose device it is; None for the server's and for those that nobody let in."""
        return self.members.get(self.devices.get(device, 0))

    def role_of(self, device: int) -> str | None:
        """In which role a device speaks; None for one that nobody let in, or whose account is gone."""
        if device == SERVER_DEVICE:
            return SERVER
        member = self.member_of(device)
        return None if member is None or member.gone == "erased" else member.role

    def here(self) -> Iterator[Member]:
        """The members, by number."""
        return (member for member in self.members.values() if member.here)
