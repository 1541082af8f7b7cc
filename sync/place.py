"""Placing ops at the head of a stream, without any I/O.

A `Placer` starts from what is committed (head, the devices' positions, the folds of the workouts that
the ops touch) and turns ops into records one after another, each judged against the state that the one
before it left. Nothing of that is true until the append commits: on success its positions are taken
over, on failure the placer and the folds that it touched are thrown away and read again from the log.
"""

from __future__ import annotations

from collections.abc import Mapping

from fitai.engine.ops import Op, Record, Stamp, Verdict
from fitai.engine.workout import Limits
from fitai.sync import log
from fitai.sync.fold import Folded
from fitai.sync.log import Context, Position
from fitai.sync.timeline import SERVER

__all__ = ["SERVER", "Placer"]

_START = Position()


class Placer:
    """Gives ops their places after `head`; see the module's first lines."""

    def __init__(
        self,
        head: int,
        last_rt: int,
        positions: Mapping[int, Position],
        folds: Mapping[str, Folded],
        limits: Limits,
    ) -> None:
        self.seen = head
        self.head = head
        self.last_rt = last_rt
        self.positions = dict(positions)
        self.records: list[Record] = []
        self._folds = folds
        self._limits = limits

    def position(self, device: int) -> Position:
        """Where the device stands after what was placed so far."""
        return self.positions.get(device) or _START

    def place(self, device: int, op: Op, context: Context, now: int, offset: int) -> Record:
        """Judge and fold one op; `context` holds its base after the log's rules, times are Unix ms."""
        position = self.positions.get(device) or _START
        folded = self._folds[op.workout]
        received = now if now > self.last_rt else self.last_rt
        te = op.at if device == SERVER else log.effective_time(op.at, offset, position.te, received)
        beyond = dict(context.beyond) if context.beyond else None
        stamp = Stamp(self.head + 1, device, op.n, te, context.base, beyond)
        judgement = folded.judge(op, stamp, self._limits)
        verdict = judgement.verdict
        if verdict is Verdict.APPLIED:
            verdict = log.placed(stamp, folded.latest.values())
        record = Record(
            op=op,
            seq=stamp.seq,
            rev=folded.rev + 1,
            device=device,
            base=context.base,
            beyond=beyond,
            te=te,
            rt=received,
            verdict=verdict,
            code=judgement.code,
            detail=judgement.detail,
        )
        folded.take(record, judgement.value, stamp)
        self.head = record.seq
        self.last_rt = received
        self.positions[device] = Position(op.n + 1, context.base, context.beyond, te)
        self.records.append(record)
        return record
