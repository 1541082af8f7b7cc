"""What a worker (a host, a room) can be asked to do, each as a small object with four moments.

    prepare   async: read from the log what placing will need (retries, clocks, keys); may refuse
    place     synchronous: give ops their places on the tentative state; may refuse
    settle    after the commit: answer whoever asked
    fail      instead, when it was refused or the database is away

A worker takes all the jobs that wait, places them one after another, commits them in one append, and
settles them in the same order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import structlog

from fitai.engine import timers as deadlines
from fitai.engine.kinds import stamp
from fitai.engine.ops import Dot, Op, Record
from fitai.engine.workout import state
from fitai.gateways import meters, occasion
from fitai.gateways.identity import Identity
from fitai.persistence import tracing
from fitai.sync import log
from fitai.sync.log import Context, Position
from fitai.sync.place import SERVER, Placer
from fitai.sync.wire import Push, Refusal, WireLimits, decode_op

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from fitai.gateways.live.host import Host
    from fitai.gateways.live.worker import Worker

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Intent:
    """An op that a command wants written; the host adds counter, base and time. `workout` is for what the
    command's workout shows and another one, merged into it, holds."""

    kind: str
    value: Mapping[str, Any]
    entity: str | None = None
    at: int | None = None
    workout: str | None = None


@dataclass(frozen=True, slots=True)
class StateAt:
    """A workout's state document at a position of its stream. `rev` changes with every record of what the
    document shows, merged workouts included."""

    seq: int
    rev: int
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """An Idempotency-Key, with a hash of the request that it stands for."""

    key: str
    request: str


@dataclass(frozen=True, slots=True)
class Done:
    """What a command came to. `replayed`: its key had been used by the same request before."""

    results: list[dict[str, Any]]
    state: StateAt
    replayed: bool


class RevClash(Exception):
    """If-Match did not hold; `current` is the state that it was held against."""

    def __init__(self, current: StateAt) -> None:
        super().__init__(f"the workout is at revision {current.rev}")
        self.current = current


class Behind(Exception):
    """A job knows of records that this host has not read: it is to look at the log and begin again."""


class KeyReuse(Exception):
    """An Idempotency-Key came again with another request."""


class Sender(Protocol):
    """Whoever pushed ops and waits for the answer: a socket's connection, or a request over REST.

    Exactly one of the three is called for each push. `ack` is what the sender gave with it, to tell its
    pushes apart; `answer` is the payload that the client gets.
    """

    @property
    def identity(self) -> Identity:
        """Who pushed."""

    def settle(self, ack: int | None, answer: dict[str, Any], first: int, last: int) -> None:
        """The records `first`..`last` are committed."""

    def settle_retry(self, ack: int | None, answer: dict[str, Any], last: int) -> None:
        """All of it was in the log already, at `last` or below."""

    def refuse(self, ack: int | None, answer: dict[str, Any]) -> None:
        """It came to nothing."""


class Placing(Protocol):
    """What gives ops their places: `fitai.sync.place.Placer`, `fitai.sync.groups.GroupPlacer`. `seen` is the
    head that it began at."""

    seen: int
    head: int
    records: list[Record]

    def position(self, device: int) -> Position:
        """Where the device stands after what was placed so far."""


W = TypeVar("W", bound="Worker[Any]")
P = TypeVar("P", bound=Placing)


class Job(Generic[W, P]):
    """See the module's first lines. `records` are what it placed, `origin` who must not be echoed, `kinds`
    those of the ops that a device asks to be placed, `writes` whether it may place any, `refused` whether the
    database refused a row of the batch that it was in, `span` its way while that is traced."""

    span: Span | None = None
    writes = True
    refused = False
    records: Sequence[Record] = ()
    kinds: frozenset[str] = frozenset()
    origin: Sender | None = None

    def workouts(self) -> Iterable[str]:
        """The workouts whose folds placing needs."""
        return ()

    def is_ready(self, host: W) -> bool:
        """Whether everything that placing needs is at hand, and `prepare` need not be called."""
        return True

    async def prepare(self, host: W) -> None:
        """Read what placing needs."""

    def place(self, host: W, placer: P) -> None:
        """Place ops."""

    def settle(self, host: W) -> None:
        """Answer."""

    def fail(self, error: Exception) -> None:
        """Answer that it came to nothing."""


