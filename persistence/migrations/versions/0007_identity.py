"""Identity and what stands beside it: keys that sign, proofs of an address, second factors, personal tokens,
a person's security log, and the outbox of jobs.

Only adds, and every column may be empty; code of the schema before knows nothing of it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fitai.persistence.models import Id, Json, Serial, Words

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

PENDING = sa.text("done_at IS NULL AND dead_at IS NULL")
DEAD = sa.text("dead_at IS NOT NULL")


def _user(name: str = "user_id") -> sa.Column[str]:
    return sa.Column(name, Id, nullable=False)


def _moment(name: str, *, nullable: bool = True) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _of_user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["user_id"], ["users.id"], name=f"fk_{table}_user_id_users", ondelete="CASCADE"
    )


def upgrade() -> None:
    """Add the columns and the tables."""
    with op.batch_alter_table("users") as users:
        for name in (
            "email_verified_at",
            "password_changed_at",
            "delete_after",
            "totp_confirmed_at",
            "totp_step",
        ):
            users.add_column(_moment(name))
        users.add_column(sa.Column("role", sa.String(16)))
        users.add_column(sa.Column("locale", sa.String(35)))
        users.add_column(sa.Column("totp_secret", sa.LargeBinary()))
    op.create_index(
        "ix_users_delete_after",
        "users",
        ["delete_after"],
        sqlite_where=sa.text("delete_after IS NOT NULL"),
        postgresql_where=sa.text("delete_after IS NOT NULL"),
    )
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.String(64), nullable=False),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("public", Json, nullable=False),
        sa.Column("private", sa.LargeBinary(), nullable=False),
        _moment("created_at", nullable=False),
        _moment("signs_from", nullable=False),
        _moment("signs_until"),
        _moment("honoured_until"),
        sa.PrimaryKeyConstraint("kid", name="pk_signing_keys"),
    )
    op.create_table(
        "ended_sign_ins",
        sa.Column("id", Id, nullable=False),
        _user(),
        sa.Column("device", sa.Integer(), nullable=False),
        _moment("ended_at", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ended_sign_ins"),
        _of_user("ended_sign_ins"),
    )
    op.create_index("ix_ended_sign_ins_ended", "ended_sign_ins", ["ended_at"])
    op.create_table(
        "one_time_tokens",
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        _user(),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("email", Words),
        _moment("created_at", nullable=False),
        _moment("expires_at", nullable=False),
        _moment("used_at"),
        sa.PrimaryKeyConstraint("hash", name="pk_one_time_tokens"),
        _of_user("one_time_tokens"),
    )
    op.create_index("ix_one_time_tokens_user", "one_time_tokens", ["user_id", "purpose"])
    op.create_index("ix_one_time_tokens_expires", "one_time_tokens", ["expires_at"])
    op.create_table(
        "recovery_codes",
        _user(),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        _moment("used_at"),
        sa.PrimaryKeyConstraint("user_id", "hash", name="pk_recovery_codes"),
        _of_user("recovery_codes"),
    )
    op.create_table(
        "personal_tokens",
        sa.Column("id", Id, nullable=False),
        _user(),
        sa.Column("device", sa.Integer(), nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("scopes", Json, nullable=False),
        _moment("created_at", nullable=False),
        _moment("expires_at"),
        _moment("last_used_at"),
        _moment("revoked_at"),
        sa.PrimaryKeyConstraint("id", name="pk_personal_tokens"),
        sa.UniqueConstraint("hash", name="uq_personal_tokens_hash"),
        sa.ForeignKeyConstraint(
            ["user_id", "device"],
            ["devices.user_id", "devices.id"],
            name="fk_personal_tokens_user_id_device_devices",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_personal_tokens_user", "personal_tokens", ["user_id"])
    op.create_table(
        "security_events",
        sa.Column("id", Serial, nullable=False),
        _user(),
        sa.Column("kind", sa.String(32), nullable=False),
        _moment("at", nullable=False),
        sa.Column("device", sa.Integer()),
        sa.Column("address", sa.String(45)),
        sa.Column("agent", Words),
        sa.Column("data", Json),
        sa.PrimaryKeyConstraint("id", name="pk_security_events"),
        _of_user("security_events"),
    )
    op.create_index("ix_security_events_user", "security_events", ["user_id", "id"])
    op.create_table(
        "jobs",
        sa.Column("id", Id, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("payload", Json, nullable=False),
        sa.Column("key", sa.String(200)),
        _moment("created_at", nullable=False),
        _moment("due_at", nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("claimed_by", sa.String(64)),
        _moment("claimed_until"),
        _moment("done_at"),
        _moment("dead_at"),
        sa.Column("trace", sa.String(55)),
        sa.Column("error", Words),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("key", name="uq_jobs_key"),
    )
    op.create_index("ix_jobs_due", "jobs", ["due_at"], sqlite_where=PENDING, postgresql_where=PENDING)
    op.create_index("ix_jobs_dead", "jobs", ["dead_at"], sqlite_where=DEAD, postgresql_where=DEAD)


def downgrade() -> None:
    """Take them away."""
    for table in (
        "jobs",
        "security_events",
        "personal_tokens",
        "recovery_codes",
        "one_time_tokens",
        "ended_sign_ins",
        "signing_keys",
    ):
        op.drop_table(table)
    op.drop_index("ix_users_delete_after", "users")
    with op.batch_alter_table("users") as users:
        for name in (
            "email_verified_at",
            "password_changed_at",
            "delete_after",
            "totp_confirmed_at",
            "totp_step",
            "role",
            "locale",
            "totp_secret",
        ):
            users.drop_column(name)
