"""The workouts of many people, each with all that merging ever tied it to, in one picture."""

import uuid

import pytest

from fitai.persistence.families import read_families, read_revs
from fitai.persistence.projections import Projector
from tests.persistence.conftest import NOW, the_log
from tests.persistence.test_projections import Person, new


@pytest.fixture
async def ann(stream, appender):
    return Person(stream, appender)


@pytest.fixture
async def ben(person, appender):
    return Person(await person(), appender)


async def families(db, *wanted):
    places = [(who.stream.owner, workout) for who, workout in wanted]
    async with db.read() as session:
        found, revs = await read_families(session, places), await read_revs(session, places)
    assert revs == [sum(len(records) for records in family.records.values()) for family in found]
    return found


async def project(db, who, *names):
    rows = [who.projected(name) for name in names]
    await Projector(db).project(who.stream.id, who.stream.epoch, rows, who.head)


async def test_of_each_it_is_the_records_of_the_workout_and_where_the_log_is(db, ann, ben):
    mine, other, theirs = new(), new(), new()
    for who, name in ((ann, mine), (ann, other), (ben, theirs)):
        await who.train(name, NOW)
    log = await the_log(db, ann.stream.id)
    found = await families(db, (ben, theirs), (ann, mine))
    assert [(its.stream, its.epoch, its.head) for its in found] == [
        (who.stream.id, who.stream.epoch, who.head) for who in (ben, ann)
    ]
    assert found[0].records.keys() == {theirs}
    assert found[1].records == {mine: [record for record in log if record.op.workout == mine]}


async def test_who_is_gone_has_none_and_a_workout_that_was_never_made_no_records(db, ann):
    never = new()
    [family] = await families(db, (ann, never))
    assert family.records == {never: []}
    async with db.read() as session:
        gone = [(str(uuid.uuid4()), never)]
        assert await read_families(session, gone) == [None]
        assert await read_revs(session, gone) == [0]
        assert await read_families(session, []) == []


async def test_what_is_merged_belongs_together_whether_that_is_projected_or_not(db, ann, ben):
    names = [new() for _ in range(5)]
    for name in names:
        await ann.train(name, NOW)
    one, two, three, four, apart = names
    await ann.log(("workout.merge", two, {"into": one}, NOW))
    await project(db, ann, *names)
    together = {one, two}
    [family] = await families(db, (ann, one))
    assert family.records.keys() == together
    await ann.log(("workout.merge", three, {"into": two}, NOW))
    await ann.log(("workout.merge", one, {"into": four}, NOW))
    for name in (one, two, three, four):
        [family] = await families(db, (ann, name))
        assert family.records.keys() == {one, two, three, four}
    await project(db, ann, *names)
    [family, alone] = await families(db, (ann, three), (ann, apart))
    assert family.records.keys() == {one, two, three, four}
    assert alone.records.keys() == {apart}


async def test_nobody_s_workouts_are_mixed_with_another_s_of_the_same_id(db, ann, ben):
    name, other = new(), new()
    await ann.train(name, NOW)
    await ben.train(name, NOW)
    await ben.train(other, NOW)
    await ben.log(("workout.merge", other, {"into": name}, NOW))
    mine, theirs = await families(db, (ann, name), (ben, name))
    assert mine.records.keys() == {name}
    assert theirs.records.keys() == {name, other}
    assert len(mine.records[name]) == ann.head
