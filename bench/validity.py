"""Whether a run says something about the server, and if not, why not. Pure.

A run is invalid when something was wrong with the answers (the control failed, a request was refused), or
when the client was the limit: then the figures are those of the generators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CPU = 0.9  # of a core, over the run: beyond it a generator has no time left
LAG_MS = 100.0  # p99 of how late a generator's loop wakes up
LATE_MS = 50.0  # p99 of how late a generator sent what was due: latencies from intended times are off by it
BUSY = 0.5  # of all cores, taken by others before the start
FULL = 0.95  # of all cores, during the run


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a run is judged by.

    measured      operations that were done
    failures      what went wrong, by kind
    cpu           mean part of a core of each generator
    lag_ms        p99 of the generators' loops' lateness
    late_ms       p99 of the sends' lateness, None where nothing was scheduled
    cores         of this machine
    load_before   part of all cores that was taken before the start
    system        part of all cores that was taken during the run
    interrupted   somebody stopped it
    """

    measured: int
    failures: Mapping[str, int]
    cpu: Sequence[float]
    lag_ms: float
    late_ms: float | None
    cores: int
    load_before: float
    system: float
    interrupted: bool = False


_CONTROL = {
    "lost": "records that a device was never told of",
    "doubled": "records that a device was told of twice",
    "different": "places of a log at which two devices were told of different ops",
    "void": "ops that did not stand",
    "shown wrong": "participants of a group who were shown something else than what was sent",
    "not answered": "pushes without an answer at the end",
    "not resumed": "connections that came with a cursor and were not resumed",
    "not connected": "connections that were not made",
    "connection lost": "connections that the server ended, or that broke",
    "not sent": "sets that there was no time to send",
    "never stalled": "clients that were to stall and were told everything",
    "not refreshed": "access tokens that could not be renewed",
}


def reasons(facts: Facts) -> list[str]:
    """Why the run is invalid, in sentences; none when it is valid."""
    found = []
    if facts.interrupted:
        found.append("It was interrupted.")
    if not facts.measured:
        found.append("Nothing was measured.")
    for kind, count in sorted(facts.failures.items()):
        found.append(f"{count:,} {_CONTROL.get(kind, f'requests {kind}')}.")
    for number, cpu in enumerate(facts.cpu):
        if cpu >= CPU:
            found.append(
                f"The client was the limit: generator {number} took {cpu:.0%} of a core. "
                "More --generators may help."
            )
    if facts.lag_ms > LAG_MS:
        found.append(f"The client was the limit: its event loops were late by {facts.lag_ms:.0f} ms (p99).")
    if facts.late_ms is not None and facts.late_ms > LATE_MS:
        found.append(f"The client was the limit: it sent {facts.late_ms:.0f} ms later than intended (p99).")
    return found


def doubts(facts: Facts) -> list[str]:
    """What a reader should know though the run is valid."""
    found = []
    if facts.load_before > BUSY:
        found.append(f"Others took {facts.load_before:.0%} of the machine before the start.")
    if facts.system > FULL:
        found.append(
            f"Server, generators and others took {facts.system:.0%} of {facts.cores} cores: the server may "
            "have had less than it could use."
        )
    return found
