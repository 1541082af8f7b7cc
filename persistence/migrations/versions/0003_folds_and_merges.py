"""Which version of the fold made a projection, and workouts that are merged into another.

Only adds, and code of the schema before runs on this one: it names the columns that it writes, and a workout
without `merged_into` is merged into none. `snapshots.rev` changes its meaning and not its type: it was the
document's revision, which nobody read, and is minus the version of the fold from here on. What the release
before wrote, or still writes, is positive: it is found by that and written anew.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.String(36).with_variant(sa.UUID(as_uuid=False), "postgresql")
MERGED = sa.text("merged_into IS NOT NULL")


def upgrade() -> None:
    """Add the column and the indexes."""
    # Not in batch mode, which would copy the table on SQLite: adding a nullable column needs no copy.
    op.add_column("workouts", sa.Column("merged_into", ID, nullable=True))
    op.create_index(
        "ix_workouts_merged",
        "workouts",
        ["stream", "merged_into"],
        sqlite_where=MERGED,
        postgresql_where=MERGED,
    )
    op.create_index("ix_snapshots_mark", "snapshots", ["rev", "stream", "workout"])


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_snapshots_mark", "snapshots")
    op.drop_index("ix_workouts_merged", "workouts")
    op.drop_column("workouts", "merged_into")
