"""Every workout of a stream as it was at one position, newest first: what a new device loads.

The log moves on while pages are asked for, and with it the projections. So the workouts of a position `at`
come from two sides, which together are each of them once:

    unchanged   no record after `at`: the projections' row is true at `at`, as is its cached state
    moved       records on both sides of `at`: whoever asks folds them from the log up to `at`

A place in the order is (happened_at, workout), as that was at `at`: it never changes, so a page can be
asked for again. The projections must hold everything up to `at`.

A cached state counts only when this version of the fold made it; otherwise it is as good as missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, and_, exists, literal, select, tuple_

from fitai.persistence.database import ReadSession
from fitai.persistence.models import Id, RecordRow, Snapshot, WorkoutRow
from fitai.sync import version


class Place(NamedTuple):
    """Where a workout stands among all, by when it happened (Unix ms); later ones come first."""

    happened_at: int
    workout: str


class Unchanged(NamedTuple):
    """A workout without records after the position; `document` is its state, None when it is not cached."""

    place: Place
    document: dict[str, Any] | None


def mark() -> int:
    """What this version of the fold marks its rows with (`Snapshot.mark`); older ones' are greater."""
    return -version.FOLD_VERSION


class Snapshots:
    """Questions about a stream's workouts at a position, asked in one session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def unchanged(self, stream: int, at: int, after: Place | None, limit: int) -> list[Unchanged]:
        """At most `limit` workouts without records past `at`, in order, those that follow `after`."""
        cached = and_(
            Snapshot.stream == WorkoutRow.stream,
            Snapshot.workout == WorkoutRow.workout,
            Snapshot.seq == WorkoutRow.seq,
            Snapshot.mark == mark(),
        )
        query = (
            select(WorkoutRow.happened_at, WorkoutRow.workout, Snapshot.document)
            .outerjoin(Snapshot, cached)
            .where(WorkoutRow.stream == stream, WorkoutRow.seq <= at)
            .order_by(WorkoutRow.happened_at.desc(), WorkoutRow.workout.desc())
            .limit(limit)
        )
        if after is not None:
            here = tuple_(literal(after.happened_at, BigInteger), literal(after.workout, Id))
            query = query.where(here > tuple_(WorkoutRow.happened_at, WorkoutRow.workout))
        rows = (await self._session.execute(query)).all()
        return [Unchanged(Place(happened, workout), document) for happened, workout, document in rows]

    async def moved(self, stream: int, at: int) -> Sequence[str]:
        """The workouts that had records at `at` and have had more since."""
        began = exists().where(
            RecordRow.stream == stream,
            RecordRow.workout == WorkoutRow.workout,
            RecordRow.rev == 1,
            RecordRow.seq <= at,
        )
        query = select(WorkoutRow.workout).where(WorkoutRow.stream == stream, WorkoutRow.seq > at, began)
        return (await self._session.execute(query)).scalars().all()
