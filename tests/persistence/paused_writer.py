"""A node that is paused in the middle of a transaction, its streams locked: an append by itself is one
statement, but one with a companion is not. Run as a program:

paused_writer.py URL STREAM    append record 1 to STREAM; stop (SIGSTOP) before the commit is sent; when
                               awake again, print what `append` came to, and append to STREAM once more
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fitai.persistence import batches
from fitai.persistence.append import Appender, HeadMoved, Unavailable
from fitai.persistence.database import Database
from fitai.persistence.idempotency import Idempotency
from fitai.persistence.log import Log
from tests.persistence.conftest import an_append

DEVICE = 2


async def main(url: str, stream: int) -> None:
    written = batches.Postgres.write
    paused = False

    async def write_and_pause(connection: Any, *what: Sequence[Any]) -> Any:
        nonlocal paused
        fates = await written(connection, *what)
        if not paused:
            paused = True
            os.kill(os.getpid(), signal.SIGSTOP)
        return fates

    batches.Postgres.write = write_and_pause  # type: ignore[assignment, method-assign]
    db = Database.open(url)
    async with db.read() as session:
        row = await Log(session).stream(stream)
    assert row is not None
    companion = Idempotency.companion(row.owner, "key", "request", 0)
    appender = Appender(db, patience=60.0)
    await appender.start()
    try:
        append = an_append(stream, 0, device=DEVICE)
        await appender.append(replace(append, companions=[companion]))
        print("stored", flush=True)
    except (HeadMoved, Unavailable) as error:
        print(type(error).__name__, flush=True)
    async with db.read() as session:
        head = (await Log(session).heads([stream]))[stream]
    await appender.append(an_append(stream, head, device=DEVICE, n=100))
    await appender.close()
    await db.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
