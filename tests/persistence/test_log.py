"""Reading the log back: a record comes out as it went in."""

import pytest
from sqlalchemy import text

from fitai.engine.ops import Dot, Op, Verdict
from fitai.persistence.append import Append
from fitai.persistence.devices import Devices
from fitai.persistence.log import Log
from fitai.sync.log import Position
from fitai.sync.wire import WireLimits, decode_op, op_hash
from tests.persistence.conftest import make_person

OTHER = "0192f3c4-7b1a-7c3e-9d2f-aaaaaaaaaaaa"

RAW = {
    "n": 1,
    "clock": {"1": 4, "12": 2.0},
    "kind": "set.log",
    "workout": "0192F3C4-7B1A-7C3E-9D2F-5A6B7C8D9E0F",
    "entity": "0192F3C4-7B1A-7C3E-9D2F-5A6B7C8D9E01",
    "value": {
        "exercise_entry": "A",
        "load": {"value": 60.0, "unit": "kg"},
        "note": "zß水🏋\x00",
        "new": [1.5, None],
    },
    "at": 1_780_000_000_000.0,
    "v": 2,
    "mood": {"a": "field of a newer client"},
}


async def write(appender, stream, *records):
    await appender.append(Append(stream.id, stream.epoch, records[0].seq - 1, records))


async def test_a_record_is_rebuilt_whole(db, stream, appender, make_record):
    op, _ = decode_op(RAW, WireLimits())
    record = make_record(
        1,
        op=op,
        device=12,
        base=4,
        beyond={1: 4, 9: 2},
        verdict=Verdict.VOID,
        code="illegal_edge",
        detail={"from": "completed", "trigger": "pause"},
        hash=op_hash(RAW),
    )
    await write(appender, stream, record)
    async with db.read() as session:
        found = await Log(session).read(stream.id, 0, 10)
    assert found == [record]
    assert isinstance(found[0].op, Op)
    assert found[0].op.raw == RAW, "what other devices receive is what came"
    assert found[0].wire() == record.wire()
    assert isinstance(found[0].op.at, int)
    assert isinstance(found[0].op.value["load"]["value"], int)


async def test_large_numbers_of_a_json_client_fit(db, stream, appender, make_record):
    largest = 2**53 - 1
    record = make_record(1, n=largest, te=-largest, rt=largest, base=largest)
    await write(appender, stream, record)
    async with db.read() as session:
        assert await Log(session).read(stream.id, 0, 1) == [record]


async def test_pages_follow_each_other(db, stream, appender, make_append):
    await appender.append(make_append(stream.id, 0, 7))
    async with db.read() as session:
        log = Log(session)
        pages = [[r.seq for r in await log.read(stream.id, after, 3)] for after in (0, 3, 6, 7)]
    assert pages == [[1, 2, 3], [4, 5, 6], [7], []]


async def test_the_stream_tells_its_head_and_its_last_receipt(db, stream, appender, make_append):
    await appender.append(make_append(stream.id, 0, 3))
    async with db.read() as session:
        log = Log(session)
        row = await log.stream_of(stream.owner)
        assert row == await log.stream(stream.id)
        assert (row.head, row.projected, row.epoch) == (3, 0, stream.epoch)
        assert row.last_rt == (await log.read(stream.id, 2, 1))[0].rt
        assert await log.stream_of(OTHER) is None
        assert await log.stream(stream.id + 1000) is None


async def test_positions_are_those_of_each_devices_newest_op(db, stream, appender, make_record, person):
    other = await person()
    await write(
        appender,
        stream,
        make_record(1, n=1, device=1),
        make_record(2, n=1, device=7, base=1, beyond={3: 4}),
        make_record(3, n=2, device=1, base=0, te=50),
        make_record(4, n=1, device=0),
    )
    await write(appender, other, make_record(1, n=1, device=5))
    async with db.read() as session:
        found = await Log(session).device_positions(stream.id)
        nobody = await Log(session).device_positions(-1)
    assert set(found) == {0, 1, 7}
    assert found[1] == Position(3, 0, None, 50)
    assert found[7].beyond == {3: 4}
    assert (found[7].next_n, found[7].base) == (2, 1)
    assert nobody == {}


