"""The rules of the op log: which ops of a push are new, what they had seen, and when they happened.

A stream is written by several devices. Each device numbers its own ops 1, 2, … for ever; the stream
numbers all of them as they are accepted. Four rules carry everything else:

1. **Contiguous counters.** The next op of a device is `next_n`. A lower one is a retry, answered
   `duplicate` when its content is the same and refused as `equivocation` when it is not (two copies of
   one device are writing). A higher one is a `gap`.
2. **Context.** `base` is the end of the contiguous run of the stream that the author had applied. It can
   not lie beyond the head, and it never goes back for one device: an op's context includes the context of
   that device's previous op, so a lower base is raised to it.
3. **A full clock is only another way to write a base.** `{device: n}` is compressed to the longest prefix
   of the stream that it covers, plus one entry per device for what it names beyond that prefix. Nothing
   is rounded.
4. **Effective time is for people.** `te` is the device's clock corrected by the measured offset and held
   within [te of the device's previous op, receipt]. It orders nothing that matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct

from fitai.engine.ops import APPLIED, MERGED, Dot, Op, Record, Stamp, Verdict, saw
from fitai.sync.clock import VectorClock
from fitai.sync.wire import MAX_INT, Refusal, hash_of, op_hash

_NONE: Final[Mapping[Any, Any]] = {}


class Position(NamedTuple):
    """Where one device stands in a stream: its next counter, its context, its last effective time (ms)."""

    next_n: int = 1
    base: int = 0
    beyond: Mapping[int, int] | None = None
    te: int | None = None


class Admission(NamedTuple):
    """A push, divided: how many of its ops are retries, and the ops that are new."""

    retries: int
    fresh: Sequence[Op]


class Context(Struct, frozen=True, gc=False):
    """What an op had seen: every record up to `base`, and beyond it each device's ops up to a counter."""

    base: int
    beyond: Mapping[int, int] | None


def admit(ops: Sequence[Op], position: Position, head: int) -> Admission:
    """Divide a push by rule 1 and check its bases by rule 2; raises Refusal gap or base_ahead."""
    first = ops[0].n
    if first > position.next_n:
        raise Refusal("gap", f"the next op of this device is {position.next_n}", next_n=position.next_n)
    retries = min(len(ops), position.next_n - first)
    fresh = ops[retries:]
    for op in fresh:
        if op.base is not None and op.base > head:
            raise Refusal("base_ahead", f"base {op.base} is beyond the head {head}", n=op.n, head=head)
    return Admission(retries, fresh)


def result(record: Record) -> dict[str, Any]:
    """One line of a push's answer: what became of the op that this record is."""
    return {"n": record.op.n, **record.told()}


def retried(op: Op, stored: Record, next_n: int) -> dict[str, Any]:
    """One line of a push's answer for an op whose counter is taken by the record `stored`, rule 1: the first
    answer again. Raises Refusal equivocation when that has another content."""
    if op_hash(op.raw) != hash_of(stored):
        raise Refusal(
            "equivocation",
            f"op {op.n} of this device is already another one; fork the device",
            n=op.n,
            next_n=next_n,
        )
    first = stored.told()
    seq = first.pop("seq")
    place = {"n": op.n, "seq": seq, "rev": stored.rev, "te": stored.te}
    return {**place, "verdict": Verdict.DUPLICATE.value, "first": first}


def context(op: Op, position: Position, named: Context | None = None) -> Context:
    """The context of a new op, rule 2: its base (or what its clock `named`) and all that the device's
    previous op had seen."""
    if named is None:
        named = Context(op.base or 0, None)
    base = max(named.base, position.base)
    if named.beyond is None and position.beyond is None:
        return Context(base, None)
    beyond = VectorClock(position.beyond or {}) | (named.beyond or {})
    return Context(base, dict(beyond) or None)


def contexts(
    ops: Iterable[Op],
    position: Position,
    named: Mapping[int, Context] = _NONE,
    places: Mapping[Dot, int] = _NONE,
) -> list[Context]:
    """The contexts of a device's next ops, each after the one before it: rule 2, shortened.

    `named` has by counter what full clocks name, `places` the seqs that `shorten` asks for.
    """
    found: list[Context] = []
    last = Context(position.base, position.beyond)
    for op in ops:
        # Most ops had seen just what the one before them had.
        if last.beyond or op.clock is not None or (op.base or 0) > last.base:
            next_ = context(op, Position(op.n, last.base, last.beyond), named.get(op.n))
            last = shorten(next_, places)
        found.append(last)
    return found


def require(clock: VectorClock, own: int, here: VectorClock) -> None:
    """Raise Refusal later {missing} when a clock of the device `own` names ops that are not in the log yet.

    `here` is the clock of the whole log. The device's own ops need not be there: they come with this push.
    """
    missing = {str(device): n for device, n in clock.items() if device != own and n > here[device]}
    if missing:
        raise Refusal(
            "later", "this clock names ops that are not here yet", retry_after_ms=1000, missing=missing
        )


def compress(clock: VectorClock, own: int, start: int, tail: Iterable[tuple[int, Dot]]) -> Context:
    """Rule 3: the context that a full clock names.

    `clock` holds what the device had seen beyond its base before, too. `own` is the author's device (it has
    seen all of its own), `start` the base that it had before, and `tail` the (seq, dot) of all records after
    `start`, in order.
    """
    base, contiguous = start, True
    beyond: dict[int, int] = {}
    for seq, dot in tail:
        if dot.device != own and not clock.seen(dot):
            contiguous = False
        elif contiguous:
            base = seq
        elif dot.device != own:
            beyond[dot.device] = dot.n
    return Context(base, beyond or None)


def shorten(context: Context, places: Mapping[Dot, int]) -> Context:
    """The same context without the entries that its base covers.

    So a device that has retired, or that another one was forked from, costs later ops nothing. Nothing is
    lost: what a device wrote earlier lies lower in the log. `places` are the seqs of the entries' dots; an
    entry without one stays.
    """
    if context.beyond is None:
        return context
    base = context.base
    left = {d: n for d, n in context.beyond.items() if places.get(Dot(d, n), base + 1) > base}
    return Context(base, left or None)


def placed(stamp: Stamp, latest: Iterable[Stamp]) -> Verdict:
    """`applied` when an op had seen every record of its workout by other devices, else `merged`.

    `latest` are each device's newest record in the workout.
    """
    for one in latest:
        if one.seq > stamp.base and one.device != stamp.device and not saw(stamp, one):
            return MERGED
    return APPLIED


def effective_times(ats: Iterable[int], offset: int, previous: int | None, received: int) -> list[int]:
    """Rule 4 for a device's next ops, all in Unix ms: each `at` + `offset`, not before the device's previous
    op, not after receipt. Two absurd clocks do not add up to a time that JSON clients can not name."""
    te = -MAX_INT if previous is None else previous
    found = []
    for at in ats:
        corrected = at + offset
        if corrected > te:
            te = corrected
        if te > received:
            te = received
        found.append(te)
    return found
