"""The workouts at a position: those that stand still, and those that have moved on."""

import pytest
from sqlalchemy import text

from fitai.engine.workout import state
from fitai.persistence.append import Append
from fitai.persistence.projections import Projected, Projector
from fitai.persistence.snapshots import Place, Snapshots
from fitai.sync.fold import fold
from fitai.sync.wire import WireLimits, decode_op

A, B, C = (f"0192f3c4-7b1a-7c3e-9d2f-{letter * 12}" for letter in "abc")
DAY = 86_400_000


@pytest.fixture
def write(db, stream, appender, make_record):
    """`await write(workout, kind, value)`: append and project one op; its seq is the number of calls."""
    log = []

    async def write(workout, kind, value=None):
        seq = len(log) + 1
        raw = {"n": seq, "base": seq - 1, "kind": kind, "workout": workout, "value": value or {}, "at": seq}
        op, _ = decode_op(raw, WireLimits())
        rev = sum(record.op.workout == workout for record in log) + 1
        log.append(make_record(seq, op=op, rev=rev))
        await appender.append(Append(stream.id, stream.epoch, seq - 1, log[-1:]))
        folded = fold(workout, stream.owner, (record for record in log if record.op.workout == workout))
        await Projector(db).project(stream.id, stream.epoch, [Projected.of(folded.workout, None)], seq)
        return state(folded.workout)

    return write


async def began(write, workout, day):
    await write(workout, "workout.create")
    return await write(workout, "workout.edit", {"field": "started_at", "value": day * DAY})


async def unchanged(db, stream, at, after=None, limit=10):
    async with db.read() as session:
        return await Snapshots(session).unchanged(stream.id, at, after, limit)


async def moved(db, stream, at):
    async with db.read() as session:
        return sorted(await Snapshots(session).moved(stream.id, at))


async def test_what_stands_still_comes_with_its_state_newest_first(db, stream, write):
    states = {name: await began(write, name, day) for name, day in ((A, 3), (B, 1), (C, 2))}
    found = await unchanged(db, stream, 6)
    assert [row.place for row in found] == [Place(3 * DAY, A), Place(2 * DAY, C), Place(DAY, B)]
    assert [row.document for row in found] == [states[A], states[C], states[B]]
    assert await moved(db, stream, 6) == []


async def test_a_page_goes_on_after_a_place_also_among_equals(db, stream, write):
    for name in (A, B, C):
        await began(write, name, 1)
    first = await unchanged(db, stream, 6, None, 2)
    rest = await unchanged(db, stream, 6, first[-1].place, 2)
    assert [row.place.workout for row in (*first, *rest)] == [C, B, A]
    assert await unchanged(db, stream, 6, rest[-1].place) == []
    between = await unchanged(db, stream, 6, Place(DAY, "0192f3c4-7b1a-7c3e-9d2f-bfffffffffff"))
    assert [row.place.workout for row in between] == [B, A]


async def test_what_changed_since_has_moved_and_what_is_newer_is_not_there(db, stream, write):
    await began(write, A, 1)
    await began(write, B, 2)
    await write(A, "workout.remove")
    await began(write, C, 3)
    assert [row.place.workout for row in await unchanged(db, stream, 4)] == [B]
    assert await moved(db, stream, 4) == [A]
    assert await moved(db, stream, 1) == [A]
    assert await unchanged(db, stream, 0) == []
    assert await moved(db, stream, 0) == []
    assert await moved(db, stream, 7) == []  # at 7 C was there, with its first op
    assert await moved(db, stream, 6) == [C]


async def test_a_state_that_is_not_cached_is_said_to_be_missing(db, stream, write):
    await began(write, A, 1)
    async with db.write() as session:
        await session.execute(text("UPDATE snapshots SET seq = 1"))
    [row] = await unchanged(db, stream, 2)
    assert (row.place, row.document) == (Place(DAY, A), None)
