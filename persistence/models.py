"""The tables.

    users ─┬─ devices ── refresh_tokens          who may write
           └─ streams ── records                 the truth: one append-only log per user
                          ├─ workouts, sets,      projections of the log, rebuilt from it at will;
                          │  exercise_bests,      `streams.projected` is how far they have come
                          │  exercise_marks
                          └─ snapshots            a cache of folded states
    shares, idempotency_keys                     links given away, requests already answered
    identity_models.py                           keys, proofs, second factors, security log, jobs
    group_models.py                              groups: their lists, members, codes, results, reports; blocks
    leases                                       which node does what for all

Every key of a user's data begins with the user or the user's stream. Times are Unix ms, loads are
integer micrograms. Documents are JSON as bytes: their text may hold what PostgreSQL's text can not (NUL).
The log's rows reference no other table on purpose: the stream's head, moved in the same transaction, is
the proof that the stream exists, and a foreign key would be looked up again for each row.
"""

from __future__ import annotations

from typing import Any, Literal

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Json(TypeDecorator[Any]):
    """A JSON document as UTF-8 bytes; None is NULL."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        """Encode."""
        return None if value is None else orjson.dumps(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:
        """Decode."""
        return None if value is None else orjson.loads(value)


class Words(TypeDecorator[str]):
    """Text as people type it. NUL, which PostgreSQL's text can not hold, becomes U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replace what can not be stored."""
        return None if value is None else clean(value)


def array_type(column: ColumnElement[Any]) -> str:
    """The type of a column on PostgreSQL, without a length: a cast to one would cut off what is too long."""
    return column.type.compile(_POSTGRESQL).partition("(")[0]


_POSTGRESQL: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


def clean(value: str) -> str:
    """`value` without what PostgreSQL's text can not hold."""
    return value.replace("\x00", "\ufffd")


# A UUID in its usual lower-case form: `uuid` on PostgreSQL, text on SQLite.
Id = String(36).with_variant(UUID(as_uuid=False), "postgresql")
# SQLite numbers rows by itself only for a column that is exactly INTEGER.
Serial = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    """Constraint names are spelled out by rule, so that later migrations can name them on both engines."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )


Sex = Literal["female", "male"]


class User(Base):
    """A person. `email_key` is the address as compared; `next_device` the next device number to give.

    `role` is `admin` or empty, `locale` a language tag, `delete_after` when the account is to be erased.
    `totp_secret` is encrypted, counts once it is confirmed, and `totp_step` is the last step that was used.
    `sex` is `female`, `male` or empty.
    """

    __tablename__ = "users"
    __table_args__ = (
        Index(
            "ix_users_delete_after",
            "delete_after",
            sqlite_where=text("delete_after IS NOT NULL"),
            postgresql_where=text("delete_after IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    email: Mapped[str] = mapped_column(Words)
    email_key: Mapped[str] = mapped_column(Words, unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    display_name: Mapped[str | None] = mapped_column(Words)
    next_device: Mapped[int] = mapped_column(Integer, default=1)
    created_at: Mapped[int] = mapped_column(BigInteger)
    email_verified_at: Mapped[int | None] = mapped_column(BigInteger)
    password_changed_at: Mapped[int | None] = mapped_column(BigInteger)
    role: Mapped[str | None] = mapped_column(String(16))
    locale: Mapped[str | None] = mapped_column(String(35))
    delete_after: Mapped[int | None] = mapped_column(BigInteger)
    totp_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    totp_confirmed_at: Mapped[int | None] = mapped_column(BigInteger)
    totp_step: Mapped[int | None] = mapped_column(BigInteger)
    body_weight_ug: Mapped[int | None] = mapped_column(BigInteger)
    sex: Mapped[Sex | None] = mapped_column(String(8))


class Device(Base):
    """An enrolled writer of a user's stream. Numbers are never given twice; 0 is the server, not a row.

    `kind` is `device` or `api` (the REST writer that belongs to `parent`). A fork has `forked_at`: it begins
    with what its `parent` had written and seen below that counter. A revoked row stays: its number, its ops
    and its installation are known for ever.
    """

    __tablename__ = "devices"
    __table_args__ = (
        UniqueConstraint("user_id", "install_id"),
        Index(
            "uq_devices_api",
            "user_id",
            "parent",
            unique=True,
            sqlite_where=text("kind = 'api'"),
            postgresql_where=text("kind = 'api'"),
        ),
        Index(
            "ix_devices_revoked",
            "revoked_at",
            sqlite_where=text("revoked_at IS NOT NULL"),
            postgresql_where=text("revoked_at IS NOT NULL"),
        ),
    )

    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(8))
    name: Mapped[str] = mapped_column(Words)
    platform: Mapped[str] = mapped_column(Words)
    install_id: Mapped[str | None] = mapped_column(Words)
    parent: Mapped[int | None] = mapped_column(Integer)
    forked_at: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    last_used_at: Mapped[int] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


class RefreshToken(Base):
    """One refresh token, by its SHA-256 only. `family` begins with a login and ends with a reuse."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (
        Index("ix_refresh_tokens_family", "family"),
        Index("ix_refresh_tokens_device", "user_id", "device"),
        ForeignKeyConstraint(["user_id", "device"], ["devices.user_id", "devices.id"], ondelete="CASCADE"),
    )

    hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    family: Mapped[str] = mapped_column(Id)
    user_id: Mapped[str] = mapped_column(Id)
    device: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger)
    used_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


