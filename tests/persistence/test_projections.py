"""Projections: written from folds, read for lists, history and timers, and never the truth."""

import asyncio
import uuid

import pytest
from sqlalchemy import select, text, update

from fitai.engine.workout import Limits, state
from fitai.persistence import opening, projections, upserts
from fitai.persistence.append import Append
from fitai.persistence.cursors import BadCursor
from fitai.persistence.database import Unavailable
from fitai.persistence.histories import Asked, answers
from fitai.persistence.log import Log
from fitai.persistence.models import SetRow, Snapshot, Stream, WorkoutRow
from fitai.persistence.projections import Projected, Projector, deadlines
from fitai.persistence.snapshots import Snapshots
from fitai.persistence.workouts import Merge, Workouts
from fitai.sync import version
from fitai.sync.fold import Folded
from fitai.sync.log import Context
from fitai.sync.place import Placer
from fitai.sync.wire import WireLimits, decode_op

NOW = 1_780_000_000_000
MINUTE = 60_000


class Person:
    """A person whose ops are placed, appended and folded as a host would do it."""

    def __init__(self, stream, appender):
        self.stream = stream
        self._appender = appender
        self.folds = {}
        self.head, self.last_rt, self.positions = 0, 0, {}

    async def log(self, *ops, device=1):
        """Append ops, each (kind, workout, value, at, entity?)."""
        placer = Placer(self.head, self.last_rt, self.positions, self.folds, Limits())
        for kind, workout, value, at, *entity in ops:
            self.folds.setdefault(workout, Folded(workout, self.stream.owner))
            raw = {"n": placer.position(device).next_n, "base": placer.head, "kind": kind, "workout": workout}
            raw |= {"value": value, "at": at}
            if entity:
                raw["entity"] = entity[0]
            placer.place(device, decode_op(raw, WireLimits())[0], Context(placer.head, None), NOW * 2, 0)
        await self._appender.append(Append(self.stream.id, self.stream.epoch, self.head, placer.records))
        self.head, self.last_rt, self.positions = placer.head, placer.last_rt, placer.positions

    async def train(self, workout, at, exercise="bench", reps=(5, 5), **changes):
        """A whole workout: created, started, some sets, completed."""
        entry = str(uuid.uuid5(uuid.UUID(workout), exercise))
        load = {
            "exercise_entry": entry,
            "type": "working",
            "load": {"value": 60.5, "unit": "kg"},
            "done": True,
        }
        sets = [
            ("set.log", workout, load | {"reps": count} | changes, at + (i + 1) * MINUTE, str(uuid.uuid4()))
            for i, count in enumerate(reps)
        ]
        await self.log(
            ("workout.create", workout, {"title": f"{exercise} day"}, at),
            ("workout.start", workout, {}, at),
            ("exercise.add", workout, {"exercise": exercise, "position": "a"}, at, entry),
            *sets,
            ("workout.complete", workout, {}, at + 60 * MINUTE),
        )

    def projected(self, workout, due_at=None):
        return Projected.of(self.folds[workout].workout, due_at)


@pytest.fixture
def projector(db):
    return Projector(db)


@pytest.fixture
async def ann(stream, appender):
    return Person(stream, appender)


def new():
    return str(uuid.uuid4())


async def ask(db, question):
    """`question(Workouts)` in a session of its own."""
    async with db.read() as session:
        return await question(Workouts(session))


async def ids(db, stream, **filters):
    page = await ask(db, lambda workouts: workouts.list(stream.id, **filters))
    return [item.id for item in page.items]


async def touched(db, stream):
    async with db.read() as session:
        return list(await opening.touched(session, stream.id))


async def sets_of(db, workout):
    async with db.read() as session:
        query = select(SetRow).where(SetRow.workout == workout).order_by(SetRow.place)
        return (await session.execute(query)).scalars().all()


