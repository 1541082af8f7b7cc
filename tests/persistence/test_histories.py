"""Histories: the merge of all earlier workouts, the same with and without marks, and as cheap in any log."""

import asyncio
import random
import uuid

import pytest
from sqlalchemy import delete, func, insert, select, update

from fitai.engine.records import Bests, merge
from fitai.engine.workout import state
from fitai.persistence import histories
from fitai.persistence.histories import STRIDE, Asked, answers, lay
from fitai.persistence.models import ExerciseBests, ExerciseMark, WorkoutRow
from fitai.persistence.projections import Projected, Projector
from fitai.sync.fold import Folded

NOW = 1_780_000_000_000
LAST = (2**63 - 1, "ffffffff-ffff-ffff-ffff-ffffffffffff")


def new():
    return str(uuid.uuid4())


def lifted(value, at=NOW):
    """The bests of one workout in one exercise, as JSON."""
    return {"best": {"load": [value, new(), at, "kg"]}, "reps": {str(value): [5, new(), at, "kg"]}}


class Diary:
    """A stream's bests as they were written, and the histories that they come to, worked out row by row."""

    def __init__(self, db, stream):
        self.db, self.stream, self.epoch = db, stream.id, stream.epoch
        self._projector = Projector(db)
        self._document = state(Folded(new(), stream.owner).workout) | {"created": True}
        self._seq = 0
        self.rows = {}  # {(workout, exercise): (started_at, bests)}

    async def write(self, *workouts):
        """Project workouts, each (id, started_at, {exercise: bests})."""
        projected = []
        for workout, started_at, bests in workouts:
            self._seq += 1
            document = self._document | {"id": workout, "started_at": started_at}
            projected.append(Projected(self._seq, document, bests))
            self.rows = {key: row for key, row in self.rows.items() if key[0] != workout}
            self.rows |= {(workout, exercise): (started_at, its) for exercise, its in bests.items()}
        await self._projector.project(self.stream, self.epoch, projected, 0)

    async def write_many(self, count, first=0):
        """Workouts of one exercise, a minute apart; returns their ids."""
        names = [new() for _ in range(count)]
        await self.write(
            *((name, NOW + i * 60_000, {"bench": lifted(i % 40)}) for i, name in enumerate(names, first))
        )
        return names

    def before(self, one):
        """What is expected for one that asks."""
        found = {}
        for exercise in one.exercises:
            history = merge(
                *(
                    Bests.from_json(bests)
                    for (workout, its), (started_at, bests) in self.rows.items()
                    if its == exercise and (started_at, workout) < one.until and workout not in one.workouts
                )
            )
            if history.best:
                found[exercise] = history
        return found

    async def ask(self, *asked):
        """The answers, and which ways were long."""
        async with self.db.read() as session:
            [answer] = await answers(session, [(self.stream, asked)])
        assert answer is not None
        return tuple(answer)

    async def marks(self):
        """The places of all marks, in order."""
        async with self.db.read() as session:
            query = select(ExerciseMark.started_at, ExerciseMark.workout).where(
                ExerciseMark.stream == self.stream
            )
            return sorted(map(tuple, (await session.execute(query)).all()))

    async def lay(self, exercise="bench", until=LAST):
        """Lay all marks up to a place."""
        while await lay(self.db, self.stream, exercise, until):
            pass


@pytest.fixture
def diary(db, stream):
    return Diary(db, stream)


@pytest.fixture
def close_marks(monkeypatch):
    """Marks so close to each other that few workouts make many."""
    monkeypatch.setattr(histories, "STRIDE", 3)
    monkeypatch.setattr(histories, "LAID", 2)


@pytest.fixture
def read(monkeypatch):
    """Every row and mark that is read."""
    seen = []
    row = histories._row

    def noting(found):
        seen.append(found)
        return row(found)

    monkeypatch.setattr(histories, "_row", noting)
    return seen


