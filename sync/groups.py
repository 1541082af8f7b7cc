"""Placing ops at the head of a group's stream, without any I/O: the twin of `fitai.sync.place`.

The log's rules are those of every stream (`fitai.sync.log`). Two things differ, since a group acts together
and now: an op happens when it is received, whatever its device's clock says, and it is judged against the
group as it then is, so that no verdict is ever `merged`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from fitai.engine.groups.fold import add
from fitai.engine.groups.group import Group
from fitai.engine.groups.judgement import DEFAULT_LIMITS, GroupLimits, judge
from fitai.engine.judgement import Judgement
from fitai.engine.ops import APPLIED, VOID, Op, Record, Stamp, Verdict
from fitai.sync.log import Context, Position

_START = Position()
_NOTHING: Mapping[int, str] = {}


class GroupPlacer:
    """Gives ops their places after the head of `g`. When the append fails, the placer and the group that it
    touched are thrown away and read again from the log."""

    def __init__(
        self,
        g: Group,
        last_rt: int,
        positions: Mapping[int, Position],
        limits: GroupLimits = DEFAULT_LIMITS,
    ) -> None:
        self.seen = self.head = g.seq
        self.last_rt = last_rt
        self.positions = dict(positions)
        self.records: list[Record] = []
        self._g = g
        self._limits = limits

    def position(self, device: int) -> Position:
        """Where the device stands after what was placed so far."""
        return self.positions.get(device) or _START

    def place_all(
        self,
        device: int,
        ops: Sequence[Op],
        contexts: Sequence[Context],
        now: int,
        held: Collection[int] = (),
        dropped: Mapping[int, str] = _NOTHING,
    ) -> list[Record]:
        """Judge and fold a device's ops, received at `now` (Unix ms), one after another. `contexts` are
        theirs after the log's rules; `held` has the counters of messages that moderation will look
        at, `dropped` of those that it refuses, with the reason."""
        received = max(now, self.last_rt)
        first = len(self.records)
        for op, context in zip(ops, contexts, strict=True):
            judged = self._judge(device, op, context, received)
            if op.kind == "chat.say" and judged.verdict is APPLIED:
                judged = _moderated(judged, op.n in held, dropped.get(op.n))
            self._place(device, op, context, received, judged)
        if ops:
            self.last_rt = received
        return self.records[first:]

    def _judge(self, device: int, op: Op, context: Context, received: int) -> Judgement:
        beyond = dict(context.beyond) if context.beyond else None
        stamp = Stamp(self.head + 1, device, op.n, received, context.base, beyond)
        return judge(self._g, op, stamp, self._limits)

    def _place(self, device: int, op: Op, context: Context, received: int, judged: Judgement) -> None:
        self.head += 1
        record = Record(
            op=op,
            seq=self.head,
            rev=self.head,
            device=device,
            base=context.base,
            beyond=dict(context.beyond) if context.beyond else None,
            te=received,
            rt=received,
            verdict=judged.verdict,
            code=judged.code,
            detail=judged.detail,
        )
        add(self._g, record, judged.value)
        self.records.append(record)
        self.positions[device] = Position(op.n + 1, context.base, context.beyond, received)


def _moderated(judged: Judgement, held: bool, dropped: str | None) -> Judgement:
    """What becomes of a message that could stand."""
    if dropped is not None:
        return Judgement(VOID, "moderated", {"reason": dropped})
    return Judgement(Verdict.DEFERRED, None, None, judged.value) if held else judged
