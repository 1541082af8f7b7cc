"""Ops and records: the two values that everything else in FitAI is about.

An **op** is what a device says happened ("I logged this set"). A **record** is an op at its place in
its owner's stream: the op plus what the server decided once and for ever (`seq`, `rev`, `device`, `te`,
`verdict`). A workout is a pure function of its records, so these types carry no behaviour and no I/O.

    op      n, base | clock, kind, workout, entity?, value, at, v?
    record  op + seq, rev, device, te, verdict, context?, code?, detail?

Both keep the fields that this version does not know: `raw` is the op exactly as it came (times in Unix
ms, ids as typed by the client), and it is what other devices receive. The typed fields beside it are
normalised (ids in lower case) and are what the engine reads.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec


class Dot(NamedTuple):
    """The name of an op for ever: the device that wrote it and that device's counter (1, 2, …)."""

    device: int
    n: int


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """Who wrote something and what they had seen: a record without its body. See `Record` for the fields."""

    seq: int
    device: int
    n: int
    te: int
    base: int
    beyond: dict[int, int] | None = None

    @property
    def dot(self) -> Dot:
        """The name of the op that wrote it."""
        return Dot(self.device, self.n)

    @property
    def rank(self) -> tuple[int, int, int]:
        """(te, device, n): what is shown of concurrent values is the one of the greatest rank."""
        return (self.te, self.device, self.n)


def saw(later: Stamp, earlier: Stamp) -> bool:
    """Whether the author of `later` had seen `earlier`, another op of the same stream.

    False means, for the one with the greater seq, that the two are concurrent.
    """
    if earlier.seq <= later.base:
        return True
    if earlier.device == later.device:
        return earlier.n < later.n
    return later.beyond is not None and earlier.n <= later.beyond.get(earlier.device, 0)


def outranks(a: Stamp, b: Stamp) -> bool:
    """Whether of two concurrent values that of `a` is shown: the order of `rank`."""
    if a.te != b.te:
        return a.te > b.te
    return (a.device, a.n) > (b.device, b.n)


class Verdict(StrEnum):
    """What became of an op that has a place in the log.

    `duplicate` is never stored: it is an answer to a retry, not a place in the log.
    """

    APPLIED = "applied"
    MERGED = "merged"
    DEFERRED = "deferred"
    VOID = "void"
    DUPLICATE = "duplicate"


# Looking a member up in its enumeration is slow, and these are asked for with every op.
APPLIED: Final = Verdict.APPLIED
MERGED: Final = Verdict.MERGED
VOID: Final = Verdict.VOID

SERVERS_OWN = frozenset({"seq", "rev", "device", "te", "verdict", "context", "code", "detail"})
"""The fields that a record has and its op has not; only the server says them."""


class Op(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One decoded op.

    n        this device's counter, from 1 without gaps
    base     end of the contiguous run of the stream that the device had applied; None if `clock` is given
    clock    the full vector clock {device: n} instead of base
    kind     one of `fitai.engine.kinds.KINDS`, or a kind of a newer client
    workout  UUID, lower case
    entity   UUID of the exercise entry or set, lower case, or None
    value    the kind's value as typed by the person; unknown fields kept
    at       the device's wall clock, Unix ms
    v        schema number of the kind
    raw      the op as it came, unknown fields included
    """

    n: int
    base: int | None
    clock: dict[int, int] | None
    kind: str
    workout: str
    entity: str | None
    value: dict[str, Any]
    at: int
    v: int
    raw: dict[str, Any]


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One op at its place in the log.

    seq      place in the stream, contiguous from 1
    rev      place in its workout, contiguous from 1
    device   enrolled integer of the author; 0 is the server itself
    base     the op's context after the log's rules (never below that of the device's previous op)
    beyond   what the author had seen past `base`: {device: n}, each meaning that device's ops 1..n
    te       effective time, Unix ms: display and tie-break, never causality
    rt       receipt time, Unix ms; never goes back within a stream
    verdict  applied, merged, deferred or void; `code` and `detail` say why for void
    hash     16 bytes over the op without base and clock, equal for a retry, different for an equivocation;
             empty until it is stored
    """

    op: Op
    seq: int
    rev: int
    device: int
    base: int
    beyond: dict[int, int] | None
    te: int
    rt: int
    verdict: Verdict
    code: str | None = None
    detail: dict[str, Any] | None = None
    hash: bytes = b""

    @property
    def dot(self) -> Dot:
        """The record's name for ever."""
        return Dot(self.device, self.op.n)

    @property
    def stamp(self) -> Stamp:
        """The record without its body."""
        return Stamp(self.seq, self.device, self.op.n, self.te, self.base, self.beyond)

    def told(self) -> dict[str, Any]:
        """What the server decided: {seq, rev, te, verdict, context?, code?, detail?}.

        `context` {base, beyond?} is told only where it is not simply the op's own base: that was raised to
        what the device had seen before, or the op came with a clock, or its author had seen more besides.
        """
        out: dict[str, Any] = {
            "seq": self.seq,
            "rev": self.rev,
            "te": self.te,
            "verdict": self.verdict.value,
        }
        if self.beyond:
            out["context"] = {"base": self.base, "beyond": {str(d): n for d, n in self.beyond.items()}}
        elif self.base != self.op.base:
            out["context"] = {"base": self.base}
        if self.code is not None:
            out["code"] = self.code
        if self.detail is not None:
            out["detail"] = self.detail
        return out

    def wire(self) -> dict[str, Any]:
        """The record as every device sees it: the op as it came, the author, and what the server decided.

        A field of the server's in the op itself is nobody's word, and is left out.
        """
        op = {key: value for key, value in self.op.raw.items() if key not in SERVERS_OWN}
        return {**op, "device": self.device, **self.told()}