class PushedJob(Job[W, P]):
    """A device's own ops; the heirs say how they are placed."""

    def __init__(self, push: Push, origin: Sender, device: int, ack: int | None) -> None:
        self.origin: Sender = origin
        self.kinds = frozenset(op.kind for op in push.ops)
        self._device = device
        self._push = push
        self._ops = push.ops
        self._ack = ack
        self._stored: dict[int, Record] = {}
        self._named: dict[int, Context] = {}
        self._places: dict[Dot, int] = {}
        self._answer: dict[str, Any] = {}
        self._last = 0
        self._looked = False
        self._paid = 0  # ops that the rates have let through, however often they have to be placed
        if tracing.tracer is not None:
            self.span = _began("push", origin.identity, ops=len(push.ops))

    def write(self, host: W, placer: P, fresh: Sequence[Op], contexts: Sequence[Context]) -> list[Record]:
        """Place the ops that are new."""
        raise NotImplementedError

    def is_ready(self, host: W) -> bool:
        """So it is for a device that is known here, goes on where it was, and has heard of nothing but the
        log."""
        push, position = self._push, host.known_position(self._device)
        if position is None or position.beyond is not None or push.ops[0].n < position.next_n:
            return False
        return push.epoch in (None, host.epoch) and all(
            op.clock is None and (op.base or 0) <= host.head for op in push.ops
        )

    async def prepare(self, host: W) -> None:
        if self._push.epoch is not None and self._push.epoch != host.epoch:
            raise Refusal(
                "epoch", "this log began anew; take a snapshot and offer your ops again", epoch=host.epoch
            )
        await host.meet(self._device)
        ops = self._push.ops
        if not self._looked and any(host.lacks(self._device, op) for op in ops):
            self._looked = True
            raise Behind
        next_n = host.position(self._device).next_n
        if ops[0].n < next_n:
            found = await host.find(self._device, ops[0].n, min(ops[-1].n, next_n - 1))
            self._stored = {record.op.n: record for record in found}
            if not self._looked and any(record.seq > host.head for record in found):
                self._looked = True
                raise Behind
        self._ops = await self._name_contexts(host, next_n)
        heard = [host.position(self._device).beyond, *(named.beyond for named in self._named.values())]
        beyond = {Dot(d, n) for entries in heard for d, n in (entries or {}).items()}
        self._places = await host.places(beyond) if beyond else {}

    async def _name_contexts(self, host: W, next_n: int) -> list[Op]:
        """The ops up to the first whose clock names what is not here yet; raises Refusal later {missing} when
        that is the first of all. Those before it can not wait: what it lacks may be waiting for them (a watch
        that had heard of them, and whose batch comes after them)."""
        ops = self._push.ops
        for i, op in enumerate(ops):
            if op.clock is not None and op.n >= next_n:
                try:
                    self._named[op.n] = await host.name_context(self._device, op.clock)
                except Refusal:
                    if i == 0:
                        raise
                    return ops[:i]
        return ops

    def place(self, host: W, placer: P) -> None:
        self.records = []
        position = placer.position(self._device)
        if self._ops[0].n > position.next_n and not self._looked:
            # What lies between may have come by another node, whose hint is late or lost.
            self._looked = True
            raise Behind
        admission = log.admit(self._ops, position, placer.seen)
        results = [self._retry(op, placer) for op in self._ops[: admission.retries]]
        self._last = max((result["seq"] for result in results), default=0)
        fresh = self._allowed(host, admission.fresh)
        contexts = log.contexts(fresh, position, self._named, self._places)
        self.records = self.write(host, placer, fresh, contexts)
        results += map(log.result, self.records)
        self._answer = {"ok": True, "results": results, "head": placer.head}

    def settle(self, host: W) -> None:
        meters.DUPLICATES.inc(len(self._answer["results"]) - len(self.records))
        tracing.ended(self.span)
        if self.records:
            self.origin.settle(self._ack, self._answer, self.records[0].seq, self.records[-1].seq)
        else:
            self.origin.settle_retry(self._ack, self._answer, self._last)

    def fail(self, error: Exception) -> None:
        if not isinstance(error, Refusal):
            error = Refusal("unavailable", "something went wrong here; nothing was stored, try again")
        meters.PUSHES_REFUSED.labels(error.code).inc()
        tracing.ended(self.span, error.code)
        self.origin.refuse(self._ack, error.answer())

    def _retry(self, op: Op, placer: P) -> dict[str, Any]:
        stored = self._stored.get(op.n) or next(
            record for record in placer.records if record.device == self._device and record.op.n == op.n
        )
        return log.retried(op, stored, placer.position(self._device).next_n)

    def _allowed(self, host: W, fresh: Sequence[Op]) -> Sequence[Op]:
        """As many of the new ops as the device's rate allows; refused with `later` when that is none."""
        if not fresh:
            return fresh
        if len(fresh) > self._paid:
            self._paid += host.allowance(self._device, len(fresh) - self._paid)
        if self._paid == 0:
            raise Refusal("later", "too many ops at once", retry_after_ms=host.allowance_wait(self._device))
        return fresh[: self._paid]


