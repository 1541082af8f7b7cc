"""What a room can be asked to do, as jobs of its worker (`fitai.gateways.live.jobs`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fitai.engine.groups.group import SERVER_DEVICE, Group
from fitai.engine.ops import Op, Record, Verdict
from fitai.engine.timers import ServerOp
from fitai.gateways.groups.draft import Draft, Held, Person, unknown
from fitai.gateways.live.jobs import Job, Key, PushedJob
from fitai.persistence import tracing
from fitai.sync import log
from fitai.sync.log import Context
from fitai.sync.wire import Push, Refusal

if TYPE_CHECKING:
    from fitai.gateways.groups.room import Room
    from fitai.gateways.groups.schemas import GroupJoin
    from fitai.gateways.groups.seat import Seat
    from fitai.gateways.live.connection import Connection

Make = Callable[[Group, int], ServerOp | None]
"""The server's own op, made of a group at a moment (Unix ms), or None."""

JOIN_SCOPE = "groups:write"


@dataclass(frozen=True, slots=True)
class Done:
    """What a change came to. `state`: the group after it; `records` are those that it brought; `replayed`:
    its key had been used by the same request."""

    state: Group
    records: Sequence[Record]
    replayed: bool = False

    @property
    def results(self) -> list[dict[str, Any]]:
        """A line for each op, as the answer of a push has them."""
        return [log.result(record) for record in self.records]


class PushJob(PushedJob["Room", Draft]):
    """Ops of a device of the group; `held` and `dropped` are messages by counter, with moderation's
    reasons."""

    def __init__(
        self,
        push: Push,
        seat: Seat,
        ack: int | None,
        held: Mapping[int, str],
        dropped: Mapping[int, str],
    ) -> None:
        super().__init__(push, seat, seat.device, ack)
        self._held = held
        self._dropped = dropped

    def write(
        self, host: Room, placer: Draft, fresh: Sequence[Op], contexts: Sequence[Context]
    ) -> list[Record]:
        records = placer.place_all(self._device, fresh, contexts, placer.now, self._held, self._dropped)
        for record in records if self._held else ():
            if record.op.n in self._held and record.verdict is Verdict.DEFERRED:
                text = str(record.op.value.get("text", ""))
                placer.held.append(Held(record.dot, text, self._held[record.op.n]))
        return records


class _Asked(Job["Room", Draft]):
    """A job that somebody waits for."""

    def __init__(self) -> None:
        self.done: asyncio.Future[Done] = asyncio.get_running_loop().create_future()

    def settle(self, host: Room) -> None:
        tracing.ended(self.span)
        if not self.done.done():
            self.done.set_result(Done(host.group, self.records))

    def fail(self, error: Exception) -> None:
        tracing.ended(self.span, type(error).__name__)
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # nobody may be waiting, and then nobody need be told


class EnterJob(_Asked):
    """A connection wants a seat: whoever is no member joins, if they may."""

    def __init__(self, connection: Connection, person: Person, ask: GroupJoin, ack: int | None) -> None:
        super().__init__()
        self.connection = connection
        self.ask = ask
        self.ack = ack
        self.member = self.device = 0
        self.person = person
        self.span = tracing.began("enter", root=True, user=person.user, device=person.device)

    def place(self, host: Room, placer: Draft) -> None:
        first, person = len(placer.records), self.person
        member = placer.member(person.user)
        if member is not None and member.here:
            self.device = placer.let_in(person)
        elif not self.connection.identity.may(JOIN_SCOPE):
            raise Refusal("forbidden", f"this token lacks the scope {JOIN_SCOPE}", scope=JOIN_SCOPE)
        else:
            self.device = placer.admit(person, host.opens(self.ask.code, placer.group), self.ask.value())
        self.member = placer.group.devices[self.device]
        self.records = placer.records[first:]


class ActJob(_Asked):
    """A change that is made over REST: an op of an API device which has seen everything. What could not stand
    is refused, and nothing is written then."""

    def __init__(
        self, person: Person, kind: str, value: Mapping[str, Any], key: Key | None, code: str | None
    ) -> None:
        super().__init__()
        self.user = person.user
        self.key = key
        self.person = person
        self._kind = kind
        self._value = value
        self._code = code
        self._replayed = False
        self.span = tracing.began("act", root=False, device=person.device)

    def is_ready(self, host: Room) -> bool:
        return self.key is None

    async def prepare(self, host: Room) -> None:
        self._replayed = self.key is not None and await host.key_used(self.user, self.key)

    def place(self, host: Room, placer: Draft) -> None:
        first, self.records = len(placer.records), []
        if self._replayed:
            return
        member = placer.member(self.user)
        if self._kind == "member.join" and (member is None or not member.here):
            placer.admit(self.person, host.opens(self._code, placer.group), self._value)
        elif member is None:
            raise unknown()
        else:
            placer.check_for(member, self._kind, self._value)
            placer.write(placer.let_in(self.person), self._kind, self._value)
        self.records = placer.records[first:]

    def settle(self, host: Room) -> None:
        tracing.ended(self.span)
        if not self.done.done():
            self.done.set_result(Done(host.group, self.records, self._replayed))


class LeaveJob(_Asked):
    """Who has this device leaves the group; who is no member has left."""

    def __init__(self, device: int) -> None:
        super().__init__()
        self._device = device

    def place(self, host: Room, placer: Draft) -> None:
        self.records = []
        member = placer.group.member_of(self._device)
        if member is not None and member.here:
            placer.check(self._device, "member.leave", {})
            self.records = [placer.write(self._device, "member.leave", {})]


class ServeJob(_Asked):
    """The server's own op, if it is due on the group as it is inside the append, and can stand."""

    def __init__(self, make: Make) -> None:
        super().__init__()
        self._make = make

    def place(self, host: Room, placer: Draft) -> None:
        self.records = []
        own = self._make(placer.group, placer.now)
        if own is not None:
            placer.check(SERVER_DEVICE, own.kind, own.value)
            self.records = [placer.write(SERVER_DEVICE, own.kind, own.value, own.at)]
