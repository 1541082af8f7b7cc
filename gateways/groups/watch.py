"""One member's workout, folded from committed records only: the view that a group's board is worked out of.

Records of the member's stream are handed over as they come, and taken as long as they follow on each other.
When they do not, or when workouts are merged, the watch **lacks** something: it is to be loaded anew from the
log. What comes meanwhile is kept and follows after.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fitai.engine import combine
from fitai.engine.entities import Workout
from fitai.engine.ops import Record
from fitai.persistence.families import Family
from fitai.sync.fold import Folded, fold

KEPT: Final = 1_000  # records that are kept while the log is read


class Watch:
    """The fold of one workout of a user, and of those that merging ties it to."""

    def __init__(self, user: str, workout: str) -> None:
        self.user = user
        self.workout = workout
        self.stream: int | None = None
        self.epoch = ""
        self.position = 0
        self.lacks = True
        """Only the log can tell what it is now."""
        self._folds: dict[str, Folded] = {}
        self._kept: list[tuple[str, Record]] = []
        self._told = ("", 0)  # the log goes at least this far, by what others say

    def load(self, family: Family) -> None:
        """Begin anew with what is in the log."""
        self.stream, self.epoch, self.position = family.stream, family.epoch, family.head
        self._folds = {name: fold(name, self.user, records) for name, records in family.records.items()}
        self.lacks = False
        kept, self._kept = self._kept, []
        self.take(self.epoch, [record for epoch, record in kept if epoch == self.epoch])
        (epoch, head), self._told = self._told, ("", 0)
        self.lacks = self.lacks or (epoch == self.epoch and head > self.position)

    def take(self, epoch: str, records: Sequence[Record]) -> bool:
        """Records of the stream, in order; whether the view is another one now, or may be."""
        if not self.lacks and epoch != self.epoch:
            self.lacks = True
        changed = False
        for record in records:
            if not self.lacks and record.seq > self.position:
                changed |= self._take(record)
            if self.lacks and len(self._kept) < KEPT:  # past that there is a gap, and it is loaded again
                self._kept.append((epoch, record))
        return changed or self.lacks

    def reached(self, epoch: str, head: int) -> bool:
        """The log is this one and goes so far, by what somebody says. Whether the watch lacks some of it."""
        self._told = (epoch, max(head, self._told[1])) if epoch == self._told[0] else (epoch, head)
        self.lacks = self.lacks or epoch != self.epoch or head > self.position
        return self.lacks

    @property
    def rev(self) -> int:
        """How many records it and all that it is tied to have, as `read_revs` counts them."""
        return sum(folded.rev for folded in self._folds.values())

    def view(self) -> Workout | None:
        """The workout as it is shown, with what is merged; None while it is not loaded."""
        folds = self._folds
        if self.workout not in folds:
            return None
        if len(folds) == 1:
            return folds[self.workout].workout
        aliases = {
            name: into
            for name, folded in folds.items()
            if (into := folded.w.merged_into) in folds and combine.alias(folded.w, folds[into].w)
        }
        root = combine.root(aliases, self.workout)
        others = combine.sources(aliases, root)
        return combine.combined(folds[root].workout, [folds[name].workout for name in others])

    def holds(self, workout: str) -> bool:
        """Whether a workout is this one or tied to it."""
        return workout == self.workout or workout in self._folds

    def _take(self, record: Record) -> bool:
        op = record.op
        folded = self._folds.get(op.workout)
        if record.seq != self.position + 1 or (folded is not None and record.rev != folded.rev + 1):
            self.lacks = True
            return False
        if op.kind in combine.ALIASING and (folded is not None or op.value.get("into") in self._folds):
            self.lacks = True
            return False
        self.position = record.seq
        if folded is None:
            return False
        folded.take(record)
        return True
