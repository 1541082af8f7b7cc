"""Workouts that are shown as one with another, of many people at once: read for those who follow a workout of
somebody without being their host.

A workout may be merged into another, and others into it (`fitai.engine.combine`). Its **family** are all that
merging ever tied it to: what of that holds now, their folds tell. The projections know old ties, the records
that they do not hold yet may have made new ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import select

from fitai.engine.combine import ALIASING
from fitai.engine.ops import Record
from fitai.persistence.database import ReadSession
from fitai.persistence.log import Log
from fitai.persistence.models import RecordRow, Stream, WorkoutRow

Ties = dict[str, set[str]]


class Family(NamedTuple):
    """The records of a workout and of all that merging tied it to, as the log was at (epoch, head)."""

    stream: int
    epoch: str
    head: int
    records: Mapping[str, Sequence[Record]]


class _Stream(NamedTuple):
    id: int
    epoch: str
    head: int


async def read_families(session: ReadSession, wanted: Sequence[tuple[str, str]]) -> list[Family | None]:
    """The families of these (user, workout), in one picture of the data; None for a user who is gone. At most
    some hundred at once."""
    streams = await _streams(session, {user for user, _ in wanted})
    ties = await _ties(session, [stream.id for stream in streams.values()])
    read: dict[tuple[int, str], list[Record]] = {}
    while missing := _missing(wanted, streams, ties, read):
        for place, records in zip(missing, await Log(session).workouts_records(missing), strict=True):
            read[place] = records
            for record in records:
                _tie(ties[place[0]], record)
    return [
        None
        if (stream := streams.get(user)) is None
        else Family(*stream, {name: read[stream.id, name] for name in _family(ties[stream.id], workout)})
        for user, workout in wanted
    ]


async def read_revs(session: ReadSession, wanted: Sequence[tuple[str, str]]) -> list[int]:
    """How many records the families of these (user, workout) have: another number when anything of them has
    changed; 0 without any."""
    streams = await _streams(session, {user for user, _ in wanted})
    ties = await _ties(session, [stream.id for stream in streams.values()])
    places = [
        [(stream.id, name) for name in _family(ties[stream.id], workout)]
        if (stream := streams.get(user)) is not None
        else []
        for user, workout in wanted
    ]
    revs = await Log(session).places_revs([place for its in places for place in its])
    return [sum(revs.get(place, 0) for place in its) for its in places]


def _missing(
    wanted: Iterable[tuple[str, str]],
    streams: Mapping[str, _Stream],
    ties: Mapping[int, Ties],
    read: Mapping[tuple[int, str], object],
) -> list[tuple[int, str]]:
    """What is still to be read, as far as the ties tell that are known so far."""
    places = {
        (stream.id, name)
        for user, workout in wanted
        if (stream := streams.get(user)) is not None
        for name in _family(ties[stream.id], workout)
    }
    return sorted(places - read.keys())


def _family(ties: Ties, workout: str) -> set[str]:
    """A workout and all that it is tied to, over others too."""
    found, ahead = {workout}, [workout]
    while ahead:
        news = ties.get(ahead.pop(), set()) - found
        found |= news
        ahead += news
    return found


def _tie(ties: Ties, record: Record) -> None:
    into = record.op.value.get("into") if record.op.kind == "workout.merge" else None
    if isinstance(into, str):
        _knot(ties, record.op.workout, into.lower())


def _knot(ties: Ties, one: str, other: str) -> None:
    ties.setdefault(one, set()).add(other)
    ties.setdefault(other, set()).add(one)


async def _streams(session: ReadSession, users: Iterable[str]) -> dict[str, _Stream]:
    query = select(Stream.owner, Stream.id, Stream.epoch, Stream.head).where(Stream.owner.in_(list(users)))
    return {
        owner: _Stream(stream, epoch, head)
        for owner, stream, epoch, head in (await session.execute(query)).all()
    }


async def _ties(session: ReadSession, streams: Sequence[int]) -> dict[int, Ties]:
    """What merging tied together: by the projections, and by the records that they do not hold yet."""
    ties: dict[int, Ties] = defaultdict(dict)
    merged = select(WorkoutRow.stream, WorkoutRow.workout, WorkoutRow.merged_into).where(
        WorkoutRow.stream.in_(streams), WorkoutRow.merged_into.is_not(None)
    )
    for stream, workout, into in (await session.execute(merged)).all():
        if into is not None:
            _knot(ties[stream], workout, into)
    fresh = (
        select(RecordRow.stream, RecordRow.workout)
        .join(Stream, Stream.id == RecordRow.stream)
        .where(RecordRow.stream.in_(streams), RecordRow.seq > Stream.projected, RecordRow.kind.in_(ALIASING))
        .distinct()
    )
    places = [(stream, workout) for stream, workout in (await session.execute(fresh)).all()]
    for place, records in zip(places, await Log(session).workouts_records(places), strict=True):
        for record in records:
            _tie(ties[place[0]], record)
    return ties