async def test_a_workout_is_projected_with_its_sets_and_its_state(db, ann, projector):
    workout = new()
    await ann.train(workout, NOW, reps=(5, 3))
    assert await touched(db, ann.stream) == [workout]
    assert await projector.lagging(10) == [ann.stream.owner]
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout, NOW + 1)], ann.head)
    assert await touched(db, ann.stream) == []
    assert await projector.lagging(10) == []

    summary = await ask(db, lambda workouts: workouts.get(ann.stream.id, workout))
    assert (summary.id, summary.status, summary.title) == (workout, "completed", "bench day")
    assert (summary.started_at, summary.happened_at, summary.created_at) == (NOW, NOW, NOW)
    assert summary.ended_at == summary.updated_at == NOW + 60 * MINUTE
    assert (summary.seq, summary.rev) == (6, 6)
    assert (summary.exercises, summary.sets) == (1, 2)
    assert summary.volume_ug == 8 * 60_500_000_000

    first, second = await sets_of(db, workout)
    assert (first.exercise, first.reps, first.load_ug, first.done) == ("bench", 5, 60_500_000_000, True)
    assert (first.load_value, first.load_unit, first.at) == (60.5, "kg", NOW + MINUTE)
    assert (first.place, second.place, second.device, second.n) == (0, 1, 1, 5)

    snapshot = await ask(db, lambda workouts: workouts.snapshot(ann.stream.id, workout))
    assert snapshot.document == state(ann.folds[workout].workout)
    assert (snapshot.seq, snapshot.rev) == (6, 6)
    assert await ask(db, lambda workouts: workouts.due(NOW + 1, 10)) == [(ann.stream.owner, workout, NOW + 1)]


async def test_what_was_edited_added_and_removed_since_is_followed(db, ann, projector):
    workout = new()
    await ann.train(workout, NOW, reps=(5, 5, 5))
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout)], ann.head)
    before = await sets_of(db, workout)
    await ann.log(
        ("set.edit", workout, {"field": "reps", "value": 9}, NOW + 61 * MINUTE, before[0].id),
        ("set.remove", workout, {}, NOW + 62 * MINUTE, before[1].id),
        ("set.log", workout, {"exercise_entry": before[0].entry, "type": "working"}, NOW, new()),
    )
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout)], ann.head)
    after = await sets_of(db, workout)
    assert [row.reps for row in after] == [9, 5, None]
    assert [row.id for row in after[:2]] == [before[0].id, before[2].id]
    assert [row.place for row in after] == [0, 1, 2]


async def test_what_has_seen_less_never_replaces_what_has_seen_more(db, ann, projector):
    """Two nodes project one stream, and the slower one comes last."""
    workout = new()
    await ann.train(workout, NOW)
    old = ann.projected(workout)
    old_head = ann.head
    await ann.log(("workout.edit", workout, {"field": "title", "value": "newer"}, NOW))
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout)], ann.head)
    await projector.project(ann.stream.id, ann.stream.epoch, [old], old_head)
    summary = await ask(db, lambda workouts: workouts.get(ann.stream.id, workout))
    assert (summary.title, summary.seq) == ("newer", ann.head)
    async with db.read() as session:
        row = await Log(session).stream(ann.stream.id)
    assert row.projected == ann.head


async def test_what_was_folded_from_a_log_that_began_anew_since_is_not_written(db, ann, projector):
    """A node that has not heard of a restore: its rows have seen more than the restored log holds."""
    workout = new()
    await ann.train(workout, NOW)
    async with db.write() as session:
        await session.execute(update(Stream).where(Stream.id == ann.stream.id).values(epoch="restored"))
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout)], ann.head)
    assert await ask(db, lambda workouts: workouts.get(ann.stream.id, workout)) is None
    assert await projector.lagging(10) == [ann.stream.owner]
    await projector.project(ann.stream.id, "restored", [ann.projected(workout)], ann.head)
    assert await ask(db, lambda workouts: workouts.get(ann.stream.id, workout)) is not None
    assert await projector.lagging(10) == []


async def test_the_watermark_never_passes_the_head(db, ann, projector):
    await ann.train(new(), NOW)
    await projector.project(ann.stream.id, ann.stream.epoch, [], 10_000)
    async with db.read() as session:
        assert (await Log(session).stream(ann.stream.id)).projected == ann.head


async def test_projections_that_wait_together_go_down_together(db, ann, person, appender, projector):
    people = [ann, *[Person(await person(), appender) for _ in range(7)]]
    for each in people:
        await each.train(new(), NOW)
    await asyncio.gather(
        *(
            projector.project(
                each.stream.id, each.stream.epoch, [each.projected(name) for name in each.folds], each.head
            )
            for each in people
        )
    )
    assert await projector.lagging(10) == []
    for each in people:
        assert await ids(db, each.stream) == list(each.folds)


