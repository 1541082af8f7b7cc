"""Appending to the log: group commit.

Appends of all users that are waiting go down in **one transaction**, so a commit's cost, the disk, is
shared by everyone who waits for it. A lone one goes at once; under load those that come during a transaction
make up the next. Within it every stream goes down whole or not at all:

1. The heads are moved by compare-and-set, all streams in one statement, in stream order. Whoever's `seen`
   is no longer the head has lost to another node: `HeadMoved`. So has who knows the log by another epoch: it
   was restored, and an equal head means nothing. The database alone arbitrates.
2. Rows are written for the winners only, and the keys (stream, seq), (stream, device, n) and
   (stream, workout, rev) would refuse what the arithmetic let through. On PostgreSQL that is the same
   statement (`fitai.persistence.batches`), and where there is nothing else to write it commits by itself: no
   node is ever paused with the locks of an append held.
3. Commit, and only then does `append` return.

One user's trouble stays that user's:

- a clash fails that append, the rest of the transaction stands;
- a row that the database refuses rolls everything back, then each half of the streams goes down by itself,
  and so on until only the bad one fails (`BadRow`);
- a stream that another transaction holds, a paused node's maybe, is passed over (PostgreSQL) and tried again
  until the append's own patience ends, at growing distances, while others go on;
- a row of another transaction that a companion must wait for is waited for briefly and found in the same way
  as a bad one; from then on that append is tried alone.

When the database is away, appends wait for it, each up to the appender's patience, then get
`Unavailable`. When the connection is lost *during* the commit nobody knows the outcome: before anything
is answered or tried again, the log is read by (stream, device, n) under the streams' locks, which are only
free once the lost transaction has ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import Table, insert, select

from fitai.engine.ops import Record
from fitai.persistence import tracing
from fitai.persistence.batches import STATEMENTS, Fate, Move, Row
from fitai.persistence.database import CommitUnknown, Database, Locked, Unavailable, WriteSession
from fitai.persistence.log import Log, row_of, same_place
from fitai.persistence.meters import APPEND_FATES, APPEND_ROWS, APPEND_STREAMS, APPEND_TIME, APPEND_WAIT
from fitai.persistence.models import Stream

if TYPE_CHECKING:
    from opentelemetry.trace import Span

# Unavailable is the database's word for it, and one of the answers of `append`.
__all__ = ["Append", "Appender", "BadRow", "Companion", "HeadMoved", "Unavailable"]

logger = structlog.get_logger(__name__)

RETRY_S = (0.05, 1.0)  # first and longest pause between attempts while the database is away
BUSY_RETRY_S = (0.005, 0.25)  # the same for a stream that another transaction holds


class HeadMoved(Exception):
    """Somebody else appended to the stream: read the missing tail, place again, append again. Or the log is
    another one now: then its epoch is."""


class BadRow(Exception):
    """The database refused a row of this append; its cause says why. Nothing of the append is stored."""


@dataclass(frozen=True, slots=True)
class Companion:
    """A row of another table that is written in the same transaction, for this append only."""

    table: Table
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Append:
    """Records for one stream, as one unit.

    epoch       of the log that the records were placed in
    seen        the head on which the records' places were computed
    records     at least one, with seq = seen + 1, seen + 2, …
    companions  rows that are stored with them or not at all
    also        what else is written in their transaction, maybe more than once: one that fails rolls it back
    rows        the records as they are stored

    Raises BadRow for an op that is not JSON, ValueError for seqs that do not follow.
    """

    stream: int
    epoch: str
    seen: int
    records: Sequence[Record]
    companions: Sequence[Companion] = ()
    also: Callable[[WriteSession], Awaitable[None]] | None = None
    rows: Sequence[Row] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", _rows(self))

    @property
    def writes_more(self) -> bool:
        """Whether other tables than the log's are written with it."""
        return bool(self.companions) or self.also is not None


