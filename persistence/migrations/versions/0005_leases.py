"""Leases, and devices by the time of their revocation: what several nodes need of one another.

Only adds; code of the schema before knows nothing of either.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the index."""
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    revoked = sa.text("revoked_at IS NOT NULL")
    op.create_index(
        "ix_devices_revoked", "devices", ["revoked_at"], sqlite_where=revoked, postgresql_where=revoked
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_devices_revoked", "devices")
    op.drop_table("leases")
