"""Ways to the few workouts of a stream that are asked for, so that no question reads all of them.

Only adds indexes; code of the schema before knows nothing of them. While they are made, PostgreSQL lets
nobody write `workouts` (seconds for each million rows): appends and acknowledgements go on, since they write
only `streams` and `records`; lists and history follow when it is done.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OPEN = sa.text("status IN ('active', 'paused')")
PLANNED_BY = sa.text("template IS NOT NULL")
# 900000: after so long without an op a workout is taken to have ended; 86400000: longer than a day.
LONG = sa.text("template IS NOT NULL AND coalesce(ended_at, updated_at + 900000) - started_at > 86400000")
INDEXES = {
    "ix_workouts_open": (["stream", "status"], OPEN),
    "ix_workouts_changed": (["stream", "seq"], None),
    "ix_workouts_template": (["stream", "template", "started_at"], PLANNED_BY),
    "ix_workouts_long": (["stream", "template", "started_at"], LONG),
}


def upgrade() -> None:
    """Add the indexes."""
    for name, (columns, where) in INDEXES.items():
        op.create_index(name, "workouts", columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    """Take them away."""
    for name in INDEXES:
        op.drop_index(name, "workouts")
