"""Jobs: what is to be done after a commit, and the promises that its handlers can count on.

A job is a row that the transaction which caused it has written (`persistence.jobs.Jobs.put`). **The row is
the truth.** A broker carries ids quickly and may lose, double or reorder them at will.

- A job whose transaction was rolled back is never run. Any other is run until its handler has returned once,
  or it is **dead**: its handler said so (`Permanent`), its payload is none that the handler takes, or it
  failed as often as its kind may.
- It may be run **more often than once**, also at the same time by two workers when one of them was stopped
  for longer than it may take: a handler bears that. `Attempt.job` is the same each time, and names the job
  for ever.
- A worker that dies holds a job for `within_s` and a little; then another one takes it.
- Jobs are begun in the order in which they are due, roughly; nothing waits for another one.
- A kind that this release does not know may be one of a newer release which runs beside it: such a job is put
  back like one that failed.
- When a job is done its payload is forgotten: what was mailed is nobody's business any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

P = TypeVar("P", bound=BaseModel)

LONGEST_S = 1800.0
"""The most that a kind may ask for as `within_s`."""


class Permanent(Exception):
    """Trying again is of no use: the job is dead. The message is for operators and holds no secret."""


class Temporary(Exception):
    """It did not go this time, as was to be expected now and then. The message is for operators and holds no
    secret. (Any other exception is told as its type alone, and whole in the log.)"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """This run of a job: the job's id, the how manieth run it is (from 1), and when it began (Unix ms)."""

    job: str
    number: int
    now: int


@dataclass(frozen=True, slots=True)
class Kind(Generic[P]):
    """What is to be done for the jobs of one name.

    payload   the model of its JSON object; what does not fit is dead at once
    handle    does it. Returning means done; Permanent, dead; any other exception, tried again later
    attempts  how often it is tried before it is dead. Twelve last about two and a half hours
    within_s  the longest that `handle` may take before it is cancelled and counts as failed
    """

    name: str
    payload: type[P]
    handle: Callable[[Attempt, P], Awaitable[None]]
    attempts: int = 12
    within_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.within_s <= LONGEST_S or self.attempts < 1:
            raise ValueError(f"the kind {self.name} can not be tried like this")


class Kinds(Mapping[str, Kind[Any]]):
    """The kinds that a worker knows, by name; no two have one name."""

    def __init__(self, kinds: Iterable[Kind[Any]]) -> None:
        self._kinds: dict[str, Kind[Any]] = {}
        for kind in kinds:
            if kind.name in self._kinds:
                raise ValueError(f"there are two kinds of jobs called {kind.name}")
            self._kinds[kind.name] = kind

    def __getitem__(self, name: str) -> Kind[Any]:
        return self._kinds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)
