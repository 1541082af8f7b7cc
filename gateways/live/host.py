"""The session host: one per user with something going on, in memory, a cache of the log.

Everything that changes or reads a user's workouts goes through the host's queue of jobs and is done one
batch at a time: what is needed is read from the log, the ops are placed on a tentative state, one append
commits them, and only then acks and `ops` leave, in `seq` order. If the append loses against another
node, the tentative state is thrown away, the missing tail is read and delivered, and the batch is placed
again. Nothing lives only here: a host may vanish at any moment and be opened anew on any node.

Derived things (insights, the end of a rest, projections) follow after the ack and may come twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from fitai.engine import combine
from fitai.engine.ops import Dot, Op, Record
from fitai.engine.workout import Limits
from fitai.gateways import meters, occasion
from fitai.gateways.live.allowance import Allowance
from fitai.gateways.live.contexts import Contexts
from fitai.gateways.live.following import Following
from fitai.gateways.live.frames import Frame, OpsFrame
from fitai.gateways.live.jobs import (
    Behind,
    CommandJob,
    Done,
    Intent,
    Job,
    Key,
    PushJob,
    ReadJob,
    Sender,
    StateAt,
    ThenJob,
    TickJob,
)
from fitai.gateways.live.merged import Merged
from fitai.gateways.live.neighbours import Neighbours
from fitai.gateways.live.presence import Presence
from fitai.gateways.tasks import spawn
from fitai.persistence import tracing
from fitai.persistence.append import Append, HeadMoved
from fitai.persistence.batches import Row
from fitai.persistence.database import Unavailable
from fitai.sync.fold import Folded, fold
from fitai.sync.log import Context, Position
from fitai.sync.place import SERVER, Placer
from fitai.sync.wire import Push, Refusal

if TYPE_CHECKING:
    from fitai.gateways.live.connection import Connection
    from fitai.gateways.live.hosts import Hosts
    from fitai.persistence.opening import Opening

_log = structlog.get_logger(__name__)

BATCH = 32  # jobs placed in one append
KEPT_FOLDS = 32  # folds that a host keeps, those used last
PAGE_BYTES = 256 * 1024  # of JSON in one page of records
TAIL = 500  # records of others that are read at once
RACES = 50  # lost for the head before a batch is told to come later
BACK_MS = 2_000  # over which connections come back whose host was ended


class Host:
    """One user's stream on this node. Made by Hosts.open; see the module's first lines."""

    def __init__(self, hosts: Hosts, user: str, stream: int, epoch: str) -> None:
        self.user = user
        self.stream = stream
        self.epoch = epoch
        self.head = 0
        self.folds: dict[str, Folded] = {}
        self.merged = Merged(self)
        self.connections: dict[Connection, None] = {}
        self.ended = False
        self.following = Following(self, hosts)
        self.neighbours = Neighbours(self, hosts)
        self.presence = Presence(self, hosts)
        self.limits = hosts.limits
        self.now_ms: Callable[[], int] = hosts.now_ms
        self.used_at = hosts.now_ms()
        self._hosts = hosts
        self._last_rt = 0
        self._positions: dict[int, Position] = {}
        self._receipts: dict[str, int] = {}
        self._jobs: deque[Job] = deque()
        self._batch: Sequence[Job] = ()
        self._working = False
        self._worker: asyncio.Task[None] | None = None
        self._after: deque[ThenJob] = deque()
        self._opened = False
        self._told = 0  # the log goes at least this far, by what others say
        self._behind = False  # it goes further than our head
        self._unsure = False  # only the log can tell whether they have
        self._allowance = Allowance(hosts.limits, hosts.now_ms())
        self._engine_limits = Limits(
            exercises=hosts.limits.exercises_per_workout,
            sets=hosts.limits.sets_per_workout,
            text=hosts.limits.text_bytes,
            ops=hosts.limits.ops_per_workout,
        )

    # -- what others ask ---------------------------------------------------------------------------

    def push(self, push: Push, origin: Sender, ack: int | None, received: int) -> None:
        """Append a device's ops; `origin` gets the answer, on a connection at its place in the order."""
        self.enqueue(PushJob(push, origin, ack, received))

    async def command(
        self,
        device: int,
        workout: str,
        plan: Callable[[dict[str, Any] | None], list[Intent]],
        *,
        if_rev: int | None = None,
        key: Key | None = None,
    ) -> Done:
        """Write what `plan` makes of the current state document (None when the workout is unknown) as ops
        of an API device. Raises RevClash, KeyReuse, Refusal, or what `plan` raises; nothing is then
        written. A void op is told in the results."""
        job = CommandJob(device, workout, plan, if_rev, key)
        self.enqueue(job)
        return await job.done

    async def state(self, workout: str) -> StateAt | None:
        """The committed state of one of this user's workouts, or None when there is no such workout."""
        job = ReadJob(workout)
        self.enqueue(job)
        return await job.done

    async def flush(self) -> None:
        """Return when the projections hold everything up to the present head."""
        job = ThenJob(self.following.flush)
        self.enqueue(job)
        await job.done
        await self.following.written()

    async def read(self, after: int, limit: int, size: int = PAGE_BYTES) -> list[dict[str, Any]]:
        """Records after a position, at most up to the head that is known here, as the wire has them: at
        most `limit`, and no more than `size` bytes of JSON unless the first alone is larger."""
        limit = min(limit, self.head - after)
        if limit <= 0:
            return []
        page: list[dict[str, Any]] = []
        for record in await self._hosts.log.read(self.stream, after, limit):
            wire = record.wire()
            size -= len(orjson.dumps(wire))
            if page and size < 0:
                break
            page.append(wire)
        return page

    async def reach(self, seq: int) -> None:
        """Look at the log when somebody names a position beyond our head: another node may have got there,
        and its hint be late or lost."""
        if seq > self.head:
            job = ThenJob(self.catch_up)
            self.enqueue(job)
            await job.done
            if self.ended:
                raise _gone()

    async def page(self, after: int, limit: int) -> dict[str, Any]:
        """What `pull` answers: at most `limit` records after a position; raises Refusal beyond the head."""
        await self.reach(after)
        if after > self.head:
            raise Refusal("bad_request", f"after {after} is beyond the head {self.head}", head=self.head)
        records = await self.read(after, min(limit, self.limits.pull_records))
        more = after + len(records) < self.head
        return {"ok": True, "epoch": self.epoch, "head": self.head, "records": records, "more": more}

    def tick(self, workout: str) -> None:
        """A deadline of this workout may have passed."""
        self.enqueue(TickJob(workout))

    def enqueue(self, job: Job) -> None:
        """Add a job; the worker runs while there are any."""
        if self.ended:
            job.fail(_gone())
            return
        self._jobs.append(job)
        self._wake()

    def _wake(self) -> None:
        self.used_at = self.now_ms()
        if self._opened and not self._working:
            self._working = True
            self._worker = spawn("live.host", self._work())

    async def quiet(self) -> None:
        """Return when nothing is being done."""
        if self._worker is not None:
            await asyncio.wait([self._worker])

    @property
    def idle(self) -> bool:
        """Nothing is going on: the host may be forgotten."""
        return not (self.connections or self._working or self.following.busy or self.presence.busy)

    def told(self) -> dict[str, Any]:
        """What it is at work for, see `occasion`."""
        devices = {job.origin.identity.device for job in self._batch if job.origin is not None}
        ops = sum(len(job.records) for job in self._batch)
        return {"user": self.user, "devices": sorted(devices), "jobs": len(self._batch), "ops": ops}

    # -- connections -------------------------------------------------------------------------------

    def attach(self, connection: Connection) -> None:
        """From now on this connection is told of every commit."""
        self.connections[connection] = None
        self.presence.joined(connection)

    def detach(self, connection: Connection) -> None:
        """The connection is gone."""
        if connection in self.connections:
            del self.connections[connection]
            self.used_at = self.now_ms()
            self.presence.left(connection)

    def broadcast(self, frame: Frame) -> None:
        """Send to every connection of the user on this node."""
        for connection in list(self.connections):
            connection.send(frame)

    def telemetry(self, origin: Connection, payload: dict[str, Any]) -> None:
        """Pass a measurement on to the user's other connections, here and on other nodes."""
        device = origin.identity.device
        self.spread_telemetry(device, payload, origin)
        self.neighbours.tell("telemetry", device=device, payload=payload)

    def spread_telemetry(self, device: int, payload: dict[str, Any], origin: Connection | None) -> None:
        """Pass a measurement on to the user's connections here, but not to the one that it came from, and to
        the groups that they train in."""
        frame = Frame("telemetry", {**payload, "device": device})
        for connection in list(self.connections):
            if connection is not origin:
                connection.telemetry((device, payload["workout"]), frame)
        self._hosts.watching.measured(self.user, payload)

    def greet(self, connection: Connection, after: int) -> None:
        """Tell a new connection what is derived from the open workouts and what changed since its cursor."""
        self.enqueue(ThenJob(lambda: self.following.greet(connection, after)))

    # -- rates -------------------------------------------------------------------------------------

    def allowance(self, device: int, wanted: int) -> int:
        """How many of `wanted` ops the device may write now; they count as written."""
        if self.head + wanted > self.limits.ops_per_user:
            raise Refusal("too_many", "this log is full", max=self.limits.ops_per_user)
        return self._allowance.take(device, wanted, self.now_ms())

    def allowance_wait(self, device: int) -> int:
        """Milliseconds until the device may write again."""
        return self._allowance.wait_ms(device, self.now_ms())

    # -- what jobs read ----------------------------------------------------------------------------

    def position(self, device: int) -> Position:
        """Where a device stands in the committed log."""
        return self._positions.get(device, Position())

    def known_position(self, device: int) -> Position | None:
        """The same; None for a device of which this host does not know yet (see `meet`)."""
        return self._positions.get(device)

    def lacks(self, device: int, op: Op) -> bool:
        """Whether the op had seen records that this host has not read."""
        if op.clock is None:
            return (op.base or 0) > self.head
        return any(n >= self.position(other).next_n for other, n in op.clock.items() if other != device)

    async def meet(self, device: int) -> None:
        """Learn where a device starts that has written nothing yet and came after this host was opened."""
        if device not in self._positions:
            self._positions[device] = await self._hosts.log.position(self.stream, device)

    async def places(self, dots: Iterable[Dot]) -> dict[Dot, int]:
        """The seqs of records by name."""
        return await self._hosts.log.places(self.stream, dots)

    def last_receipt(self, workout: str) -> int:
        """When the newest record of a workout came in, Unix ms."""
        return self._receipts.get(workout, 0)

    async def find(self, device: int, first: int, last: int) -> list[Record]:
        """A device's own records by counter."""
        return await self._hosts.log.find(self.stream, device, first, last)

    async def key_used(self, key: Key) -> bool:
        """Whether this Idempotency-Key has been used by the same request; raises KeyReuse for another."""
        return await self._hosts.key_used(self.user, key)

    async def name_context(self, device: int, clock: Mapping[int, int]) -> Context:
        """What a full vector clock says in positions of this log; raises Refusal later {missing}."""
        here = Contexts(self._hosts.log, self.stream, self.head, self._positions)
        return await here.name(device, clock)

    # -- the worker --------------------------------------------------------------------------------

    async def _work(self) -> None:
        try:
            while not self.ended and (self._jobs or self._behind):
                self._batch = batch = self._next_batch()
                occasion.NOW.set(self)
                try:
                    with tracing.shared("batch", batch, node=self._hosts.node):
                        await self._process(batch)
                except Exception as error:
                    _log.exception("host_batch_failed", user=self.user)
                    self._forget(batch)
                    for job in batch:
                        job.fail(error)
                while self._after and not self.ended:
                    await self._after.popleft().run()
        finally:
            self._working, self._batch = False, ()
            self._trim()

    def _next_batch(self) -> list[Job]:
        """What merges workouts ends a batch: whoever asks next is to see its outcome."""
        batch: list[Job] = []
        while self._jobs and len(batch) < BATCH:
            batch.append(self._jobs.popleft())
            if batch[-1].kinds & combine.ALIASING:
                break
        return batch

    async def _process(self, batch: list[Job]) -> None:
        lost = 0
        while lost < RACES and not self.ended:
            try:
                if not self._hosts.alone and any(job.writes for job in batch):
                    await self.neighbours.turn(lost)
                if (self._behind or self._unsure) and not await self._catch_up():
                    break
                batch = await self._prepare(batch)
                placer = Placer(self.head, self._last_rt, self._positions, self.folds, self._engine_limits)
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
            self._committed(batch, placer, rows)
            await self._follow(placer.records)
            return
        self._refuse(batch, _gone() if self.ended else Refusal("later", _BUSY, retry_after_ms=200))

    def _refuse(self, batch: Iterable[Job], refusal: Refusal) -> None:
        self._forget(batch)
        for job in batch:
            job.fail(refusal)

    async def _prepare(self, batch: list[Job]) -> list[Job]:
        ready = []
        for job in batch:
            try:
                if not job.is_ready(self):
                    await job.prepare(self)
                names = self.merged.family(job.workouts())
                if self._missing(names):
                    await self.load(*names)
            except (Behind, Unavailable):
                raise
            except Exception as error:
                self._fail(job, error)
            else:
                ready.append(job)
        return ready

    def _place(self, batch: list[Job], placer: Placer) -> list[Job]:
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

    def _fail(self, job: Job, error: Exception) -> None:
        if not isinstance(error, Refusal) and isinstance(job, PushJob):
            _log.exception("push_failed", user=self.user, exc_info=error)
        job.fail(error)

    async def _append(self, batch: list[Job], placer: Placer) -> Sequence[Row]:
        """Store what was placed; returns its rows."""
        if not placer.records:
            return ()
        keys = [
            job.key for job in batch if isinstance(job, CommandJob) and job.key is not None and job.records
        ]
        companions = [self._hosts.companion(self.user, key) for key in keys]
        append = Append(self.stream, self.epoch, placer.seen, placer.records, companions)
        await self._hosts.appender.append(append)
        return append.rows

    def _committed(self, batch: list[Job], placer: Placer, rows: Sequence[Row]) -> None:
        """The append holds: take its positions over, then answer and tell, in seq order. What one sender
        wrote in a row goes to the others as one."""
        self.head = placer.head
        self._last_rt = placer.last_rt
        self._positions = placer.positions
        for record in placer.records:
            self._received(record)
            meters.ANSWERED[record.verdict].inc()
        for name in {record.op.workout for record in placer.records}:
            self.following.changed(name)
        for origin, jobs in groupby(batch, attrgetter("origin")):
            records: list[Record] = []
            for job in jobs:
                job.settle(self)
                records += job.records
                if not isinstance(job, PushJob):
                    self._charge(job.records)
            if records:
                self._deliver(records, origin)
        self.neighbours.committed(rows)
        self._hosts.watching.committed(self.user, self.epoch, placer.records)

    def _deliver(self, records: Sequence[Record], origin: Sender | None) -> None:
        others = [connection for connection in self.connections if connection is not origin]
        if others:
            wire = [record.wire() for record in records]
            frame = OpsFrame(self.epoch, records[0].seq, records[-1].seq, wire)
            for connection in others:
                connection.offer(frame)

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
        go on from it, else from the log. False when that began anew: then this host has ended."""
        came: list[Record] = []
        self._behind = False
        while True:
            records = self.neighbours.after(self.head)
            if not records and (self._unsure or self._told > self.head):
                tail = await self._hosts.log.tail(self.stream, self.epoch, self.head, TAIL)
                if tail is None:
                    self._hosts.forget(self)
                    return False
                records = tail
                self._unsure = self._unsure and len(records) == TAIL
                self._hosts.gaps_healed += bool(records)
            if not records:
                break
            self._take(records)
            came += records
        self.neighbours.delivered(len(came))
        if came:
            await self._follow(came)
        return True

    async def _follow(self, records: Sequence[Record]) -> None:
        """Have told what these new records change in what is derived."""
        names = self.merged.plain(records)
        if names is None:
            names = await self.merged.touched(records)
        await self.following.follow(names)

    def _take(self, records: Sequence[Record]) -> None:
        for record in records:
            self._absorb(record)
        self._charge(records)
        self.head = records[-1].seq
        self._deliver(records, None)
        self._hosts.watching.committed(self.user, self.epoch, records)

    def _charge(self, records: Iterable[Record]) -> None:
        """Count what was written without asking here whether it may be."""
        now = self.now_ms()
        for device, ops in Counter(record.device for record in records if record.device != SERVER).items():
            self._allowance.charge(device, ops, now)

    def _absorb(self, record: Record) -> None:
        name = record.op.workout
        folded = self.folds.get(name)
        if folded is not None and record.rev == folded.workout.rev + 1:
            folded.take(record)
        else:
            self.folds.pop(name, None)
        self._positions[record.device] = Position(record.op.n + 1, record.base, record.beyond, record.te)
        self._last_rt = max(self._last_rt, record.rt)
        self._received(record)
        self.following.changed(name)

    def _received(self, record: Record) -> None:
        """Idleness is counted from what people's devices send, not from the server's own ops."""
        if record.device != SERVER:
            self._receipts[record.op.workout] = record.rt

    # -- folds -------------------------------------------------------------------------------------

    async def open(self, opening: Opening) -> None:
        """Take over what every job needs: the head, the devices' positions, what is not projected."""
        self.head, self._last_rt = opening.stream.head, opening.stream.last_rt
        self._positions = dict(opening.positions)
        self._allowance.written_today(opening.lately, self.now_ms())
        for merge in opening.merges:
            self.merged.remember(merge)
        for name in opening.touched:
            self.following.changed(name)
        for name, aliasing in opening.touched.items():
            if aliasing:
                await self.merged.learn(name)
        self._opened = True
        if self._jobs or self._behind or self._unsure:
            self._wake()

    async def load(self, *names: str) -> None:
        """Have the folds of workouts, from the log up to our head."""
        missing = self._missing(names)
        if not missing:
            return
        found = await self._hosts.log.workouts_records(self.stream, missing)
        for name, records in found.items():
            self.folds[name] = fold(name, self.user, (r for r in records if r.seq <= self.head))
            for record in records:
                self._received(record)

    def _missing(self, names: Iterable[str]) -> list[str]:
        """Those of which there is no fold here; the others have been used now."""
        missing = []
        for name in names:
            folded = self.folds.pop(name, None)
            if folded is None:
                missing.append(name)
            else:
                self.folds[name] = folded  # newest last, for _trim
        return missing

    def _forget(self, batch: Iterable[Job]) -> None:
        for job in batch:
            for name in self.merged.family(job.workouts()):
                self.folds.pop(name, None)

    def _trim(self) -> None:
        """Let go of the folds that were not used for longest, but not of those still to be projected."""
        spare = [name for name in self.folds if name not in self.following.dirty]
        for name in spare[: max(0, len(spare) - KEPT_FOLDS)]:
            del self.folds[name]
            self._receipts.pop(name, None)
            self.following.forget(name)

    def afterwards(self, job: ThenJob) -> None:
        """Run the job's work when the batch has been settled: it sees committed state only."""
        self._after.append(job)

    def close(self) -> None:
        """Stop listening; what is cached here is in the log."""
        self.neighbours.close()
        self.presence.close()
        self.following.close()

    def end(self) -> None:
        """The log is another one than this host knows, or is gone: nothing here is true any more. Whoever is
        connected comes back to a new host."""
        self.ended = True
        for connection in list(self.connections):
            connection.bye("overload", after_ms=self._hosts.dice.randrange(BACK_MS))
        self.close()
        self.presence.tell()
        for waiting in (self._jobs, self._after):
            self._refuse(waiting, _gone())
            waiting.clear()


_OUT_OF_REACH = "the log is out of reach; nothing was stored"
_BUSY = "too busy to find a place"


def _gone() -> Refusal:
    return Refusal("later", "this log began anew or is gone; nothing was stored", retry_after_ms=1000)
