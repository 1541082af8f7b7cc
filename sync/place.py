"""Placing ops at the head of a stream, without any I/O.

A `Placer` starts from what is committed (head, the devices' positions, the folds of the workouts that
the ops touch) and turns ops into records one after another, each judged against the state that the one
before it left. Nothing of that is true until the append commits: on success its positions are taken
over, on failure the placer and the folds that it touched are thrown away and read again from the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fitai.engine.ops import APPLIED, Op, Record, Stamp
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
        """Place one op; see `place_all`."""
        return self.place_all(device, [op], [context], now, offset)[0]

    def place_all(
        self, device: int, ops: Sequence[Op], contexts: Sequence[Context], now: int, offset: int
    ) -> list[Record]:
        """Judge and fold a device's ops, one after another. `contexts` are theirs after the log's rules.
        They were received at `now` (Unix ms); `offset` (ms) is what their times are corrected by."""
        received = max(now, self.last_rt)
        ats = [op.at for op in ops]
        if device != SERVER:
            ats = log.effective_times(ats, offset, self.position(device).te, received)
        folds, limits, records = self._folds, self._limits, self.records
        seq, first = self.head, len(records)
        for op, context, te in zip(ops, contexts, ats, strict=True):
            folded = folds[op.workout]
            seq += 1
            base = context.base
            beyond = dict(context.beyond) if context.beyond else None
            stamp = Stamp(seq, device, op.n, te, base, beyond)
            judged = folded.judge(op, stamp, limits)
            verdict = judged.verdict
            if verdict is APPLIED and folded.w.seq > base:
                verdict = log.placed(stamp, folded.latest.values())
            record = Record(
                op=op,
                seq=seq,
                rev=folded.w.rev + 1,
                device=device,
                base=base,
                beyond=beyond,
                te=te,
                rt=received,
                verdict=verdict,
                code=judged.code,
                detail=judged.detail,
            )
            if judged.value is None:
                folded.take(record)
            else:
                folded.add(record, judged.value, stamp)
            records.append(record)
        if ops:
            self.head = seq
            self.last_rt = received
            self.positions[device] = Position(ops[-1].n + 1, base, context.beyond, te)
        return records[first:]