async def test_so_many_that_they_take_several_transactions_are_all_written(
    db, ann, person, appender, projector, monkeypatch
):
    monkeypatch.setattr(projections, "TOGETHER", 2)
    people = [ann, *[Person(await person(), appender) for _ in range(4)]]
    for each in people:
        for _ in range(people.index(each)):
            await each.train(new(), NOW)
    await asyncio.gather(
        *(
            projector.project(
                each.stream.id, each.stream.epoch, [each.projected(name) for name in each.folds], each.head
            )
            for each in people
        )
    )
    assert await projector.lagging(10) == []
    for each in people:
        assert sorted(await ids(db, each.stream)) == sorted(each.folds)


async def test_workouts_of_many_sets_are_written_in_several_statements_and_followed_in_them(
    db, ann, projector, monkeypatch
):
    monkeypatch.setattr(projections, "FILLED", 7)
    monkeypatch.setattr(upserts.Sqlite, "most", 4)
    names = [new() for _ in range(4)]
    for name, count in zip(names, (5, 30, 0, 2), strict=True):
        await ann.train(name, NOW, reps=(5,) * count)

    async def places():
        return [[row.place for row in await sets_of(db, name)] for name in names]

    await projector.project(
        ann.stream.id, ann.stream.epoch, [ann.projected(name) for name in names], ann.head
    )
    assert await places() == [list(range(count)) for count in (5, 30, 0, 2)]
    gone = [row.id for row in await sets_of(db, names[1])][:20]
    await ann.log(*(("set.remove", names[1], {}, NOW * 2, name) for name in gone))
    await projector.project(
        ann.stream.id, ann.stream.epoch, [ann.projected(name) for name in names], ann.head
    )
    assert await places() == [list(range(count)) for count in (5, 10, 0, 2)]


async def test_what_is_there_and_equal_is_not_written_again(db, ann, projector):
    workout = new()
    await ann.train(workout, NOW, reps=(5, 5, 5))
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout)], ann.head)
    changed = (await sets_of(db, workout))[1].id
    await ann.log(("set.edit", workout, {"field": "reps", "value": 4}, NOW, changed))
    written = await writes_of(db, "sets")
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout)], ann.head)
    assert await written() == [changed]
    written = await writes_of(db, "exercise_bests", "exercise")
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout)], ann.head)
    assert await written() == []


async def writes_of(db, table, key="id"):
    """From now on a trigger notes every row of a table that is written; returns who tells their keys."""
    noted = f"INSERT INTO noted VALUES (NEW.{key})"
    async with db.write() as session:
        await session.execute(text("DROP TABLE IF EXISTS noted"))
        await session.execute(text("CREATE TABLE noted (name text)"))
        for how in ("insert", "update"):
            what = f"BEGIN {noted}; END"
            if db.dialect == "postgresql":
                body = f"AS $$ BEGIN {noted}; RETURN NULL; END $$"
                function = f"note_{table}_{how}()"
                await session.execute(
                    text(f"CREATE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql {body}")
                )
                what = f"EXECUTE FUNCTION {function}"
            await session.execute(
                text(f"CREATE TRIGGER note_{table}_{how} AFTER {how} ON {table} FOR EACH ROW {what}")
            )

    async def written():
        async with db.read() as session:
            return list((await session.execute(text("SELECT name FROM noted ORDER BY name"))).scalars())

    return written


async def test_numbers_are_stored_as_they_were_typed(db, ann, projector):
    """Not as what another way to write them down rounds them to."""
    workout, values = new(), [82.55, 0.1, 60, 1234.567, 99.999, 142.882]
    entry = str(uuid.uuid5(uuid.UUID(workout), "bench"))
    await ann.train(workout, NOW, reps=())
    logged = {"exercise_entry": entry, "type": "working", "reps": 5, "rpe": 8.5}
    await ann.log(
        *(
            ("set.log", workout, logged | {"load": {"value": value, "unit": "kg"}}, NOW + i, new())
            for i, value in enumerate(values)
        )
    )
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout)], ann.head)
    stored = await sets_of(db, workout)
    assert [row.load_value for row in stored] == values
    assert [row.load_ug for row in stored] == [round(value * 1000) * 10**6 for value in values]
    assert {row.rpe for row in stored} == {8.5}


