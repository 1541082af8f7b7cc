"""Groups: their projections, who is who in them, and the codes that open them.

The truth is a group's stream; what lies here is written in the transactions of its appends, so it is never
behind. `begin` makes a group; from then on an append brings along, as its `also`, what of these follows from
its records, in this order:

    enrol     who was let in (`device.enrol`): only here stands which person a member is
    invite    the hash of a new code (`group.invite`)
    project   the group, and the members whom the records touch

What groups come to for their members is asked in `group_lists`, the final table is `group_results`', what was
reported `group_reports`', and how a person leaves no trace `group_erasure`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    Select,
    Table,
    bindparam,
    case,
    insert,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from fitai.engine.groups import timers
from fitai.engine.groups.group import Group, Member
from fitai.engine.groups.machine import COUNTDOWN, FINISHED, LIVE
from fitai.engine.groups.measure import Body
from fitai.engine.groups.roles import STRANGER
from fitai.engine.ops import VOID, Record
from fitai.persistence.batches import STATEMENTS
from fitai.persistence.database import ReadSession
from fitai.persistence.group_models import GroupDevice, GroupInvite, GroupMember, GroupRow
from fitai.persistence.log import row_of
from fitai.persistence.models import Stream, User

_MEMBERS = cast("Table", GroupMember.__table__)
_BLIND = {"synchronize_session": False}


class Exists(Exception):
    """The id is taken: by another group, or by whatever else has a stream."""


class Entry(NamedTuple):
    """Who was let in with a device: numbers of the stream, the user (UUID) and which of their devices."""

    member: int
    user: str
    device: int
    user_device: int


@dataclass(frozen=True, slots=True)
class GroupAt:
    """A group where its projection is, and its stream: `head` is the last seq, `last_rt` the receipt time of
    that record. Times are Unix ms. For the other fields see `GroupRow`."""

    id: str
    stream: int
    epoch: str
    head: int
    last_rt: int
    seq: int
    title: str
    format: str
    status: str
    capacity: int | None
    open: bool
    host: int | None
    invite: int
    members: int
    created_at: int
    updated_at: int
    live_at: int | None
    ends_at: int | None
    ended_at: int | None
    due_at: int | None
    results_at: int | None

    def status_at(self, now: int) -> str:
        """Where the group is at a moment: the state after what time does, as `Group.status_at` says it."""
        status = self.status
        if status == COUNTDOWN and self.live_at is not None and now >= self.live_at:
            status = LIVE
        over = status == LIVE and self.ends_at is not None and now >= self.ends_at
        return FINISHED if over else status

    def ended_by(self, now: int) -> int | None:
        """When it was over, as it is at a moment; None while it is not."""
        if self.ended_at is not None or self.status_at(now) != FINISHED:
            return self.ended_at
        return self.ends_at


@dataclass(frozen=True, slots=True)
class MemberAt:
    """A member, and who that is: their user, that user's stream and body, None once they are erased."""

    member: int
    user: str | None
    name: str
    role: str
    gone: str | None
    share: str
    workout: str | None
    joined_at: int | None
    stream: int | None
    body_weight_ug: int | None = field(repr=False)
    sex: str | None = field(repr=False)

    @property
    def body(self) -> Body:
        """What boards need to know of them."""
        return Body(self.body_weight_ug, self.sex)