@dataclass(slots=True, eq=False)
class _Waiting:
    """An append in the queue.

    unsure    a commit with it in has an unknown outcome
    alone     it had to wait for another transaction's row: it shares no transaction any more
    tries     how often it was put off, and
    again_at  until when, in the loop's time
    span      the caller's wait for it, while that is traced
    """

    append: Append
    done: asyncio.Future[None]
    unsure: bool = field(default=False)
    alone: bool = field(default=False)
    tries: int = field(default=0)
    again_at: float = field(default=0.0)
    span: Span | None = field(default=None)

    def settle(self, error: Exception | None = None) -> None:
        """Answer the caller, unless it has gone."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)

    def put_off(self) -> None:
        """Try it again later, and later still each time."""
        first, longest = BUSY_RETRY_S
        self.again_at = asyncio.get_running_loop().time() + min(first * 2**self.tries, longest)
        self.tries = min(self.tries + 1, 16)


class Appender:
    """The one door into the log; see the module's first lines.

    max_batch  streams in one transaction
    max_rows   records in one transaction, unless one append alone has more
    patience   seconds that an append waits, the wait for an absent database included
    """

    def __init__(
        self, db: Database, *, max_batch: int = 256, max_rows: int = 4096, patience: float = 10.0
    ) -> None:
        self._db = db
        self._max_batch = max_batch
        self._max_rows = max_rows
        self._patience = patience
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._trouble = "the database did not answer in time"
        self._statements = STATEMENTS[db.dialect]

    async def start(self) -> None:
        """Begin to serve appends."""
        self._closing = False
        self._task = asyncio.create_task(  # noqa: TID251 - named, kept, and it logs its own failures
            self._run(), name="appender"
        )

    async def close(self, grace: float = 3.0) -> None:
        """Write what is waiting, at most `grace` seconds long; what is left then gets Unavailable."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=grace)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        for waiting in self._queue:
            waiting.settle(Unavailable("closing"))
        self._queue.clear()

    async def append(self, append: Append) -> None:
        """Store the records; returns after the commit.

        Raises HeadMoved, BadRow (nothing is stored in both cases) or Unavailable (nothing is *known* to be
        stored: read the log before placing again).
        """
        if self._closing or self._task is None:
            raise Unavailable("the appender is closed")
        waiting = _Waiting(append, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._wake.set()
        with APPEND_WAIT.time(), tracing.span("append", records=len(append.rows)) as waiting.span:
            try:
                async with asyncio.timeout(self._patience):
                    await waiting.done
            except TimeoutError:
                raise Unavailable(self._trouble) from None

    async def _run(self) -> None:
        pause = RETRY_S[0]
        while batch := await self._next():
            try:
                await self._flush(batch)
                pause = RETRY_S[0]
            except Unavailable as error:
                self._trouble = str(error)
                logger.warning("append waits for the database", error=str(error), streams=len(batch))
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_S[1])
            except Exception:
                # The door stays open whatever happens; this batch is tried again until its patience ends.
                logger.exception("append failed unexpectedly", streams=len(batch))
                await asyncio.sleep(pause)
            finally:
                left = [waiting for waiting in batch if not waiting.done.done()]
                self._queue.extendleft(reversed(left))

    async def _next(self) -> list[_Waiting]:
        """The next transaction's appends; empty when the appender is closing and none is left."""
        while True:
            if batch := self._take():
                return batch
            if self._closing and not self._queue:
                return []
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min((w.again_at for w in self._queue), default=None)):
                    await self._wake.wait()

    def _take(self) -> list[_Waiting]:
        """At most one append per stream, in order of arrival, without those that are put off; those whose
        caller has gone are dropped."""
        now = asyncio.get_running_loop().time()
        batch: dict[int, _Waiting] = {}
        later: deque[_Waiting] = deque()
        passed: set[int] = set()  # streams of which an earlier append comes first
        rows = 0
        while self._queue and len(batch) < self._max_batch and (not batch or rows < self._max_rows):
            waiting = self._queue.popleft()
            stream = waiting.append.stream
            if waiting.done.done():
                continue
            if stream in passed or waiting.again_at > now or (waiting.alone and batch):
                later.append(waiting)
            else:
                batch[stream] = waiting
                rows += len(waiting.append.rows)
            passed.add(stream)
            if waiting.alone and stream in batch:
                break
        self._queue.extendleft(reversed(later))
        return [batch[stream] for stream in sorted(batch)]

    async def _flush(self, batch: Sequence[_Waiting]) -> None:
        """One transaction, and what follows from how it ended. What is not settled is to be tried again."""
        batch = await self._resolve(batch)
        if not batch:
            return
        try:
            fates = await self._commit(batch)
        except CommitUnknown:
            for waiting in batch:
                waiting.unsure = True
            raise
        except Locked as error:
            await self._in_halves(batch, error)
        except Unavailable:
            raise
        except Exception as error:
            await self._in_halves(batch, error)
        else:
            _answer(batch, fates)

    async def _in_halves(self, batch: Sequence[_Waiting], error: Exception) -> None:
        """Some row of the transaction made it fail: find out whose."""
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._flush(batch[:middle])
            await self._flush(batch[middle:])
            return
        [waiting] = batch
        if isinstance(error, Locked):
            APPEND_FATES.labels("locked").inc()
            waiting.alone = True
            waiting.put_off()
        else:
            APPEND_FATES.labels("bad").inc()
            bad = BadRow(f"the database refused a row: {error}")
            bad.__cause__ = error
            waiting.settle(bad)

    async def _commit(self, batch: Sequence[_Waiting]) -> dict[int, Fate]:
        APPEND_STREAMS.observe(len(batch))
        APPEND_ROWS.observe(sum(len(waiting.append.rows) for waiting in batch))
        moves = [_move(waiting.append) for waiting in batch]
        rows = [row for waiting in batch for row in waiting.append.rows]
        with APPEND_TIME.time(), tracing.shared("commit", batch, back=True, streams=len(batch)):
            if self._statements.whole and not any(waiting.append.writes_more for waiting in batch):
                async with self._db.stroke() as connection:
                    return await self._statements.write(connection, moves, rows)
            async with self._db.write() as session:
                fates = await self._statements.write(await session.connection(), moves, rows)
                winners = [waiting for waiting in batch if fates[waiting.append.stream] is Fate.WON]
                await _insert_companions(session, winners)
                for waiting in winners:
                    if waiting.append.also is not None:
                        await waiting.append.also(session)
        return fates

    async def _resolve(self, batch: Sequence[_Waiting]) -> Sequence[_Waiting]:
        """Find out what became of appends whose commit has an unknown outcome; returns what is to be written.

        The write session and the row locks tell whether a lost transaction is still ending. What it holds is
        put off, since it may hold it until the server notices that nobody is there.
        """
        unsure = [waiting for waiting in batch if waiting.unsure]
        if unsure:
            async with self._db.write() as session:
                ids = [waiting.append.stream for waiting in unsure]
                query = select(Stream.id).where(Stream.id.in_(ids)).order_by(Stream.id)
                free = set((await session.execute(query.with_for_update(skip_locked=True))).scalars())
                known = [waiting for waiting in unsure if waiting.append.stream in free]
                stored = [await _is_stored(Log(session), waiting.append) for waiting in known]
            for waiting, was_stored in zip(known, stored, strict=True):
                waiting.unsure = False
                if was_stored:
                    waiting.settle()
            for waiting in unsure:
                if waiting.unsure:
                    waiting.put_off()
        return [waiting for waiting in batch if not waiting.unsure and not waiting.done.done()]


