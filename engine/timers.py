"""Timers as data: when something is due in a workout, and what the server then appends.

Nothing here waits. `timers` says at which Unix ms each thing is due; any node may scan for due ones, and an
op that arrives meanwhile simply makes the next answer different. A lost connection is not idleness by itself:
only the absence of ops is.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from fitai.engine.entities import Workout
from fitai.engine.machine import RESTING, STATUS
from fitai.engine.ops import Dot

IDLE_MS: Final = 900_000  # 15 min
FINISH_MS: Final = 21_600_000  # 6 h


class RestDue(NamedTuple):
    """The deadline of the running rest, Unix ms, and the dot by which a client counts it once."""

    dot: Dot
    at: int


class Timers(NamedTuple):
    """What is due next in one workout; None where nothing is.

    rest       the running rest; it stays after its deadline until an op finds it over: count it by its dot
    idle_at    the server pauses the workout (only while active)
    finish_at  the server completes or abandons it (while active or paused)
    """

    rest: RestDue | None
    idle_at: int | None
    finish_at: int | None

    @property
    def due_at(self) -> int | None:
        """The earliest of all, or None."""
        times = [self.rest.at if self.rest else None, self.idle_at, self.finish_at]
        return min((at for at in times if at is not None), default=None)


NOTHING: Final = Timers(None, None, None)


class ServerOp(NamedTuple):
    """An op that the server's own device appends: kind, value, and the time `at` that it is dated."""

    kind: str
    value: dict[str, Any]
    at: int


def timers(
    w: Workout, last_rt: int | None = None, idle_ms: int = IDLE_MS, finish_ms: int = FINISH_MS
) -> Timers:
    """What is due in `w`, whose last op was received at `last_rt` (Unix ms).

    Receipt counts beside the op's own time, so that a device that brings old ops is not at once called idle.
    """
    if not w.known or w.removed or w.last_te is None:
        return NOTHING
    status = STATUS[w.state]
    if status not in ("active", "paused"):
        return NOTHING
    heard = w.last_te if last_rt is None else max(w.last_te, last_rt)
    finish_at = heard + finish_ms
    if status == "paused":
        return Timers(None, None, finish_at)
    if w.state != RESTING or w.rest is None:
        return Timers(None, heard + idle_ms, finish_at)
    rest = RestDue(w.rest.dot, w.rest.ends_at)
    return Timers(rest, max(heard, rest.at) + idle_ms, finish_at)


def idle_op(w: Workout) -> ServerOp:
    """The pause of a workout in which nothing happened: dated when the last thing in it was over."""
    return ServerOp("workout.pause", {"reason": "idle"}, _last_thing(w))


def finish_op(w: Workout) -> ServerOp:
    """The end of a workout that nobody came back to: complete if a set was done in it, else abandoned."""
    done = any(row.done for row, _ in w.visible_sets())
    return ServerOp("workout.complete" if done else "workout.abandon", {"reason": "idle"}, _last_thing(w))


def due_op(
    w: Workout, now: int, last_rt: int | None = None, idle_ms: int = IDLE_MS, finish_ms: int = FINISH_MS
) -> ServerOp | None:
    """The server's op that is due at `now` (Unix ms), or None. Ending goes before pausing."""
    due = timers(w, last_rt, idle_ms, finish_ms)
    if due.finish_at is not None and now >= due.finish_at:
        return finish_op(w)
    if due.idle_at is not None and now >= due.idle_at:
        return idle_op(w)
    return None


def _last_thing(w: Workout) -> int:
    last = w.last_te or 0
    return max(last, w.rest.ends_at) if w.state == RESTING and w.rest is not None else last