class Groups:
    """Questions and writes about groups, in the caller's session; what writes takes a write session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def row(self, group: str) -> GroupAt | None:
        """A group by its id (a UUID)."""
        row = (await self._session.execute(AT.where(GroupRow.id == group))).one_or_none()
        return None if row is None else GroupAt(*row)

    async def begin(
        self, g: Group, epoch: str, records: Sequence[Record], entries: Sequence[Entry], now: int
    ) -> int:
        """Make a group: `g` as its first records make it, which are all of them, and who they let in. Returns
        the stream's id; raises Exists when the group's id is taken."""
        made = (
            self._insert(Stream)
            .values(owner=g.id, epoch=epoch, head=0, projected=0, last_rt=0)
            .on_conflict_do_nothing(index_elements=["owner"])
            .returning(Stream.id)
        )
        stream: int | None = (await self._session.execute(made)).scalar_one_or_none()
        if stream is None:
            raise Exists(g.id)
        group = insert(GroupRow).values(
            id=g.id, stream=stream, created_at=now, results_at=None, **_columns(g, now)
        )
        await self._session.execute(group)
        connection = await self._session.connection()
        write = STATEMENTS[self._dialect].write
        move = (stream, epoch, 0, records[-1].seq, records[-1].rt)
        await write(connection, [move], [row_of(stream, record) for record in records])
        await self.enrol(g.id, entries)
        await self.project(g, stream, records, now)
        return stream

    async def project(self, g: Group, stream: int, records: Iterable[Record], now: int) -> None:
        """Write the group and the members whom the records touch, the last that `g` holds. Without records
        only what is due next as of `now` (Unix ms) is news, since time went on. A projection that has seen
        more stays."""
        row = update(GroupRow).where(GroupRow.id == g.id, GroupRow.seq <= g.seq)
        columns = _columns(g, now)
        # Once the final table is written nothing is due any more.
        columns["due_at"] = case((GroupRow.results_at.is_(None), literal(columns["due_at"], BigInteger)))
        await self._session.execute(row.values(columns), execution_options=_BLIND)
        touched = [_member(g.id, member) for member in _touched(g, records)]
        if touched:
            await (await self._session.connection()).execute(_TOUCH, touched)
        watermark = update(Stream).where(Stream.id == stream, Stream.projected < g.seq)
        await self._session.execute(watermark.values(projected=g.seq), execution_options=_BLIND)

    async def enrol(self, group: str, entries: Sequence[Entry]) -> None:
        """Write who was let in: a row for each new member and each new device. Raises IntegrityError for a
        user who is gone, or is a member already by another number."""
        if not entries:
            return
        created_at = select(GroupRow.created_at).where(GroupRow.id == bindparam("of_group")).scalar_subquery()
        member = (
            self._insert(GroupMember)
            .values(
                group_id=bindparam("of_group"),
                member=bindparam("no"),
                user_id=bindparam("user"),
                name="",
                role=STRANGER,
                gone=None,
                share="progress",
                workout=None,
                joined_at=None,
                created_at=created_at,
            )
            .on_conflict_do_nothing(index_elements=["group_id", "member"])
        )
        device = (
            self._insert(GroupDevice)
            .values(
                group_id=bindparam("of_group"),
                device=bindparam("its_device"),
                member=bindparam("no"),
                user_device=bindparam("users_device"),
            )
            .on_conflict_do_nothing(index_elements=["group_id", "device"])
        )
        connection = await self._session.connection()
        rows = [{"of_group": group, "no": entry.member, "user": entry.user} for entry in entries]
        await connection.execute(member, rows)
        devices = [
            {
                "of_group": group,
                "no": entry.member,
                "its_device": entry.device,
                "users_device": entry.user_device,
            }
            for entry in entries
        ]
        await connection.execute(device, devices)

    async def invite(self, group: str, serial: int, hash_: bytes) -> None:
        """Write which code a serial is, by its hash (`gateways.groups.codes`)."""
        await self._session.execute(
            insert(GroupInvite).values(hash=hash_, group_id=group, serial=serial),
        )

    async def by_code(self, hash_: bytes) -> tuple[str, int] | None:
        """(group, serial) of a code by its hash; whether it still opens, the group's `invite` says."""
        query = select(GroupInvite.group_id, GroupInvite.serial).where(GroupInvite.hash == hash_)
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else (row.group_id, row.serial)

    async def members(self, group: str) -> list[MemberAt]:
        """All who ever were let in, by number."""
        query = (
            select(
                GroupMember.member,
                GroupMember.user_id,
                GroupMember.name,
                GroupMember.role,
                GroupMember.gone,
                GroupMember.share,
                GroupMember.workout,
                GroupMember.joined_at,
                Stream.id,
                User.body_weight_ug,
                User.sex,
            )
            .outerjoin(Stream, Stream.owner == GroupMember.user_id)
            .outerjoin(User, User.id == GroupMember.user_id)
            .where(GroupMember.group_id == group)
            .order_by(GroupMember.member)
        )
        return [MemberAt(*row) for row in (await self._session.execute(query)).all()]

    async def member_of(self, group: str, user: str) -> int | None:
        """Which member a user is, whether they still are one or not; None for who was never let in."""
        query = select(GroupMember.member).where(GroupMember.group_id == group, GroupMember.user_id == user)
        return (await self._session.execute(query)).scalar_one_or_none()

    async def devices(self, group: str) -> dict[tuple[str, int], int]:
        """{(user, that user's device): device of the stream}; without those of who is erased."""
        query = (
            select(GroupMember.user_id, GroupDevice.user_device, GroupDevice.device)
            .join(
                GroupMember,
                (GroupMember.group_id == GroupDevice.group_id) & (GroupMember.member == GroupDevice.member),
            )
            .where(GroupDevice.group_id == group, GroupMember.user_id.is_not(None))
        )
        rows = (await self._session.execute(query)).all()
        return {(user, user_device): device for user, user_device, device in rows if user is not None}

    async def due(self, until: int, limit: int) -> Sequence[tuple[str, int]]:
        """(group, due_at) of at most `limit` groups in which something is due by `until` (Unix ms), the most
        overdue first."""
        query = (
            select(GroupRow.id, GroupRow.due_at)
            .where(GroupRow.due_at <= until)
            .order_by(GroupRow.due_at)
            .limit(limit)
        )
        rows = (await self._session.execute(query)).all()
        return [(group, due_at) for group, due_at in rows if due_at is not None]

    @property
    def _dialect(self) -> str:
        return self._session.get_bind().dialect.name

    def _insert(self, table: Any) -> Any:
        """An INSERT that knows ON CONFLICT."""
        dialect: Any = postgresql if self._dialect == "postgresql" else sqlite
        return dialect.insert(table)


