"""Jobs of the kind `sweep`: forget what nobody can use any more, once an hour."""

from __future__ import annotations

import structlog
from pydantic import BaseModel, ConfigDict

from fitai.gateways.jobs.contract import Attempt, Kind
from fitai.gateways.jobs.relay import Periodic
from fitai.persistence.database import Database
from fitai.persistence.sweeps import SWEEPS

_log = structlog.get_logger(__name__)

SWEEP = Periodic("sweep", 3_600_000)


class Nothing(BaseModel):
    """The payload of a job that needs none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def sweep_kind(db: Database) -> Kind[Nothing]:
    """What sweeps `db`: each sort of rows in a transaction of its own."""

    async def sweep(attempt: Attempt, payload: Nothing) -> None:
        gone = {}
        for each in SWEEPS:
            async with db.write() as session:
                gone[each.what] = await each.run(session, attempt.now - each.kept_ms)
        _log.info("swept", **{what: count for what, count in gone.items() if count})

    return Kind(SWEEP.kind, Nothing, sweep, within_s=300.0)
