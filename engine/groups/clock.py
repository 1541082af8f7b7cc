"""How much of a group's time has passed: a stopwatch that all devices read alike.

It runs from the moment at which everybody began, stands while the group is paused, and ends with the format.
Its reading is **elapsed** time in ms; everything that a format plans is said in it, so that a pause shifts it
all by itself. It is a list of **runs**, each from one moment of the server's time to another:

    wall      10:00:00        10:05:00    10:07:03             10:12:03
              ├─── run ───────┤  paused   ├──── run ───────────┤
    elapsed   0               5:00        5:00                 10:00

A run knows from its beginning when the format will end it, so nothing has to happen then.
"""

from __future__ import annotations

from typing import Final, NamedTuple

GRACE_MS: Final = 15_000
"""What was done is typed after it: so long after a run's end a set still belongs to it."""


class Run(NamedTuple):
    """from_, until: Unix ms, None while nothing will end it by itself; elapsed: the reading at `from_`."""

    from_: int
    elapsed: int
    until: int | None

    @property
    def last(self) -> int | None:
        """The reading at its end."""
        return None if self.until is None else self.elapsed + self.until - self.from_


class Clock:
    """The runs of one group. `limit` is the reading at which the format ends; None: it does not."""

    __slots__ = ("limit", "runs")

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.runs: list[Run] = []

    def run(self, at: int) -> None:
        """Go on from the moment `at`, which may lie ahead; the first time, begin."""
        elapsed = (self.runs[-1].last or 0) if self.runs else 0
        until = None if self.limit is None else at + self.limit - elapsed
        self.runs.append(Run(at, elapsed, until))

    def stop(self, at: int) -> None:
        """Stand still from `at` on. A run that was still ahead never was."""
        run = self.runs.pop()
        if at > run.from_:
            self.runs.append(run._replace(until=at))

    @property
    def ends_at(self) -> int | None:
        """When the last run ends as far as is known, Unix ms."""
        return self.runs[-1].until if self.runs else None

    def elapsed(self, at: int) -> int:
        """The reading at `at`: 0 before the beginning."""
        run = self._run(at)
        if run is None:
            return 0
        return run.elapsed + (at if run.until is None else min(at, run.until)) - run.from_

    def counted(self, at: int) -> int | None:
        """The reading that something done at `at` is counted at; None when it does not count: before the
        beginning, while the clock stood, after the end, but for the grace after a run."""
        run = self._run(at)
        if run is None or (run.until is not None and at - run.until > GRACE_MS):
            return None
        return self.elapsed(at)

    def wall(self, elapsed: int) -> int | None:
        """When the reading is or was `elapsed`, Unix ms; None while it is not known: before the beginning, or
        past a pause. What begins just when the clock is stopped begins when it goes on."""
        for run in self.runs:
            if run.last is None or elapsed < run.last:
                return run.from_ + max(0, elapsed - run.elapsed)
        return self.ends_at if self.runs and elapsed == self.runs[-1].last == self.limit else None

    def _run(self, at: int) -> Run | None:
        """The run that had begun last."""
        return next((run for run in reversed(self.runs) if run.from_ <= at), None)
