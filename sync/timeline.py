"""The timeline: what state a workout is in, and how its time was spent.

Two kinds of records move a workout: **edges** (start, pause, resume, complete, abandon) together with logged
sets, and what is said of rests. They are kept as events in one order, and the state is what one gets by going
through them.

**The order** extends causality: an event comes after all that its author had seen. Its time is its `te`, but
not before any event that it had seen; events of one time are told apart by how many they follow at that
time, then by device and counter. So the order, and with it all below, is a function of the set of events.

**The state** after any of them follows from the *frontier*: the events so far that no other had seen. In a
history without concurrency that is the last one, and the machine's own table says what follows what
(`engine/machine.py`). Beyond that, the strongest claim wins:

    completed  one of them is a completion. Sets logged without having seen it stay in the workout, as late
    abandoned  one is, and no completion; yet where a set was logged beside it, the workout is completed
    active     one is a start, a resume or a logged set
    paused     only pauses are left

A set that *had seen* the end is alone in the frontier afterwards, or beside others that go on: it reopens.

**An edge is judged in its own context**: by the state of just the events that its author had seen. That never
changes, so the verdict, once given, is right for ever.

**The server's own edges yield.** What device 0 did because nobody was there is void of effect as soon as any
op of a person turns out to be concurrent with it; its condition is then judged anew by the timers.

Most events come last, and take one step. One that belongs further up (a device was away) makes the line be
gone through again, when somebody looks.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Final

from fitai.engine.entities import Key, Rest, Workout
from fitai.engine.machine import (
    ABANDONED,
    COMPLETED,
    PAUSED_RESTING,
    PAUSED_WORKING,
    PLANNED,
    RESTING,
    STATUS,
    TABLE,
    WORKING,
)
from fitai.engine.ops import Stamp, saw

SERVER: Final = 0
"""The server's own device: idle pauses and late completions."""

GOING_ON: Final = frozenset({"start", "resume", "log"})
ENDS: Final = frozenset({"complete", "abandon"})
RESTS: Final = frozenset({"rest.start", "rest.extend", "rest.skip"})


_NOBODY: Final[Mapping[int, Stamp]] = {}


class Event:
    """One event of a timeline.

    trigger   an edge of the machine, `log`, or one of RESTS
    key       its place: (time in Unix ms, events followed at that time, device, n)
    seconds   of rest that it starts, or adds
    reason    why it was paused or ended
    set       of a logged set, its id
    beside    only of the server's events: per device the first op of a person that is concurrent with it
    """

    __slots__ = ("beside", "key", "reason", "seconds", "set", "stamp", "trigger")

    def __init__(
        self,
        trigger: str,
        key: Key,
        stamp: Stamp,
        seconds: int = 0,
        reason: str | None = None,
        set_: str | None = None,
    ) -> None:
        self.trigger = trigger
        self.key = key
        self.stamp = stamp
        self.seconds = seconds
        self.reason = reason
        self.set = set_
        self.beside: Mapping[int, Stamp] = _NOBODY


_key = attrgetter("key")