async def test_one_that_cannot_be_written_fails_alone(db, ann, person, appender, projector):
    other = Person(await person(), appender)
    for each in (ann, other):
        await each.train(new(), NOW)
    (mine,), (theirs,) = ann.folds, other.folds
    document = dict(state(other.folds[theirs].workout))
    document["status"] = 2**80
    bad = Projected(1, document, {})
    results = await asyncio.gather(
        projector.project(other.stream.id, other.stream.epoch, [bad], other.head),
        projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(mine)], ann.head),
        projector.project(other.stream.id, other.stream.epoch, [bad], other.head),
        return_exceptions=True,
    )
    assert [isinstance(result, Exception) for result in results] == [True, False, True]
    assert not any(isinstance(result, Unavailable) for result in results)
    assert await ids(db, ann.stream) == [mine]
    assert await projector.lagging(10) == [other.stream.owner]
    await projector.project(other.stream.id, other.stream.epoch, [other.projected(theirs)], other.head)
    assert await ids(db, other.stream) == [theirs]


async def test_a_cancelled_caller_does_not_keep_the_others_waiting(db, ann, person, appender, projector):
    other = Person(await person(), appender)
    for each in (ann, other):
        await each.train(new(), NOW)
    tasks = [
        asyncio.create_task(
            projector.project(
                each.stream.id, each.stream.epoch, [each.projected(n) for n in each.folds], each.head
            )
        )
        for each in (ann, other)
    ]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await ids(db, other.stream) == list(other.folds)


