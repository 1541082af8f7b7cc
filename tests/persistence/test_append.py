"""Group commit: many users in one transaction, each one's trouble its own."""

import asyncio
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event, text, update

from fitai.engine.ops import Dot
from fitai.persistence import append as append_module
from fitai.persistence import engines
from fitai.persistence.append import Append, Appender, BadRow, Companion, HeadMoved
from fitai.persistence.batches import Postgres, Sqlite
from fitai.persistence.database import Database, Unavailable
from fitai.persistence.idempotency import Idempotency
from fitai.persistence.log import Log
from fitai.persistence.models import Stream
from tests.persistence.conftest import make_person


@contextmanager
def counted_commits():
    """A list that grows by one with every transaction that appends."""
    commits = []

    def count(connection, cursor, statement, *_):
        if statement in (Sqlite.cas, Postgres.statement):
            commits.append(connection)

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield commits
    finally:
        event.remove(Engine, "before_cursor_execute", count)


async def outcomes(*appends):
    """What each of several appends that wait together ended in."""
    return await asyncio.gather(*appends, return_exceptions=True)


async def test_records_are_stored_in_order_when_append_returns(appender, stream, make_append, stored):
    first, second = make_append(stream.id, 0, 3), make_append(stream.id, 3, 2)
    await appender.append(first)
    assert await stored(stream.id) == list(first.records)
    await appender.append(second)
    assert await stored(stream.id) == [*first.records, *second.records]


async def test_appends_of_many_people_that_wait_together_share_a_commit(
    db, appender, person, make_append, stored
):
    people = [await person() for _ in range(40)]
    with counted_commits() as commits:
        await asyncio.gather(*(appender.append(make_append(each.id, 0, 3)) for each in people))
    assert len(commits) <= 3, f"40 appends took {len(commits)} commits"
    for each in people:
        assert [record.seq for record in await stored(each.id)] == [1, 2, 3]


async def test_a_transaction_takes_no_more_streams_than_it_may(db, person, make_append):
    people = [await person() for _ in range(10)]
    appender = Appender(db, max_batch=4)
    await appender.start()
    with counted_commits() as commits:
        await asyncio.gather(*(appender.append(make_append(each.id, 0)) for each in people))
    assert len(commits) == 3
    await appender.close()


async def test_a_transaction_takes_no_more_rows_than_it_may(db, person, make_append):
    people = [await person() for _ in range(4)]
    appender = Appender(db, max_rows=10)
    await appender.start()
    with counted_commits() as commits:
        await asyncio.gather(*(appender.append(make_append(each.id, 0, 12)) for each in people))
    assert len(commits) == 4, "each append is whole, however large"
    await appender.close()


async def test_a_clash_fails_alone(appender, person, make_append, stored):
    people = [await person() for _ in range(5)]
    await appender.append(make_append(people[2].id, 0, 2))
    results = await outcomes(*(appender.append(make_append(each.id, 0, 3)) for each in people))
    assert [type(result) for result in results] == [type(None), type(None), HeadMoved, type(None), type(None)]
    assert [len(await stored(each.id)) for each in people] == [3, 3, 2, 3, 3]


async def test_of_two_appends_on_one_head_one_wins(appender, stream, make_append, stored):
    results = await outcomes(
        appender.append(make_append(stream.id, 0, 2, device=1)),
        appender.append(make_append(stream.id, 0, 3, device=2)),
    )
    assert [type(result) for result in results] == [type(None), HeadMoved]
    assert [record.device for record in await stored(stream.id)] == [1, 1]


async def test_appends_that_follow_each_other_need_not_wait_for_each_other(
    appender, stream, make_append, stored
):
    await asyncio.gather(*(appender.append(make_append(stream.id, seen)) for seen in range(6)))
    assert [record.seq for record in await stored(stream.id)] == [1, 2, 3, 4, 5, 6]


async def test_two_nodes_race_for_one_stream_and_each_place_is_taken_once(
    db, database_url, stream, make_append, stored
):
    other = Database.open(database_url)
    nodes = [Appender(db), Appender(other)]

    async def write(node, device):
        won = 0
        while won < 15:
            async with (db if device == 1 else other).read() as session:
                head = (await Log(session).heads([stream.id]))[stream.id]
            try:
                await node.append(make_append(stream.id, head, 1, n=won + 1, device=device))
                won += 1
            except HeadMoved:
                continue

    for node in nodes:
        await node.start()
    await asyncio.gather(write(nodes[0], 1), write(nodes[1], 2))
    for node in nodes:
        await node.close()
    await other.close()
    records = await stored(stream.id)
    assert [record.seq for record in records] == list(range(1, 31))
    assert sorted(record.dot for record in records) == [Dot(d, n) for d in (1, 2) for n in range(1, 16)]


