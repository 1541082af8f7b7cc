"""A process that appends without end and prints each op once it is acknowledged; made to be killed.

Arguments: the database's URL, then the ids of the streams. A line is `ack stream device n`.
"""

import asyncio
import sys

from fitai.engine.ops import Op, Record, Verdict
from fitai.persistence.append import Append, Appender, HeadMoved, Unavailable
from fitai.persistence.database import Database
from fitai.persistence.log import Log
from fitai.sync.wire import op_hash

WORKOUT = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
DEVICE = 1


def record(seq: int, n: int) -> Record:
    """The n-th op of the device, at `seq`."""
    raw = {
        "n": n,
        "base": seq - 1,
        "kind": "note.set",
        "workout": WORKOUT,
        "value": {"text": "x" * 200},
        "at": n,
    }
    op = Op(
        n=n,
        base=seq - 1,
        clock=None,
        kind="note.set",
        workout=WORKOUT,
        entity=None,
        value={},
        at=n,
        v=1,
        raw=raw,
    )
    return Record(
        op=op,
        seq=seq,
        rev=seq,
        device=DEVICE,
        base=seq - 1,
        beyond=None,
        te=n,
        rt=n,
        verdict=Verdict.APPLIED,
        hash=op_hash(raw),
    )


async def write(db: Database, appender: Appender, stream: int) -> None:
    """Append batches of 1 to 5 to one stream; after doubt, read where it stands and go on from there."""
    size = 1
    while True:
        async with db.read() as session:
            log = Log(session)
            head = (await log.heads([stream]))[stream]
            positions = await log.device_positions(stream)
        n = positions[DEVICE].next_n if DEVICE in positions else 1
        while True:
            records = [record(head + i + 1, n + i) for i in range(size)]
            try:
                await appender.append(Append(stream, "e", head, records))
            except (HeadMoved, Unavailable):
                break
            for each in records:
                print("ack", stream, DEVICE, each.op.n, flush=True)
            head, n, size = head + size, n + size, size % 5 + 1


async def main(url: str, streams: list[int]) -> None:
    """Write to all streams at once until killed."""
    db = Database.open(url)
    appender = Appender(db)
    await appender.start()

    async def steadily(stream: int) -> None:
        while True:
            try:
                await write(db, appender, stream)
            except Unavailable:
                await asyncio.sleep(0.05)

    await asyncio.gather(*(steadily(stream) for stream in streams))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], [int(each) for each in sys.argv[2:]]))