async def test_lists_are_paged_newest_first_without_gap_or_double(db, ann, projector):
    names = [new() for _ in range(7)]
    for i, name in enumerate(names):
        await ann.train(name, NOW + (i // 2) * MINUTE)  # pairs at the same moment
    await projector.project(
        ann.stream.id, ann.stream.epoch, [ann.projected(name) for name in names], ann.head
    )
    everything = await ids(db, ann.stream)
    assert sorted(everything) == sorted(names)
    seen, cursor = [], None
    while True:
        page = await ask(db, lambda w: w.list(ann.stream.id, limit=2, cursor=cursor))  # noqa: B023 - awaited at once
        seen += [(item.happened_at, item.id) for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [name for _, name in seen] == everything
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize(
    "cursor", ["", "x", "====", "bm9uZQ", "WzEsMl0", "WzEsImEiXQ", "ü", "WzFlOTksIng\x00"]
)
async def test_a_strange_cursor_is_told(db, stream, cursor):
    with pytest.raises(BadCursor):
        await ids(db, stream, cursor=cursor)


async def test_lists_are_filtered(db, ann, person, projector):
    bench, squat, planned, removed = new(), new(), new(), new()
    await ann.train(bench, NOW)
    await ann.train(squat, NOW + MINUTE, "squat")
    await ann.log(("workout.create", planned, {"title": "soon"}, NOW + 2 * MINUTE))
    await ann.train(removed, NOW + 3 * MINUTE)
    await ann.log(("workout.remove", removed, {}, NOW + 200 * MINUTE))
    await projector.project(
        ann.stream.id, ann.stream.epoch, [ann.projected(name) for name in ann.folds], ann.head
    )
    stream = ann.stream
    assert await ids(db, stream) == [planned, squat, bench]
    assert await ids(db, stream, status="planned") == [planned]
    assert await ids(db, stream, status="completed") == [squat, bench]
    assert await ids(db, stream, exercise="squat") == [squat]
    assert await ids(db, stream, exercise="deadlift") == []
    assert await ids(db, stream, since=NOW + MINUTE) == [planned, squat]
    assert await ids(db, stream, until=NOW + MINUTE) == [bench]
    assert await ids(db, stream, status="completed", exercise="bench", since=NOW) == [bench]
    assert await ids(db, await person()) == []
    assert await ask(db, lambda workouts: workouts.get(stream.id, removed)) is None
    assert await ask(db, lambda workouts: workouts.get(stream.id, new())) is None


async def test_a_workout_that_was_never_created_is_not_listed(db, ann, projector):
    stub = new()
    await ann.log(("workout.start", stub, {}, NOW))
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(stub)], ann.head)
    assert await ids(db, ann.stream) == []
    assert await projector.lagging(10) == []


async def test_what_goes_on_and_what_changed_last(db, ann, projector):
    done, going, resting = new(), new(), new()
    await ann.train(done, NOW)
    for name in (going, resting):
        await ann.log(("workout.create", name, {}, NOW), ("workout.start", name, {}, NOW))
    await ann.log(
        ("workout.pause", resting, {}, NOW + 1), ("workout.edit", done, {"field": "title", "value": "x"}, NOW)
    )
    await projector.project(
        ann.stream.id, ann.stream.epoch, [ann.projected(name) for name in ann.folds], ann.head
    )
    assert sorted(await ask(db, lambda w: w.open_ids(ann.stream.id))) == sorted([going, resting])
    assert await ask(db, lambda w: w.changed_after(ann.stream.id, 0, 2)) == [done, resting]
    assert await ask(db, lambda w: w.changed_after(ann.stream.id, ann.head - 1, 5)) == [done]
    assert await ask(db, lambda w: w.changed_after(ann.stream.id, ann.head, 5)) == []


async def test_due_workouts_of_everybody_come_most_overdue_first(db, ann, person, appender, projector):
    bob = Person(await person(), appender)
    first, second, third, never = (new() for _ in range(4))
    for name in (second, third, never):
        await ann.train(name, NOW)
    await bob.train(first, NOW)
    rows = [ann.projected(second, 20), ann.projected(third, 31), ann.projected(never)]
    await projector.project(ann.stream.id, ann.stream.epoch, rows, ann.head)
    await projector.project(bob.stream.id, bob.stream.epoch, [bob.projected(first, 10)], bob.head)
    due = [(bob.stream.owner, first, 10), (ann.stream.owner, second, 20)]
    assert await ask(db, lambda w: w.due(30, 10)) == due
    assert await ask(db, lambda w: w.due(30, 1)) == due[:1]
    await projector.project(
        ann.stream.id, ann.stream.epoch, [ann.projected(second)], ann.head
    )  # it has been dealt with
    assert await ask(db, lambda w: w.due(30, 10)) == due[:1]


async def test_a_rebuild_makes_exactly_what_projecting_made(db, ann, projector):
    names = [new() for _ in range(3)]
    for i, name in enumerate(names):
        await ann.train(name, NOW + i)
    await projector.project(
        ann.stream.id, ann.stream.epoch, [ann.projected(name, 7) for name in names], ann.head
    )

    async def everything():
        async with db.read() as session:
            tables = ("workouts", "sets", "exercise_bests", "snapshots", "streams")
            return [
                sorted(map(repr, (await session.execute(text(f"SELECT * FROM {t}"))).all())) for t in tables
            ]

    before = await everything()
    async with db.write() as session:  # every sort of damage
        await session.execute(update(WorkoutRow).values(title="wrong", seq=10_000, due_at=1))
        await session.execute(update(SetRow).values(reps=99))
        await session.execute(update(Snapshot).values(document={}))
        await session.execute(update(Stream).values(projected=0))
        await session.execute(
            text(
                f"INSERT INTO workouts SELECT stream, '{new()}', created, removed, status, phase, title,"
                " template, happened_at, created_at, started_at, ended_at, updated_at, rev, seq, exercises,"
                f" sets, volume_ug, due_at, merged_into FROM workouts WHERE workout = '{names[0]}'"
            )
        )
    assert await projector.rebuild(ann.stream.id, lambda workout, records: 7) == 3
    assert await everything() == before
    assert await projector.rebuild(ann.stream.id + 1000, lambda workout, records: 7) == 0


async def test_a_rebuild_of_an_empty_stream_needs_nothing(db, stream, projector):
    assert await projector.rebuild(stream.id, lambda workout, records: None) == 0
    assert await projector.streams(0, 10) == [stream.id]
    assert await projector.streams(stream.id, 10) == []


async def test_text_that_postgresql_cannot_hold_harms_no_projection(db, ann, projector):
    workout = new()
    await ann.train(workout, NOW, exercise="be\x00nch")
    await ann.log(("workout.edit", workout, {"field": "title", "value": "nul \x00"}, NOW))
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout)], ann.head)
    summary = await ask(db, lambda workouts: workouts.get(ann.stream.id, workout))
    assert summary.title == "nul \ufffd"
    assert await ids(db, ann.stream, exercise="be\x00nch") == [workout]
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout)], ann.head)
    assert len(await sets_of(db, workout)) == 2
    asked = Asked([new()], None, {"be\x00nch"})
    async with db.read() as session:
        [answer] = await answers(session, [(ann.stream.id, [asked])])
    assert set(answer.found[0]) == {"be\x00nch"}


# -- merged workouts ---------------------------------------------------------------------------------------