async def test_one_workouts_records_and_revs(db, stream, appender, make_record):
    records = [
        make_record(1, rev=1),
        make_record(2, rev=1, workout=OTHER),
        make_record(3, rev=2),
        make_record(4, rev=2, workout=OTHER),
    ]
    mine = records[0].op.workout
    await write(appender, stream, *records)
    async with db.read() as session:
        log = Log(session)
        assert [r.seq for r in await log.workout_records(stream.id, mine)] == [1, 3]
        assert [r.seq for r in await log.workout_records(stream.id, mine, after_rev=1)] == [3]
        assert await log.revs(stream.id, [mine, OTHER, mine[:-1] + "0"]) == {mine: 2, OTHER: 2}
        assert await log.revs(stream.id, []) == {}


async def test_workouts_of_several_streams_are_read_at_once(db, stream, appender, make_record):
    other_stream = await make_person(db)
    await write(appender, stream, make_record(1, rev=1), make_record(2, rev=1, workout=OTHER))
    theirs = [make_record(seq, rev=seq, workout=OTHER) for seq in (1, 2)]
    await write(appender, other_stream, *theirs)
    places = [(other_stream.id, OTHER), (stream.id, OTHER), (stream.id, OTHER[:-1] + "0"), (stream.id, OTHER)]
    async with db.read() as session:
        found = await Log(session).workouts_records(places)
        nothing = await Log(session).workouts_records([])
    assert [[record.seq for record in records] for records in found] == [[1, 2], [2], [], [2]]
    assert nothing == []