async def test_a_bad_row_fails_alone(appender, person, make_append, stored):
    people = [await person() for _ in range(4)]
    await appender.append(make_append(people[1].id, 0))
    appends = [make_append(each.id, 0, 2) for each in people]
    appends[1] = make_append(people[1].id, 1, 2, n=1)  # (device, n) that is there already
    results = await outcomes(*(appender.append(each) for each in appends))
    assert [type(result) for result in results] == [type(None), BadRow, type(None), type(None)]
    assert [len(await stored(each.id)) for each in people] == [2, 1, 2, 2]
    await appender.append(make_append(people[1].id, 1, 2))  # and the stream is none the worse
    assert len(await stored(people[1].id)) == 3


async def test_an_equal_head_in_another_epoch_is_no_place_to_append_at(
    db, appender, person, make_append, stored
):
    """A restored log has reached the head that somebody knew of the log before."""
    one, two = await person(), await person()
    for each in (one, two):
        await appender.append(make_append(each.id, 0, 2))
    async with db.write() as session:
        await session.execute(update(Stream).where(Stream.id == two.id).values(epoch="restored"))
    results = await outcomes(appender.append(make_append(one.id, 2)), appender.append(make_append(two.id, 2)))
    assert [type(result) for result in results] == [type(None), HeadMoved]
    assert [len(await stored(each.id)) for each in (one, two)] == [3, 2]
    records = make_append(two.id, 2).records
    await appender.append(Append(two.id, "restored", 2, records))
    assert len(await stored(two.id)) == 3


async def test_a_value_that_the_database_cannot_hold_fails_alone(
    appender, person, make_append, make_record, stored
):
    one, two = await person(), await person()
    too_large = Append(two.id, two.epoch, 0, [make_record(1, te=2**70)])
    results = await outcomes(appender.append(make_append(one.id, 0)), appender.append(too_large))
    assert [type(result) for result in results] == [type(None), BadRow]
    assert [len(await stored(each.id)) for each in (one, two)] == [1, 0]


async def test_an_op_that_is_not_json_never_reaches_the_database(appender, stream, make_record, stored):
    record = make_record(1)
    record.op.raw["value"] = {"a", "set"}
    with pytest.raises(BadRow):
        await appender.append(Append(stream.id, stream.epoch, 0, [record]))
    assert await stored(stream.id) == []


@pytest.mark.parametrize("seqs", [[], [1], [3], [2, 4]])
async def test_records_that_do_not_follow_the_seen_head_are_a_mistake(appender, stream, make_record, seqs):
    with pytest.raises(ValueError, match="follow"):
        await appender.append(Append(stream.id, stream.epoch, 1, [make_record(seq) for seq in seqs]))


async def test_companions_are_stored_with_their_records_or_not_at_all(
    db, appender, stream, person, make_append
):
    loser = await person()
    await appender.append(make_append(loser.id, 0))

    def keyed(of, key):
        append = make_append(of.id, 0)
        return Append(
            of.id, of.epoch, 0, append.records, [Idempotency.companion(of.owner, key, "hash", 5, {"n": 1})]
        )

    results = await outcomes(appender.append(keyed(stream, "a")), appender.append(keyed(loser, "b")))
    assert [type(result) for result in results] == [type(None), HeadMoved]
    async with db.read() as session:
        used = await Idempotency(session).find(stream.owner, "a")
        assert used is not None
        assert (used.request, used.answer, used.created_at) == ("hash", {"n": 1}, 5)
        assert await Idempotency(session).find(loser.owner, "b") is None


async def test_a_companion_that_the_database_refuses_takes_its_append_with_it(
    appender, person, make_append, stored
):
    one, two = await person(), await person()
    append = make_append(two.id, 0)
    stranger = "0192f3c4-7b1a-7c3e-9d2f-aaaaaaaaaaaa"  # no such user
    bad = Append(two.id, two.epoch, 0, append.records, [Idempotency.companion(stranger, "k", "hash", 5)])
    results = await outcomes(appender.append(make_append(one.id, 0)), appender.append(bad))
    assert [type(result) for result in results] == [type(None), BadRow]
    assert [len(await stored(each.id)) for each in (one, two)] == [1, 0]


