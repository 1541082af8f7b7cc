"""The tables of identity, and the outbox of jobs. What holds for all tables is said in `models`.

    users ─┬─ one_time_tokens       proofs that were mailed: of an address, of the right to a new password
           ├─ recovery_codes        the way in without the second factor, once each
           ├─ ended_sign_ins        whose access tokens may not have expired yet
           ├─ personal_tokens       what integrations sign in with; each speaks for a device of its own
           └─ security_events       what the person should know of
    signing_keys                    what access tokens are signed with, for all nodes
    jobs                            what is to be done after a commit, written by it

Whatever proves something is kept as a SHA-256; what must be read again (a signing key, a second factor's
secret) is encrypted with the secret key of the installation.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fitai.persistence.models import Base, Id, Json, Serial, Words


class SigningKey(Base):
    """A pair of keys. It signs from `signs_from` to `signs_until` (empty: until another one takes over), and
    what it signed is honoured until `honoured_until`. `public` is a JWK, `private` is encrypted.

    One row may have neither: it stands for the secret key itself, with which the release before signed."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(String(64), primary_key=True)
    algorithm: Mapped[str] = mapped_column(String(16))
    public: Mapped[Any] = mapped_column(Json)
    private: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[int] = mapped_column(BigInteger)
    signs_from: Mapped[int] = mapped_column(BigInteger)
    signs_until: Mapped[int | None] = mapped_column(BigInteger)
    honoured_until: Mapped[int | None] = mapped_column(BigInteger)


class EndedSignIn(Base):
    """A sign-in (a family of refresh tokens) that has ended, kept while an access token of it might live."""

    __tablename__ = "ended_sign_ins"
    __table_args__ = (Index("ix_ended_sign_ins_ended", "ended_at"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    device: Mapped[int] = mapped_column(Integer)
    ended_at: Mapped[int] = mapped_column(BigInteger)


class OneTimeToken(Base):
    """A mailed proof: bound to one purpose and to the address that it was sent to, good for one use."""

    __tablename__ = "one_time_tokens"
    __table_args__ = (
        Index("ix_one_time_tokens_user", "user_id", "purpose"),
        Index("ix_one_time_tokens_expires", "expires_at"),
    )

    hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    purpose: Mapped[str] = mapped_column(String(32))
    email: Mapped[str | None] = mapped_column(Words)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger)
    used_at: Mapped[int | None] = mapped_column(BigInteger)


class RecoveryCode(Base):
    """One of the codes that stand in for the second factor."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    used_at: Mapped[int | None] = mapped_column(BigInteger)


class PersonalToken(Base):
    """What an integration signs in with. It speaks for a device of its own, so that its ops have a dot and
    revoking either ends both."""

    __tablename__ = "personal_tokens"
    __table_args__ = (
        UniqueConstraint("hash"),
        Index("ix_personal_tokens_user", "user_id"),
        ForeignKeyConstraint(["user_id", "device"], ["devices.user_id", "devices.id"], ondelete="CASCADE"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id)
    device: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(Words)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    scopes: Mapped[Any] = mapped_column(Json)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    last_used_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


class SecurityEvent(Base):
    """A line of a person's security log; `kind` is stable (`sign_in`, `password_changed`…)."""

    __tablename__ = "security_events"
    __table_args__ = (Index("ix_security_events_user", "user_id", "id"),)

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(32))
    at: Mapped[int] = mapped_column(BigInteger)
    device: Mapped[int | None] = mapped_column(Integer)
    address: Mapped[str | None] = mapped_column(String(45))
    agent: Mapped[str | None] = mapped_column(Words)
    data: Mapped[Any | None] = mapped_column(Json)


IS_PENDING = text("done_at IS NULL AND dead_at IS NULL")
IS_DEAD = text("dead_at IS NOT NULL")


class JobRow(Base):
    """A job: due at a moment, tried `attempts` times, claimed by a worker until a moment, done, or dead.
    At most one job ever has a `key`. `trace` is the `traceparent` of what asked for it, if traced."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("key"),
        Index("ix_jobs_due", "due_at", sqlite_where=IS_PENDING, postgresql_where=IS_PENDING),
        Index("ix_jobs_dead", "dead_at", sqlite_where=IS_DEAD, postgresql_where=IS_DEAD),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(64))
    payload: Mapped[Any] = mapped_column(Json)
    key: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[int] = mapped_column(BigInteger)
    due_at: Mapped[int] = mapped_column(BigInteger)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    claimed_by: Mapped[str | None] = mapped_column(String(64))
    claimed_until: Mapped[int | None] = mapped_column(BigInteger)
    done_at: Mapped[int | None] = mapped_column(BigInteger)
    dead_at: Mapped[int | None] = mapped_column(BigInteger)
    trace: Mapped[str | None] = mapped_column(String(55))
    error: Mapped[str | None] = mapped_column(Words)
