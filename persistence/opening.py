"""What a session host needs before it can do anything, in one picture of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from fitai.engine.combine import ALIASING
from fitai.persistence.database import ReadSession
from fitai.persistence.log import Log, StreamRow
from fitai.persistence.snapshots import mark
from fitai.persistence.workouts import Merge, Workouts
from fitai.sync.log import Position

# Whether a stale workout was merged is asked for each, mostly none: the log has no index of kinds.
_KINDS = ", ".join(f"'{kind}'" for kind in sorted(ALIASING))
_TOUCHED = text(
    f"""
    SELECT CAST(workout AS text), max(aliasing) FROM (
        SELECT r.workout AS workout, CASE WHEN r.kind IN ({_KINDS}) THEN 1 ELSE 0 END AS aliasing
        FROM records AS r JOIN streams AS s ON s.id = r.stream
        WHERE r.stream = :stream AND r.seq > s.projected
        UNION ALL
        SELECT c.workout, CASE WHEN EXISTS (
            SELECT 1 FROM records AS r
            WHERE r.stream = :stream AND r.workout = c.workout AND r.kind IN ({_KINDS})
        ) THEN 1 ELSE 0 END
        FROM snapshots AS c WHERE c.stream = :stream AND c.rev > :mark
    ) AS found GROUP BY workout ORDER BY 1
    """
)


@dataclass(frozen=True, slots=True)
class Opening:
    """A user's stream as it is now.

    positions  where each of its devices stands
    lately     how many records came in since the moment that was asked about
    merges     the merged workouts, by the projections
    touched    the workouts that the projections do not hold as they are (see `touched`)
    """

    stream: StreamRow
    positions: Mapping[int, Position]
    lately: int
    merges: Sequence[Merge]
    touched: Mapping[str, bool]


async def read_opening(session: ReadSession, user: str, since: int | None) -> Opening | None:
    """What a user's stream is opened with; None when there is no such user. Records are counted from `since`
    on, Unix ms, if at all."""
    log = Log(session)
    stream = await log.stream_of(user)
    if stream is None:
        return None
    counted = since is not None and stream.last_rt > since
    return Opening(
        stream,
        await log.device_positions(stream.id),
        await log.count_since(stream.id, since) if counted and since is not None else 0,
        await Workouts(session).merges(stream.id),
        await touched(session, stream.id),
    )


async def touched(session: ReadSession, stream: int) -> dict[str, bool]:
    """The workouts that the projections do not hold as they are, by name: those with records after the
    watermark, and those that an older version of the fold wrote. True where such records, of a stale one any,
    may have merged it with another."""
    rows = await session.execute(_TOUCHED, {"stream": stream, "mark": mark()})
    return {workout: bool(aliasing) for workout, aliasing in rows.all()}
