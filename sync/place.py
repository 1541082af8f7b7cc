"""Placing ops at the head of a stream, without any I/O.

A `Placer` starts from what is committed (head, the devices' positions, the folds of the workouts that
the ops touch) and turns ops into records one after another, each judged against the state that the one
before it left. Nothing of that is true until the append commits: on success its positions are taken
over, on failure the placer and the folds that it touched are thrown away and read again from the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fitai.engine.ops import Op, Record, Verdict
from fitai.engine.timers import RestDue, timers
from fitai.engine.workout import Limits, Workout, apply, judge
from fitai.sync import log
from fitai.sync.log import Context, Position
from fitai.sync.wire import op_hash

SERVER = 0
"""The server's own device: idle pauses and late completions."""


@dataclass(slots=True)
class Folded:
    """The fold of one workout, per device (seq, n) of its newest record there, and the rests of which a
    record showed that they had ended by their deadline: nobody may have been told of those yet."""

    workout: Workout
    latest: dict[int, tuple[int, int]] = field(default_factory=dict)
    rests_over: list[RestDue] = field(default_factory=list)

    def take(self, record: Record) -> None:
        """Fold the next record of this workout."""
        before = timers(self.workout).rest
        apply(self.workout, record)
        self.latest[record.device] = (record.seq, record.op.n)
        if before is not None and record.te >= before.at:
            after = timers(self.workout).rest
            if after is None or after.dot != before.dot:
                self.rests_over.append(before)


def fold(workout: str, owner: str, records: Iterable[Record]) -> Folded:
    """The state of one workout from its records in log order."""
    folded = Folded(Workout(workout, owner))
    for record in records:
        folded.take(record)
    folded.rests_over.clear()
    return folded


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
        return self.positions.get(device, Position())

    def place(self, device: int, op: Op, context: Context, now: int, offset: int) -> Record:
        """Judge and fold one op; `context` holds its base after the log's rules, times are Unix ms."""
        position = self.position(device)
        folded = self._folds[op.workout]
        received = max(now, self.last_rt)
        judgement = judge(folded.workout, op, self._limits)
        verdict = Verdict(judgement.verdict)
        if verdict is Verdict.APPLIED:
            verdict = log.placed(context, device, folded.latest)
        te = op.at if device == SERVER else log.effective_time(op.at, offset, position.te, received)
        record = Record(
            op=op,
            seq=self.head + 1,
            rev=folded.workout.rev + 1,
            device=device,
            base=context.base,
            beyond=dict(context.beyond) if context.beyond else None,
            te=te,
            rt=received,
            verdict=verdict,
            code=judgement.code,
            detail=judgement.detail,
            hash=op_hash(op.raw),
        )
        folded.take(record)
        self.head = record.seq
        self.last_rt = received
        self.positions[device] = Position(op.n + 1, context.base, context.beyond, te)
        self.records.append(record)
        return record
