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
from typing import NamedTuple

from fitai.engine.ops import Dot, Op, Record, Verdict
from fitai.sync.wire import Refusal, hash_of, op_hash


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


class Context(NamedTuple):
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


def check_retry(op: Op, stored: Record, next_n: int) -> None:
    """Raise Refusal equivocation unless the stored record of this counter has the same content."""
    if op_hash(op.raw) != hash_of(stored):
        raise Refusal(
            "equivocation",
            f"op {op.n} of this device is already another one; fork the device",
            n=op.n,
            next_n=next_n,
        )


def context(op: Op, position: Position, named: Context | None = None) -> Context:
    """The context of a new op, rule 2: its base (or what its clock `named`) and all that the device's
    previous op had seen."""
    if named is None and position.beyond is None:
        return Context(max(op.base or 0, position.base), None)
    base = named.base if named is not None else op.base or 0
    beyond = dict(position.beyond or {})
    for device, n in ((named.beyond if named is not None else None) or {}).items():
        beyond[device] = max(n, beyond.get(device, 0))
    return Context(max(base, position.base), beyond or None)


def compress(
    clock: Mapping[int, int], own: int, start: int, tail: Iterable[tuple[int, Dot]], ahead: Iterable[Dot]
) -> Context:
    """Rule 3: the context that a full clock names.

    `own` is the author's device (it has seen all of its own), `start` the base that it had before, `tail`
    the (seq, dot) of the records after `start` in order, and `ahead` those dots of the clock's entries
    that lie after `start`.
    """
    base = start
    for seq, dot in tail:
        if dot.device != own and dot.n > clock.get(dot.device, 0):
            break
        base = seq
    beyond = {dot.device: dot.n for dot in ahead if dot.device != own}
    return Context(base, beyond or None)


def saw(context: Context, author: int, seq: int, dot: Dot) -> bool:
    """Whether an op with this context by `author` had seen the record `dot` at `seq`."""
    if seq <= context.base or dot.device == author:
        return True
    return context.beyond is not None and dot.n <= context.beyond.get(dot.device, 0)


def placed(context: Context, author: int, latest: Mapping[int, tuple[int, int]]) -> Verdict:
    """`applied` when the op had seen every record of its workout by other devices, else `merged`.

    `latest` holds, per device, (seq, n) of that device's newest record in the workout.
    """
    base = context.base
    for device, (seq, n) in latest.items():
        if seq > base and not saw(context, author, seq, Dot(device, n)):
            return Verdict.MERGED
    return Verdict.APPLIED


def effective_time(at: int, offset: int, previous: int | None, received: int) -> int:
    """Rule 4, all in Unix ms: `at` + `offset`, not before the device's previous op, not after receipt."""
    te = at + offset
    if previous is not None and te < previous:
        te = previous
    return te if te < received else received
