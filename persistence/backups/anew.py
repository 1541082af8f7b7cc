"""What a restored database needs before anybody may use it.

The log goes on from an older place, and nothing that was said of the time after it holds any more:

- every stream gets a new epoch, so that devices learn the log anew and offer their own ops again;
- numbers of devices are given from far beyond those that the backup knows, since those that were enrolled
  after it have theirs for ever;
- refresh tokens and mailed proofs are taken away: which of them were used or revoked since is not known here.
  Everybody signs in again, on the device that they have;
- mail that waited to be sent is put aside (`fitai jobs` shows it), since it went out long ago; other jobs are
  due again.
"""

from __future__ import annotations

from sqlalchemy import func, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fitai.persistence.identity_models import JobRow
from fitai.persistence.models import Base, User

SPARED = 1000  # numbers of devices that may have been given since the backup

_EPOCH = {
    "sqlite": "lower(hex(randomblob(8)))",
    "postgresql": "left(replace(gen_random_uuid()::text, '-', ''), 16)",
}
_COUNTERS = text(
    """
    SELECT format('SELECT setval(%L, greatest((SELECT max(%I) FROM %I), 1))', s, a.attname, c.relname)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped,
        LATERAL pg_get_serial_sequence(c.oid::regclass::text, a.attname) s
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
        AND c.relname = ANY(:tables) AND s IS NOT NULL
    """
)


async def begin_anew(connection: AsyncConnection, now: int) -> None:
    """Do all that, within the caller's transaction; the schema is the newest. `now` in Unix ms."""
    dialect = connection.dialect.name
    await connection.execute(text(f"UPDATE streams SET epoch = {_EPOCH[dialect]}"))
    await connection.execute(update(User).values(next_device=User.next_device + SPARED))
    for table in ("refresh_tokens", "one_time_tokens", "leases"):
        await connection.execute(text(f"DELETE FROM {table}"))
    waiting = update(JobRow).where(JobRow.done_at.is_(None), JobRow.dead_at.is_(None))
    await connection.execute(waiting.values(claimed_by=None, claimed_until=None))
    await connection.execute(
        waiting.where(JobRow.kind == "mail").values(dead_at=now, error="from a restored backup")
    )
    if dialect == "postgresql":
        await _go_on_counting(connection)


async def _go_on_counting(connection: AsyncConnection) -> None:
    """Rows that number themselves go on behind those that are there."""
    tables = [table.name for table in Base.metadata.sorted_tables]
    for statement in (await connection.execute(_COUNTERS, {"tables": tables})).scalars().all():
        await connection.execute(text(statement))


async def people(connection: AsyncConnection) -> int:
    """How many accounts there are."""
    return (await connection.execute(func.count(User.id).select())).scalar_one()