async def test_an_unknown_column_in_a_companion_harms_no_other(appender, person, make_append, stored):
    one, two = await person(), await person()
    table = Idempotency.companion(one.owner, "k", "hash", 5).table
    bad = Append(two.id, two.epoch, 0, make_append(two.id, 0).records, [Companion(table, {"strange": 1})])
    results = await outcomes(appender.append(make_append(one.id, 0)), appender.append(bad))
    assert [type(result) for result in results] == [type(None), BadRow]
    assert [len(await stored(each.id)) for each in (one, two)] == [1, 0]


async def test_a_stream_that_another_transaction_holds_harms_no_other_and_goes_on_when_it_is_free(
    postgres_url, make_append
):
    db = Database.open(postgres_url)
    free, held = (await make_person(db)).id, (await make_person(db)).id
    appender = Appender(db)
    await appender.start()
    async with db.write() as holder:
        await holder.execute(text(f"SELECT id FROM streams WHERE id = {held} FOR UPDATE"))
        waiting = asyncio.create_task(appender.append(make_append(held, 0)))
        for seen in range(5):
            async with asyncio.timeout(1):
                await appender.append(make_append(free, seen))
        assert not waiting.done()
    await waiting
    async with db.read() as session:
        assert await Log(session).heads([free, held]) == {free: 5, held: 1}
    await appender.close()
    await db.close()


async def test_a_stream_that_stays_held_is_unavailable_after_the_appenders_patience(
    postgres_url, make_append
):
    db = Database.open(postgres_url)
    async with db.write() as session:
        await session.execute(text("INSERT INTO streams VALUES (7, gen_random_uuid(), 'e', 0, 0, 0)"))
    appender = Appender(db, patience=0.3)
    await appender.start()
    async with db.write() as holder:
        await holder.execute(text("SELECT id FROM streams FOR UPDATE"))
        with pytest.raises(Unavailable):
            await appender.append(make_append(7, 0))
    await appender.append(make_append(7, 0))
    await appender.close()
    await db.close()


async def test_a_row_lock_met_while_writing_is_bounded_and_fails_alone(
    postgres_url, make_append, monkeypatch
):
    """Another transaction holds an uncommitted row with one of our keys: the insert has to wait for it."""
    monkeypatch.setattr(engines, "LOCK_WAIT_S", 0.2)
    db = Database.open(postgres_url)
    async with db.write() as session:
        for stream in (1, 2):
            await session.execute(
                text(f"INSERT INTO streams VALUES ({stream}, gen_random_uuid(), 'e', 0, 0, 0)")
            )
    appender = Appender(db, patience=1.0)
    await appender.start()
    async with db.write() as holder:
        await holder.execute(
            text(
                "INSERT INTO records"
                " (stream, seq, device, n, workout, rev, kind, base, te, rt, verdict, hash, body)"
                " VALUES (2, 1, 1, 1, gen_random_uuid(), 1, 'k', 0, 0, 0, 'applied', '', '{}')"
            )
        )
        results = await outcomes(appender.append(make_append(1, 0)), appender.append(make_append(2, 0)))
        assert [type(result) for result in results] == [type(None), Unavailable]
    await appender.close()
    await db.close()


async def test_closing_writes_what_waits_and_refuses_what_comes_later(db, person, make_append, stored):
    people = [await person() for _ in range(5)]
    appender = Appender(db, max_batch=1)
    await appender.start()
    tasks = [asyncio.create_task(appender.append(make_append(each.id, 0))) for each in people]
    await asyncio.sleep(0)
    await appender.close()
    await asyncio.gather(*tasks)
    assert [len(await stored(each.id)) for each in people] == [1] * 5
    with pytest.raises(Unavailable):
        await appender.append(make_append(people[0].id, 1))


async def test_a_caller_that_gives_up_in_the_queue_leaves_nothing(db, person, make_append, stored):
    one, two = await person(), await person()
    appender = Appender(db, max_batch=1)
    await appender.start()
    first = asyncio.create_task(appender.append(make_append(one.id, 0)))
    second = asyncio.create_task(appender.append(make_append(two.id, 0)))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await appender.close()
    assert [len(await stored(each.id)) for each in (one, two)] == [1, 0]


async def test_an_unforeseen_error_stops_neither_the_appender_nor_others(
    db, stream, make_append, stored, monkeypatch
):
    appender = Appender(db, patience=0.3)
    await appender.start()
    with monkeypatch.context() as broken:
        broken.setattr(append_module, "_answer", None)
        with pytest.raises(Unavailable):
            await appender.append(make_append(stream.id, 0))
    head = len(await stored(stream.id))
    await appender.append(make_append(stream.id, head))
    await appender.close()