async def test_a_merged_workout_is_listed_as_a_part_of_the_other_until_it_is_taken_out_again(
    db, ann, projector
):
    target, source = new(), new()
    await ann.train(source, NOW)
    await ann.train(target, NOW + MINUTE)

    async def projected():
        everything = [ann.projected(name, NOW) for name in ann.folds]
        await projector.project(ann.stream.id, ann.stream.epoch, everything, ann.head)

    async def listed(**filters):
        page = await ask(db, lambda w: w.list(ann.stream.id, **filters))
        return {one.id: (one.started_at, one.exercises, one.sets, one.volume_ug) for one in page.items}

    await projected()
    before = await listed()
    await ann.log(("workout.merge", source, {"into": target}, NOW + 100 * MINUTE))
    await projected()
    assert await ask(db, lambda w: w.merges(ann.stream.id)) == [Merge(source, target, True)]
    parts = list(zip(before[target], before[source], strict=True))
    assert await listed() == {target: (NOW, *(a + b for a, b in parts[1:]))}

    await ann.log(("workout.unmerge", source, {}, NOW + 101 * MINUTE))
    await projected()
    assert await ask(db, lambda w: w.merges(ann.stream.id)) == []
    assert await listed() == before


async def test_a_merged_workout_stands_for_itself_while_the_other_is_not_there(db, ann, projector):
    target, source = new(), new()
    await ann.train(source, NOW)
    await ann.log(("workout.merge", source, {"into": target}, NOW))
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(source)], ann.head)
    assert await ask(db, lambda w: w.merges(ann.stream.id)) == [Merge(source, target, False)]
    assert await ids(db, ann.stream) == [source]

    await ann.train(target, NOW)
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(target)], ann.head)
    assert await ids(db, ann.stream) == [target]

    await ann.log(("workout.remove", target, {}, NOW))
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(target)], ann.head)
    assert await ids(db, ann.stream) == [source]


async def test_of_workouts_merged_into_each_other_one_is_listed(db, ann, projector):
    one, other = sorted([new(), new()])
    await ann.train(one, NOW)
    await ann.train(other, NOW)
    await ann.log(("workout.merge", one, {"into": other}, NOW), ("workout.merge", other, {"into": one}, NOW))
    await projector.project(
        ann.stream.id, ann.stream.epoch, [ann.projected(one), ann.projected(other)], ann.head
    )
    assert await ids(db, ann.stream) == [one]


async def test_a_list_by_exercise_finds_it_in_what_was_merged(db, ann, projector):
    target, source = new(), new()
    await ann.log(("workout.create", target, {}, NOW))
    await ann.train(source, NOW)
    await ann.log(("workout.merge", source, {"into": target}, NOW))
    await projector.project(
        ann.stream.id, ann.stream.epoch, [ann.projected(target), ann.projected(source)], ann.head
    )
    page = await ask(db, lambda w: w.list(ann.stream.id, exercise="bench"))
    assert [one.id for one in page.items] == [target]
    assert (await ask(db, lambda w: w.list(ann.stream.id, exercise="curl"))).items == []


async def test_the_merged_workouts_of_others_are_not_told(db, ann, person, projector):
    target, source = new(), new()
    await ann.train(source, NOW)
    await ann.log(("workout.merge", source, {"into": target}, NOW))
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(source)], ann.head)
    other = await person()
    assert await ask(db, lambda w: w.merges(other.id)) == []


async def test_workouts_of_one_template_that_overlap_are_found(db, ann, projector):
    plan = {"template": "legs"}
    first, second, later, free = new(), new(), new(), new()
    for name, value, at in (
        (free, {}, NOW),
        (first, plan, NOW),
        (second, plan, NOW + 10 * MINUTE),
        (later, plan, NOW + 60 * MINUTE),
    ):
        await ann.log(("workout.create", name, value, at), ("workout.start", name, {}, at))
        if name == first:
            await ann.log(("workout.complete", first, {}, NOW + 5 * MINUTE))
    await projector.project(
        ann.stream.id, ann.stream.epoch, [ann.projected(name) for name in ann.folds], ann.head
    )

    async def found(since, until):
        return await ask(db, lambda w: w.overlapping(ann.stream.id, "legs", since, until))

    assert await found(NOW, NOW) == [first]
    assert await found(NOW, NOW + 10 * MINUTE) == sorted([first, second])
    assert await found(NOW + 6 * MINUTE, NOW + 9 * MINUTE) == []
    assert await found(NOW + 24 * MINUTE, NOW + 59 * MINUTE) == [second]
    assert await found(NOW + 26 * MINUTE, NOW + 59 * MINUTE) == []


