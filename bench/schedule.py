"""When work is intended: decided before the run, whatever the server then does.

That is what keeps a slow server from hiding itself. A client that sends its next request when the last one
was answered sends nothing while the server is stuck, and so measures one slow answer where people would have
met thousands (coordinated omission). Here a stalled second costs every send that was intended in it.

Pure: seconds from the start, in order, each with what is meant by it.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from fitai.bench.profiles import Hour

T = TypeVar("T")


class Due(NamedTuple):
    """A work that is intended `at` seconds after the start, for the user at this place in the share."""

    at: float
    user: int


def open_loop(rate: float, duration_s: float, users: int, rng: random.Random) -> Iterator[Due]:
    """Independent arrivals (Poisson) of `rate` per second, each for a user drawn by chance."""
    at = rng.expovariate(rate)
    while at < duration_s:
        yield Due(at, rng.randrange(users))
        at += rng.expovariate(rate)


def by_gaps(
    gaps: Callable[[random.Random], float], duration_s: float, users: int, rng: random.Random
) -> Iterator[Due]:
    """Each user does the next thing a gap (seconds) after the last; they start somewhere within a first
    gap."""
    heap = [(rng.random() * gaps(rng), user) for user in range(users)]
    heapq.heapify(heap)
    while heap:
        at, user = heap[0]
        if at >= duration_s:
            return
        yield Due(at, user)
        heapq.heapreplace(heap, (at + gaps(rng), user))


def evening(
    hours: Sequence[Hour], rate: float, duration_s: float, users: int, rng: random.Random
) -> Iterator[Due]:
    """A day part pressed into the run: each hour gets the same share of it, and its load in `rate`s per
    second of the busiest one; `burst` of an hour's load comes in its first twentieth."""
    length = duration_s / len(hours)
    busiest = max(hour.load for hour in hours)
    for place, hour in enumerate(hours):
        expected = rate * length * hour.load / busiest
        count = _poisson(expected, rng)
        ats = sorted(
            place * length + rng.random() * (length / 20 if rng.random() < hour.burst else length)
            for _ in range(count)
        )
        for at in ats:
            yield Due(at, rng.randrange(users))


def _poisson(mean: float, rng: random.Random) -> int:
    """How many independent arrivals there are where `mean` are expected."""
    count, at = 0, rng.expovariate(1.0)
    while at < mean:
        count += 1
        at += rng.expovariate(1.0)
    return count


def weighted(table: Sequence[tuple[T, float]], rng: random.Random) -> T:
    """One of the table's things, by their weights."""
    return rng.choices([thing for thing, _ in table], [weight for _, weight in table])[0]
