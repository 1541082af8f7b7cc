"""Forks of devices, and a way to the records that were refused.

Only adds: code of the first schema runs on this one, since it names the columns that it writes and a device
without `forked_at` is no fork.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

VOID = sa.text("verdict = 'void'")


def upgrade() -> None:
    """Add the column and the index."""
    # Not in batch mode, which would copy the table on SQLite: adding a nullable column needs no copy.
    op.add_column("devices", sa.Column("forked_at", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_records_void", "records", ["stream", "verdict", "seq"], sqlite_where=VOID, postgresql_where=VOID
    )


def downgrade() -> None:
    """Take both away."""
    op.drop_index("ix_records_void", "records")
    op.drop_column("devices", "forked_at")
