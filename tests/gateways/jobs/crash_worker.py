"""A worker in a process of its own, to be killed: python crash_worker.py <database URL> <folder> [redis URL].

Its handler leaves a file `<n>-begun-<pid>-<attempt>`, takes its time while there is a file `slow`, and leaves
`<n>-ended`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from random import Random

from pydantic import BaseModel

from fitai.gateways.jobs import relay, runner
from fitai.gateways.jobs.brokers import open_broker
from fitai.gateways.jobs.contract import Attempt, Kind, Kinds
from fitai.gateways.jobs.worker import Worker
from fitai.persistence.database import Database

runner.MARGIN_S = 0.5
relay.SCAN_S = 0.1
relay.SENT_MS = 500


class Note(BaseModel):
    n: int


async def main(url: str, folder: Path, redis_url: str | None) -> None:
    async def handle(attempt: Attempt, note: Note) -> None:
        (folder / f"{note.n}-begun-{os.getpid()}-{attempt.number}").touch()
        while (folder / "slow").exists():
            await asyncio.sleep(0.01)
        (folder / f"{note.n}-ended").touch()

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    db = Database.open(url)
    broker = open_broker(redis_url, prefix="crash", node=str(os.getpid()), at_a_time=8)
    worker = Worker(
        db, broker, Kinds([Kind("note", Note, handle, within_s=1.5)]), now_ms=now_ms, chance=Random(1)
    )
    await worker.start()
    (folder / f"up-{os.getpid()}").touch()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), *(sys.argv[3:] or [None])))