async def test_own_ops_are_found_by_counter(db, stream, appender, make_record):
    await write(
        appender,
        stream,
        *(make_record(seq, n=(seq + 1) // 2, device=seq % 2 + 1) for seq in range(1, 9)),
    )
    async with db.read() as session:
        log = Log(session)
        assert [r.dot for r in await log.find(stream.id, 2, 2, 3)] == [Dot(2, 2), Dot(2, 3)]
        assert await log.find(stream.id, 2, 9, 12) == []
        assert await log.firsts(stream.id, 5) == {1: 3, 2: 4}
        assert await log.firsts(stream.id, 7) == {1: 4}


async def test_one_persons_log_is_not_anothers(db, stream, person, appender, make_append):
    other = await person()
    await appender.append(make_append(stream.id, 0, 2))
    async with db.read() as session:
        log = Log(session)
        assert await log.read(other.id, 0, 10) == []
        assert await log.find(other.id, 1, 1, 10) == []
        assert await log.heads([stream.id, other.id]) == {stream.id: 2, other.id: 0}


@pytest.mark.parametrize("value", [None, {}])
async def test_an_op_without_a_value_comes_back_as_it_was_decoded(db, stream, appender, make_record, value):
    raw = {"n": 1, "base": 0, "kind": "workout.pause", "workout": OTHER, "at": 5}
    if value is not None:
        raw["value"] = value
    op, _ = decode_op(raw, WireLimits())
    await write(appender, stream, make_record(1, op=op))
    async with db.read() as session:
        assert (await Log(session).read(stream.id, 0, 1))[0].op == op


async def test_what_was_refused_is_found_newest_first(db, stream, appender, make_record, person):
    other = await person()
    verdicts = [Verdict.VOID, Verdict.APPLIED, Verdict.VOID, Verdict.DEFERRED, Verdict.VOID]
    run = [make_record(seq, verdict=verdict) for seq, verdict in enumerate(verdicts, 1)]
    await write(appender, stream, *run)
    await write(appender, other, make_record(1, verdict=Verdict.VOID))
    async with db.read() as session:
        log = Log(session)
        assert [record.seq for record in await log.voids(stream.id, None, 2)] == [5, 3]
        assert [record.seq for record in await log.voids(stream.id, 3, 2)] == [1]
        assert await log.voids(stream.id, 1, 2) == []


async def test_the_index_of_what_was_refused_is_used(db):
    query = "SELECT seq FROM records WHERE stream = 1 AND verdict = 'void' ORDER BY seq DESC LIMIT 5"
    explain = "EXPLAIN QUERY PLAN" if db.dialect == "sqlite" else "EXPLAIN"
    async with db.read() as session:
        if db.dialect == "postgresql":
            await session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = (await session.execute(text(f"{explain} {query}"))).all()
    assert "ix_records_void" in str(plan)


async def test_the_records_of_a_workout_up_to_a_position(db, stream, appender, make_record):
    run = [
        make_record(seq, rev=(seq + 1) // 2, workout=OTHER) if seq % 2 else make_record(seq, rev=seq // 2)
        for seq in range(1, 7)
    ]
    await write(appender, stream, *run)
    async with db.read() as session:
        found = await Log(session).workout_records(stream.id, OTHER, upto=4)
    assert [record.seq for record in found] == [1, 3]


async def test_places_of_records_by_name(db, stream, appender, make_record):
    await write(
        appender, stream, make_record(1), make_record(2, n=1, device=7), make_record(3, n=2, device=7)
    )
    async with db.read() as session:
        log = Log(session)
        assert await log.places(stream.id, [Dot(1, 1), Dot(7, 2), Dot(7, 3), Dot(2, 1)]) == {
            Dot(1, 1): 1,
            Dot(7, 2): 3,
        }
        assert await log.places(stream.id, []) == {}
        many = [Dot(device, n) for device in range(1, 60) for n in range(1, 60)]
        assert await log.places(stream.id, many) == await log.places(stream.id, many[::-1])
        assert Dot(1, 1) in await log.places(stream.id, many)


async def test_a_fork_starts_with_what_its_parent_had_written_and_seen(db, stream, appender, make_record):
    run = [make_record(1, base=0), make_record(2, base=0, beyond={9: 4}, te=77), make_record(3, base=2)]
    await write(appender, stream, *run)
    async with db.write() as session:
        devices = Devices(session)
        await devices.enrol(stream.owner, name="phone", platform="ios", install_id=None, now=1, limit=9)
        for at, parent in ((3, 1), (1, 1), (1, 2), (4, 1)):
            await devices.fork(
                stream.owner, parent, at, name=None, install_id=f"{at} {parent}", now=1, limit=9
            )
    start = Position(1, 0, {9: 4, 1: 2}, 77)
    expected = {1: Position(4, 2, None, run[2].te), 2: start, 3: Position(), 4: start}
    async with db.read() as session:
        log = Log(session)
        positions = await log.device_positions(stream.id)
        alone = {device: await log.device_position(stream.id, device) for device in range(1, 5)}
        assert await log.device_position(stream.id, 99) == Position()
    assert {device: positions[device] for device in expected} == expected == alone
    assert positions[5] == Position(1, 2, {1: 3}, run[2].te)


async def test_a_fork_that_has_written_stands_where_it_wrote(db, stream, appender, make_record):
    await write(appender, stream, make_record(1))
    async with db.write() as session:
        devices = Devices(session)
        await devices.enrol(stream.owner, name="phone", platform="ios", install_id=None, now=1, limit=9)
        await devices.fork(stream.owner, 1, 2, name=None, install_id="x", now=1, limit=9)
    own = make_record(2, n=1, device=2, base=1)
    await write(appender, stream, own)
    async with db.read() as session:
        log = Log(session)
        assert (await log.device_positions(stream.id))[2] == Position(2, 1, None, own.te)
        assert await log.device_position(stream.id, 2) == Position(2, 1, None, own.te)
