"""Marks: what all rows of an exercise come to up to a place, so that no history is read from its beginning.

Only adds. Code of the schema before writes `exercise_bests` and knows nothing of marks; the triggers here
take away the marks that its rows make wrong, as they do for everybody else's.

Whoever copies `exercise_bests` in a later migration (batch mode on SQLite does) makes its triggers again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.String(36).with_variant(sa.UUID(as_uuid=False), "postgresql")
WRITES = {"insert": ("NEW",), "update": ("OLD", "NEW"), "delete": ("OLD",)}
FORGET = """DELETE FROM exercise_marks WHERE stream = {row}.stream AND exercise = {row}.exercise
    AND (started_at, workout) >= ({row}.started_at, {row}.workout);"""
# 1181316203: fitai.persistence.histories, which lays marks under the same lock, alone.
LOCK = "PERFORM pg_advisory_xact_lock_shared(1181316203, hashint8({row}.stream));"


def upgrade() -> None:
    """Add the table, and the triggers that keep it true."""
    op.create_table(
        "exercise_marks",
        sa.Column("stream", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("exercise", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("workout", ID, nullable=False),
        sa.Column("bests", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("stream", "exercise", "started_at", "workout", name="pk_exercise_marks"),
    )
    for write, rows in WRITES.items():
        forget = [FORGET.format(row=row) for row in rows]
        if op.get_bind().dialect.name == "sqlite":
            op.execute(_trigger(write, f"BEGIN {' '.join(forget)} END"))
        else:
            body = " ".join([LOCK.format(row=rows[0]), *forget, "RETURN NULL;"])
            function = f"exercise_bests_{write}()"
            op.execute(
                f"CREATE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
            )
            op.execute(_trigger(write, f"EXECUTE FUNCTION {function}"))


def downgrade() -> None:
    """Take them away."""
    for write in WRITES:
        if op.get_bind().dialect.name == "sqlite":
            op.execute(f"DROP TRIGGER exercise_bests_{write}")
        else:
            op.execute(f"DROP FUNCTION exercise_bests_{write}() CASCADE")
    op.drop_table("exercise_marks")


def _trigger(write: str, what: str) -> str:
    return f"CREATE TRIGGER exercise_bests_{write} AFTER {write} ON exercise_bests FOR EACH ROW {what}"