class Stream(Base):
    """One owner's log: its head is the arbiter of who may append.

    Rows are updated at every append, so pages keep room for the new versions (PostgreSQL's fillfactor),
    and no index names a column that moves.
    """

    __tablename__ = "streams"
    __table_args__ = ({"postgresql_with": {"fillfactor": 50}},)

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    owner: Mapped[str] = mapped_column(Id, unique=True)
    epoch: Mapped[str] = mapped_column(String(32))
    head: Mapped[int] = mapped_column(BigInteger, default=0)
    projected: Mapped[int] = mapped_column(BigInteger, default=0)
    last_rt: Mapped[int] = mapped_column(BigInteger, default=0)


class RecordRow(Base):
    """One record of a log. `body` is the op as it came, JSON; the columns are what the server decided."""

    __tablename__ = "records"
    __table_args__ = (
        UniqueConstraint("stream", "device", "n"),
        UniqueConstraint("stream", "workout", "rev"),
        Index(
            "ix_records_void",
            "stream",
            "verdict",  # always the same; SQLite prefers the primary key to an index that repeats it
            "seq",
            sqlite_where=text("verdict = 'void'"),
            postgresql_where=text("verdict = 'void'"),
        ),
        # On SQLite the table is its primary key's tree: one tree less to write at each append.
        {"sqlite_with_rowid": False},
    )

    stream: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    device: Mapped[int] = mapped_column(Integer)
    n: Mapped[int] = mapped_column(BigInteger)
    workout: Mapped[str] = mapped_column(Id)
    rev: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(64))
    base: Mapped[int] = mapped_column(BigInteger)
    beyond: Mapped[Any | None] = mapped_column(Json)
    te: Mapped[int] = mapped_column(BigInteger)
    rt: Mapped[int] = mapped_column(BigInteger)
    verdict: Mapped[str] = mapped_column(String(16))
    code: Mapped[str | None] = mapped_column(String(64))
    detail: Mapped[Any | None] = mapped_column(Json)
    hash: Mapped[bytes] = mapped_column(LargeBinary(16))
    body: Mapped[bytes] = mapped_column(LargeBinary)