class Timeline:
    """The events of one workout, and how far its `Workout` has been taken through them."""

    __slots__ = ("_gone_over", "_latest", "_logs", "dirty", "events", "frontier", "own")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.own: list[Event] = []  # those of the server, with and without effect
        self.dirty = False
        self.frontier: list[Event] = []
        self._logs: dict[int, Event] = {}
        self._latest: dict[int, Stamp] = {}
        self._gone_over = 0  # up to where a rest was ended because time had passed, without an event

    # -- taking events -----------------------------------------------------------------------------

    def place(self, stamp: Stamp) -> Key:
        """The place of an event with this stamp."""
        seen = self._last_seen(stamp)
        if seen is None or seen.key[0] < stamp.te:
            return (stamp.te, 0, stamp.device, stamp.n)
        return (seen.key[0], seen.key[1] + 1, stamp.device, stamp.n)

    def add(self, w: Workout, event: Event) -> None:
        """Take an event."""
        self._latest[event.stamp.device] = event.stamp
        if event.stamp.device == SERVER:
            self.own.append(event)
        events = self.events
        if not events or (event.key > events[-1].key and event.key[0] >= self._gone_over):
            events.append(event)
            if not self.dirty:
                self._step(w, event)
        else:
            insort(events, event, key=_key)
            self.dirty = True

    def pass_time(self, w: Workout) -> None:
        """The workout's clock has moved: a rest whose deadline has passed is over."""
        if not self.dirty and w.last_te is not None:
            self._gone_over = max(self._gone_over, _advance(w, w.last_te))

    def yield_to(self, stamp: Stamp) -> None:
        """An op of a person came: the server's events that it had not seen have no effect any more."""
        for event in self.own:
            if not saw(stamp, event.stamp):
                if not event.beside:
                    self.events.remove(event)
                    self.dirty = True
                event.beside = {stamp.device: stamp, **event.beside}

    def settle(self, w: Workout) -> None:
        """Bring the workout up to all events."""
        if self.dirty:
            w.begin()
            self.frontier, self._logs, self.dirty = [], {}, False
            self._gone_over = 0
            for event in self.events:
                self._step(w, event)
            self.pass_time(w)

    # -- questions ---------------------------------------------------------------------------------

    def state_seen(self, w: Workout, stamp: Stamp) -> str:
        """The state of the machine in an op's own context; of its sub-states only whether it is paused."""
        if self._saw_all(stamp):
            self.settle(w)
            return w.state
        frontier: list[Event] = []
        logs: dict[int, Event] = {}
        for event in self._seen(stamp):
            if event.trigger not in RESTS:
                frontier = _follow(frontier, event)
                if event.trigger == "log":
                    logs[event.stamp.device] = event
        return _state(_status(frontier, logs), PLANNED)

    def standing_ends(self) -> list[Event]:
        """What the workout's end rests on: completions in the frontier, or where there are none the
        abandonments there; nothing while it goes on."""
        completed = [event for event in self.frontier if event.trigger == "complete"]
        return completed or [event for event in self.frontier if event.trigger == "abandon"]

    def late(self, ends: list[Event]) -> list[Event]:
        """The logged sets that none of these ends had seen."""
        if not any(_beside(log, ends) for log in self._logs.values()):
            return []
        return [event for event in self.events if event.trigger == "log" and _beside(event, ends)]

    def _last_seen(self, stamp: Stamp) -> Event | None:
        """The last event in order that an op had seen, also where it had no effect later: since places never
        go back along causality, the one with the greatest time."""
        last = next((event for event in reversed(self.events) if saw(stamp, event.stamp)), None)
        yielded = [event for event in self.own if event.beside and saw(stamp, event.stamp)]
        if not yielded:
            return last
        return max([last, *yielded] if last is not None else yielded, key=_key)

    def _saw_all(self, stamp: Stamp) -> bool:
        for latest in self._latest.values():
            if not saw(stamp, latest):
                return False
        return not any(event.beside for event in self.own)

    def _seen(self, stamp: Stamp) -> Iterable[Event]:
        yielded = [event for event in self.own if event.beside]
        for event in sorted([*self.events, *yielded], key=_key) if yielded else self.events:
            had_yielded = any(saw(stamp, one) for one in event.beside.values())
            if saw(stamp, event.stamp) and not had_yielded:
                yield event

    # -- going through -----------------------------------------------------------------------------

    def _step(self, w: Workout, event: Event) -> None:
        now = event.key[0]
        _advance(w, now)
        if event.trigger in RESTS:
            _REST_EVENTS[event.trigger](w, event, now)
            return
        self.frontier = _follow(self.frontier, event)
        if event.trigger == "log":
            self._logs[event.stamp.device] = event
        after = TABLE[w.state].get(event.trigger) if len(self.frontier) == 1 else None
        if after is None:
            after = _state(_status(self.frontier, self._logs), w.state)
        _enter(w, event, after, now)
        self._date(w, event)
        if event.seconds and event.trigger == "log":
            _begin_rest(w, event, now)

    def _date(self, w: Workout, event: Event) -> None:
        """The times and the reason that hang on the state."""
        if w.started_at is None and event.trigger in ("start", "log"):
            w.started_at = event.stamp.te
        if w.state in (COMPLETED, ABANDONED):
            ends = self.standing_ends()
            late = [log for log in self._logs.values() if _beside(log, ends)]
            w.ended_at = max(one.key[0] for one in (*ends, *late))
            w.reason = ends[-1].reason
        else:
            w.ended_at = None
            paused = [one for one in self.frontier if one.trigger == "pause"]
            w.reason = paused[-1].reason if STATUS[w.state] == "paused" and paused else None


