"""What the persistence tests share: people with streams, records to append, an appender."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import update

from fitai.engine.ops import Op, Record, Verdict
from fitai.persistence.append import Append, Appender
from fitai.persistence.database import Database
from fitai.persistence.log import Log, StreamRow
from fitai.persistence.models import Stream
from fitai.persistence.users import Users
from fitai.sync.wire import op_hash

WORKOUT = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
NOW = 1_780_000_000_000
EPOCH = "e"  # of the streams of all whom `make_person` makes

_numbers = itertools.count(1)


def a_record(seq: int, n: int | None = None, **changes: Any) -> Record:
    """A record at `seq`; by default its counter and its rev are the seq too."""
    n = seq if n is None else n
    workout = changes.pop("workout", WORKOUT)
    raw = {"n": n, "base": seq - 1, "kind": "workout.start", "workout": workout, "value": {}, "at": NOW + seq}
    op = Op(
        n=n,
        base=seq - 1,
        clock=None,
        kind="workout.start",
        workout=workout,
        entity=None,
        value={},
        at=NOW + seq,
        v=1,
        raw=raw,
    )
    fields: dict[str, Any] = {
        "op": op,
        "seq": seq,
        "rev": seq,
        "device": 1,
        "base": seq - 1,
        "beyond": None,
        "te": NOW + seq,
        "rt": NOW + seq,
        "verdict": Verdict.APPLIED,
        "hash": op_hash(raw),
    }
    return Record(**(fields | changes))


def an_append(stream: int, seen: int, count: int = 1, **changes: Any) -> Append:
    """`count` records after `seen`."""
    return Append(stream, EPOCH, seen, [a_record(seen + i, **changes) for i in range(1, count + 1)])


async def the_log(db: Database, stream: int) -> list[Record]:
    """The whole log of a stream."""
    async with db.read() as session:
        return await Log(session).read(stream, 0, 1_000_000)


async def make_person(db: Database) -> StreamRow:
    """A new person's stream."""
    async with db.write() as session:
        email = f"person{next(_numbers)}@example.org"
        user = await Users(session).create(email=email, password_hash="-", display_name=None, now=NOW)
        await session.execute(update(Stream).where(Stream.owner == user.id).values(epoch=EPOCH))
        stream = await Log(session).stream_of(user.id)
        assert stream is not None
        return stream


@pytest.fixture
def person(db: Database) -> Callable[[], Awaitable[StreamRow]]:
    """Makes people."""
    return lambda: make_person(db)


@pytest.fixture
async def stream(db: Database) -> StreamRow:
    """One person's stream."""
    return await make_person(db)


@pytest.fixture
async def appender(db: Database) -> AsyncIterator[Appender]:
    """A running appender."""
    appender = Appender(db, patience=5.0)
    await appender.start()
    yield appender
    await appender.close()


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """`make_record(seq, n=seq, **fields of the record)`."""
    return a_record


@pytest.fixture
def make_append() -> Callable[..., Append]:
    """`make_append(stream, seen, count=1, **fields of the records)`."""
    return an_append


@pytest.fixture
def stored(db: Database) -> Callable[[int], Awaitable[list[Record]]]:
    """`await stored(stream)`: the whole log of a stream."""
    return lambda stream: the_log(db, stream)
