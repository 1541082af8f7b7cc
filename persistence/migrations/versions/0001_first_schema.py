"""The first schema: identity, the log, its projections, links and answered requests.

Migrations name their own types and import no model: they tell what was, not what is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.String(36).with_variant(sa.UUID(as_uuid=False), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table."""
    _identity()
    _log()
    _projections()
    _links()


def downgrade() -> None:
    """Drop every table, dependents first."""
    for table in reversed(TABLES):
        op.drop_table(table)


TABLES = (
    "users",
    "devices",
    "refresh_tokens",
    "streams",
    "records",
    "snapshots",
    "workouts",
    "sets",
    "exercise_bests",
    "shares",
    "idempotency_keys",
)


def _identity() -> None:
    op.create_table(
        "users",
        sa.Column("id", ID, nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("next_device", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email_key", name="uq_users_email_key"),
    )
    op.create_table(
        "devices",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("install_id", sa.Text(), nullable=True),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_devices_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "id", name="pk_devices"),
        sa.UniqueConstraint("user_id", "install_id", name="uq_devices_user_id_install_id"),
    )
    op.create_index(
        "uq_devices_api",
        "devices",
        ["user_id", "parent"],
        unique=True,
        sqlite_where=sa.text("kind = 'api'"),
        postgresql_where=sa.text("kind = 'api'"),
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("family", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("device", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id", "device"],
            ["devices.user_id", "devices.id"],
            name="fk_refresh_tokens_user_id_device",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("hash", name="pk_refresh_tokens"),
    )
    op.create_index("ix_refresh_tokens_device", "refresh_tokens", ["user_id", "device"], unique=False)
    op.create_index("ix_refresh_tokens_family", "refresh_tokens", ["family"], unique=False)


def _log() -> None:
    op.create_table(
        "streams",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("owner", ID, nullable=False),
        sa.Column("epoch", sa.String(length=32), nullable=False),
        sa.Column("head", sa.BigInteger(), nullable=False),
        sa.Column("projected", sa.BigInteger(), nullable=False),
        sa.Column("last_rt", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_streams"),
        sa.UniqueConstraint("owner", name="uq_streams_owner"),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "records",
        sa.Column("stream", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("device", sa.Integer(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("workout", ID, nullable=False),
        sa.Column("rev", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=False),
        sa.Column("beyond", sa.LargeBinary(), nullable=True),
        sa.Column("te", sa.BigInteger(), nullable=False),
        sa.Column("rt", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.LargeBinary(), nullable=True),
        sa.Column("hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("stream", "seq", name="pk_records"),
        sa.UniqueConstraint("stream", "device", "n", name="uq_records_stream_device_n"),
        sa.UniqueConstraint("stream", "workout", "rev", name="uq_records_stream_workout_rev"),
        sqlite_with_rowid=False,
    )


def _projections() -> None:
    op.create_table(
        "snapshots",
        sa.Column("stream", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("workout", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("rev", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["stream"], ["streams.id"], name="fk_snapshots_stream", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("stream", "workout", name="pk_snapshots"),
    )
    op.create_table(
        "workouts",
        sa.Column("stream", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("workout", ID, nullable=False),
        sa.Column("created", sa.Boolean(), nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("template", sa.Text(), nullable=True),
        sa.Column("happened_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=True),
        sa.Column("rev", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("exercises", sa.Integer(), nullable=False),
        sa.Column("sets", sa.Integer(), nullable=False),
        sa.Column("volume_ug", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["stream"], ["streams.id"], name="fk_workouts_stream", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("stream", "workout", name="pk_workouts"),
    )
    op.create_index(
        "ix_workouts_due",
        "workouts",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_workouts_happened", "workouts", ["stream", "happened_at", "workout"], unique=False)
    op.create_table(
        "sets",
        sa.Column("stream", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("workout", ID, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("exercise", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("reps", sa.BigInteger(), nullable=True),
        sa.Column("load_ug", sa.BigInteger(), nullable=True),
        sa.Column("load_value", sa.Float(precision=53), nullable=True),
        sa.Column("load_unit", sa.String(length=8), nullable=True),
        sa.Column("rpe", sa.Float(precision=53), nullable=True),
        sa.Column("rir", sa.Float(precision=53), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("distance_m", sa.Float(precision=53), nullable=True),
        sa.Column("side", sa.String(length=16), nullable=True),
        sa.Column("assisted", sa.Boolean(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=True),
        sa.Column("device", sa.Integer(), nullable=True),
        sa.Column("n", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["stream", "workout"],
            ["workouts.stream", "workouts.workout"],
            name="fk_sets_stream_workout",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("stream", "workout", "id", name="pk_sets"),
    )
    op.create_index("ix_sets_exercise", "sets", ["stream", "exercise", "at"], unique=False)
    op.create_table(
        "exercise_bests",
        sa.Column("stream", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("exercise", sa.Text(), nullable=False),
        sa.Column("workout", ID, nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("bests", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream", "workout"],
            ["workouts.stream", "workouts.workout"],
            name="fk_exercise_bests_stream_workout",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("stream", "exercise", "workout", name="pk_exercise_bests"),
    )
    op.create_index(
        "ix_exercise_bests_started", "exercise_bests", ["stream", "exercise", "started_at"], unique=False
    )
    op.create_index("ix_exercise_bests_workout", "exercise_bests", ["stream", "workout"], unique=False)


def _links() -> None:
    op.create_table(
        "shares",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("secret", sa.String(length=64), nullable=False),
        sa.Column("workout", ID, nullable=False),
        sa.Column("fields", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_shares_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "id", name="pk_shares"),
        sa.UniqueConstraint("secret", name="uq_shares_secret"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request", sa.String(length=128), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_idempotency_keys_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created", "idempotency_keys", ["created_at"], unique=False)
