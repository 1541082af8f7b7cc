"""The session host: one per user with something going on, in memory, a cache of the log.

How it works through its jobs, races with other nodes and catches up is `worker`'s; here is what a user's
stream is: workouts, the connections that are told of them, and what follows.

Derived things (insights, the end of a rest, projections) follow after the ack and may come twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from fitai.engine import combine
from fitai.engine.ops import Record
from fitai.engine.workout import Limits
from fitai.gateways import meters
from fitai.gateways.live.allowance import Allowance
from fitai.gateways.live.following import Following
from fitai.gateways.live.frames import Frame, OpsFrame
from fitai.gateways.live.jobs import (
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
from fitai.gateways.live.worker import BATCH, Worker
from fitai.persistence.append import Append
from fitai.persistence.batches import Row
from fitai.sync.fold import Folded, fold
from fitai.sync.log import Position
from fitai.sync.place import SERVER, Placer
from fitai.sync.wire import Push, Refusal

if TYPE_CHECKING:
    from fitai.gateways.live.connection import Connection
    from fitai.gateways.live.hosts import Hosts
    from fitai.persistence.opening import Opening

KEPT_FOLDS = 32  # folds that a host keeps, those used last
PAGE_BYTES = 256 * 1024  # of JSON in one page of records
BACK_MS = 2_000  # over which connections come back whose host was ended

_Job: TypeAlias = Job[Any, Placer]


class Host(Worker[Placer]):
    """One user's stream on this node. Made by Hosts.open; see the module's first lines."""

    def __init__(self, hosts: Hosts, user: str, stream: int, epoch: str) -> None:
        super().__init__(hosts, user, stream, epoch)
        self.user = user
        self.folds: dict[str, Folded] = {}
        self.merged = Merged(self)
        self.connections: dict[Connection, None] = {}
        self.following = Following(self, hosts)
        self.hints = self.neighbours = Neighbours(self, hosts)
        self.presence = Presence(self, hosts)
        self._receipts: dict[str, int] = {}
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

    @property
    def idle(self) -> bool:
        """Nothing is going on: the host may be forgotten."""
        return not (self.connections or self._working or self.following.busy or self.presence.busy)

    def told(self) -> dict[str, Any]:
        """What it is at work for, see `occasion`."""
        return {"user": self.user, **super().told()}

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

    def last_receipt(self, workout: str) -> int:
        """When the newest record of a workout came in, Unix ms."""
        return self._receipts.get(workout, 0)

    # -- the worker --------------------------------------------------------------------------------

    def _next_batch(self) -> list[_Job]:
        """What merges workouts ends a batch: whoever asks next is to see its outcome."""
        batch: list[_Job] = []
        while self._jobs and len(batch) < BATCH:
            batch.append(self._jobs.popleft())
            if batch[-1].kinds & combine.ALIASING:
                break
        return batch

    def _placer(self) -> Placer:
        return Placer(self.head, self._last_rt, self._positions, self.folds, self._engine_limits)

    async def _prepared(self, job: _Job) -> None:
        names = self.merged.family(job.workouts())
        if self._missing(names):
            await self.load(*names)

    def _to_append(self, batch: Sequence[_Job], placer: Placer) -> Append:
        keys = [
            job.key for job in batch if isinstance(job, CommandJob) and job.key is not None and job.records
        ]
        companions = [self._hosts.companion(self.user, key) for key in keys]
        return Append(self.stream, self.epoch, placer.seen, placer.records, companions)

    def _committed(self, batch: Sequence[_Job], placer: Placer, rows: Sequence[Row]) -> None:
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

    async def _follow(self, records: Sequence[Record]) -> None:
        names = self.merged.plain(records)
        if names is None:
            names = await self.merged.touched(records)
        await self.following.follow(names)

    async def _take(self, records: Sequence[Record]) -> None:
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
        self._open()

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

    def _forget(self, batch: Iterable[_Job]) -> None:
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

    def close(self) -> None:
        """Stop listening; what is cached here is in the log."""
        self.neighbours.close()
        self.presence.close()
        self.following.close()

    def begun_anew(self) -> None:
        self._hosts.forget(self)

    def end(self) -> None:
        """The log is another one than this host knows, or is gone: nothing here is true any more. Whoever is
        connected comes back to a new host."""
        self.ended = True
        for connection in list(self.connections):
            connection.bye("overload", after_ms=self._hosts.dice.randrange(BACK_MS))
        self.close()
        self.presence.tell()
        super().end()
