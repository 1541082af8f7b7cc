"""Reading the log: streams, records, and where each device stands.

Everything reads in the caller's session, so that several questions get answers from one picture of the
data (`async with db.read() as session: log = Log(session)`). Writing is `fitai.persistence.append`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Select, bindparam, desc, func, literal_column, select, text, tuple_

from fitai.engine.ops import Dot, Op, Record, Verdict
from fitai.persistence.database import ReadSession
from fitai.persistence.models import Device, RecordRow, Stream, clean
from fitai.sync.log import Position
from fitai.sync.wire import hash_of, normal

_NAMES = 500  # names of records in one question; the databases bound their parameters and the depth of an OR
_DEPTH = 64  # deeper than any op that was ever accepted
_NAMED = 500  # workouts in one question: databases bound how much a statement may name

Place = tuple[int, str]
"""A stream, and a workout in it."""

# The newest record of each device, one index seek per device: the recursion steps from device to device.
_POSITIONS = text(
    """
    WITH RECURSIVE authors(device) AS (
        SELECT min(device) FROM records WHERE stream = :stream
        UNION ALL
        SELECT (SELECT min(device) FROM records WHERE stream = :stream AND device > authors.device)
        FROM authors WHERE authors.device IS NOT NULL
    )
    SELECT r.device, r.n, r.base, r.beyond, r.te
    FROM authors JOIN records r ON r.stream = :stream AND r.device = authors.device
        AND r.n = (SELECT max(n) FROM records WHERE stream = :stream AND device = authors.device)
    """
)

_STANDINGS = {
    "sqlite": text("SELECT id, epoch, head FROM streams WHERE id IN (SELECT value FROM json_each(:ids))"),
    "postgresql": text(
        "SELECT id, epoch, head FROM streams"
        " WHERE id IN (SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST(:ids AS json)))"
    ),
}

# Receipt times never go back within a stream: halving the span in which the last record up to a moment lies
# asks for twenty rows in a log of a million.
_SINCE = text(
    """
    WITH RECURSIVE span(low, high) AS (
        SELECT head - head, head FROM streams WHERE id = :stream
        UNION ALL
        SELECT CASE WHEN r.rt <= :moment THEN r.seq ELSE span.low END,
            CASE WHEN r.rt <= :moment THEN span.high ELSE r.seq - 1 END
        FROM span JOIN records r ON r.stream = :stream AND r.seq = (span.low + span.high + 1) / 2
        WHERE span.low < span.high
    )
    SELECT max(high) - max(low) FROM span
    """
)


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A stream: its id, owner (UUID), epoch, last seq, how far its projections are, and the receipt time
    (Unix ms) of its last record."""

    id: int
    owner: str
    epoch: str
    head: int
    projected: int
    last_rt: int


