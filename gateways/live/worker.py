"""What works on one stream, in memory, as a cache of the log: a user's session host, a group's room.

Everything that changes or reads the stream goes through a queue of jobs and is done one batch at a time: what
is needed is read from the log, the ops are placed on a tentative state, one append commits them, and only
then acks and records leave, in `seq` order. If the append loses against another node, the tentative state is
thrown away, the missing tail is read and delivered, and the batch is placed again. Nothing lives only here: a
worker may vanish at any moment and be opened anew on any node.

What the state is, who is told and what follows is for the heirs: the methods that raise NotImplementedError.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog

from fitai.engine.ops import Dot, Op, Record
from fitai.gateways import occasion
from fitai.gateways.live.contexts import Contexts
from fitai.gateways.live.hints import Hints
from fitai.gateways.live.jobs import Behind, Job, Key, Placing, PushedJob, ThenJob
from fitai.gateways.tasks import spawn
from fitai.persistence import tracing
from fitai.persistence.append import Append, BadRow, HeadMoved
from fitai.persistence.batches import Row
from fitai.persistence.database import Unavailable
from fitai.sync.log import Context, Position
from fitai.sync.wire import Refusal

if TYPE_CHECKING:
    from fitai.gateways.live.hosts import Hosts

_log = structlog.get_logger(__name__)

BATCH = 32  # jobs placed in one append
TAIL = 500  # records of others that are read at once
RACES = 50  # lost for the head before a batch is told to come later

P = TypeVar("P", bound=Placing)


class Worker(Generic[P]):
    """One stream on this node; `owner` is the user's or the group's id. See the module's first lines."""

    hints: Hints  # made by the heirs
    batch = BATCH

    def __init__(self, hosts: Hosts, owner: str, stream: int, epoch: str) -> None:
        self.owner = owner
        self.stream = stream
        self.epoch = epoch
        self.head = 0
        self.ended = False
        self.limits = hosts.limits
        self.now_ms: Callable[[], int] = hosts.now_ms
        self.used_at = hosts.now_ms()
        self._hosts = hosts
        self._last_rt = 0
        self._positions: dict[int, Position] = {}
        self._jobs: deque[Job[Any, P]] = deque()
        self._batch: Sequence[Job[Any, P]] = ()
        self._working = False
        self._worker: asyncio.Task[None] | None = None
        self._after: deque[ThenJob] = deque()
        self._singly = 0  # so many of the next jobs are done one by one
        self._opened = False
        self._told = 0  # the log goes at least this far, by what others say
        self._behind = False  # it goes further than our head
        self._unsure = False  # only the log can tell whether they have

    # -- what the heirs know -----------------------------------------------------------------------

    def allowance(self, device: int, wanted: int) -> int:
        """How many of `wanted` ops the device may write now; they count as written."""
        raise NotImplementedError

    def allowance_wait(self, device: int) -> int:
        """Milliseconds until the device may write again."""
        raise NotImplementedError

    def tick(self, name: str) -> None:
        """A deadline of what is called so in this stream may have passed."""
        raise NotImplementedError

    def begun_anew(self) -> None:
        """The log is another one than is known here, or is gone: forget it all, and end."""
        raise NotImplementedError

    def _placer(self) -> P:
        """What places the next batch, on a tentative state."""
        raise NotImplementedError

    def _to_append(self, batch: Sequence[Job[Any, P]], placer: P) -> Append:
        """The append of what was placed."""
        raise NotImplementedError

    async def _prepared(self, job: Job[Any, P]) -> None:
        """Have what placing this job needs, besides what it reads itself."""

    def _committed(self, batch: Sequence[Job[Any, P]], placer: P, rows: Sequence[Row]) -> None:
        """The append holds: take its positions over, then answer and tell, in seq order."""
        raise NotImplementedError

    async def _follow(self, records: Sequence[Record]) -> None:
        """Have told what these new records change in what is derived."""
        raise NotImplementedError

    async def _take(self, records: Sequence[Record]) -> None:
        """Fold and deliver what others appended."""
        raise NotImplementedError

    def _forget(self, batch: Iterable[Job[Any, P]]) -> None:
        """Throw away what was placed for this batch."""
        raise NotImplementedError

    def _trim(self) -> None:
        """There is nothing more to do for now."""

    # -- the queue ---------------------------------------------------------------------------------

    def enqueue(self, job: Job[Any, P]) -> None:
        """Add a job; the worker runs while there are any."""
        if self.ended:
            job.fail(gone())
            return
        self._jobs.append(job)
        self._wake()

    def _wake(self) -> None:
        self.used_at = self.now_ms()
        if self._opened and not self._working:
            self._working = True
            self._worker = spawn("live.host", self._work())

    def _open(self) -> None:
        """All is there that jobs need: begin."""
        self._opened = True
        if self._jobs or self._behind or self._unsure:
            self._wake()

    async def quiet(self) -> None:
        """Return when nothing is being done."""
        if self._worker is not None:
            await asyncio.wait([self._worker])

    def told(self) -> dict[str, Any]:
        """What it is at work for, see `occasion`."""
        devices = {job.origin.identity.device for job in self._batch if job.origin is not None}
        ops = sum(len(job.records) for job in self._batch)
        return {"devices": sorted(devices), "jobs": len(self._batch), "ops": ops}

    async def reach(self, seq: int) -> None:
        """Look at the log when somebody names a position beyond our head: another node may have got there,
        and its hint be late or lost."""
        if seq > self.head:
            job = ThenJob(self.catch_up)
            self.enqueue(job)
            await job.done
            if self.ended:
                raise gone()

    # -- what jobs read ----------------------------------------------------------------------------

    def position(self, device: int) -> Position:
        """Where a device stands in the committed log."""
        return self._positions.get(device, Position())

    def known_position(self, device: int) -> Position | None:
        """The same; None for a device of which this worker does not know yet (see `meet`)."""
        return self._positions.get(device)

    def lacks(self, device: int, op: Op) -> bool:
        """Whether the op had seen records that this worker has not read."""
        if op.clock is None:
            return (op.base or 0) > self.head
        return any(n >= self.position(other).next_n for other, n in op.clock.items() if other != device)

    async def meet(self, device: int) -> None:
        """Learn where a device starts that has written nothing yet and came after this worker was opened."""
        if device not in self._positions:
            self._positions[device] = await self._hosts.log.position(self.stream, device)

    async def places(self, dots: Iterable[Dot]) -> dict[Dot, int]:
        """The seqs of records by name."""
        return await self._hosts.log.places(self.stream, dots)

    async def find(self, device: int, first: int, last: int) -> list[Record]:
        """A device's own records by counter."""
        return await self._hosts.log.find(self.stream, device, first, last)

    async def key_used(self, user: str, key: Key) -> bool:
        """Whether this Idempotency-Key of a user has been used by the same request; raises KeyReuse for
        another."""
        return await self._hosts.key_used(user, key)

    async def name_context(self, device: int, clock: Mapping[int, int]) -> Context:
        """What a full vector clock says in positions of this log; raises Refusal later {missing}."""
        here = Contexts(self._hosts.log, self.stream, self.head, self._positions)
        return await here.name(device, clock)

    # -- the worker --------------------------------------------------------------------------------

    async def _work(self) -> None:
        try:
            while not self.ended and (self._jobs or self._behind):
                self._batch = batch = self._next()
                occasion.NOW.set(self)
                try:
                    with tracing.shared("batch", batch, node=self._hosts.node):
                        await self._process(batch)
                except Exception as error:
                    _log.exception("host_batch_failed", owner=self.owner)
                    self._forget(batch)
                    for job in batch:
                        job.fail(error)
                while self._after and not self.ended:
                    await self._after.popleft().run()
        finally:
            self._working, self._batch = False, ()
            self._trim()

    def _next(self) -> list[Job[Any, P]]:
        if self._singly and self._jobs:
            self._singly -= 1
            return [self._jobs.popleft()]
        self._singly = 0
        return self._next_batch()

    def _next_batch(self) -> list[Job[Any, P]]:
        batch: list[Job[Any, P]] = []
        while self._jobs and len(batch) < self.batch:
            batch.append(self._jobs.popleft())
        return batch

    async def _process(self, batch: list[Job[Any, P]]) -> None:
        lost = 0
        while lost < RACES and not self.ended:
            try:
                if not self._hosts.alone and any(job.writes for job in batch):
                    await self.hints.turn(lost)
                if (self._behind or self._unsure) and not await self._catch_up():
                    break
                batch = await self._prepare(batch)
                placer = self._placer()
                with tracing.span("place"):
                    batch = self._place(batch, placer)
                rows = await self._append(batch, placer)
            except (HeadMoved, Behind) as error:
                self._forget(batch)
                self._unsure = True
                if isinstance(error, HeadMoved):
                    lost += 1
                    self._hosts.lost_races += 1
                continue
            except Unavailable:
                self._refuse(batch, Refusal("later", _OUT_OF_REACH, retry_after_ms=1000))
                return
            except BadRow as error:
                self._one_by_one(batch, error)
                return
            self._committed(batch, placer, rows)
            await self._follow(placer.records)
            return
        self._refuse(batch, gone() if self.ended else Refusal("later", _BUSY, retry_after_ms=200))

    def _one_by_one(self, batch: Sequence[Job[Any, P]], error: BadRow) -> None:
        """A row that the database refuses is one job's, and no other's trouble: each is done once more, by
        itself. What another append wrote at the same moment, the same key mostly, is found then."""
        self._forget(batch)
        again = [job for job in batch if not job.refused]
        for job in batch:
            if job.refused:
                self._fail(job, error)
            job.refused = True
        self._jobs.extendleft(reversed(again))
        self._singly += len(again)

    def _refuse(self, batch: Iterable[Job[Any, P]], refusal: Refusal) -> None:
        self._forget(batch)
        for job in batch:
            job.fail(refusal)

    async def _prepare(self, batch: list[Job[Any, P]]) -> list[Job[Any, P]]:
        ready = []
        for job in batch:
            try:
                if not job.is_ready(self):
                    await job.prepare(self)
                await self._prepared(job)
            except (Behind, Unavailable):
                raise
            except Exception as error:
                self._fail(job, error)
            else:
                ready.append(job)
        return ready

    def _place(self, batch: list[Job[Any, P]], placer: P) -> list[Job[Any, P]]:
        placed = []
        for job in batch:
            head = placer.head
            try:
                job.place(self, placer)
            except Behind:
                raise
            except Exception as error:
                if placer.head != head:
                    raise
                self._fail(job, error)
            else:
                placed.append(job)
        return placed

    def _fail(self, job: Job[Any, P], error: Exception) -> None:
        if not isinstance(error, Refusal) and isinstance(job, PushedJob):
            _log.exception("push_failed", owner=self.owner, exc_info=error)
        job.fail(error)

    async def _append(self, batch: Sequence[Job[Any, P]], placer: P) -> Sequence[Row]:
        """Store what was placed; returns its rows."""
        if not placer.records:
            return ()
        append = self._to_append(batch, placer)
        await self._hosts.appender.append(append)
        return append.rows

    def afterwards(self, job: ThenJob) -> None:
        """Run the job's work when the batch has been settled: it sees committed state only."""
        self._after.append(job)

    # -- other nodes -------------------------------------------------------------------------------

    def heard_of(self, head: int) -> None:
        """The log goes that far, by what somebody says."""
        self._told = max(self._told, head)
        if head > self.head:
            self._behind = True
            self._wake()

    def look(self) -> None:
        """Others may have appended, and nobody have told: look at the log."""
        self._unsure = self._behind = True
        self._wake()

    async def catch_up(self) -> None:
        """Take what others appended after our head, from the log."""
        self._unsure = True
        await self._catch_up()

    async def _catch_up(self) -> bool:
        """Take what others appended after our head, fold and deliver it: from their hints as far as these
        go on from it, else from the log. False when that began anew: then this worker has ended."""
        came: list[Record] = []
        self._behind = False
        while True:
            records = self.hints.after(self.head)
            if not records and (self._unsure or self._told > self.head):
                tail = await self._hosts.log.tail(self.stream, self.epoch, self.head, TAIL)
                if tail is None:
                    self.begun_anew()
                    return False
                records = tail
                self._unsure = self._unsure and len(records) == TAIL
                self._hosts.gaps_healed += bool(records)
            if not records:
                break
            await self._take(records)
            came += records
        self.hints.delivered(len(came))
        if came:
            await self._follow(came)
        return True

    def end(self) -> None:
        """Answer whoever waits: nothing here is true any more."""
        self.ended = True
        for waiting in (self._jobs, self._after):
            for job in waiting:
                job.fail(gone())
            waiting.clear()


_OUT_OF_REACH = "the log is out of reach; nothing was stored"
_BUSY = "too busy to find a place"


def gone() -> Refusal:
    """What whoever asks is told of a worker that has ended."""
    return Refusal("later", "this log began anew or is gone; nothing was stored", retry_after_ms=1000)
