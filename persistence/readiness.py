"""Whether the database takes writes: asked by writing."""

from __future__ import annotations

import uuid

from sqlalchemy import delete, insert

from fitai.persistence.database import Database
from fitai.persistence.models import Lease


async def commits(db: Database) -> None:
    """Return when the database has committed a write; raises Unavailable, or what the driver says of a
    schema that is not there.

    The write is a row that comes and goes in one transaction: it has to reach the disk, leaves nothing, and
    meets no lock of another node, however long that has been paused.
    """
    name = f"ready:{uuid.uuid4()}"
    async with db.write() as session:
        await session.execute(insert(Lease).values(name=name, node="", until=0))
        await session.execute(delete(Lease).where(Lease.name == name))