class Log:
    """Questions about streams and their records, asked in one session."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def stream_of(self, owner: str) -> StreamRow | None:
        """The stream of a user; None when there is no such user."""
        return await self._stream(_STREAM_OF, {"owner": owner})

    async def stream(self, stream: int) -> StreamRow | None:
        """A stream by its id."""
        return await self._stream(_STREAM_BY_ID, {"stream": stream})

    async def heads(self, streams: Iterable[int]) -> dict[int, int]:
        """{stream: head} of those that exist."""
        ids = list(streams)
        rows = await self._session.execute(select(Stream.id, Stream.head).where(Stream.id.in_(ids)))
        return {row.id: row.head for row in rows.all()}

    async def standings(self, streams: Iterable[int]) -> dict[int, tuple[str, int]]:
        """{stream: (epoch, head)} of those that exist. Many streams cost one parameter, not one each."""
        ids = orjson.dumps(list(streams)).decode()
        rows = await self._session.execute(_STANDINGS[self._session.get_bind().dialect.name], {"ids": ids})
        return {stream: (epoch, head) for stream, epoch, head in rows.all()}

    async def count_since(self, stream: int, moment: int) -> int:
        """How many records came in after a moment, Unix ms."""
        parameters = {"stream": stream, "moment": moment}
        return (await self._session.execute(_SINCE, parameters)).scalar_one_or_none() or 0

    async def device_positions(self, stream: int) -> dict[int, Position]:
        """Where each device stands that ever wrote to the stream, and where each fork starts that did not."""
        rows = await self._session.execute(_POSITIONS, {"stream": stream})
        positions = {
            device: Position(n + 1, base, _beyond(None if beyond is None else orjson.loads(beyond)), te)
            for device, n, base, beyond, te in rows.all()
        }
        for device in (await self._session.execute(_FORKS, {"stream": stream})).scalars():
            if device not in positions:
                positions[device] = await self._start(stream, device)
        return positions

    async def device_position(self, stream: int, device: int) -> Position:
        """Where one device stands, or starts when it has written nothing."""
        its = _RECORD.where(RecordRow.stream == stream, RecordRow.device == device)
        last = await self._records(its.order_by(desc(RecordRow.n)).limit(1))
        if not last:
            return await self._start(stream, device)
        return Position(last[0].op.n + 1, last[0].base, last[0].beyond, last[0].te)

    async def _start(self, stream: int, device: int) -> Position:
        """Where a device begins: at nothing, or, as a fork, with all that its parent had written and seen
        below the op at which the two part. A parent without such an op passes its own start on."""
        found = _enrolled(stream, Device.parent, Device.forked_at).where(Device.id == device)
        row = (await self._session.execute(found)).one_or_none()
        if row is None or row.forked_at is None:
            return Position()
        last = await self.find(stream, row.parent, row.forked_at - 1, row.forked_at - 1)
        if not last:
            return await self._start(stream, row.parent)
        seen = {**(last[0].beyond or {}), row.parent: row.forked_at - 1}
        return Position(1, last[0].base, seen, last[0].te)

    async def read(self, stream: int, after: int, limit: int) -> list[Record]:
        """At most `limit` records with seq > `after`, in seq order."""
        return await self._records(
            _RECORD.where(RecordRow.stream == stream, RecordRow.seq > after)
            .order_by(RecordRow.seq)
            .limit(limit)
        )

    async def workout_records(
        self, stream: int, workout: str, after_rev: int = 0, upto: int | None = None
    ) -> list[Record]:
        """All records of one workout with rev > `after_rev`, of those with seq <= `upto`, in order."""
        query = _RECORD.where(
            RecordRow.stream == stream, RecordRow.workout == workout, RecordRow.rev > after_rev
        )
        if upto is not None:
            query = query.where(RecordRow.seq <= upto)
        return await self._records(query.order_by(RecordRow.rev))

    async def workouts_records(self, places: Sequence[Place]) -> list[list[Record]]:
        """All records of each of these workouts, of any streams, in order; an empty list for one that has
        none."""
        found: dict[Place, list[Record]] = {place: [] for place in places}
        statement = _OF_WORKOUTS[self._session.get_bind().dialect.name]
        named = orjson.dumps(list(found)).decode()
        for stream, *row in (await self._session.execute(statement, {"places": named})).all():
            record = _record(row)
            found[stream, record.op.workout].append(record)
        return [found[place] for place in places]

    async def voids(self, stream: int, below: int | None, limit: int) -> list[Record]:
        """At most `limit` records that were refused, with seq < `below`, the newest first."""
        query = _RECORD.where(RecordRow.stream == stream, _IS_VOID)
        if below is not None:
            query = query.where(RecordRow.seq < below)
        return await self._records(query.order_by(desc(RecordRow.seq)).limit(limit))

    async def find(self, stream: int, device: int, n_from: int, n_to: int) -> list[Record]:
        """A device's records with n_from <= n <= n_to, in order of n."""
        return await self._records(
            _RECORD.where(
                RecordRow.stream == stream, RecordRow.device == device, RecordRow.n.between(n_from, n_to)
            ).order_by(RecordRow.n)
        )

    async def firsts(self, stream: int, after: int) -> dict[int, int]:
        """{device: the counter of its first record with seq > `after`}."""
        query = (
            select(RecordRow.device, func.min(RecordRow.n).label("n"))
            .where(RecordRow.stream == stream, RecordRow.seq > after)
            .group_by(RecordRow.device)
        )
        return {row.device: row.n for row in (await self._session.execute(query)).all()}

    async def places(self, stream: int, dots: Iterable[Dot]) -> dict[Dot, int]:
        """The seqs of records by name, of those that are in the log."""
        named = sorted(set(dots))
        query = select(RecordRow.seq, RecordRow.device, RecordRow.n).where(RecordRow.stream == stream)
        places: dict[Dot, int] = {}
        for start in range(0, len(named), _NAMES):
            some = named[start : start + _NAMES]
            rows = await self._session.execute(
                query.where(tuple_(RecordRow.device, RecordRow.n).in_([tuple(dot) for dot in some]))
            )
            places |= {Dot(device, n): seq for seq, device, n in rows.all()}
        return places

    async def revs(self, stream: int, workouts: Iterable[str]) -> dict[str, int]:
        """{workout: its last rev}, of those that have records."""
        query = (
            select(RecordRow.workout, func.max(RecordRow.rev).label("rev"))
            .where(RecordRow.stream == stream, RecordRow.workout.in_(list(workouts)))
            .group_by(RecordRow.workout)
        )
        return {row.workout: row.rev for row in (await self._session.execute(query)).all()}

    async def places_revs(self, places: Iterable[Place]) -> dict[Place, int]:
        """{(stream, workout): its last rev} of workouts of any streams, of those that have records."""
        statement = _REVS[self._session.get_bind().dialect.name]
        named = orjson.dumps(list(places)).decode()
        rows = (await self._session.execute(statement, {"places": named})).all()
        return {(stream, workout): rev for stream, workout, rev in rows if rev is not None}

    async def _stream(self, query: Select[*tuple[Any, ...]], named: Mapping[str, Any]) -> StreamRow | None:
        row = (await self._session.execute(query, named)).one_or_none()
        return None if row is None else StreamRow(*row)

    async def _records(self, query: Select[*tuple[Any, ...]]) -> list[Record]:
        return [_record(row) for row in (await self._session.execute(query)).all()]


