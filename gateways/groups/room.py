"""The room: one group's stream on this node, in memory, a cache of the log.

How it works through its jobs, races with other nodes and catches up is `fitai.gateways.live.worker`'s; here
is what a group's stream is: its fold, the seats that are told of it, and what follows.

The committed group is `group`. What a batch would make of it is tried on a copy (`draft.Draft`), which is
kept as long as all that it tried came true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson
import structlog

from fitai.engine.groups import telling, timers
from fitai.engine.groups.document import document
from fitai.engine.groups.fold import take
from fitai.engine.groups.group import SERVER_DEVICE, Group, Member
from fitai.engine.groups.measure import UNKNOWN, Body
from fitai.engine.ops import Record
from fitai.gateways import meters
from fitai.gateways.groups.audience import Audience
from fitai.gateways.groups.codes import normal
from fitai.gateways.groups.draft import Draft
from fitai.gateways.groups.intake import Intake
from fitai.gateways.groups.jobs import ActJob, Done, EnterJob, LeaveJob, Make, PushJob, ServeJob
from fitai.gateways.groups.roster import Roster
from fitai.gateways.groups.schemas import GroupJoin
from fitai.gateways.groups.seat import Seat
from fitai.gateways.groups.siblings import Siblings
from fitai.gateways.groups.stage import Stage
from fitai.gateways.identity import Identity
from fitai.gateways.live.jobs import Job, Key, ThenJob
from fitai.gateways.live.reader import Page
from fitai.gateways.live.worker import Worker
from fitai.persistence.append import Append
from fitai.persistence.batches import Row
from fitai.persistence.blocks import Blocks
from fitai.persistence.database import WriteSession
from fitai.persistence.groups import Groups, MemberAt
from fitai.persistence.log import Log
from fitai.sync.log import Position
from fitai.sync.wire import Push, Refusal

if TYPE_CHECKING:
    from fitai.gateways.groups.rooms import Rooms
    from fitai.gateways.live.connection import Connection
    from fitai.gateways.live.hosts import Hosts

_log = structlog.get_logger(__name__)

PAGE_BYTES: Final = 256 * 1024  # of JSON in one page of records
OPENING: Final = 2_000  # records that are read at once when a room is opened
BACK_MS: Final = 2_000  # over which connections come back whose room was ended

_Job: TypeAlias = Job[Any, Draft]
_NONE: Final[Mapping[int, str]] = {}


class Room(Worker[Draft]):
    """One group on this node. Made by Rooms.open; see the module's first lines."""

    batch = 256

    def __init__(self, rooms: Rooms, group: str, stream: int, epoch: str) -> None:
        super().__init__(rooms.hosts, group, stream, epoch)
        self.id = group
        self.group = Group(group)
        self.audience = Audience(self)
        self.intake = Intake(self, rooms)
        self.bounds = rooms.bounds
        self._rooms = rooms
        self._trial: Group | None = None  # the group with what is being appended
        self._roster = Roster()
        self._document: tuple[int, dict[str, Any]] = (0, {})
        self.hints = Siblings(self, rooms.hosts)
        self.stage = Stage(self)

    # -- what others ask ---------------------------------------------------------------------------

    @property
    def hosts(self) -> Hosts:
        """What the node's streams share."""
        return self._hosts

    @property
    def host_grace_ms(self) -> int:
        """How long a host may be gone before somebody else hosts."""
        return self.bounds.host_grace_ms

    @property
    def users(self) -> Mapping[int, str | None]:
        """member -> user (UUID), None for an account that is gone."""
        return self._roster.users

    def body(self, member: int) -> Body:
        """What a member tells of their body, as far as is known here."""
        return self._roster.bodies.get(member, UNKNOWN)

    def member_of(self, user: str) -> Member | None:
        """Who a user is in this group, also when they left; None for who was never let in."""
        no = self._roster.members.get(user)
        return None if no is None else self.group.members.get(no)

    def hidden(self, member: int) -> set[int]:
        """Members of whom one of the two does not want to hear the other."""
        return self.audience.hidden(member)

    @property
    def seats(self) -> dict[Connection, Seat]:
        """Who is told, by their connection."""
        return self.audience.seats

    def state(self) -> dict[str, Any]:
        """The group's document at its head; shared, to be read only."""
        if self._document[0] != self.group.seq:
            self._document = (self.group.seq, document(self.group))
        return self._document[1]

    async def enter(self, connection: Connection, ask: GroupJoin, ack: int | None) -> None:
        """Take a seat, joining first who is no member. The acknowledgement has left when this returns; raises
        Refusal instead."""
        mine = (connection.seats or {}).get(self.id)
        if mine is not None and not mine.settled:
            raise Refusal("later", "wait for the answers to your pushes", retry_after_ms=1000)
        person = await self._rooms.person(connection.identity)
        member = self.member_of(person.user)
        if member is None or not member.here:
            await self._rooms.tries.join(person.user)
        job = EnterJob(connection, person, ask, ack)
        if ask.cursor is not None and ask.cursor.epoch == self.epoch:
            await self.reach(ask.cursor.seq)
        self.enqueue(job)
        await job.done

    async def leave(self, seat: Seat) -> dict[str, Any]:
        """The member leaves the group; raises Refusal."""
        job = LeaveJob(seat.device)
        self.enqueue(job)
        await job.done
        return {"ok": True, "next_n": self.position(seat.device).next_n}

    async def act(
        self,
        identity: Identity,
        kind: str,
        value: Mapping[str, Any],
        *,
        key: Key | None = None,
        code: str | None = None,
    ) -> Done:
        """Append an op of the caller's API device, whose base is the head inside the append. `member.join`
        joins who is no member, with a code or as who left. Raises Refusal with the code that a void op would
        have had, and KeyReuse; nothing is written then."""
        person = await self._rooms.person(identity, api=True)
        if kind == "member.join":
            await self._rooms.tries.join(person.user)
        job = ActJob(person, kind, value, key, code)
        self.enqueue(job)
        return await job.done

    async def serve(self, make: Make) -> Done:
        """Append the server's own op, which `make` gives of the group inside the append; None: nothing.
        Raises Refusal for one that could not stand."""
        job = ServeJob(make)
        self.enqueue(job)
        return await job.done

    def opens(self, code: str | None, g: Group) -> bool:
        """Whether a code is the one that opens the group as it is in `g`."""
        return code is not None and normal(code) == self._rooms.codes.code(self.id, g.invite)

    async def page(self, member: Member, after: int, limit: int | None) -> dict[str, Any]:
        """What `group:pull` answers: at most `limit` records after a position, as this member is told them;
        raises Refusal beyond the head."""
        await self.reach(after)
        if after > self.head:
            raise Refusal("bad_request", f"after {after} is beyond the head {self.head}", head=self.head)
        most = self.limits.pull_records
        page = await self.read(member.no, after, min(limit or most, most), PAGE_BYTES)
        told = {"ok": True, "epoch": self.epoch, "head": self.head, "to": page.last}
        return {**told, "records": page.records, "more": page.last < self.head}

    async def read(self, member: int, after: int, limit: int, size: int) -> Page:
        """Records after a position, at most up to the head that is known here, as a member is told them: of
        at most `limit`, and no more than `size` bytes of JSON unless the first alone is larger."""
        limit = min(limit, self.head - after)
        if limit <= 0:
            return Page((), after)
        records: list[dict[str, Any]] = []
        last = after
        to, hidden = self.group.members[member], self.hidden(member)
        for record in await self._hosts.log.read(self.stream, after, limit):
            told = telling.tell(self.group, record, to, hidden)
            size -= len(orjson.dumps(record.op.raw))
            if last > after and size < 0:
                break
            last = record.seq
            if told is not None:
                records.append(told)
        return Page(records, last)

    # -- pushes ------------------------------------------------------------------------------------

    def push(self, push: Push, seat: Seat, ack: int | None) -> None:
        """Append a device's ops; its seat gets the answer, at its place in the order. Raises Refusal
        later."""
        paced = self.intake.paced(push, seat)
        seat.pending += 1
        seat.push(paced, ack)

    def append(
        self,
        push: Push,
        seat: Seat,
        ack: int | None,
        held: Mapping[int, str] = _NONE,
        dropped: Mapping[int, str] = _NONE,
    ) -> None:
        """The same, of messages that were looked at: what is held and dropped, by counter, and why."""
        self.enqueue(PushJob(push, seat, ack, held, dropped))

    def allowance(self, device: int, wanted: int) -> int:
        return self.intake.ops(device, wanted)

    def allowance_wait(self, device: int) -> int:
        return self.intake.wait_ms(device)

    # -- seats -------------------------------------------------------------------------------------

    def left(self, seat: Seat) -> None:
        """A seat is empty."""
        connection = seat.connection
        if self.seats.get(connection) is seat:
            del self.seats[connection]
            self.used_at = self.now_ms()
        if connection.seats is not None and connection.seats.get(self.id) is seat:
            del connection.seats[self.id]
        self.stage.left(seat)

    def _seat(self, job: EnterJob) -> None:
        """Give a connection its seat, tell it so, and begin to tell it the group: all from one moment, so
        that no commit falls between."""
        connection, cursor = job.connection, job.ask.cursor
        if not self.group.members[job.member].here:
            job.fail(Refusal("not_joined", "you are no member any more"))
            return
        job.settle(self)
        if connection.closed:
            return
        seats = connection.seats
        if seats is None:
            seats = connection.seats = {}
        if self.id in seats:
            seats[self.id].leave()
        seat = seats[self.id] = self.seats[connection] = Seat(self, connection, job.member, job.device)
        resumed = cursor is not None and cursor.epoch == self.epoch and cursor.seq <= self.head
        self.stage.joined(seat)
        connection.answer(job.ack, self._ready(seat, resumed))
        seat.start(cursor.seq if cursor is not None and resumed else self.head)

    def _ready(self, seat: Seat, resumed: bool) -> dict[str, Any]:
        return {
            "ok": True,
            "group": self.id,
            "member": seat.member,
            "device": seat.device,
            "next_n": self.position(seat.device).next_n,
            "epoch": self.epoch,
            "head": self.head,
            "resumed": resumed,
            "server_time": self.now_ms(),
            "state": self.state(),
            "view": self.stage.view(seat),
        }

    # -- the worker --------------------------------------------------------------------------------

    def told(self) -> dict[str, Any]:
        """What it is at work for, see `occasion`."""
        return {"group": self.id, **super().told()}

    def tick(self, name: str = "") -> None:
        """A deadline of the group has come: what is due is done, and what is due next is noted for whoever
        looks for it."""
        self.stage.tick()
        self.enqueue(ServeJob(timers.due_op))
        self.enqueue(ThenJob(self._note))

    async def _note(self) -> None:
        g, now = self.group, self.now_ms()
        await self._hosts.db.transact(lambda session: Groups(session).project(g, self.stream, (), now))
        self._arm()

    def _placer(self) -> Draft:
        if self._trial is None:
            self._trial = self.group.copied()
        return Draft(
            self._trial, self._last_rt, self._positions, self.bounds.rules, self._roster, self.now_ms()
        )

    def _to_append(self, batch: Sequence[_Job], placer: Draft) -> Append:
        companions = [
            self._hosts.companion(job.user, job.key)
            for job in batch
            if isinstance(job, ActJob) and job.key is not None and job.records
        ]

        async def rows(session: WriteSession) -> None:
            await placer.rows(session, self.stream, self._rooms.codes)

        return Append(self.stream, self.epoch, placer.seen, placer.records, companions, rows)

    def _committed(self, batch: Sequence[_Job], placer: Draft, rows: Sequence[Row]) -> None:
        """Take over what was placed, then answer and tell, in seq order; what one seat wrote in a row goes to
        the others as one. Who enters begins at the head, when all before it is told."""
        self._roster.add(placer.entries)
        people = (job.person for job in batch if isinstance(job, EnterJob | ActJob))
        self._weigh({person.user: person.body for person in people})
        for record in placer.records:
            take(self.group, record)
            meters.ANSWERED[record.verdict].inc()
        self.head = placer.head
        self._last_rt = placer.last_rt
        self._positions = placer.positions
        for origin, jobs in groupby(batch, attrgetter("origin")):
            records: list[Record] = []
            for job in jobs:
                if not isinstance(job, EnterJob):
                    job.settle(self)
                records += job.records
            if records:
                self.audience.deliver(records, origin)
        self.audience.see_out()
        self._changed(placer.records)
        for job in batch:
            if isinstance(job, EnterJob):
                self._seat(job)
        self.hints.committed(rows)

    def _changed(self, records: Sequence[Record]) -> None:
        """Have told what these change in what is derived: nothing of that may cost an answer."""
        if records:
            try:
                self.stage.changed(records)
            except Exception:
                _log.exception("stage_failed", group=self.id)

    async def _follow(self, records: Sequence[Record]) -> None:
        if records:
            self._arm()

    async def _take(self, records: Sequence[Record]) -> None:
        if any(record.op.kind in _ROSTER for record in records):
            await self._meet()
        self._trial = None
        self._absorb(records)
        self.audience.deliver(records, None)
        self.audience.see_out()
        self._changed(records)

    def _absorb(self, records: Sequence[Record]) -> None:
        """Fold what others appended."""
        for record in records:
            take(self.group, record)
            self._positions[record.device] = Position(record.op.n + 1, record.base, record.beyond, record.te)
            if record.device != SERVER_DEVICE and self._opened:
                self.intake.charge(record.device)
        self.head = records[-1].seq
        self._last_rt = records[-1].rt

    def _forget(self, batch: Iterable[_Job]) -> None:
        self._trial = None

    def _trim(self) -> None:
        self.intake.forget()

    def _arm(self) -> None:
        """Have the clock looked at when something is due; what is overdue is the stage's, and the scan's."""
        now = self.now_ms()
        due_at = timers.due(self.group, now).due_at
        self._hosts.timers.set(self, "", due_at if due_at is not None and due_at > now else None)

    # -- coming and going --------------------------------------------------------------------------

    async def open(self) -> None:
        """Read the group from the log, and who is who."""
        while True:
            async with self._hosts.db.read() as session:
                records = await Log(session).read(self.stream, self.head, OPENING)
            if records:
                self._absorb(records)
            if len(records) < OPENING:
                break
        await self._meet()
        await self.meet_anew()
        self._open()
        self._arm()

    async def _meet(self) -> None:
        """Learn who is who: somebody came, or nobody knows any more who somebody was."""
        async with self._hosts.db.read() as session:
            groups = Groups(session)
            members = await groups.members(self.id)
            self._roster.read(members, await groups.devices(self.id))
        self._weigh(_bodies(members))

    async def weigh_anew(self) -> None:
        """Learn what the members tell of their bodies."""
        async with self._hosts.db.read() as session:
            members = await Groups(session).members(self.id)
        self._weigh(_bodies(members))

    def _weigh(self, bodies: Mapping[str, Body]) -> None:
        self.stage.weighed(self._roster.weigh(bodies))

    async def meet_anew(self) -> None:
        """Learn who does not want to hear whom, of those who are here."""
        here = {
            user: no
            for no, user in self.users.items()
            if user is not None and (member := self.group.members.get(no)) is not None and member.here
        }
        async with self._hosts.db.read() as session:
            pairs = await Blocks(session).among(here)
        self.audience.hide((here[one], here[other]) for one, other in map(sorted, pairs))

    @property
    def idle(self) -> bool:
        """Nothing is going on: the room may be forgotten."""
        return not (self.seats or self._working or self.stage.busy)

    def close(self) -> None:
        """Stop listening; what is cached here is in the log."""
        self._hosts.timers.drop(self)
        self.hints.close()
        self.stage.close()

    def begun_anew(self) -> None:
        self._rooms.forget(self)

    def end(self) -> None:
        """The log is another one than this room knows, or is gone. Whoever sits here comes back to a new
        room."""
        self.ended = True
        for connection in list(self.seats):
            connection.bye("overload", after_ms=self._hosts.dice.randrange(BACK_MS))
        self.close()
        super().end()


def _bodies(members: Iterable[MemberAt]) -> dict[str, Body]:
    return {row.user: row.body for row in members if row.user is not None}


_ROSTER = frozenset({"device.enrol", "member.erase"})