AT: Select[*tuple[Any, ...]] = select(
    GroupRow.id,
    GroupRow.stream,
    Stream.epoch,
    Stream.head,
    Stream.last_rt,
    GroupRow.seq,
    GroupRow.title,
    GroupRow.format,
    GroupRow.status,
    GroupRow.capacity,
    GroupRow.open,
    GroupRow.host,
    GroupRow.invite,
    GroupRow.members,
    GroupRow.created_at,
    GroupRow.updated_at,
    GroupRow.live_at,
    GroupRow.ends_at,
    GroupRow.ended_at,
    GroupRow.due_at,
    GroupRow.results_at,
).join(Stream, Stream.id == GroupRow.stream)
"""The columns of `GroupAt`."""

_TOUCH = (
    update(_MEMBERS)
    .where(_MEMBERS.c.group_id == bindparam("of_group"), _MEMBERS.c.member == bindparam("no"))
    .values(
        name=bindparam("as_name"),
        role=bindparam("as_role"),
        gone=bindparam("as_gone"),
        share=bindparam("as_share"),
        workout=bindparam("as_workout"),
        joined_at=bindparam("as_joined_at"),
        # The account is gone: nothing leads from the member to a person any more.
        user_id=case((bindparam("as_nobody", type_=Boolean), null()), else_=_MEMBERS.c.user_id),
    )
)


def _columns(g: Group, now: int) -> dict[str, Any]:
    """What a group's row says of its state."""
    return {
        "seq": g.seq,
        "title": g.title,
        "format": type(g.format).__struct_config__.tag,
        "status": g.status,
        "capacity": g.capacity,
        "open": g.open,
        "host": g.host,
        "invite": g.invite,
        "members": g.count,
        "updated_at": g.te,
        "live_at": g.live_at,
        "ends_at": g.clock.ends_at,
        "ended_at": g.ended_at,
        "due_at": timers.due(g, now).due_at,
    }


def _member(group: str, member: Member) -> Mapping[str, Any]:
    return {
        "of_group": group,
        "no": member.no,
        "as_name": member.name,
        "as_role": member.role,
        "as_gone": member.gone,
        "as_share": member.share,
        "as_workout": member.workout,
        "as_joined_at": member.joined_at,
        "as_nobody": member.gone == "erased",
    }


def _touched(g: Group, records: Iterable[Record]) -> list[Member]:
    """The members whom these records changed, and maybe a few whom they did not: their authors, those whom
    they are about, and who hosts now."""
    numbers: set[Any] = set()
    for record in records:
        if record.verdict is not VOID and record.op.kind not in _SAID:
            value = record.op.value
            numbers |= {g.devices.get(record.device), g.host}
            numbers |= {no for no in (value.get("member"), value.get("was")) if isinstance(no, int)}
    return [member for no, member in g.members.items() if no in numbers]


_SAID = frozenset({"chat.say", "chat.hide", "chat.release"})