_STREAM = select(Stream.id, Stream.owner, Stream.epoch, Stream.head, Stream.projected, Stream.last_rt)
_STREAM_OF = _STREAM.where(Stream.owner == bindparam("owner"))
_STREAM_BY_ID = _STREAM.where(Stream.id == bindparam("stream"))
_FORKS = text(
    "SELECT d.id FROM devices AS d JOIN streams AS s ON s.owner = d.user_id"
    " WHERE s.id = :stream AND d.forked_at IS NOT NULL"
)
_RECORD = select(
    RecordRow.seq,
    RecordRow.device,
    RecordRow.n,
    RecordRow.workout,
    RecordRow.rev,
    RecordRow.base,
    RecordRow.beyond,
    RecordRow.te,
    RecordRow.rt,
    RecordRow.verdict,
    RecordRow.code,
    RecordRow.detail,
    RecordRow.hash,
    RecordRow.body,
)

# Few workouts of long logs mostly: the records are to be looked up by the wanted, not the other way round.
_WANTED = {
    "sqlite": "SELECT json_extract(value, '$[0]') AS stream, json_extract(value, '$[1]') AS workout"
    " FROM json_each(:places)",
    "postgresql": "SELECT CAST(value->>0 AS bigint) AS stream, CAST(value->>1 AS uuid) AS workout"
    " FROM json_array_elements(CAST(:places AS json))",
}
_OF_WORKOUTS = {
    dialect: text(
        f"SELECT r.stream, {', '.join(f'r.{column.name}' for column in _RECORD.selected_columns)}"
        f" FROM ({wanted}) AS w CROSS JOIN records AS r"
        " WHERE r.stream = w.stream AND r.workout = w.workout ORDER BY r.stream, r.workout, r.rev"
    ).columns(RecordRow.stream, *_RECORD.selected_columns)
    for dialect, wanted in _WANTED.items()
}

