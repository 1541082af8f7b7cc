"""Writing the projections: what lists, history and timers read, derived from the log.

A projection is never the truth. It may be late, it may be written twice, by two nodes, in any order: a
row is only replaced by one that has seen as much of its workout or more. `streams.projected` is the
watermark: every workout's records up to it are in the projections. What an older version of the fold made
(`Snapshot.mark`) stays readable until it is written anew, which `renew` does for all and a host for its user.

Calls that wait at the same time go down in one transaction, as appends do; one that cannot be written
fails alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import structlog
from sqlalchemy import BigInteger, ColumnElement, case, delete, exists, literal, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from fitai.engine.ops import Record
from fitai.engine.records import workout_bests
from fitai.engine.timers import timers
from fitai.engine.units import to_ug
from fitai.engine.workout import Workout, state
from fitai.persistence.database import Database, Locked, ReadSession, Unavailable, WriteSession
from fitai.persistence.log import Log, StreamRow
from fitai.persistence.models import (
    Base,
    ExerciseBests,
    Id,
    RecordRow,
    SetRow,
    Snapshot,
    Stream,
    WorkoutRow,
    clean,
)
from fitai.persistence.snapshots import mark
from fitai.sync.fold import fold
from fitai.sync.timeline import SERVER

_log = structlog.get_logger(__name__)

CHUNK = 50  # workouts in one transaction of a rebuild
_MOST = 2**63 - 1  # what a column of the database can hold

Row = dict[str, Any]
Due = Callable[[Workout, Sequence[Record]], int | None]


@dataclass(frozen=True, slots=True)
class Projected:
    """What the projections hold of one workout.

    seq       place in the stream of the workout's last record that is folded here
    document  the engine's state document
    bests     {exercise: its bests in this workout, as JSON}; empty for a removed workout
    due_at    when the server has to act next, Unix ms, or None
    """

    seq: int
    document: Mapping[str, Any]
    bests: Mapping[str, Any]
    due_at: int | None = None

    @classmethod
    def of(cls, workout: Workout, due_at: int | None) -> Self:
        """The projection of a fold."""
        kept = workout.known and not workout.removed
        bests = workout_bests(workout) if kept else {}
        as_json = {exercise: its.to_json() for exercise, its in bests.items()}
        return cls(workout.seq, state(workout), as_json, due_at)

    @property
    def workout(self) -> str:
        """The workout's id."""
        return str(self.document["id"])


class Stale(NamedTuple):
    """A workout whose projections an older version of the fold made, in the order of `Projector.renew`."""

    mark: int
    stream: int
    workout: str
    owner: str


@dataclass(slots=True, eq=False)
class _Waiting:
    stream: int
    workouts: Sequence[Projected]
    upto: int
    done: bool = False