async def test_a_workout_that_went_on_for_days_overlaps_as_any_other(db, ann, projector):
    day, long, lasting = 24 * 60 * MINUTE, new(), new()
    for name in (long, lasting):
        await ann.log(("workout.create", name, {"template": "legs"}, NOW), ("workout.start", name, {}, NOW))
    await ann.log(("workout.complete", long, {}, NOW + 3 * day))
    await ann.log(("workout.edit", lasting, {"field": "title", "value": "still"}, NOW + 5 * day))
    await projector.project(
        ann.stream.id, ann.stream.epoch, [ann.projected(name) for name in ann.folds], ann.head
    )

    async def found(since, until):
        return await ask(db, lambda w: w.overlapping(ann.stream.id, "legs", since, until))

    assert await found(NOW + day, NOW + day) == sorted([long, lasting])
    assert await found(NOW + 3 * day, NOW + 4 * day) == sorted([long, lasting])
    assert await found(NOW + 3 * day + 1, NOW + 4 * day) == [lasting]
    assert await found(NOW + 5 * day + 14 * MINUTE, NOW + 6 * day) == [lasting]
    assert await found(NOW + 5 * day + 16 * MINUTE, NOW + 6 * day) == []
    assert await found(NOW - day, NOW - 1) == []


# -- versions of the fold ----------------------------------------------------------------------------------

DUE = deadlines(15 * MINUTE, 360 * MINUTE)


@pytest.fixture
def upgrade(monkeypatch):
    """`upgrade(by=1)`: from now on this is code with another version of the fold."""

    def upgrade(by=1):
        monkeypatch.setattr(version, "FOLD_VERSION", version.FOLD_VERSION + by)

    return upgrade


async def renewed(projector):
    """Go through all that is stale; how many chunks that took."""
    chunks, place = 0, await projector.renew(DUE)
    while place is not None:
        chunks, place = chunks + 1, await projector.renew(DUE, place)
    return chunks


async def served(db, stream, workout):
    """The cached state of a workout by its two ways: alone, and in a snapshot's page."""
    alone = await ask(db, lambda workouts: workouts.snapshot(stream.id, workout))
    async with db.read() as session:
        page = await Snapshots(session).unchanged(stream.id, 10_000, None, 100)
    in_page = next(document for place, document in page if place.workout == workout)
    assert in_page == (None if alone is None else alone.document)
    return in_page


async def test_a_state_that_another_version_of_the_fold_made_is_never_handed_out(db, ann, projector, upgrade):
    workout = new()
    await ann.train(workout, NOW)
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout)], ann.head)
    current = state(ann.folds[workout].workout)
    assert await served(db, ann.stream, workout) == current
    upgrade()
    assert await served(db, ann.stream, workout) is None
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout)], ann.head)
    assert await served(db, ann.stream, workout) == current
    upgrade(-1)
    assert await served(db, ann.stream, workout) is None


async def test_after_an_upgrade_everything_is_written_anew_while_lists_stay_complete(
    db, ann, person, appender, projector, upgrade, monkeypatch
):
    monkeypatch.setattr(projections, "CHUNK", 3)
    bob = Person(await person(), appender)
    for each, count in ((ann, 4), (bob, 3)):
        for i in range(count):
            await each.train(new(), NOW + i)
        everything = [each.projected(name) for name in each.folds]
        await projector.project(each.stream.id, each.stream.epoch, everything, each.head)
    async with db.write() as session:
        await session.execute(update(WorkoutRow).values(title="as the old fold had it"))
    listed = {each: await ids(db, each.stream) for each in (ann, bob)}
    assert await renewed(projector) == 0

    upgrade()
    place = await projector.renew(DUE)
    assert place is not None
    for each in (ann, bob):
        assert await ids(db, each.stream) == listed[each]
    while place is not None:
        place = await projector.renew(DUE, place)
    assert await renewed(projector) == 0
    for each in (ann, bob):
        assert await ids(db, each.stream) == listed[each]
        for name in each.folds:
            assert await served(db, each.stream, name) == state(each.folds[name].workout)
            summary = await ask(db, lambda w: w.get(each.stream.id, name))  # noqa: B023 - awaited at once
            assert summary.title == "bench day"