class Snapshot(Base):
    """A cached state document of one workout, true at position `seq` of its stream.

    `mark` tells which version of the fold made it, and with it all that the projections hold of the workout:
    minus that version. Its column is named as in the first release, which writes the document's `rev` there,
    a positive number, and never reads it: so a node of that release leaves the mark of the oldest fold.
    """

    __tablename__ = "snapshots"
    __table_args__ = (Index("ix_snapshots_mark", "rev", "stream", "workout"),)

    stream: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("streams.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    workout: Mapped[str] = mapped_column(Id, primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    mark: Mapped[int] = mapped_column("rev", BigInteger)
    document: Mapped[Any] = mapped_column(Json)


# In words, in the indexes and in the questions that they serve: planners compare what stands there.
IS_OPEN = text("status IN ('active', 'paused')")
HAS_TEMPLATE = text("template IS NOT NULL")
# Went on for more than a day; without an end it is over IDLE_MS (fitai.engine.timers) after its last op.
IS_LONG = text("template IS NOT NULL AND coalesce(ended_at, updated_at + 900000) - started_at > 86400000")


class WorkoutRow(Base):
    """A workout as lists show it. `happened_at` (started, else created) orders them; `due_at` is when
    the server itself has to act next (end of a rest, idle pause, late completion). One that is `merged_into`
    another is shown as a part of that one, as long as that is there (`fitai.engine.combine`)."""

    __tablename__ = "workouts"
    __table_args__ = (
        Index("ix_workouts_happened", "stream", "happened_at", "workout"),
        Index(
            "ix_workouts_due",
            "due_at",
            sqlite_where=text("due_at IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
        Index(
            "ix_workouts_merged",
            "stream",
            "merged_into",
            sqlite_where=text("merged_into IS NOT NULL"),
            postgresql_where=text("merged_into IS NOT NULL"),
        ),
        Index("ix_workouts_open", "stream", "status", sqlite_where=IS_OPEN, postgresql_where=IS_OPEN),
        Index("ix_workouts_changed", "stream", "seq"),
        Index(
            "ix_workouts_template",
            "stream",
            "template",
            "started_at",
            sqlite_where=HAS_TEMPLATE,
            postgresql_where=HAS_TEMPLATE,
        ),
        Index(
            "ix_workouts_long",
            "stream",
            "template",
            "started_at",
            sqlite_where=IS_LONG,
            postgresql_where=IS_LONG,
        ),
    )

    stream: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("streams.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    workout: Mapped[str] = mapped_column(Id, primary_key=True)
    created: Mapped[bool] = mapped_column()
    removed: Mapped[bool] = mapped_column()
    status: Mapped[str] = mapped_column(String(16))
    phase: Mapped[str | None] = mapped_column(String(16))
    title: Mapped[str | None] = mapped_column(Words)
    template: Mapped[str | None] = mapped_column(Words)
    happened_at: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int | None] = mapped_column(BigInteger)
    started_at: Mapped[int | None] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    updated_at: Mapped[int | None] = mapped_column(BigInteger)
    rev: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger)
    exercises: Mapped[int] = mapped_column(Integer)
    sets: Mapped[int] = mapped_column(Integer)
    volume_ug: Mapped[int] = mapped_column(BigInteger)
    due_at: Mapped[int | None] = mapped_column(BigInteger)
    merged_into: Mapped[str | None] = mapped_column(Id)


class SetRow(Base):
    """A logged set. `place` counts through the workout from 0 in the order of its exercises and sets."""

    __tablename__ = "sets"
    __table_args__ = (
        Index("ix_sets_exercise", "stream", "exercise", "at"),
        ForeignKeyConstraint(
            ["stream", "workout"], ["workouts.stream", "workouts.workout"], ondelete="CASCADE"
        ),
    )

    stream: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    workout: Mapped[str] = mapped_column(Id, primary_key=True)
    id: Mapped[str] = mapped_column(Words, primary_key=True)
    place: Mapped[int] = mapped_column(Integer)
    entry: Mapped[str] = mapped_column(Words)
    exercise: Mapped[str] = mapped_column(Words)
    type: Mapped[str | None] = mapped_column(Words)
    done: Mapped[bool] = mapped_column()
    reps: Mapped[int | None] = mapped_column(BigInteger)
    load_ug: Mapped[int | None] = mapped_column(BigInteger)
    load_value: Mapped[float | None] = mapped_column(Float(53))
    load_unit: Mapped[str | None] = mapped_column(String(8))
    rpe: Mapped[float | None] = mapped_column(Float(53))
    rir: Mapped[float | None] = mapped_column(Float(53))
    duration_ms: Mapped[int | None] = mapped_column(BigInteger)
    distance_m: Mapped[float | None] = mapped_column(Float(53))
    side: Mapped[str | None] = mapped_column(String(16))
    assisted: Mapped[bool | None] = mapped_column()
    at: Mapped[int | None] = mapped_column(BigInteger)
    device: Mapped[int | None] = mapped_column(Integer)
    n: Mapped[int | None] = mapped_column(BigInteger)


class ExerciseBests(Base):
    """The best values of one exercise in one workout, as the engine writes them (JSON)."""

    __tablename__ = "exercise_bests"
    __table_args__ = (
        Index("ix_exercise_bests_workout", "stream", "workout"),
        Index("ix_exercise_bests_started", "stream", "exercise", "started_at"),
        ForeignKeyConstraint(
            ["stream", "workout"], ["workouts.stream", "workouts.workout"], ondelete="CASCADE"
        ),
    )

    stream: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    exercise: Mapped[str] = mapped_column(Words, primary_key=True)
    workout: Mapped[str] = mapped_column(Id, primary_key=True)
    started_at: Mapped[int] = mapped_column(BigInteger)
    bests: Mapped[Any] = mapped_column(Json)


class ExerciseMark(Base):
    """What all `ExerciseBests` of an exercise come to, merged, up to a row and with it: (started_at, workout)
    is that row's place. With a row that is written or deleted, by whomever, triggers of the database delete
    the marks at its place and after it (`fitai.persistence.histories`)."""

    __tablename__ = "exercise_marks"

    stream: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    exercise: Mapped[str] = mapped_column(Words, primary_key=True)
    started_at: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    workout: Mapped[str] = mapped_column(Id, primary_key=True)
    bests: Mapped[Any] = mapped_column(Json)


class Share(Base):
    """A revocable link to chosen fields of one workout. The secret is kept as it is, because its owner
    may want to copy the link again."""

    __tablename__ = "shares"

    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    secret: Mapped[str] = mapped_column(String(64), unique=True)
    workout: Mapped[str] = mapped_column(Id)
    fields: Mapped[Any] = mapped_column(Json)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


class IdempotencyKey(Base):
    """An answered request: the hash of what was asked and, where it is kept, the answer to give again."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created", "created_at"),)

    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(Words, primary_key=True)
    request: Mapped[str] = mapped_column(String(128))
    answer: Mapped[Any | None] = mapped_column(Json)
    created_at: Mapped[int] = mapped_column(BigInteger)


class Lease(Base):
    """Work that the node named does for all until a moment, Unix ms (`fitai.persistence.leases`)."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    node: Mapped[str] = mapped_column(String(64))
    until: Mapped[int] = mapped_column(BigInteger)
