"""What a host is opened with: the log, the devices and what is not projected, in one picture."""

import uuid

import pytest

from fitai.engine.workout import state
from fitai.persistence.devices import Devices
from fitai.persistence.log import Log
from fitai.persistence.opening import read_opening
from fitai.persistence.projections import Projected, Projector
from fitai.persistence.workouts import Merge
from fitai.sync import version
from fitai.sync.fold import Folded
from tests.persistence.conftest import NOW
from tests.persistence.test_projections import Person, new


@pytest.fixture
async def ann(stream, appender):
    return Person(stream, appender)


async def opened(db, stream, since=None):
    async with db.read() as session:
        found = await read_opening(session, stream.owner, since)
        assert found.stream == await Log(session).stream_of(stream.owner)
        assert found.positions == await Log(session).device_positions(stream.id)
    return found


async def test_an_empty_log_is_opened_with_nothing(db, stream):
    found = await opened(db, stream, since=0)
    assert (found.positions, found.lately, found.merges, found.touched) == ({}, 0, [], {})


async def test_nobody_s_log_is_not_opened(db):
    async with db.read() as session:
        assert await read_opening(session, str(uuid.uuid4()), 0) is None


async def test_what_came_in_lately_is_counted_from_a_moment_if_at_all(db, ann):
    await ann.train(new(), NOW)
    received = ann.last_rt
    assert (await opened(db, ann.stream, None)).lately == 0
    assert (await opened(db, ann.stream, received - 1)).lately == ann.head
    assert (await opened(db, ann.stream, received)).lately == 0


async def test_what_is_not_projected_is_named_and_whether_it_may_be_merged(db, ann):
    plain, source, target = new(), new(), new()
    projector = Projector(db)
    for name in (plain, source, target):
        await ann.train(name, NOW)
    assert (await opened(db, ann.stream)).touched == dict.fromkeys(sorted(ann.folds), False)
    await projector.project(
        ann.stream.id, ann.stream.epoch, [ann.projected(name) for name in ann.folds], ann.head
    )
    assert (await opened(db, ann.stream)).touched == {}
    await ann.log(("workout.merge", source, {"into": target}, NOW))
    found = await opened(db, ann.stream)
    assert (found.touched, found.merges) == ({source: True}, [])
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(source)], ann.head)
    found = await opened(db, ann.stream)
    assert (found.touched, found.merges) == ({}, [Merge(source, target, True)])


async def test_of_what_an_older_fold_wrote_it_is_told_whether_it_was_ever_merged(db, ann, monkeypatch):
    plain, source, target = new(), new(), new()
    for name in (plain, source, target):
        await ann.train(name, NOW)
    await ann.log(("workout.merge", source, {"into": target}, NOW))
    await Projector(db).project(
        ann.stream.id, ann.stream.epoch, [ann.projected(name) for name in ann.folds], ann.head
    )
    monkeypatch.setattr(version, "FOLD_VERSION", version.FOLD_VERSION + 1)
    expected = {name: name == source for name in sorted(ann.folds)}
    assert (await opened(db, ann.stream)).touched == expected


async def test_another_s_workouts_and_devices_are_not_told(db, ann, person):
    other = await person()
    await ann.train(new(), NOW)
    document = state(Folded(new(), other.owner).workout)
    await Projector(db).project(other.id, other.epoch, [Projected(1, document, {})], 0)
    async with db.write() as session:
        await Devices(session).enrol(
            other.owner, name="phone", platform="x", install_id=None, now=NOW, limit=9
        )
    found = await opened(db, other)
    assert (found.positions, found.merges, found.touched) == ({}, [], {})
