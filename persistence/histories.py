"""What a person did in an exercise before a workout: the history that its records are judged against.

A history is the merge of one row (`ExerciseBests`) per earlier workout, and is asked for after commits, so it
must not cost more where there are more workouts. Hence **marks**: a mark stands at a row and holds the merge
of that row and all before it. Each STRIDE rows there is one, once somebody has asked that far; a question
begins at the nearest mark below its place and reads the few rows from there on.

Why a mark can be trusted. A mark is right as long as no row at its place or before it was written or deleted
since it was laid. The triggers of migration 0004 see to that, in the database and in the writer's own
transaction: with a row go the marks at its place and after it. So it holds for whoever writes: the projector,
a rebuild, a cascade, and a node of the release before, which knows no marks and could not be asked to keep
them true. What is left is a writer at work while a mark is laid: neither sees what the other has not yet
committed. SQLite has one writer at a time. On PostgreSQL the triggers hold a lock of the stream, shared among
writers, until their transaction ends, and marks are laid under the same lock, alone. Laying does not wait for
it: what can not be laid now is laid when it is missed again.

All exercises of a question are walked side by side: one statement brings for each its nearest mark and the
next page of rows, as one text each, which costs the event loop a small part of what a row at a time does. A
page has STRIDE rows and a statement WAYS pages, so that a long way (the first one, or after an old workout
was edited) does not keep the loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, NamedTuple

import orjson
from sqlalchemy import func, insert, select

from fitai.engine.records import Bests, merge
from fitai.persistence.database import Database, ReadSession
from fitai.persistence.models import ExerciseMark, clean

STRIDE = 64  # rows from mark to mark, and in a page
WAYS = 16  # ways that are gone side by side: pages in one statement
LAID = 8  # marks laid in one transaction
_LOCK = 1181316203  # "Fitk": on PostgreSQL, with the stream; the triggers name it too

_Place = tuple[int, str]
_Row = tuple[int, str, Mapping[str, Any]]
"""(started_at, workout, bests): of a workout, or of a mark."""

_FIRST: _Place = (1 - 2**63, "00000000-0000-0000-0000-000000000000")  # before every row


class _Wanted(NamedTuple):
    """A page of an exercise: the nearest mark before `marked` if it is not before `after`, and the rows from
    there on, else from `after` on, that are before `until`."""

    stream: int
    exercise: str
    after: _Place
    marked: _Place
    until: _Place


class _Page(NamedTuple):
    """A mark, and at most so many rows as were asked for, in order."""

    mark: _Row | None
    rows: Sequence[_Row]


@dataclass(frozen=True, slots=True)
class Asked:
    """A workout whose history is asked for, followed by those that are merged into it: when it started (Unix
    ms; None: not yet), and the exercises."""

    workouts: Sequence[str]
    started_at: int | None
    exercises: Set[str]

    @property
    def until(self) -> _Place:
        """Its place among workouts; one that has not started comes last."""
        return (2**63 - 1 if self.started_at is None else self.started_at, self.workouts[0])


class Answer(NamedTuple):
    """found  for each that asked, per exercise the merged bests of every workout before it, if there are any
    far    {exercise: place}: the ways to these places were long; marks up to there (`lay`) shorten them
    """

    found: Sequence[dict[str, Bests]]
    far: Mapping[str, _Place]


Question = tuple[int, Sequence[Asked]]
"""A stream, and the workouts of it whose histories are asked for."""


async def answers(
    session: ReadSession, questions: Sequence[Question], pages: int | None = None
) -> Sequence[Answer | None]:
    """The answers; with `pages` None for a question of which a way is longer than so many pages.

    Before is by (started_at, workout); to a workout that has not started every other one is before. Exercises
    without history are absent. Workouts of a question that ask for one exercise share a way.
    """
    own = await _own(session, questions)
    found: list[Sequence[dict[str, Bests]]] = [[{} for _ in asked] for _, asked in questions]
    ways = [_ways(question, its, own) for question, its in zip(questions, found, strict=True)]
    everyone = list(chain.from_iterable(ways))
    for start in range(0, len(everyone), WAYS):
        going = [way for way in everyone[start : start + WAYS] if way.go()]
        for _ in count() if pages is None else range(pages):
            if not going:
                break
            for way, page in zip(
                going, await _read(session, [way.wanted for way in going], STRIDE), strict=True
            ):
                way.take(page)
            going = [way for way in going if way.go()]
    return [_answer(its, theirs) for its, theirs in zip(found, ways, strict=True)]


def _answer(found: Sequence[dict[str, Bests]], ways: Sequence[_Way]) -> Answer | None:
    if any(way.stops for way in ways):
        return None
    far: dict[str, _Place] = {}
    for way in ways:
        if way.far is not None:
            far[way.exercise] = max(way.far, far.get(way.exercise, way.far))
    return Answer(found, far)


_Own = Mapping[tuple[int, str], Mapping[str, _Place]]
"""{(stream, exercise): {workout: the place of its row}} of the workouts that ask."""


async def _own(session: ReadSession, questions: Iterable[Question]) -> _Own:
    names = {(stream, name) for stream, asked in questions for one in asked for name in one.workouts}
    out: dict[tuple[int, str], dict[str, _Place]] = {}
    if names:
        statement = _STATEMENTS[session.get_bind().dialect.name]
        connection = await session.connection()
        rows: Sequence[Any] = (
            await connection.exec_driver_sql(statement.own, statement.sent(sorted(names)))
        ).all()
        for stream, exercise, started_at, workout in rows:
            out.setdefault((stream, exercise), {})[workout] = (started_at, workout)
    return out


def _ways(question: Question, found: Sequence[dict[str, Bests]], own: _Own) -> list[_Way]:
    """The ways to an answer: one for each exercise, and one more for each who asks and has a row on it."""
    stream, asked = question
    in_order = sorted(zip(asked, found, strict=True), key=lambda pair: pair[0].until)
    ways = []
    for exercise in sorted({exercise for one in asked for exercise in one.exercises}):
        shared = _Way(stream, exercise)
        places = own.get((stream, clean(exercise)), {})
        for one, its in in_order:
            if exercise not in one.exercises:
                continue
            skipped = {place for name in one.workouts if (place := places.get(name, one.until)) < one.until}
            way = _Way(stream, exercise) if skipped else shared
            way.stops.append(_Stop(one.until, skipped, its))
            if skipped:
                ways.append(way)
        if shared.stops:
            ways.append(shared)
    return ways


class _Stop(NamedTuple):
    """Where a history is asked for: of all rows before `until` but the skipped. It goes into `found`."""

    until: _Place
    skipped: Set[_Place]
    found: dict[str, Bests]


class _Way:
    """A way through the rows of one exercise in their order, past its stops: from mark to mark where it can,
    else row by row. More than one stop only if nothing is to be skipped. `far` is the place before which a
    mark would have spared it a page or more."""

    def __init__(self, stream: int, exercise: str) -> None:
        self.stream = stream
        self.exercise = exercise
        self.stops: deque[_Stop] = deque()
        self.far: _Place | None = None
        self._at = _FIRST  # the last row that is in `_bests`
        self._bests = Bests()
        self._page: deque[_Row] = deque()
        self._more = True
        self._walked = 0  # rows since the last mark

    def go(self) -> bool:
        """Go on through the rows that are at hand; whether more are wanted."""
        while self.stops:
            until, skipped, found = self.stops[0]
            while self._page and (place := self._page[0][:2]) < until:
                bests = self._page.popleft()[2]
                self._at = place
                if place not in skipped:
                    self._bests.absorb(bests)
                self._walked += 1
            if not self._page and self._more:
                return True
            if self._bests.best or self._bests.reps:
                found[self.exercise] = merge(self._bests)
            self.stops.popleft()
        return False

    @property
    def wanted(self) -> _Wanted:
        """What is to be read next. No mark may hold what the next stop skips."""
        return _Wanted(self.stream, self.exercise, self._at, self._marked, self.stops[-1].until)

    @property
    def _marked(self) -> _Place:
        until, skipped, _ = self.stops[0]
        return min([until, *skipped])

    def take(self, page: _Page) -> None:
        """Take what was wanted."""
        if page.mark is not None:
            self._at, self._bests, self._walked = page.mark[:2], Bests.from_json(page.mark[2]), 0
        elif self._at < self._marked and self._walked >= STRIDE:
            self.far = self._marked
        self._page.extend(page.rows)
        self._more = len(page.rows) == STRIDE


async def lay(db: Database, stream: int, exercise: str, until: _Place) -> bool:
    """Lay the next marks on the way to a place, at most LAID; whether there may be more to lay. Raises
    Unavailable."""
    async with db.write() as session:
        if db.dialect == "postgresql":
            alone = func.pg_try_advisory_xact_lock(_LOCK, func.hashint8(stream))
            if not (await session.execute(select(alone))).scalar_one():
                return False
        wanted = _Wanted(stream, exercise, _FIRST, until, until)
        [page] = await _read(session, [wanted], STRIDE * LAID)
        bests = Bests() if page.mark is None else Bests.from_json(page.mark[2])
        marks = []
        for count, (started_at, workout, row) in enumerate(page.rows, 1):
            bests.absorb(row)
            if count % STRIDE == 0:
                place = {"started_at": started_at, "workout": workout}
                marks.append({"stream": stream, "exercise": exercise, **place, "bests": bests.to_json()})
        if marks:
            await session.execute(insert(ExerciseMark), marks)
        return len(marks) == LAID


async def _read(session: ReadSession, wanted: Iterable[_Wanted], limit: int) -> Sequence[_Page]:
    """The pages that are wanted, each with at most `limit` rows."""
    statement = _STATEMENTS[session.get_bind().dialect.name]
    connection = await session.connection()
    asked = [(one.stream, clean(one.exercise), *one.after, *one.marked, *one.until) for one in wanted]
    found = await connection.exec_driver_sql(statement.pages, (*statement.sent(asked), limit))
    in_order: Sequence[Any] = sorted(found.all())
    return [_page(mark, rows) for _, mark, rows in in_order]


def _page(mark: str | None, rows: str | None) -> _Page:
    return _Page(
        None if mark is None else _row(orjson.loads(mark)),
        [] if rows is None else list(map(_row, orjson.loads(f"[{rows}]"))),
    )


def _row(row: Sequence[Any]) -> _Row:
    started_at, workout, bests = row
    return started_at, workout, bests


class _Sqlite:
    """What is asked for travels as one JSON text."""

    own = """
        SELECT b.stream, b.exercise, b.started_at, b.workout
        FROM json_each(?) AS a JOIN exercise_bests AS b
            ON b.stream = json_extract(a.value, '$[0]') AND b.workout = json_extract(a.value, '$[1]')
    """
    pages = """
        WITH wanted AS (
            SELECT key AS number,
                json_extract(value, '$[0]') AS stream, json_extract(value, '$[1]') AS exercise,
                json_extract(value, '$[2]') AS after_at, json_extract(value, '$[3]') AS after,
                json_extract(value, '$[4]') AS marked_at, json_extract(value, '$[5]') AS marked,
                json_extract(value, '$[6]') AS until_at, json_extract(value, '$[7]') AS until
            FROM json_each(?)
        )
        SELECT w.number,
            '[' || m.started_at || ',"' || m.workout || '",' || CAST(m.bests AS TEXT) || ']',
            (
                SELECT group_concat('[' || started_at || ',"' || workout || '",' || bests || ']') FROM (
                    SELECT started_at, workout, CAST(bests AS TEXT) AS bests FROM exercise_bests
                    WHERE stream = w.stream AND exercise = w.exercise
                        AND (coalesce(m.started_at, w.after_at), coalesce(m.workout, w.after))
                            < (started_at, workout)
                        AND (w.until_at, w.until) > (started_at, workout)
                    ORDER BY started_at, workout LIMIT ?
                )
            )
        FROM wanted AS w LEFT JOIN exercise_marks AS m ON m.rowid = (
            SELECT rowid FROM exercise_marks
            WHERE stream = w.stream AND exercise = w.exercise
                AND (w.after_at, w.after) <= (started_at, workout)
                AND (w.marked_at, w.marked) > (started_at, workout)
            ORDER BY started_at DESC, workout DESC LIMIT 1
        )
    """

    @staticmethod
    def sent(asked: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        return (orjson.dumps(asked).decode(),)


class _Postgres:
    """What is asked for travels as arrays."""

    own = """
        SELECT b.stream, b.exercise, b.started_at, b.workout::text
        FROM unnest($1::bigint[], $2::uuid[]) AS a(stream, workout) JOIN exercise_bests AS b
            ON b.stream = a.stream AND b.workout = a.workout
    """
    pages = """
        SELECT w.number,
            '[' || m.started_at || ',"' || m.workout || '",' || convert_from(m.bests, 'UTF8') || ']',
            (
                SELECT string_agg(
                    '[' || started_at || ',"' || workout || '",' || convert_from(bests, 'UTF8') || ']', ','
                    ORDER BY started_at, workout
                ) FROM (
                    SELECT started_at, workout, bests FROM exercise_bests
                    WHERE stream = w.stream AND exercise = w.exercise
                        AND (coalesce(m.started_at, w.after_at), coalesce(m.workout, w.after))
                            < (started_at, workout)
                        AND (w.until_at, w.until) > (started_at, workout)
                    ORDER BY started_at, workout LIMIT $9
                ) AS page
            )
        FROM unnest(
            $1::bigint[], $2::text[],
            $3::bigint[], $4::uuid[], $5::bigint[], $6::uuid[], $7::bigint[], $8::uuid[]
        ) WITH ORDINALITY AS w(stream, exercise, after_at, after, marked_at, marked, until_at, until, number)
        LEFT JOIN LATERAL (
            SELECT started_at, workout, bests FROM exercise_marks
            WHERE stream = w.stream AND exercise = w.exercise
                AND (w.after_at, w.after) <= (started_at, workout)
                AND (w.marked_at, w.marked) > (started_at, workout)
            ORDER BY started_at DESC, workout DESC LIMIT 1
        ) AS m ON true
    """

    @staticmethod
    def sent(asked: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        return tuple(map(list, zip(*asked, strict=True)))


_STATEMENTS: Mapping[str, type[_Sqlite] | type[_Postgres]] = {"sqlite": _Sqlite, "postgresql": _Postgres}
