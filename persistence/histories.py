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

Rows are read in pages of STRIDE, so that a long way (the first one, or after an old workout was edited) does
not keep the event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Select, Tuple, func, insert, literal, select, tuple_

from fitai.engine.records import Bests, merge
from fitai.persistence.database import Database, ReadSession
from fitai.persistence.models import ExerciseBests, ExerciseMark, Id, clean

STRIDE = 64  # rows from mark to mark, and in a page
LAID = 8  # marks laid in one transaction
_LOCK = 1181316203  # "Fitk": on PostgreSQL, with the stream; the triggers name it too

_Place = tuple[int, str]
_Row = tuple[_Place, Mapping[str, Any]]


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


class Histories:
    """Questions about the history of a stream, asked in one session.

    far  {exercise: place}: the ways to these places were long; marks up to there (`lay`) shorten them
    """

    def __init__(self, session: ReadSession, stream: int) -> None:
        self._session = session
        self._stream = stream
        self.far: dict[str, _Place] = {}

    async def before(self, asked: Sequence[Asked]) -> Sequence[dict[str, Bests]]:
        """For each of these workouts, per exercise the merged bests of every workout before it.

        Before is by (started_at, workout); to a workout that has not started every other one is before.
        Exercises without history are absent. Workouts that ask for one exercise share a way.
        """
        out: Sequence[dict[str, Bests]] = [{} for _ in asked]
        own = await self._own(asked)
        in_order = sorted(zip(asked, out, strict=True), key=lambda pair: pair[0].until)
        for exercise in sorted({exercise for one in asked for exercise in one.exercises}):
            askers = [(one, found) for one, found in in_order if exercise in one.exercises]
            shared = _Way(self._session, self._stream, exercise, askers[-1][0].until)
            for one, found in askers:
                places = own.get(clean(exercise), {})
                theirs = {places[name] for name in one.workouts if name in places}
                skipped = {place for place in theirs if place < one.until}
                way = _Way(self._session, self._stream, exercise, one.until) if skipped else shared
                history = await way.go(one.until, skipped)
                if history.best or history.reps:
                    found[exercise] = merge(history)
                if way.far is not None:
                    self.far[exercise] = max(way.far, self.far.get(exercise, way.far))
        return out

    async def _own(self, asked: Sequence[Asked]) -> Mapping[str, Mapping[str, _Place]]:
        """{exercise: {workout: the place of its row}} of the workouts that ask."""
        query = select(ExerciseBests.exercise, ExerciseBests.started_at, ExerciseBests.workout).where(
            ExerciseBests.stream == self._stream,
            ExerciseBests.workout.in_(sorted({name for one in asked for name in one.workouts})),
        )
        out: dict[str, dict[str, _Place]] = {}
        for exercise, started_at, workout in (await self._session.execute(query)).all():
            out.setdefault(exercise, {})[workout] = (started_at, workout)
        return out


class _Way:
    """A way through the rows of one exercise in their order, up to a place: from mark to mark where it can,
    else row by row. `far` is the place before which a mark would have spared it a page or more."""

    def __init__(self, session: ReadSession, stream: int, exercise: str, last: _Place) -> None:
        self.far: _Place | None = None
        self._session = session
        self._stream = stream
        self._exercise = exercise
        self._last = last
        self._at: _Place | None = None  # the last row that is in `_bests`
        self._bests = Bests()
        self._page: deque[_Row] = deque()
        self._more = True
        self._walked = 0  # rows since the last mark

    async def go(self, until: _Place, skipped: Set[_Place]) -> Bests:
        """The merge of every row before `until` but the skipped, which no mark on the way may hold either.
        May be asked again for a later place, if nothing was skipped."""
        marked = min([until, *skipped])
        while True:
            while self._page and self._page[0][0] < until:
                self._at, bests = self._page.popleft()
                if self._at not in skipped:
                    self._bests.absorb(bests)
                self._walked += 1
            if self._page or not self._more:
                return self._bests
            await self._read(marked)

    async def _read(self, marked: _Place) -> None:
        """The next page, from the nearest mark on if one before `marked` lies ahead."""
        if self._at is None or self._at < marked:
            mark = await _nearest(self._session, self._stream, self._exercise, marked)
            if mark is not None and (self._at is None or self._at <= mark[0]):
                self._at, self._bests, self._walked = mark[0], Bests.from_json(mark[1]), 0
            elif self._walked >= STRIDE:
                self.far = marked
        page = await _rows(self._session, self._stream, self._exercise, self._at, self._last, STRIDE)
        self._page.extend(page)
        self._more = len(page) == STRIDE


async def lay(db: Database, stream: int, exercise: str, until: _Place) -> bool:
    """Lay the next marks on the way to a place, at most LAID; whether there may be more to lay. Raises
    Unavailable."""
    async with db.write() as session:
        if db.dialect == "postgresql":
            alone = func.pg_try_advisory_xact_lock(_LOCK, func.hashint8(stream))
            if not (await session.execute(select(alone))).scalar_one():
                return False
        mark = await _nearest(session, stream, exercise, until)
        at, bests = (None, Bests()) if mark is None else (mark[0], Bests.from_json(mark[1]))
        rows = await _rows(session, stream, exercise, at, until, STRIDE * LAID)
        marks = []
        for count, ((started_at, workout), row) in enumerate(rows, 1):
            bests.absorb(row)
            if count % STRIDE == 0:
                place = {"started_at": started_at, "workout": workout}
                marks.append({"stream": stream, "exercise": exercise, **place, "bests": bests.to_json()})
        if marks:
            await session.execute(insert(ExerciseMark), marks)
        return len(marks) == LAID


async def _nearest(session: ReadSession, stream: int, exercise: str, before: _Place) -> _Row | None:
    """The last mark before a place."""
    query = _before(ExerciseMark, stream, exercise, before)
    last = query.order_by(ExerciseMark.started_at.desc(), ExerciseMark.workout.desc()).limit(1)
    row = (await session.execute(last)).one_or_none()
    return None if row is None else _as_row(*row)


async def _rows(
    session: ReadSession, stream: int, exercise: str, after: _Place | None, before: _Place, limit: int
) -> list[_Row]:
    """At most `limit` rows between two places, both excluded, in order."""
    query = _before(ExerciseBests, stream, exercise, before)
    if after is not None:
        query = query.where(_place(after) < tuple_(ExerciseBests.started_at, ExerciseBests.workout))
    in_order = query.order_by(ExerciseBests.started_at, ExerciseBests.workout).limit(limit)
    return [_as_row(*row) for row in (await session.execute(in_order)).all()]


def _before(
    model: type[ExerciseBests] | type[ExerciseMark], stream: int, exercise: str, place: _Place
) -> Select[tuple[int, str, Any]]:
    return select(model.started_at, model.workout, model.bests).where(
        model.stream == stream,
        model.exercise == exercise,
        _place(place) > tuple_(model.started_at, model.workout),
    )


def _as_row(started_at: int, workout: str, bests: Mapping[str, Any]) -> _Row:
    return (started_at, workout), bests


def _place(place: _Place) -> Tuple:
    return tuple_(literal(place[0], BigInteger), literal(place[1], Id))
