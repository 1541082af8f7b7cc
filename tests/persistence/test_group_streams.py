"""Groups have streams as people do, and are never taken for one: whatever goes over all streams to make
workouts of them passes theirs by."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, update

from fitai.persistence.models import Snapshot, Stream, WorkoutRow
from fitai.persistence.projections import Projector
from fitai.persistence.workouts import Workouts
from tests.persistence.conftest import NOW
from tests.persistence.group_people import GroupPeople


@pytest.fixture
async def group(db, appender, person):
    """A group between the streams of two people, whose records are of no workout."""
    first = await person()
    group = GroupPeople(db, appender, [first])
    group.book.create()
    await group.begin()
    group.people = [first, await person()]
    return group


async def test_the_way_through_all_streams_passes_groups_by(group):
    first, second = group.people
    assert first.id < group.stream < second.id
    projector = Projector(group.db)
    assert await projector.streams(0, 10) == [first.id, second.id]
    assert await projector.streams(first.id, 1) == [second.id]


async def test_a_group_never_lags(group, make_append):
    """Its watermark moves with the append; and were it behind, no host would open for it."""
    first, _ = group.people
    await group.appender.append(make_append(first.id, 0, 2))
    projector = Projector(group.db)
    assert await projector.lagging(10) == [first.owner]
    async with group.db.write() as session:
        await session.execute(update(Stream).where(Stream.id == group.stream).values(projected=0))
    assert await projector.lagging(10) == [first.owner]


async def test_what_a_node_before_made_of_a_group_is_neither_renewed_nor_due(group):
    """`fitai rebuild` of the release before takes a group's records for a workout that it does not know."""
    workout = {
        "created": False,
        "removed": False,
        "status": "active",
        "happened_at": 0,
        "rev": 2,
        "seq": 2,
        "exercises": 0,
        "sets": 0,
        "volume_ug": 0,
        "due_at": NOW,
    }
    async with group.db.write() as session:
        for stream in (group.stream, group.people[0].id):
            place = {"stream": stream, "workout": group.id}
            await session.execute(insert(WorkoutRow).values(place | workout))
            cached = {"seq": 2, "mark": 2, "document": {"rev": 2}}
            await session.execute(insert(Snapshot).values(place | cached))
        await session.execute(update(Stream).where(Stream.id == group.people[0].id).values(head=2))
    async with group.db.read() as session:
        due = await Workouts(session).due(NOW, 10)
    assert due == [(group.people[0].owner, group.id, NOW)]
    renewed = await Projector(group.db).renew(lambda workout, records: None)
    assert renewed is not None and renewed.stream == group.people[0].id
    assert await Projector(group.db).renew(lambda workout, records: None, renewed) is None