class PushJob(PushedJob["Host", Placer]):
    """Ops of a user's stream, from a socket or over REST."""

    def __init__(self, push: Push, origin: Sender, ack: int | None, received: int) -> None:
        super().__init__(push, origin, origin.identity.device, ack)
        self._offset = 0 if push.sent_at is None else received - push.sent_at
        self._workouts = {op.workout for op in push.ops}

    def workouts(self) -> Iterable[str]:
        return self._workouts

    def write(
        self, host: Host, placer: Placer, fresh: Sequence[Op], contexts: Sequence[Context]
    ) -> list[Record]:
        return placer.place_all(self._device, fresh, contexts, host.now_ms(), self._offset)


class CommandJob(Job["Host", Placer]):
    """A change made over REST: ops of an API device whose base is the head, planned on the state."""

    def __init__(
        self,
        device: int,
        workout: str,
        plan: Callable[[dict[str, Any] | None], list[Intent]],
        if_rev: int | None,
        key: Key | None,
    ) -> None:
        self.done: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self.key = key
        self._device = device
        self._workout = workout
        self._plan = plan
        self._if_rev = if_rev
        self._replayed = False
        self._state: StateAt | None = None
        self.span = tracing.began("command", root=False, device=device)

    def workouts(self) -> Iterable[str]:
        return (self._workout,)

    def is_ready(self, host: Host) -> bool:
        return self.key is None

    async def prepare(self, host: Host) -> None:
        self._replayed = self.key is not None and await host.key_used(host.user, self.key)

    def place(self, host: Host, placer: Placer) -> None:
        self.records = []
        if not self._replayed:
            now = _state_at(host, placer, self._workout)
            document = now.document if now.document["created"] else None
            if self._if_rev is not None and now.rev != self._if_rev:
                raise RevClash(now)
            self.records = write(host, placer, self._device, self._workout, self._plan(document))
        self._state = _state_at(host, placer, self._workout)

    def settle(self, host: Host) -> None:
        tracing.ended(self.span)
        if not self.done.done() and self._state is not None:
            results = [log.result(record) for record in self.records]
            self.done.set_result(Done(results, self._state, self._replayed))

    def fail(self, error: Exception) -> None:
        tracing.ended(self.span, type(error).__name__)
        if not self.done.done():
            self.done.set_exception(error)