_REVS = {
    dialect: text(
        "SELECT w.stream, w.workout, (SELECT max(r.rev) FROM records AS r"
        f" WHERE r.stream = w.stream AND r.workout = w.workout) FROM ({wanted}) AS w"
    ).columns(RecordRow.stream, RecordRow.workout, RecordRow.rev)
    for dialect, wanted in _WANTED.items()
}

# In words and not as a parameter, so that the planner sees that the index of the void records serves it.
_IS_VOID = RecordRow.verdict == literal_column("'void'")


def _enrolled(stream: int, *columns: Any) -> Select[*tuple[Any, ...]]:
    """Columns of the devices of a stream's owner."""
    return select(*columns).join(Stream, Stream.owner == Device.user_id).where(Stream.id == stream)


# The columns of a row that `row_of` makes, in its order.
COLUMNS = (
    "stream",
    "seq",
    "device",
    "n",
    "workout",
    "rev",
    "kind",
    "base",
    "beyond",
    "te",
    "rt",
    "verdict",
    "code",
    "detail",
    "hash",
    "body",
)


def row_of(stream: int, record: Record) -> tuple[Any, ...]:
    """The record as a row of `COLUMNS`; raises TypeError when its op is not plain JSON."""
    op = record.op
    return (
        stream,
        record.seq,
        record.device,
        op.n,
        op.workout,
        record.rev,
        clean(op.kind),
        record.base,
        None if record.beyond is None else orjson.dumps(record.beyond, option=orjson.OPT_NON_STR_KEYS),
        record.te,
        record.rt,
        record.verdict.value,
        record.code,
        None if record.detail is None else orjson.dumps(record.detail),
        hash_of(record),
        orjson.dumps(op.raw),
    )


def record_of(row: Sequence[Any]) -> Record:
    """The record of a row that `row_of` made: the same as reading it from the log gives."""
    _, seq, device, n, workout, rev, _, base, beyond, te, rt, verdict, code, detail, hash_, body = row
    beyond = None if beyond is None else orjson.loads(beyond)
    detail = None if detail is None else orjson.loads(detail)
    return _record((seq, device, n, workout, rev, base, beyond, te, rt, verdict, code, detail, hash_, body))


def _record(row: Sequence[Any]) -> Record:
    seq, device, n, workout, rev, base, beyond, te, rt, verdict, code, detail, hash_, body = row
    return Record(
        op=_op(orjson.loads(body), n, workout),
        seq=seq,
        rev=rev,
        device=device,
        base=base,
        beyond=_beyond(beyond),
        te=te,
        rt=rt,
        verdict=Verdict(verdict),
        code=code,
        detail=detail,
        hash=bytes(hash_),
    )


def _op(raw: dict[str, Any], n: int, workout: str) -> Op:
    """The typed op of a body that was accepted once, decoded as `sync.wire` decodes what arrives."""
    clean_op: dict[str, Any] = normal(raw, _DEPTH)
    clock = clean_op.get("clock")
    entity = clean_op.get("entity")
    return Op(
        n=n,
        base=clean_op.get("base") if clock is None else None,
        clock=None if clock is None else {int(device): seen for device, seen in clock.items()},
        kind=clean_op["kind"],
        workout=workout,
        entity=None if entity is None else entity.lower(),
        value=clean_op.get("value") or {},
        at=clean_op["at"],
        v=clean_op.get("v") or 1,
        raw=raw,
    )


def _beyond(document: Mapping[str, int] | None) -> dict[int, int] | None:
    return None if document is None else {int(device): n for device, n in document.items()}


def same_place(a: Sequence[Record], b: Sequence[Record]) -> bool:
    """Whether two runs of records are the same ones at the same places, decided in the same way."""
    return [_place(record) for record in a] == [_place(record) for record in b]


def _place(record: Record) -> tuple[Any, ...]:
    return (
        record.seq,
        record.dot,
        record.rev,
        record.base,
        record.te,
        record.rt,
        record.verdict,
        hash_of(record),
    )
