"""Which of a user's workouts are shown in which others: what merging and unmerging came to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fitai.engine import combine
from fitai.engine.ops import Record
from fitai.persistence.workouts import Merge

if TYPE_CHECKING:
    from fitai.engine.entities import Workout
    from fitai.gateways.live.host import Host


class Merged:
    """The merged workouts of one host's user."""

    def __init__(self, host: Host) -> None:
        self._host = host
        # {merged: into}; the second only where the other one is there.
        self._merges: dict[str, str] = {}
        self._aliases: dict[str, str] = {}

    def view(self, name: str) -> Workout:
        """A workout as it is shown, with what merged workouts bring; all of its family must be loaded."""
        folds = self._host.folds
        others = combine.sources(self._aliases, name)
        return combine.combined(folds[name].workout, [folds[other].workout for other in others])

    def root(self, name: str) -> str:
        """The workout in whose view this one is shown."""
        return combine.root(self._aliases, name)

    def family(self, names: Iterable[str]) -> set[str]:
        """The workouts whose folds the views of these need."""
        names = set(names)
        if not self._aliases:
            return names
        return names.union(*(combine.sources(self._aliases, name) for name in names))

    def remember(self, merge: Merge) -> None:
        """Take over what the projections say of a workout."""
        self._merges[merge.workout] = merge.into
        if merge.there:
            self._aliases[merge.workout] = merge.into

    async def learn(self, name: str) -> set[str]:
        """Take over what a workout's fold says of its merging; the workouts whose views have changed."""
        host = self._host
        await host.load(name)
        before, into = self.root(name), host.folds[name].w.merged_into
        self._merges.pop(name, None)
        self._aliases.pop(name, None)
        if into is not None:
            await host.load(into)
            self._merges[name] = into
            if combine.alias(host.folds[name].w, host.folds[into].w):
                self._aliases[name] = into
        changed = {before, self.root(name)} if before != self.root(name) else set()
        host.following.regrouped(changed)
        return changed

    def plain(self, records: Iterable[Record]) -> set[str] | None:
        """The same as `touched` where nothing is merged and none of these merges; None where that has to be
        found out."""
        if self._merges or any(record.op.kind in combine.ALIASING for record in records):
            return None
        return {record.op.workout for record in records}

    async def touched(self, records: Iterable[Record]) -> set[str]:
        """The workouts whose views these new records have changed."""
        names = {record.op.workout for record in records}
        aliasing = {record.op.workout for record in records if record.op.kind in combine.ALIASING}
        aliasing |= {name for name, into in self._merges.items() if into in names}
        changed = set(names)
        for name in aliasing:
            changed |= await self.learn(name)
        return changed | {self.root(name) for name in names}