async def test_history_is_what_began_before(diary):
    early, same, late = sorted(new() for _ in range(3))
    bests = {name: lifted(value) for name, value in ((early, 60), (same, 50), (late, 70))}
    await diary.write((early, NOW, {"bench": bests[early]}))
    await diary.write(*((name, NOW + 1, {"bench": bests[name]}) for name in (same, late)))
    await diary.write((new(), NOW - 1, {}))
    held = {name: Bests.from_json(its) for name, its in bests.items()}
    expected = [
        (Asked([late], NOW + 1, {"bench", "squat"}), {"bench": merge(held[early], held[same])}),
        (Asked([same], NOW + 1, {"bench"}), {"bench": held[early]}),
        (Asked([early], NOW, {"bench", "squat"}), {}),
        (Asked([early], None, {"bench"}), {"bench": merge(held[same], held[late])}),  # all others are before
        (Asked([late], None, {"bench"}), {"bench": merge(held[early], held[same])}),
        (Asked([late, early], NOW + 1, {"bench"}), {"bench": held[same]}),
        (Asked([late], NOW + 1, {"squat"}), {}),
    ]
    assert await diary.ask(*(one for one, _ in expected)) == ([its for _, its in expected], {})
    for one, its in expected:
        assert await diary.ask(one) == ([its], {})
    assert await diary.ask() == ([], {})


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_written_in_any_order_the_answers_are_those_of_all_rows(diary, seed, close_marks):
    """By the projector, and by nodes of the release before, which know nothing of marks."""
    chance = random.Random(seed)
    names = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(30)]
    exercises = ("bench", "squat")
    laid = 0

    def some_bests():
        return {name: lifted(chance.randrange(20)) for name in exercises if chance.random() < 0.8}

    async def project():
        chosen = chance.sample(names, chance.choice((1, 1, 1, 5)))
        await diary.write(*((name, NOW + chance.randrange(12), some_bests()) for name in chosen))

    async def change_behind_our_back():
        if not diary.rows:
            return
        workout, exercise = chance.choice(sorted(diary.rows))
        theirs = ExerciseBests.workout == workout, ExerciseBests.exercise == exercise
        started_at, bests = NOW + chance.randrange(12), lifted(chance.randrange(20))
        async with diary.db.write() as session:
            if chance.random() < 0.5:
                await session.execute(delete(ExerciseBests).where(*theirs))
                del diary.rows[workout, exercise]
            else:
                changed = {"started_at": started_at, "bests": bests}
                await session.execute(update(ExerciseBests).where(*theirs).values(changed))
                diary.rows[workout, exercise] = started_at, bests

    async def shorten():
        nonlocal laid
        await diary.lay(chance.choice(exercises), (NOW + chance.randrange(14), chance.choice(names)))
        laid += len(await diary.marks())

    async def ask():
        asked = [
            Asked(
                chance.sample(names, chance.choice((1, 1, 3))),
                chance.choice((None, *(NOW + i for i in range(-1, 13)))),
                set(chance.sample(exercises, chance.choice((0, 1, 2, 2)))),
            )
            for _ in range(chance.choice((1, 2, 6)))
        ]
        found, far = await diary.ask(*asked)
        assert found == [diary.before(one) for one in asked]
        for exercise, place in far.items():
            before = await diary.marks()
            await diary.lay(exercise, place)
            assert len(await diary.marks()) > len(before), "a way was called long that marks can not shorten"

    await diary.write(*((name, NOW + i // 3, some_bests()) for i, name in enumerate(names)))
    for _ in range(60):
        step = chance.choices((project, change_behind_our_back, shorten, ask), (2, 1, 2, 4))[0]
        await step()
    assert laid


async def test_a_question_reads_as_few_rows_in_a_long_log_as_in_a_short_one(diary, read):
    many, more = 5 * STRIDE, 20 * STRIDE

    async def rows_read(count):
        asked = Asked([new()], NOW + count * 60_000, {"bench"})
        assert (await diary.ask(asked))[1]  # the first way is long
        await diary.lay(until=asked.until)
        read.clear()
        assert await diary.ask(asked) == ([diary.before(asked)], {})
        return len(read)

    await diary.write_many(many + 7)
    short = await rows_read(many + 7)
    await diary.write_many(more - many, many + 7)
    assert (short, await rows_read(more + 7)) == (1 + 7, 1 + 7)  # the nearest mark, and the rows from it on


async def test_a_question_about_any_place_in_the_past_reads_no_more_than_to_the_next_mark(diary, read):
    names = await diary.write_many(10 * STRIDE)
    await diary.lay()
    for place in (0, 1, STRIDE, 3 * STRIDE - 1, 3 * STRIDE, 10 * STRIDE - 1):
        read.clear()
        asked = Asked([names[place]], NOW + place * 60_000, {"bench"})
        assert await diary.ask(asked) == ([diary.before(asked)], {})
        assert len(read) <= 1 + STRIDE


async def test_workouts_that_ask_together_read_the_way_between_them_once_or_not_at_all(diary, read):
    names = await diary.write_many(10 * STRIDE)
    await diary.lay()
    places = [STRIDE + 5, STRIDE + 6, STRIDE + 7, 9 * STRIDE + 1]
    asked = [Asked([names[place]], NOW + place * 60_000, {"bench"}) for place in places]
    read.clear()
    assert await diary.ask(*asked) == ([diary.before(one) for one in asked], {})
    assert len(read) <= 2 * (1 + STRIDE)


async def test_a_question_is_not_answered_by_fewer_pages_than_it_takes(diary, db, person):
    other = Diary(db, await person())
    await other.write((new(), NOW, {"bench": lifted(7)}))
    await diary.write_many(2 * STRIDE)
    asked = Asked([new()], None, {"bench"})
    async with db.read() as session:
        long, short = await answers(session, [(diary.stream, [asked]), (other.stream, [asked])], pages=1)
        [all_of_it] = await answers(session, [(diary.stream, [asked])], pages=3)
    assert (long, short.found, all_of_it.found) == (None, [other.before(asked)], [diary.before(asked)])


async def test_a_long_way_is_read_in_pages(diary, monkeypatch):
    pages = []
    read = histories._read

    async def noting(*args):
        [page] = await read(*args)
        pages.append(len(page.rows))
        return [page]

    monkeypatch.setattr(histories, "_read", noting)
    await diary.write_many(3 * STRIDE + 1)
    asked = Asked([new()], None, {"bench"})
    found, far = await diary.ask(asked)
    assert (found, far) == ([diary.before(asked)], {"bench": asked.until})
    assert pages == [STRIDE, STRIDE, STRIDE, 1]


async def test_a_workout_that_goes_on_keeps_the_marks_below_it(diary):
    await diary.write_many(2 * STRIDE)
    going, at = new(), NOW + 10_000 * 60_000
    await diary.write((going, at, {"bench": lifted(1)}))
    await diary.lay(until=(at, going))
    marks = await diary.marks()
    assert len(marks) == 2
    for value in range(2, 5):
        await diary.write((going, at, {"bench": lifted(value)}))
    assert await diary.marks() == marks


@pytest.mark.parametrize("how", ["insert", "edit", "move", "delete", "cascade"])
async def test_with_a_row_go_the_marks_after_it_whoever_writes_it(diary, how, close_marks):
    names = await diary.write_many(20)
    await diary.lay()
    marks = await diary.marks()
    assert [names.index(workout) for _, workout in marks] == [2, 5, 8, 11, 14, 17]
    theirs = ExerciseBests.workout == names[8]
    begun = NOW + 7 * 60_000 + 1
    row = {"stream": diary.stream, "exercise": "bench", "started_at": begun, "bests": lifted(99)}
    await diary.write((other := new(), begun, {}))
    statement = {
        "insert": insert(ExerciseBests).values(row | {"workout": other}),
        "edit": update(ExerciseBests).where(theirs).values(bests=lifted(99)),
        "move": update(ExerciseBests).where(theirs).values(started_at=NOW + 30 * 60_000),
        "delete": delete(ExerciseBests).where(theirs),
        "cascade": delete(WorkoutRow).where(WorkoutRow.workout == names[8]),
    }[how]
    async with diary.db.write() as session:
        await session.execute(statement)
    assert await diary.marks() == marks[:2]


async def test_marks_are_of_one_exercise_and_one_stream(diary, db, person, close_marks):
    other = Diary(db, await person())
    await other.write_many(6)
    await diary.write(*((new(), NOW + i, {"bench": lifted(i), "squat": lifted(i)}) for i in range(6)))
    for each, exercise in ((other, "bench"), (diary, "bench"), (diary, "squat")):
        await each.lay(exercise)
    await diary.write((new(), NOW - 1, {"squat": lifted(50)}))
    async with db.read() as session:
        query = select(ExerciseMark.stream, ExerciseMark.exercise, func.count()).group_by(
            ExerciseMark.stream, ExerciseMark.exercise
        )
        left = set(map(tuple, (await session.execute(query)).all()))
    assert left == {(other.stream, "bench", 2), (diary.stream, "bench", 2)}


async def test_a_row_that_is_written_while_a_mark_is_laid_does_not_escape_it(diary, monkeypatch, close_marks):
    """The layer has read its rows when the writer comes: the writer waits, and takes the mark away."""
    await diary.write_many(6)
    has_read, go_on = asyncio.Event(), asyncio.Event()
    read = histories._read

    async def slow(*args):
        pages = await read(*args)
        has_read.set()
        await go_on.wait()
        return pages

    with monkeypatch.context() as patch:
        patch.setattr(histories, "_read", slow)
        laying = asyncio.create_task(lay(diary.db, diary.stream, "bench", LAST))
        await has_read.wait()
        writing = asyncio.create_task(diary.write((new(), NOW - 1, {"bench": lifted(99)})))
        await asyncio.wait([writing], timeout=0.2)
        assert not writing.done()
        go_on.set()
        await asyncio.gather(laying, writing)
    asked = Asked([new()], None, {"bench"})
    assert await diary.marks() == []
    assert (await diary.ask(asked))[0] == [diary.before(asked)]


async def test_no_mark_is_laid_over_a_row_that_is_being_written(diary, close_marks):
    await diary.write_many(6)
    await diary.write((late := new(), NOW - 1, {}))
    row = {"stream": diary.stream, "exercise": "bench", "started_at": NOW - 1, "workout": late}
    async with diary.db.write() as session:
        await session.execute(insert(ExerciseBests).values(row | {"bests": (bests := lifted(99))}))
        laying = asyncio.create_task(diary.lay())
        # PostgreSQL gives up at once; SQLite's other writers wait for this one.
        await asyncio.wait([laying], timeout=0.2)
        assert await diary.marks() == []
    diary.rows[late, "bench"] = NOW - 1, bests
    await laying
    asked = Asked([new()], None, {"bench"})
    assert (await diary.ask(asked))[0] == [diary.before(asked)]
    await diary.lay()
    assert len(await diary.marks()) == 2
    assert (await diary.ask(asked))[0] == [diary.before(asked)]
