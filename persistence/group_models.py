"""The tables of groups. What holds for all tables is said in `models`.

    streams ── groups ─┬─ group_members ── users     who is behind a number of the stream: the only link
    (of a group)       ├─ group_devices              the devices that were let in
                       ├─ group_invites              codes that open it, by hash
                       ├─ group_results              the final table
                       └─ group_reports ── users     messages that somebody reported
    blocks                                           who is not to meet whom

The truth is the group's stream; `groups`, `group_members` and `group_devices` are its projections, written in
the transaction of the append, so that they are never behind. Members and devices are the small integers of
the stream.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fitai.persistence.models import Base, Id, Words

IS_OPEN = text("resolved_at IS NULL")  # in words, as in `models`


def _of_group() -> Mapped[str]:
    return mapped_column(Id, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True)


class GroupRow(Base):
    """A group as lists show it, at position `seq` of its stream, of which `id` is the owner.

    `status` is the machine's at that position; with `live_at` (the countdown is over) and `ends_at` (the
    format is) it says where the group is at any moment. `members` counts who is in it, `invite` is the serial
    of the code that opens now, `due_at` the moment at which a node has to look (`engine.groups.timers`).
    `results_at` is when the final table was written last, None before.
    """

    __tablename__ = "groups"
    __table_args__ = (
        Index(
            "ix_groups_due",
            "due_at",
            sqlite_where=text("due_at IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    stream: Mapped[int] = mapped_column(BigInteger, unique=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    title: Mapped[str] = mapped_column(Words)
    format: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    capacity: Mapped[int | None] = mapped_column(Integer)
    open: Mapped[bool] = mapped_column()
    host: Mapped[int | None] = mapped_column(Integer)
    invite: Mapped[int] = mapped_column(Integer)
    members: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    live_at: Mapped[int | None] = mapped_column(BigInteger)
    ends_at: Mapped[int | None] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    due_at: Mapped[int | None] = mapped_column(BigInteger)
    results_at: Mapped[int | None] = mapped_column(BigInteger)


class GroupMember(Base):
    """Who a member is: the only row that links a number of the stream to a person, None once they are erased.

    `role` is that of `engine.groups.roles`, `gone` why they are no member any more, `workout` which of their
    own workouts is the one of this group. `created_at` is the group's: a person's list is in that order.
    """

    __tablename__ = "group_members"
    __table_args__ = (
        UniqueConstraint("group_id", "user_id"),
        Index("ix_group_members_user", "user_id", "created_at", "group_id"),
        Index("ix_group_members_workout", "user_id", "workout"),
    )

    group_id: Mapped[str] = _of_group()
    member: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    # While it stands nobody deletes the user: they are erased in the group first (`group_erasure`).
    user_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(Words)
    role: Mapped[str] = mapped_column(String(16))
    gone: Mapped[str | None] = mapped_column(String(16))
    share: Mapped[str] = mapped_column(String(16))
    workout: Mapped[str | None] = mapped_column(Id)
    joined_at: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)


class GroupDevice(Base):
    """A device of a group's stream: whose it is, and which of that user's devices."""

    __tablename__ = "group_devices"
    __table_args__ = (UniqueConstraint("group_id", "member", "user_device"),)

    group_id: Mapped[str] = _of_group()
    device: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    member: Mapped[int] = mapped_column(Integer)
    user_device: Mapped[int] = mapped_column(Integer)


class GroupInvite(Base):
    """A code that opens a group, or did: whether it still does, `groups.invite` says."""

    __tablename__ = "group_invites"
    __table_args__ = (Index("ix_group_invites_group", "group_id"),)

    hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    group_id: Mapped[str] = mapped_column(Id, ForeignKey("groups.id", ondelete="CASCADE"))
    serial: Mapped[int] = mapped_column(Integer)


class GroupResult(Base):
    """A member's line of the final table, whole: what of it others see, their `share` says.

    `amount` and `time_ms` are their measure (`engine.groups.measure`), the sums what counted. A late sync
    corrects it, unless it is `frozen`: nobody knows any more whose workout it was worked out of. `rev` is how
    far that workout had come, 0 without one.
    """

    __tablename__ = "group_results"

    group_id: Mapped[str] = _of_group()
    member: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    rank: Mapped[int | None] = mapped_column(Integer)
    amount: Mapped[int | None] = mapped_column(BigInteger)
    time_ms: Mapped[int | None] = mapped_column(BigInteger)
    sets: Mapped[int] = mapped_column(Integer)
    reps: Mapped[int] = mapped_column(BigInteger)
    distance_mm: Mapped[int] = mapped_column(BigInteger)
    duration_ms: Mapped[int] = mapped_column(BigInteger)
    volume_ug: Mapped[int] = mapped_column(BigInteger)
    rev: Mapped[int] = mapped_column(BigInteger)
    frozen: Mapped[bool] = mapped_column()


class GroupReport(Base):
    """A message that somebody reported, or that moderation holds (then it has no `reporter`), with its text
    as it was then. `outcome` is dismissed or hidden."""

    __tablename__ = "group_reports"
    __table_args__ = (
        UniqueConstraint("group_id", "device", "n", "reporter"),
        Index("ix_group_reports_created", "created_at", "id"),
        Index("ix_group_reports_open", "created_at", "id", sqlite_where=IS_OPEN, postgresql_where=IS_OPEN),
        Index("ix_group_reports_reporter", "reporter"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    group_id: Mapped[str] = mapped_column(Id, ForeignKey("groups.id", ondelete="CASCADE"))
    device: Mapped[int] = mapped_column(Integer)
    n: Mapped[int] = mapped_column(BigInteger)
    text: Mapped[str] = mapped_column(Words)
    reporter: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    reason: Mapped[str] = mapped_column(Words)
    created_at: Mapped[int] = mapped_column(BigInteger)
    resolved_at: Mapped[int | None] = mapped_column(BigInteger)
    outcome: Mapped[str | None] = mapped_column(String(16))


class Block(Base):
    """`user_id` does not want to meet `blocked`. `name` is what that person was called when they said so."""

    __tablename__ = "blocks"
    __table_args__ = (UniqueConstraint("id"), Index("ix_blocks_blocked", "blocked"))

    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    blocked: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(Id)
    name: Mapped[str] = mapped_column(Words)
    created_at: Mapped[int] = mapped_column(BigInteger)
