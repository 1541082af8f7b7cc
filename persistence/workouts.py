"""Reading the projections: lists, snapshots, and which workouts need the server next.

What is read here follows the log by a moment (`streams.projected` says how far); what must be exact is
asked of the session host instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Select,
    Tuple,
    and_,
    bindparam,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.orm import aliased

from fitai.engine import combine
from fitai.engine.timers import IDLE_MS
from fitai.persistence import cursors
from fitai.persistence.database import ReadSession
from fitai.persistence.models import (
    HAS_TEMPLATE,
    IS_LONG,
    IS_OPEN,
    Id,
    SetRow,
    Snapshot,
    Stream,
    User,
    WorkoutRow,
    clean,
)
from fitai.persistence.snapshots import mark

_DAY_MS = 86_400_000  # as in IS_LONG


@dataclass(frozen=True, slots=True)
class WorkoutSummary:
    """A workout as lists show it. Times in Unix ms; `happened_at` is when it was started, else created;
    `sets` counts done sets without warm-ups; `volume_ug` is their volume in micrograms."""

    id: str
    status: str
    phase: str | None
    title: str | None
    template: str | None
    happened_at: int
    created_at: int | None
    started_at: int | None
    ended_at: int | None
    updated_at: int | None
    rev: int
    seq: int
    exercises: int
    sets: int
    volume_ug: int


@dataclass(frozen=True, slots=True)
class Page:
    """Summaries, newest first, and the cursor of the next page (None on the last)."""

    items: Sequence[WorkoutSummary]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class StoredState:
    """The state document of a workout, true at position `seq` of its stream."""

    seq: int
    rev: int
    document: dict[str, Any]


class Merge(NamedTuple):
    """A workout that is merged into another; `there`: that one was created and is not removed."""

    workout: str
    into: str
    there: bool


class Workouts:
    """Questions about the projected workouts of a stream, asked in one session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def list(
        self,
        stream: int,
        *,
        status: str | None = None,
        since: int | None = None,
        until: int | None = None,
        exercise: str | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> Page:
        """Workouts that exist and are not removed, newest first by when they happened; merged ones as parts
        of those that show them.

        status, exercise  only those in this status, with a set of this exercise
        since, until      only those with since <= happened_at < until, Unix ms
        Raises cursors.BadCursor.
        """
        parts = await self._parts(stream)
        query = _SUMMARY.where(
            WorkoutRow.stream == stream,
            WorkoutRow.created,
            ~WorkoutRow.removed,
            WorkoutRow.workout.not_in(parts),
        )
        if status is not None:
            query = query.where(WorkoutRow.status == status)
        if since is not None:
            query = query.where(WorkoutRow.happened_at >= since)
        if until is not None:
            query = query.where(WorkoutRow.happened_at < until)
        if exercise is not None:
            holders = {parts[name] for name in await self._holding(stream, exercise, parts)}
            query = query.where(or_(_has_set_of(stream, exercise), WorkoutRow.workout.in_(holders)))
        if cursor is not None:
            query = query.where(_read_cursor(cursor) > _PLACE)
        newest_first = query.order_by(WorkoutRow.happened_at.desc(), WorkoutRow.workout.desc())
        rows = (await self._session.execute(newest_first.limit(limit + 1))).all()
        items = [WorkoutSummary(*row) for row in rows[:limit]]
        following = _cursor(items[-1]) if len(rows) > limit else None
        return Page(await self._whole(stream, items, parts), following)

    async def get(self, stream: int, workout: str) -> WorkoutSummary | None:
        """One workout, unless it was never created or is removed."""
        query = _SUMMARY.where(
            WorkoutRow.stream == stream,
            WorkoutRow.workout == workout,
            WorkoutRow.created,
            ~WorkoutRow.removed,
        )
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else WorkoutSummary(*row)

    async def snapshot(self, stream: int, workout: str) -> StoredState | None:
        """The cached state document of a workout, whatever its state; None too when another version of the
        fold made it."""
        found = await self._session.get(Snapshot, (stream, workout))
        if found is None or found.mark != mark():
            return None
        return StoredState(found.seq, found.document["rev"], found.document)

    async def open_ids(self, stream: int) -> Sequence[str]:
        """The workouts that are going on: active or paused, not removed."""
        query = select(WorkoutRow.workout).where(WorkoutRow.stream == stream, IS_OPEN, ~WorkoutRow.removed)
        return (await self._session.execute(query)).scalars().all()

    async def merges(self, stream: int) -> Sequence[Merge]:
        """All workouts that are merged into another, which may be merged in its turn."""
        rows = (await self._session.execute(_MERGES, {"stream": stream})).all()
        return [Merge(workout, into, there) for workout, into, there in rows if into is not None]

    async def overlapping(self, stream: int, template: str, since: int, until: int) -> Sequence[str]:
        """Workouts of this template that were going on between two moments (Unix ms), as far as is known:
        one without an end until a while after its last op.

        Most began within the day before; the few that went on for longer have an index of their own.
        """
        ended = func.coalesce(WorkoutRow.ended_at, WorkoutRow.updated_at + IDLE_MS)
        query = select(WorkoutRow.workout).where(
            WorkoutRow.stream == stream,
            WorkoutRow.template == clean(template),
            WorkoutRow.created,
            ~WorkoutRow.removed,
            WorkoutRow.started_at <= until,
            ended >= since,
        )
        lately = query.where(HAS_TEMPLATE, WorkoutRow.started_at >= since - _DAY_MS)
        found = await self._session.execute(lately.union(query.where(IS_LONG)))
        return sorted(found.scalars())

    async def changed_after(self, stream: int, after: int, limit: int) -> Sequence[str]:
        """At most `limit` workouts with records past a position, those that changed last first."""
        query = (
            select(WorkoutRow.workout)
            .where(WorkoutRow.stream == stream, WorkoutRow.seq > after)
            .order_by(WorkoutRow.seq.desc())
            .limit(limit)
        )
        return (await self._session.execute(query)).scalars().all()

    async def due(self, until: int, limit: int) -> Sequence[tuple[str, str, int]]:
        """(user, workout, due_at) of at most `limit` workouts of all users that are due by `until` (Unix
        ms), the most overdue first."""
        query = (
            select(Stream.owner, WorkoutRow.workout, WorkoutRow.due_at)
            .join(Stream, Stream.id == WorkoutRow.stream)
            .join(User, User.id == Stream.owner)
            .where(WorkoutRow.due_at <= until)
            .order_by(WorkoutRow.due_at)
            .limit(limit)
        )
        rows = (await self._session.execute(query)).all()
        return [(owner, workout, due_at) for owner, workout, due_at in rows if due_at is not None]

    async def _parts(self, stream: int) -> dict[str, str]:
        """{workout: the one that shows it}, of those that are shown in another one."""
        aliases = {one.workout: one.into for one in await self.merges(stream) if one.there}
        roots = {name: combine.root(aliases, name) for name in aliases}
        return {name: root for name, root in roots.items() if name != root}

    async def _holding(self, stream: int, exercise: str, workouts: Iterable[str]) -> Sequence[str]:
        """Those of the workouts that have a set of an exercise."""
        query = select(SetRow.workout).where(
            SetRow.stream == stream, SetRow.exercise == clean(exercise), SetRow.workout.in_(list(workouts))
        )
        return (await self._session.execute(query.distinct())).scalars().all()

    async def _whole(
        self, stream: int, items: Sequence[WorkoutSummary], parts: Mapping[str, str]
    ) -> Sequence[WorkoutSummary]:
        """The summaries with what was merged into them."""
        wanted = {item.id for item in items}
        names = [name for name, root in parts.items() if root in wanted]
        if not names:
            return items
        query = _SUMMARY.where(
            WorkoutRow.stream == stream,
            WorkoutRow.workout.in_(names),
            WorkoutRow.created,
            ~WorkoutRow.removed,
        )
        whole = {item.id: item for item in items}
        for row in (await self._session.execute(query)).all():
            part = WorkoutSummary(*row)
            whole[parts[part.id]] = _joined(whole[parts[part.id]], part)
        return [whole[item.id] for item in items]


def _joined(item: WorkoutSummary, part: WorkoutSummary) -> WorkoutSummary:
    """As `combine.combined` joins the workouts."""
    begun = [at for at in (item.started_at, part.started_at) if at is not None]
    ended = [at for at in (item.ended_at, part.ended_at) if at is not None]
    return replace(
        item,
        started_at=min(begun, default=None),
        ended_at=None if item.ended_at is None else max(ended),
        exercises=item.exercises + part.exercises,
        sets=item.sets + part.sets,
        volume_ug=item.volume_ug + part.volume_ug,
    )


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PLACE = tuple_(WorkoutRow.happened_at, WorkoutRow.workout)
_SUMMARY: Select[*tuple[Any, ...]] = select(
    WorkoutRow.workout,
    WorkoutRow.status,
    WorkoutRow.phase,
    WorkoutRow.title,
    WorkoutRow.template,
    WorkoutRow.happened_at,
    WorkoutRow.created_at,
    WorkoutRow.started_at,
    WorkoutRow.ended_at,
    WorkoutRow.updated_at,
    WorkoutRow.rev,
    WorkoutRow.seq,
    WorkoutRow.exercises,
    WorkoutRow.sets,
    WorkoutRow.volume_ug,
)


_STREAM: BindParameter[int] = bindparam("stream")
_OTHER = aliased(WorkoutRow)
_THERE = and_(
    _OTHER.stream == _STREAM, _OTHER.workout == WorkoutRow.merged_into, _OTHER.created, ~_OTHER.removed
)
_MERGES = (
    select(WorkoutRow.workout, WorkoutRow.merged_into, _OTHER.workout.is_not(None))
    .outerjoin(_OTHER, _THERE)
    .where(WorkoutRow.stream == _STREAM, WorkoutRow.merged_into.is_not(None))
)


def _has_set_of(stream: int, exercise: str) -> Any:
    return exists().where(
        SetRow.stream == stream, SetRow.exercise == exercise, SetRow.workout == WorkoutRow.workout
    )


def _cursor(last: WorkoutSummary) -> str:
    return cursors.write(last.happened_at, last.id)


def _read_cursor(cursor: str) -> Tuple:
    match cursors.read(cursor):
        case [int() as happened_at, str() as workout] if abs(happened_at) < 2**62 and _UUID.fullmatch(
            workout
        ):
            return tuple_(literal(happened_at, BigInteger), literal(workout, Id))
    raise cursors.BadCursor
