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
from typing import NamedTuple

import structlog
from sqlalchemy import BigInteger, delete, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from fitai.engine.ops import Record
from fitai.engine.timers import timers
from fitai.engine.workout import Workout
from fitai.persistence.database import Database, Locked, Unavailable, WriteSession
from fitai.persistence.log import Log, Place, StreamRow
from fitai.persistence.models import ExerciseBests, Id, RecordRow, SetRow, Snapshot, Stream, User, WorkoutRow
from fitai.persistence.projected import Projected, happened_at, workout_row
from fitai.persistence.snapshots import mark
from fitai.persistence.upserts import STATEMENTS, Filling, Postgres, Sqlite
from fitai.sync.fold import fold
from fitai.sync.timeline import SERVER

# What is projected belongs to the projector's surface.
__all__ = ["Due", "Projected", "Projector", "Stale", "deadlines", "happened_at"]

_log = structlog.get_logger(__name__)

CHUNK = 50  # workouts in one transaction of a rebuild
TOGETHER = 50  # workouts of several callers in one transaction
FILLED = 500  # sets in one statement, and those of one workout more

# Workouts are made of the streams of people alone: groups have theirs too, and nobody's are left by erasure.
_PEOPLES = select(Stream.id).join(User, User.id == Stream.owner)

Due = Callable[[Workout, Sequence[Record]], int | None]


class Stale(NamedTuple):
    """A workout whose projections an older version of the fold made, in the order of `Projector.renew`."""

    mark: int
    stream: int
    workout: str
    owner: str
    epoch: str


@dataclass(slots=True, eq=False)
class _Waiting:
    stream: int
    epoch: str
    workouts: Sequence[Projected]
    upto: int
    done: bool = False


class Projector:
    """Writes projections and tells what is not projected yet."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._turn = asyncio.Lock()
        self._waiting: list[_Waiting] = []
        self._statements = STATEMENTS[db.dialect]

    async def project(self, stream: int, epoch: str, workouts: Iterable[Projected], upto_seq: int) -> None:
        """Write these workouts and move the stream's watermark to `upto_seq`, in one transaction. When the
        stream's log is not of this epoch any more (it was restored), nothing is written: it would be false.

        The caller vouches that no other workout of the stream has records between the old watermark and
        the new one. Raises Unavailable; nothing is written then.
        """
        mine = _Waiting(stream, epoch, list(workouts), upto_seq)
        self._waiting.append(mine)
        try:
            async with self._turn:
                if not mine.done:
                    await self._write(mine)
        finally:
            if not mine.done:
                self._waiting.remove(mine)

    async def lagging(self, limit: int, until: int | None = None) -> list[str]:
        """At most `limit` users whose streams are not projected up to their heads; with `until` only those
        that have been left alone since that moment, Unix ms."""
        behind = _PEOPLES.with_only_columns(Stream.owner).where(Stream.projected < Stream.head)
        if until is not None:
            behind = behind.where(Stream.last_rt <= until)
        async with self._db.read() as session:
            return list((await session.execute(behind.order_by(Stream.id).limit(limit))).scalars())

    async def streams(self, after: int, limit: int) -> list[int]:
        """At most `limit` ids > `after` of users' streams, in order: the way through all of them."""
        async with self._db.read() as session:
            query = _PEOPLES.where(Stream.id > after).order_by(Stream.id).limit(limit)
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
            await self.project(stream, row.epoch, chunk, 0)
        await self.project(stream, row.epoch, (), row.head)
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
            await self.project(stale.stream, stale.epoch, [projected], 0)
        except Unavailable:
            raise
        except Exception:
            _log.exception("projection_not_renewed", stream=stale.stream, workout=stale.workout)

    async def _stale(self, after: Stale | None) -> list[Stale]:
        """The next workouts that an older version of the fold wrote, in order of their marks. What has seen
        more than the log holds (a restored backup) waits for `rebuild`."""
        query = (
            select(Snapshot.mark, Snapshot.stream, Snapshot.workout, Stream.owner, Stream.epoch)
            .join(Stream, Stream.id == Snapshot.stream)
            .join(User, User.id == Stream.owner)
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
        """Write what waits, as much as goes down together; when that fails, only what this caller brought."""
        batch = self._together(mine)
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

    def _together(self, mine: _Waiting) -> Sequence[_Waiting]:
        batch, workouts = [mine], len(mine.workouts)
        for waiting in self._waiting:
            if waiting is not mine and workouts + len(waiting.workouts) <= TOGETHER:
                batch.append(waiting)
                workouts += len(waiting.workouts)
        return batch

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        async with self._db.write() as session:
            standings = await Log(session).standings({waiting.stream for waiting in batch})
            newest, upto = _merged([waiting for waiting in batch if _holds(waiting, standings)])
            connection = await session.connection()
            if newest:
                await _write_workouts(connection, self._statements, newest)
            if upto:
                await self._statements.watermark(connection, sorted(upto.items()))


def _holds(waiting: _Waiting, standings: Mapping[int, tuple[str, int]]) -> bool:
    epoch, _ = standings.get(waiting.stream, (None, 0))
    return epoch == waiting.epoch


def _merged(batch: Iterable[_Waiting]) -> tuple[dict[Place, Projected], dict[int, int]]:
    """Of each workout what has seen most, and of each stream the farthest watermark."""
    newest: dict[Place, Projected] = {}
    upto: dict[int, int] = {}
    for waiting in batch:
        upto[waiting.stream] = max(waiting.upto, upto.get(waiting.stream, 0))
        for projected in waiting.workouts:
            place = (waiting.stream, projected.workout)
            if place not in newest or newest[place].seq <= projected.seq:
                newest[place] = projected
    return newest, upto


async def _forget_strange(session: WriteSession, row: StreamRow, names: Sequence[str]) -> None:
    found = select(WorkoutRow.workout, WorkoutRow.seq).where(WorkoutRow.stream == row.id)
    known = set(names)
    rows = (await session.execute(found)).all()
    strange = [name for name, seq in rows if seq > row.head or name not in known]
    for model in (SetRow, ExerciseBests, Snapshot, WorkoutRow):
        gone = delete(model).where(model.stream == row.id, model.workout.in_(strange))
        await session.execute(gone.execution_options(synchronize_session=False))


async def _write_workouts(
    connection: AsyncConnection, write: type[Sqlite] | type[Postgres], newest: Mapping[Place, Projected]
) -> None:
    # In one order everywhere, so that two nodes that write the same rows wait instead of deadlocking.
    rows = [workout_row(stream, newest[stream, name]) for stream, name in sorted(newest)]
    filling = Filling()
    for stream, name in await write.workouts(connection, rows):
        filling.add(stream, newest[stream, name])
        if len(filling.sets) >= FILLED:
            await write.fill(connection, filling)
            filling = Filling()
    if filling.places:
        await write.fill(connection, filling)


def deadlines(idle_ms: int, finish_ms: int) -> Due:
    """When the server has to act next for a folded workout that is silent: pause and end it after so long."""

    def due(workout: Workout, records: Sequence[Record]) -> int | None:
        # Silence is counted from what people's devices sent, not from the server's own ops.
        heard = max((record.rt for record in records if record.device != SERVER), default=0)
        return timers(workout, heard, idle_ms, finish_ms).due_at

    return due