def _rows(append: Append) -> list[Row]:
    seqs = [record.seq for record in append.records]
    if not seqs or seqs != list(range(append.seen + 1, append.seen + 1 + len(seqs))):
        raise ValueError(f"records must follow the head {append.seen} without gaps: {seqs[:3]}…")
    try:
        return [row_of(append.stream, record) for record in append.records]
    except TypeError as error:
        raise BadRow(f"not JSON: {error}") from error


async def _is_stored(log: Log, append: Append) -> bool:
    """Whether exactly these records are in the log. Others with the same dots at other places, or at the
    same places with other decisions, were stored by another node: then this append has lost."""
    dots = [record.dot for record in append.records]
    found: list[Record] = []
    for device in {dot.device for dot in dots}:
        ns = [dot.n for dot in dots if dot.device == device]
        found += await log.find(append.stream, device, min(ns), max(ns))
    return same_place(append.records, sorted(found, key=lambda record: record.seq))


async def _insert_companions(session: WriteSession, winners: Iterable[_Waiting]) -> None:
    by_table: dict[Table, list[Mapping[str, Any]]] = {}
    for waiting in winners:
        for companion in waiting.append.companions:
            by_table.setdefault(companion.table, []).append(companion.row)
    for table, rows in by_table.items():
        await session.execute(insert(table), rows)


def _answer(batch: Iterable[_Waiting], fates: Mapping[int, Fate]) -> None:
    for waiting in batch:
        fate = fates[waiting.append.stream]
        APPEND_FATES.labels(fate.value).inc()
        match fate:
            case Fate.WON:
                waiting.settle()
            case Fate.MOVED:
                waiting.settle(
                    HeadMoved(f"stream {waiting.append.stream} is not at {waiting.append.seen} any more")
                )
            case Fate.BUSY:
                waiting.put_off()


def _move(append: Append) -> Move:
    last = append.records[-1]
    return append.stream, append.epoch, append.seen, last.seq, last.rt