async def test_a_host_is_told_which_workouts_of_its_user_an_older_fold_wrote(
    db, ann, person, appender, projector, upgrade
):
    mine, newer = new(), new()
    bob = Person(await person(), appender)
    for each, name in ((ann, mine), (bob, new())):
        await each.train(name, NOW)
        await projector.project(each.stream.id, each.stream.epoch, [each.projected(name)], each.head)
    await ann.train(newer, NOW)
    assert await touched(db, ann.stream) == [newer]
    upgrade()
    assert await touched(db, ann.stream) == sorted([mine, newer])
    await projector.project(
        ann.stream.id, ann.stream.epoch, [ann.projected(name) for name in (mine, newer)], ann.head
    )
    assert await touched(db, ann.stream) == []


async def test_a_renewed_workout_has_the_deadline_that_its_log_gives(db, ann, projector, upgrade):
    going = new()
    await ann.log(("workout.create", going, {}, NOW), ("workout.start", going, {}, NOW))
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(going)], ann.head)
    assert await ask(db, lambda w: w.due(NOW * 3, 10)) == []
    upgrade()
    assert await renewed(projector) == 1
    received = NOW * 2  # the clock of `Person.log`
    assert await ask(db, lambda w: w.due(NOW * 3, 10)) == [(ann.stream.owner, going, received + 15 * MINUTE)]


async def test_what_a_node_of_the_first_release_writes_over_a_newer_row_is_found(db, ann, projector):
    """It names its own columns, and comes second with the same records."""
    workout = new()
    await ann.train(workout, NOW)
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout)], ann.head)
    async with db.write() as session:
        await session.execute(update(WorkoutRow).values(title="as the old fold had it"))
        await session.execute(
            text(
                "INSERT INTO snapshots (stream, workout, seq, rev, document)"
                " SELECT stream, workout, seq, 6, :old FROM snapshots WHERE workout = :workout"
                " ON CONFLICT (stream, workout) DO UPDATE"
                " SET seq = excluded.seq, rev = excluded.rev, document = excluded.document"
            ),
            {"old": b"{}", "workout": workout},
        )
    assert await served(db, ann.stream, workout) is None
    assert await touched(db, ann.stream) == [workout]
    assert await renewed(projector) == 1
    assert await served(db, ann.stream, workout) == state(ann.folds[workout].workout)
    summary = await ask(db, lambda w: w.get(ann.stream.id, workout))
    assert summary.title == "bench day"


async def test_an_older_version_leaves_alone_what_a_newer_one_wrote(db, ann, projector, upgrade):
    upgrade()
    workout = new()
    await ann.train(workout, NOW)
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout)], ann.head)
    upgrade(-1)
    assert await touched(db, ann.stream) == []
    assert await renewed(projector) == 0
    upgrade()
    assert await served(db, ann.stream, workout) == state(ann.folds[workout].workout)


async def test_a_workout_that_cannot_be_renewed_keeps_no_other_waiting(
    db, ann, projector, upgrade, monkeypatch
):
    monkeypatch.setattr(projections, "CHUNK", 1)
    names = sorted(new() for _ in range(3))
    for name in names:
        await ann.train(name, NOW)
    await projector.project(
        ann.stream.id, ann.stream.epoch, [ann.projected(name) for name in names], ann.head
    )
    upgrade()
    folded = Projector._folded

    async def breaking(self, stream, owner, name, due):
        if name == names[0]:
            raise ZeroDivisionError
        return await folded(self, stream, owner, name, due)

    monkeypatch.setattr(Projector, "_folded", breaking)
    assert await renewed(projector) == 3
    assert await touched(db, ann.stream) == names[:1]
    assert sorted(await ids(db, ann.stream)) == names


async def test_what_has_seen_more_than_the_log_holds_is_left_to_a_rebuild(db, ann, projector, upgrade):
    workout = new()
    await ann.train(workout, NOW)
    await projector.project(ann.stream.id, ann.stream.epoch, [ann.projected(workout)], ann.head)
    async with db.write() as session:
        for model in (WorkoutRow, Snapshot):
            await session.execute(update(model).values(seq=ann.head + 1))
    upgrade()
    assert await renewed(projector) == 0
    assert await projector.rebuild(ann.stream.id, DUE) == 1
    assert await served(db, ann.stream, workout) == state(ann.folds[workout].workout)