class Projector:
    """Writes projections and tells what is not projected yet."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._turn = asyncio.Lock()
        self._waiting: list[_Waiting] = []

    async def project(self, stream: int, workouts: Iterable[Projected], upto_seq: int) -> None:
        """Write these workouts and move the stream's watermark to `upto_seq`, in one transaction.

        The caller vouches that no other workout of the stream has records between the old watermark and
        the new one. Raises Unavailable; nothing is written then.
        """
        mine = _Waiting(stream, list(workouts), upto_seq)
        self._waiting.append(mine)
        try:
            async with self._turn:
                if not mine.done:
                    await self._write(mine)
        finally:
            if not mine.done:
                self._waiting.remove(mine)

    async def touched(self, stream: int, kinds: Iterable[str] | None = None) -> list[str]:
        """The workouts that the projections do not hold as they are: those with records after the watermark,
        and those that an older version of the fold wrote. With `kinds`, only those with such ops."""
        changed = (
            select(RecordRow.workout)
            .join(Stream, Stream.id == RecordRow.stream)
            .where(RecordRow.stream == stream, RecordRow.seq > Stream.projected)
        )
        stale = select(Snapshot.workout).where(Snapshot.stream == stream, Snapshot.mark > mark())
        if kinds is not None:
            changed = changed.where(RecordRow.kind.in_(kinds))
            # Asked for each stale workout, mostly none: the log has no index of kinds, and may be long.
            its = (RecordRow.stream == stream) & (RecordRow.workout == Snapshot.workout)
            stale = stale.where(exists().where(its, RecordRow.kind.in_(kinds)))
        async with self._db.read() as session:
            return sorted((await session.execute(changed.union(stale))).scalars())

    async def lagging(self, limit: int, until: int | None = None) -> list[str]:
        """At most `limit` owners whose streams are not projected up to their heads; with `until` only those
        that have been left alone since that moment, Unix ms."""
        behind = select(Stream.owner).where(Stream.projected < Stream.head)
        if until is not None:
            behind = behind.where(Stream.last_rt <= until)
        async with self._db.read() as session:
            return list((await session.execute(behind.order_by(Stream.id).limit(limit))).scalars())

    async def streams(self, after: int, limit: int) -> list[int]:
        """At most `limit` stream ids > `after`, in order: the way through all of them."""
        async with self._db.read() as session:
            query = select(Stream.id).where(Stream.id > after).order_by(Stream.id).limit(limit)
            return list((await session.execute(query)).scalars())

    async def rebuild(self, stream: int, due: Due) -> int:
        """Write a stream's projections anew from its log; returns how many workouts it has.

        `due` says when the server has to act next for a folded workout with these records. Lists stay
        complete meanwhile; rows that the log knows nothing of are removed first.
        """
        found = await self._survey(stream)
        if found is None:
            return 0
        row, names = found
        for start in range(0, len(names), CHUNK):
            chunk = [
                await self._folded(stream, row.owner, name, due) for name in names[start : start + CHUNK]
            ]
            await self.project(stream, chunk, 0)
        await self.project(stream, (), row.head)
        return len(names)

    async def renew(self, due: Due, after: Stale | None = None) -> Stale | None:
        """Write anew a chunk of what an older version of the fold wrote, of all streams; returns where to go
        on, None at the end.

        Made to run beside serving, and again later: a node of the release before may still be writing. What
        can not be written is passed over until then. Raises Unavailable.
        """
        chunk = await self._stale(after)
        turn = asyncio.Lock()
        outcomes = await asyncio.gather(
            *(self._renew(stale, due, turn) for stale in chunk), return_exceptions=True
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return chunk[-1] if chunk else None

    async def _renew(self, stale: Stale, due: Due, turn: asyncio.Lock) -> None:
        try:
            async with turn:  # one reads at a time; those that have read are written together
                projected = await self._folded(stale.stream, stale.owner, stale.workout, due)
            await self.project(stale.stream, [projected], 0)
        except Unavailable:
            raise
        except Exception:
            _log.exception("projection_not_renewed", stream=stale.stream, workout=stale.workout)

    async def _stale(self, after: Stale | None) -> list[Stale]:
        """The next workouts that an older version of the fold wrote, in order of their marks. What has seen
        more than the log holds (a restored backup) waits for `rebuild`."""
        query = (
            select(Snapshot.mark, Snapshot.stream, Snapshot.workout, Stream.owner)
            .join(Stream, Stream.id == Snapshot.stream)
            .where(Snapshot.mark > mark(), Snapshot.seq <= Stream.head)
            .order_by(Snapshot.mark, Snapshot.stream, Snapshot.workout)
            .limit(CHUNK)
        )
        if after is not None:
            here = tuple_(
                literal(after.mark, BigInteger), literal(after.stream, BigInteger), literal(after.workout, Id)
            )
            query = query.where(here < tuple_(Snapshot.mark, Snapshot.stream, Snapshot.workout))
        async with self._db.read() as session:
            return [Stale(*row) for row in (await session.execute(query)).all()]

    async def _survey(self, stream: int) -> tuple[StreamRow, list[str]] | None:
        """The stream and the workouts that its log has, after removing the rows that would stay wrong.

        Those are rows of workouts without records, and rows that have seen more than the log holds (a
        restored backup) and would therefore refuse to be replaced. The stream is locked meanwhile, so that
        what other nodes append and project is not taken for such.
        """
        async with self._db.write() as session:
            await session.execute(select(Stream.id).where(Stream.id == stream).with_for_update())
            row = await Log(session).stream(stream)
            if row is None:
                return None
            query = select(RecordRow.workout).distinct().where(RecordRow.stream == stream)
            names = sorted((await session.execute(query)).scalars())
            await _forget_strange(session, row, names)
            return row, names

    async def _folded(self, stream: int, owner: str, name: str, due: Due) -> Projected:
        async with self._db.read() as session:
            records = await Log(session).workout_records(stream, name)
        workout = fold(name, owner, records).workout
        return Projected.of(workout, due(workout, records))

    async def _write(self, mine: _Waiting) -> None:
        """Write everything that waits; when that fails, only what this caller brought."""
        batch = list(self._waiting)
        try:
            await self._commit(batch)
        except Exception as error:
            # A row that another transaction holds, a paused node's maybe, is one stream's trouble too.
            away = isinstance(error, Unavailable) and not isinstance(error, Locked)
            if away or len(batch) == 1:
                raise
            batch = [mine]
            await self._commit(batch)
        for waiting in batch:
            waiting.done = True
            self._waiting.remove(waiting)

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        newest: dict[tuple[int, str], Projected] = {}
        for waiting in batch:
            for projected in waiting.workouts:
                place = (waiting.stream, projected.workout)
                if place not in newest or newest[place].seq <= projected.seq:
                    newest[place] = projected
        async with self._db.write() as session:
            await _write_workouts(session, newest)
            for waiting in sorted(batch, key=lambda waiting: waiting.stream):
                await session.execute(_watermark(waiting.stream, waiting.upto))


async def _forget_strange(session: WriteSession, row: StreamRow, names: Sequence[str]) -> None:
    found = select(WorkoutRow.workout, WorkoutRow.seq).where(WorkoutRow.stream == row.id)
    known = set(names)
    rows = (await session.execute(found)).all()
    strange = [name for name, seq in rows if seq > row.head or name not in known]
    for model in (SetRow, ExerciseBests, Snapshot, WorkoutRow):
        gone = delete(model).where(model.stream == row.id, model.workout.in_(strange))
        await session.execute(gone.execution_options(synchronize_session=False))


def _watermark(stream: int, upto: int) -> Any:
    """Never back, and never beyond the head."""
    reached = case((Stream.head < upto, Stream.head), else_=upto)
    return (
        update(Stream)
        .where(Stream.id == stream, Stream.projected < reached)
        .values(projected=reached)
        .execution_options(synchronize_session=False)
    )


async def _write_workouts(session: WriteSession, newest: Mapping[tuple[int, str], Projected]) -> None:
    if not newest:
        return
    # In one order everywhere, so that two nodes that write the same rows wait instead of deadlocking.
    rows = [_workout_row(stream, newest[stream, name]) for stream, name in sorted(newest)]
    won = await _upsert(session, WorkoutRow, rows, newer=True)
    kept = {place: newest[place] for place in won}
    if not kept:
        return
    snapshots = [_snapshot_row(stream, projected) for (stream, _), projected in kept.items()]
    await _upsert(session, Snapshot, snapshots)
    sets = [row for (stream, _), projected in kept.items() for row in _set_rows(stream, projected)]
    await _replace(session, SetRow, ("stream", "workout", "id"), kept, sets)
    bests = [row for (stream, _), projected in kept.items() for row in _bests_rows(stream, projected)]
    await _replace(session, ExerciseBests, ("stream", "workout", "exercise"), kept, bests)


async def _upsert(
    session: WriteSession, model: type[Base], rows: Sequence[Row], *, newer: bool = False
) -> list[tuple[int, str]]:
    """Insert or overwrite rows; with `newer` only where they have seen as much as the stored one.

    Returns (stream, workout) of those that were written.
    """
    if not rows:
        return []
    insert = (postgresql if _is_postgres(session) else sqlite).insert(model)
    table = model.__table__
    keys = [column.name for column in table.primary_key]
    values = {
        column.name: insert.excluded[column.name] for column in table.columns if column.name not in keys
    }
    newest = insert.excluded.seq >= table.c.seq if newer else None
    statement = insert.on_conflict_do_update(index_elements=keys, set_=values, where=newest)
    written = statement.returning(table.c.stream, table.c.workout)
    found = await session.execute(written.execution_options(synchronize_session=False), list(rows))
    return [(stream, workout) for stream, workout in found.all()]


async def _replace(
    session: WriteSession,
    model: type[SetRow] | type[ExerciseBests],
    keys: tuple[str, ...],
    places: Iterable[tuple[int, str]],
    rows: Sequence[Row],
) -> None:
    """Make `rows` all that the table holds of these workouts; what is there already is not written again."""
    columns = model.__table__.columns
    theirs = _among(model, places)
    stored = (await session.execute(select(*columns).where(theirs))).mappings().all()
    before = {tuple(row[key] for key in keys): dict(row) for row in stored}
    after = {tuple(row[key] for key in keys): row for row in map(_as_stored, rows)}
    gone = [key for key in before if key not in after]
    if gone:
        named = tuple_(*(columns[key] for key in keys)).in_(gone)
        await session.execute(delete(model).where(named).execution_options(synchronize_session=False))
    await _upsert(session, model, [row for key, row in after.items() if before.get(key) != row])


def _as_stored(row: Row) -> Row:
    """The row as it will be read again: two keys that are stored alike are one."""
    return {name: clean(value) if isinstance(value, str) else value for name, value in row.items()}


def _among(
    model: type[SetRow] | type[ExerciseBests], places: Iterable[tuple[int, str]]
) -> ColumnElement[bool]:
    return tuple_(model.stream, model.workout).in_(list(places))


def _is_postgres(session: ReadSession) -> bool:
    return session.get_bind().dialect.name == "postgresql"


def deadlines(idle_ms: int, finish_ms: int) -> Due:
    """When the server has to act next for a folded workout that is silent: pause and end it after so long."""

    def due(workout: Workout, records: Sequence[Record]) -> int | None:
        # Silence is counted from what people's devices sent, not from the server's own ops.
        heard = max((record.rt for record in records if record.device != SERVER), default=0)
        return timers(workout, heard, idle_ms, finish_ms).due_at

    return due


def happened_at(document: Mapping[str, Any]) -> int:
    """When it was started, else created, else (nothing of both is known yet) 0. Unix ms."""
    return int(document["started_at"] or document["created_at"] or 0)


def _workout_row(stream: int, projected: Projected) -> Row:
    document = projected.document
    totals = document["totals"]
    return {
        "stream": stream,
        "workout": projected.workout,
        "created": document["created"],
        "removed": document["removed"],
        "status": document["status"],
        "phase": document["phase"],
        "title": document["title"],
        "template": document["template"],
        "happened_at": happened_at(document),
        "created_at": document["created_at"],
        "started_at": document["started_at"],
        "ended_at": document["ended_at"],
        "updated_at": document["updated_at"],
        "rev": document["rev"],
        "seq": projected.seq,
        "exercises": len(document["exercises"]),
        "sets": totals["sets"],
        "volume_ug": min(totals["volume_ug"], _MOST),
        "due_at": projected.due_at,
        "merged_into": document.get("merged_into"),
    }


def _snapshot_row(stream: int, projected: Projected) -> Row:
    document = projected.document
    return {
        "stream": stream,
        "workout": projected.workout,
        "seq": projected.seq,
        "mark": mark(),
        "document": document,
    }


def _bests_rows(stream: int, projected: Projected) -> list[Row]:
    return [
        {
            "stream": stream,
            "exercise": exercise,
            "workout": projected.workout,
            "started_at": happened_at(projected.document),
            "bests": bests,
        }
        for exercise, bests in projected.bests.items()
    ]


def _set_rows(stream: int, projected: Projected) -> list[Row]:
    logged = [(entry, row) for entry in projected.document["exercises"] for row in entry["sets"]]
    return [
        _set_row(stream, projected.workout, place, entry, row) for place, (entry, row) in enumerate(logged)
    ]


def _set_row(stream: int, workout: str, place: int, entry: Mapping[str, Any], row: Mapping[str, Any]) -> Row:
    load = row["load"]
    device, n = row["dot"]
    return {
        "stream": stream,
        "workout": workout,
        "id": row["id"],
        "place": place,
        "entry": entry["id"],
        "exercise": entry["exercise"],
        "type": row["type"],
        "done": row["done"],
        "reps": row["reps"],
        "load_ug": None if load is None else to_ug(load["value"], load["unit"]),
        "load_value": None if load is None else load["value"],
        "load_unit": None if load is None else load["unit"],
        "rpe": row["rpe"],
        "rir": row["rir"],
        "duration_ms": row["duration_ms"],
        "distance_m": row["distance_m"],
        "side": row["side"],
        "assisted": row["assisted"],
        "at": row["at"],
        "device": device,
        "n": n,
    }