class ReadJob(Job["Host", Placer]):
    """The committed state of one workout."""

    writes = False

    def __init__(self, workout: str) -> None:
        self.done: asyncio.Future[StateAt | None] = asyncio.get_running_loop().create_future()
        self._workout = workout
        self._state: StateAt | None = None

    def workouts(self) -> Iterable[str]:
        return (self._workout,)

    def place(self, host: Host, placer: Placer) -> None:
        if host.folds[self._workout].workout.known:
            self._state = _state_at(host, placer, self._workout)

    def settle(self, host: Host) -> None:
        if not self.done.done():
            self.done.set_result(self._state)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class TickJob(Job["Host", Placer]):
    """A deadline of a workout may have passed: say that the rest is over, pause or finish what idles."""

    def __init__(self, workout: str) -> None:
        self._workout = workout

    def workouts(self) -> Iterable[str]:
        return (self._workout,)

    def place(self, host: Host, placer: Placer) -> None:
        """The condition is judged here, on the state at the head: whatever came since has cleared it."""
        self.records = []
        now = host.now_ms()
        workout = host.folds[self._workout].workout
        heard = host.last_receipt(self._workout)
        limits = host.limits
        while own := deadlines.due_op(workout, now, heard, limits.idle_pause_ms, limits.idle_finish_ms):
            intent = Intent(own.kind, own.value, at=own.at)
            self.records += write(host, placer, SERVER, self._workout, [intent])

    def settle(self, host: Host) -> None:
        host.following.announce_rest(self._workout)


class ThenJob(Job[Any, Any]):
    """Work that has its turn in the queue and may wait for the log: greetings and projections."""

    writes = False

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._work = work

    def settle(self, host: Any) -> None:
        host.afterwards(self)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # nobody may be waiting, and then nobody need be told

    async def run(self) -> None:
        """Do the work; whoever waits hears how it ended."""
        try:
            await self._work()
        except Exception as error:
            _log.warning("host_follow_up_failed", exc_info=error)
            self.fail(error)
        else:
            if not self.done.done():
                self.done.set_result(None)


def _began(name: str, identity: Identity, ops: int) -> Span | None:
    """The span of a push. One over a socket begins a trace: what is current there is of an earlier event."""
    root = not isinstance(occasion.NOW.get(), occasion.Request)
    return tracing.began(name, root=root, user=identity.user, device=identity.device, ops=ops)


def _state_at(host: Host, placer: Placer, workout: str) -> StateAt:
    """The state with what has been placed so far. The revisions of merged workouts count in a part of the
    number of their own, so that no op and no unmerging can bring an old number back."""
    view = host.merged.view(workout)
    merged = sum(host.folds[name].rev for name in view.merged)
    return StateAt(placer.head, view.rev + (merged << 32), state(view))


def write(host: Host, placer: Placer, device: int, workout: str, intents: Sequence[Intent]) -> list[Record]:
    """Place ops that are written here, by a device that has seen everything. All are decoded, by the same
    rules as everybody's, before the first is placed."""
    now = host.now_ms()
    first = placer.position(device)
    ops = [
        _op(intent.workout or workout, intent, first.next_n + i, placer.head + i, now, host.limits.wire)
        for i, intent in enumerate(intents)
    ]
    contexts = [Context(placer.head + i, first.beyond) for i in range(len(ops))]
    return placer.place_all(device, ops, contexts, now, 0)


def _op(workout: str, intent: Intent, n: int, base: int, now: int, limits: WireLimits) -> Op:
    raw: dict[str, Any] = {
        "n": n,
        "base": base,
        "kind": intent.kind,
        "workout": workout,
        "value": dict(intent.value),
        "at": now if intent.at is None else intent.at,
        **stamp(intent.kind),
    }
    if intent.entity is not None:
        raw["entity"] = intent.entity
    return decode_op(raw, limits)[0]
