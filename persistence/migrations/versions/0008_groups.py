"""Groups: their projections, codes, results, reports, who is not to meet whom, and the bodies that boards by
body weight or DOTS need to know.

Only adds. A node of the schema before takes the streams of groups for streams of nobody it knows: they are
never behind, since their projections are written with them. Nor can it delete a user who is still a member
of a group, whose traces there it knows nothing of: that job waits for a node of this schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fitai.persistence.models import Id, Words

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

DUE = sa.text("due_at IS NOT NULL")
OPEN = sa.text("resolved_at IS NULL")


def _moment(name: str, *, nullable: bool = True) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _word(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(16), nullable=nullable)


def _references(
    table: str, column: str, to: str, ondelete: str | None = "CASCADE"
) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{to}.id"], name=f"fk_{table}_{column}_{to}", ondelete=ondelete
    )


def _of_group() -> sa.Column[str]:
    return sa.Column("group_id", Id, nullable=False)


def upgrade() -> None:
    """Add the columns and the tables."""
    op.add_column("users", _moment("body_weight_ug"))
    op.add_column("users", sa.Column("sex", sa.String(8)))
    op.create_table(
        "groups",
        sa.Column("id", Id, nullable=False),
        sa.Column("stream", sa.BigInteger(), nullable=False),
        _moment("seq", nullable=False),
        sa.Column("title", Words, nullable=False),
        _word("format"),
        _word("status"),
        _number("capacity", nullable=True),
        sa.Column("open", sa.Boolean(), nullable=False),
        _number("host", nullable=True),
        _number("invite"),
        _number("members"),
        _moment("created_at", nullable=False),
        _moment("updated_at", nullable=False),
        _moment("live_at"),
        _moment("ends_at"),
        _moment("ended_at"),
        _moment("due_at"),
        _moment("results_at"),
        sa.PrimaryKeyConstraint("id", name="pk_groups"),
        sa.UniqueConstraint("stream", name="uq_groups_stream"),
    )
    op.create_index("ix_groups_due", "groups", ["due_at"], sqlite_where=DUE, postgresql_where=DUE)
    op.create_table(
        "group_members",
        _of_group(),
        _number("member"),
        sa.Column("user_id", Id),
        sa.Column("name", Words, nullable=False),
        _word("role"),
        _word("gone", nullable=True),
        _word("share"),
        sa.Column("workout", Id),
        _moment("joined_at"),
        _moment("created_at", nullable=False),
        sa.PrimaryKeyConstraint("group_id", "member", name="pk_group_members"),
        sa.UniqueConstraint("group_id", "user_id", name="uq_group_members_group_id_user_id"),
        _references("group_members", "group_id", "groups"),
        _references("group_members", "user_id", "users", None),
    )
    op.create_index("ix_group_members_user", "group_members", ["user_id", "created_at", "group_id"])
    op.create_index("ix_group_members_workout", "group_members", ["user_id", "workout"])
    op.create_table(
        "group_devices",
        _of_group(),
        _number("device"),
        _number("member"),
        _number("user_device"),
        sa.PrimaryKeyConstraint("group_id", "device", name="pk_group_devices"),
        sa.UniqueConstraint(
            "group_id", "member", "user_device", name="uq_group_devices_group_id_member_user_device"
        ),
        _references("group_devices", "group_id", "groups"),
    )
    op.create_table(
        "group_invites",
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        _of_group(),
        _number("serial"),
        sa.PrimaryKeyConstraint("hash", name="pk_group_invites"),
        _references("group_invites", "group_id", "groups"),
    )
    op.create_index("ix_group_invites_group", "group_invites", ["group_id"])
    op.create_table(
        "group_results",
        _of_group(),
        _number("member"),
        _number("rank", nullable=True),
        _moment("amount"),
        _moment("time_ms"),
        _number("sets"),
        _moment("reps", nullable=False),
        _moment("distance_mm", nullable=False),
        _moment("duration_ms", nullable=False),
        _moment("volume_ug", nullable=False),
        _moment("rev", nullable=False),
        sa.Column("frozen", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("group_id", "member", name="pk_group_results"),
        _references("group_results", "group_id", "groups"),
    )
    op.create_table(
        "group_reports",
        sa.Column("id", Id, nullable=False),
        _of_group(),
        _number("device"),
        _moment("n", nullable=False),
        sa.Column("text", Words, nullable=False),
        sa.Column("reporter", Id),
        sa.Column("reason", Words, nullable=False),
        _moment("created_at", nullable=False),
        _moment("resolved_at"),
        _word("outcome", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_group_reports"),
        sa.UniqueConstraint(
            "group_id", "device", "n", "reporter", name="uq_group_reports_group_id_device_n_reporter"
        ),
        _references("group_reports", "group_id", "groups"),
        _references("group_reports", "reporter", "users"),
    )
    op.create_index("ix_group_reports_created", "group_reports", ["created_at", "id"])
    op.create_index(
        "ix_group_reports_open",
        "group_reports",
        ["created_at", "id"],
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    op.create_index("ix_group_reports_reporter", "group_reports", ["reporter"])
    op.create_table(
        "blocks",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("blocked", Id, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("name", Words, nullable=False),
        _moment("created_at", nullable=False),
        sa.PrimaryKeyConstraint("user_id", "blocked", name="pk_blocks"),
        sa.UniqueConstraint("id", name="uq_blocks_id"),
        _references("blocks", "user_id", "users"),
        _references("blocks", "blocked", "users"),
    )
    op.create_index("ix_blocks_blocked", "blocks", ["blocked"])


def downgrade() -> None:
    """Take them away."""
    for table in (
        "blocks",
        "group_reports",
        "group_results",
        "group_invites",
        "group_devices",
        "group_members",
        "groups",
    ):
        op.drop_table(table)
    # In place: a batch would drop the table on SQLite, and with the people all that hangs on them.
    op.drop_column("users", "body_weight_ug")
    op.drop_column("users", "sex")