def _follow(frontier: list[Event], event: Event) -> list[Event]:
    """The frontier after one more event, in order."""
    return [*(one for one in frontier if not saw(event.stamp, one.stamp)), event]


def _beside(log: Event, ends: Iterable[Event]) -> bool:
    return not any(saw(end.stamp, log.stamp) for end in ends)


def _status(frontier: list[Event], logs: dict[int, Event]) -> str:
    """The strongest claim; see the module's first lines. `logs` are each device's last logged set so far."""
    triggers = {event.trigger for event in frontier}
    if "complete" in triggers:
        return "completed"
    if "abandon" in triggers:
        ends = [event for event in frontier if event.trigger == "abandon"]
        return "completed" if any(_beside(log, ends) for log in logs.values()) else "abandoned"
    if triggers & GOING_ON:
        return "active"
    return "paused" if triggers else "planned"


def _state(status: str, before: str) -> str:
    """The machine's state of this status, coming from the state `before`."""
    if STATUS[before] == status:
        return before
    if status == "active":
        return RESTING if before == PAUSED_RESTING else WORKING
    if status == "paused":
        return PAUSED_RESTING if before == RESTING else PAUSED_WORKING
    return {"planned": PLANNED, "completed": COMPLETED, "abandoned": ABANDONED}[status]


# The machine and its times.


def _count_time(w: Workout, now: int) -> None:
    """Give the time since the last change of state to where it was spent."""
    spent = now - w.since
    if spent <= 0:
        return
    if w.state == WORKING:
        w.work_ms += spent
    elif w.state == RESTING:
        w.rest_ms += spent
    elif w.state in (PAUSED_WORKING, PAUSED_RESTING):
        w.paused_ms += spent
    w.since = now


def _enter(w: Workout, event: Event, after: str, now: int) -> None:
    """Change the state at `now`, and freeze, thaw or drop the rest as that asks."""
    _count_time(w, now)
    if event.trigger == "log":
        w.rest = None
        after = {RESTING: WORKING, PAUSED_RESTING: PAUSED_WORKING}.get(after, after)
    w.state = after
    rest = w.rest
    if rest is None:
        return
    status = STATUS[after]
    if status == "paused" and rest.remaining_ms is None:
        rest.remaining_ms = rest.ends_at - now
    elif status == "active" and rest.remaining_ms is not None:
        rest.ends_at = now + rest.remaining_ms
        rest.remaining_ms = None
    elif status in ("completed", "abandoned"):
        w.rest = None


def _advance(w: Workout, now: int) -> int:
    """End a running rest whose deadline has passed at `now`; returns the deadline, else 0."""
    rest = w.rest
    if rest is None or rest.remaining_ms is not None or now < rest.ends_at:
        return 0
    _end_rest(w, rest.ends_at)
    return rest.ends_at


def _end_rest(w: Workout, at: int) -> None:
    w.rest = None
    _move(w, "rest_end", at)


def _move(w: Workout, trigger: str, now: int) -> bool:
    """Fire a trigger at `now`; False, and nothing changed, where the state has no such row."""
    after = TABLE[w.state].get(trigger)
    if after is None:
        return False
    _count_time(w, now)
    w.state = after
    return True


def _begin_rest(w: Workout, event: Event, now: int) -> None:
    rest = Rest(event.stamp.dot, event.stamp.te, event.seconds)
    if rest.ends_at >= now and _move(w, "rest", now):
        w.rest = rest


def _extend_rest(w: Workout, event: Event, now: int) -> None:
    rest = w.rest
    if rest is None:
        return
    rest.seconds = max(0, rest.seconds + event.seconds)
    if rest.remaining_ms is None:
        rest.ends_at += event.seconds * 1000
        over = rest.ends_at <= now
    else:
        rest.remaining_ms += event.seconds * 1000
        over = rest.remaining_ms <= 0
    if over:
        _end_rest(w, now)


def _skip_rest(w: Workout, event: Event, now: int) -> None:
    if w.rest is not None:
        _end_rest(w, now)


_REST_EVENTS: Final = {"rest.start": _begin_rest, "rest.extend": _extend_rest, "rest.skip": _skip_rest}
