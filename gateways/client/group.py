"""One group on one device: the reference client of group workouts, over the connection of a `Client`.

    group = Group.enter(client, code="7Q2XKD9M4T", share="everything", workout=workout)
    await group.until(lambda: group.joined)
    result = await group.write("group.start", {"in_ms": 5_000})     # {n, seq, verdict, code?, detail?}
    group.document, group.view, group.cue()                         # what there is to show
    await group.leave()

    group_core.py    decides what to ask: join, pull, push, leave, and keeps log and view
    group_clock.py   how far the server's clock is from ours
    group_cues.py    what is on now and when that changes

What a person trains is not written here: it goes into their own stream, by `Client.log`, and works on when
the group does not. This client only says which of their workouts belongs to the group.

Rules for writers of other clients:

1. **Join on every connection**, with the cursor `{epoch, seq}` of what you have; the answer's `view` is
   whole, and each `group:tick` after it changes it: null takes a field away, a member without a field goes.
2. **Number your ops** from the answer's `next_n`, and push each until its place is known. A second one is a
   `duplicate`, with its `first` answer. Ops wait here in memory: what is said in a group is said now.
3. **Pass `from..to`**, also where records are missing in it: they are not for you (`withheld`: only the text
   is not). Pull what a frame skipped.
4. **Switch by your own alarm**, set for the moment that state and offset give. Nothing is sent at a deadline.
5. **Measure the offset** with a clock that nobody sets, after every connection and now and then.
"""

from __future__ import annotations

import asyncio
import random as chance
from collections.abc import Callable
from functools import partial
from typing import Any

from fitai.engine.groups import group as folded
from fitai.engine.groups import kinds
from fitai.engine.groups.ticks import View
from fitai.engine.kinds import BadValue
from fitai.gateways.client.client import Client, Stopped
from fitai.gateways.client.core import Patience
from fitai.gateways.client.group_clock import BURST, EVERY_MS, Offset, ServerClock, Trip
from fitai.gateways.client.group_core import Ask, GroupCore, Written
from fitai.gateways.client.group_cues import Cue, cue, next_change
from fitai.gateways.client.transport_socket import ANSWER_S, Listener
from fitai.sync.wire import WireLimits, decode_op

Json = dict[str, Any]

_NONE = "00000000-0000-0000-0000-000000000000"

SOON_S = 0.001  # an alarm may ring a little early; it is not set for less than this


class Group:
    """See the module's first lines. All in the event loop's thread."""

    def __init__(
        self,
        client: Client,
        ask: Json,
        *,
        listener: Listener,
        device_ms: Callable[[], float],
        random: Callable[[], float],
        patience: Patience | None,
    ) -> None:
        self._client = client
        self._listener = listener
        self._device_ms = device_ms
        self._core = GroupCore(ask, now_ms=client.now_ms, random=random, patience=patience)
        self._clock = ServerClock()
        self._to_measure = 0
        self._cue: Cue | None = None
        self._alarms: dict[str, asyncio.TimerHandle] = {}
        self._news = asyncio.Event()
        self._over = False
        self._deaf = client.listen(self._hear)
        if client.online:
            self._came()

    @classmethod
    def enter(
        cls,
        client: Client,
        *,
        group: str | None = None,
        code: str | None = None,
        as_: str = "participant",
        share: str | None = None,
        workout: str | None = None,
        listener: Listener | None = None,
        device_ms: Callable[[], float] | None = None,
        random: Callable[[], float] = chance.random,
        patience: Patience | None = None,
    ) -> Group:
        """Join the group that `code` opens, or one that we know by its id, as soon as `client` is connected,
        and again whenever it is; until `leave` or `close`.

        `device_ms` is a clock that runs evenly and that nobody sets, ms from any origin.

        `listener(event, payload)` hears, in the loop:

            joined     the answer to a join       stopped   {code}: it is over, see `stopped`
            records    {records} that are new     written   {op, n, seq, verdict, …}: an op has its place
            view       {members, cheers}: all of the view; cheers since the last, {member: {kind: n}}
            cue        {cue, at}: another phase or status, and the server's time at which it was noticed
        """
        said = {"group": group, "code": code, "as": as_, "share": share, "workout": workout}
        ask = {key: value for key, value in said.items() if value is not None}
        if device_ms is None:
            time = asyncio.get_running_loop().time
            device_ms = lambda: time() * 1000  # noqa: E731
        return cls(
            client,
            ask,
            listener=listener or (lambda _event, _payload: None),
            device_ms=device_ms,
            random=random,
            patience=patience,
        )

    # -- what is known ---------------------------------------------------------------------------------

    @property
    def id(self) -> str | None:
        """The group's id; None before a code was answered."""
        return self._core.held.group

    @property
    def member(self) -> int | None:
        """Our number in it."""
        return self._core.held.member

    @property
    def joined(self) -> bool:
        """Whether this connection is in the room."""
        return self._core.joined

    @property
    def settled(self) -> bool:
        """Whether nothing waits, and all that there was when it was last asked is here."""
        return self._core.settled

    @property
    def stopped(self) -> str | None:
        """Why it does not try any more (`left`, `not_found`, `full`, …), or None."""
        return self._core.stopped

    @property
    def core(self) -> GroupCore:
        """Log, outbox and counts; to be looked at only."""
        return self._core

    @property
    def state(self) -> folded.Group:
        """The fold of the log as far as it is here."""
        return self._core.group

    @property
    def document(self) -> Json | None:
        """The group's state document, or None before the first join."""
        return self._core.document

    @property
    def view(self) -> View:
        """{member: {field: value}}: who is here, how far each is, who is ahead."""
        return self._core.held.view

    @property
    def offset(self) -> Offset | None:
        """The server's clock minus `device_ms`; None before it was measured."""
        return self._clock.offset(self._device_ms())

    def server_ms(self) -> float | None:
        """The server's time, Unix ms, as this device knows it."""
        now = self._device_ms()
        offset = self._clock.offset(now)
        return None if offset is None else now + offset.ms

    def cue(self) -> Cue | None:
        """What is on now; None before the clock was measured."""
        return self._cue

    # -- what the person does --------------------------------------------------------------------------

    async def write(self, kind: str, value: Json, within_s: float = 60.0) -> Json:
        """Push an op, through whatever happens; returns its result when its place is known, which may be
        `void` with a code. Raises BadValue, Stopped, or TimeoutError (it is still tried then)."""
        written = self.say(kind, value)
        await self.until(lambda: written.result is not None, within_s)
        assert written.result is not None, "waited for"
        return written.result

    def say(self, kind: str, value: Json) -> Written:
        """The same without waiting: its `result` comes. Raises BadValue for what no server takes."""
        _checked(kind, value)
        written = self._core.write(kind, value)
        self._go_on()
        return written

    def cheer(self, kind: str, to: int | None = None) -> None:
        """Cheer a member, or everybody: sent when there is a connection, and forgotten."""
        if self.joined:
            whom = {} if to is None else {"to": to}
            self._client.send("group:cheer", {"group": self.id, "kind": kind, **whom})

    async def leave(self, *, stay: bool = False, within_s: float = 60.0) -> None:
        """Leave the group, when all that waits is pushed; `stay`: only the room. Raises TimeoutError."""
        self._core.leave(stay=stay)
        self._go_on()
        try:
            await self.until(lambda: self.stopped is not None, within_s)
        finally:
            self.close()

    def close(self) -> None:
        """No more of this; the connection stays, and to the others we are still there while it does."""
        if not self._over:
            self._over = True
            self._deaf()
            for alarm in self._alarms.values():
                alarm.cancel()

    async def until(self, holds: Callable[[], bool], within_s: float = 60.0) -> None:
        """Wait until something holds. Raises TimeoutError, or Stopped when this has stopped before."""
        async with asyncio.timeout(within_s):
            while not holds():
                if self.stopped is not None:
                    raise Stopped(self.stopped)
                await self._news.wait()

    # -- what comes ------------------------------------------------------------------------------------

    def _hear(self, event: str, payload: Json) -> None:
        match event:
            case "online":
                self._came()
            case "offline":
                self._core.went()
                self._go_on()
            case "group:ops" if payload["group"] == self.id:
                self._core.told(payload)
                self._go_on()
            case "group:tick" if payload["group"] == self.id:
                self._core.ticked(payload)
                self._go_on()

    def _came(self) -> None:
        self._core.came()
        self._to_measure = BURST
        self._measure()
        self._go_on()

    def _go_on(self) -> None:
        ask = self._core.next()
        if ask is not None:
            self._client.send(*ask, partial(self._answered, ask))
            self._alarm("answer", ANSWER_S, self._unanswered)
        if self._core.wait_ms is not None and "wait" not in self._alarms:
            self._alarm("wait", self._core.wait_ms / 1000, self._woke)
        self._look()
        for news in self._core.take_news():
            self._listener(*news)
        self._news.set()
        self._news = asyncio.Event()

    def _answered(self, ask: Ask, answer: Json) -> None:
        if not self._over and self._core.asked is ask:
            self._silence("answer")
            self._core.answered(answer)
            self._go_on()

    def _unanswered(self) -> None:
        """A question that nobody answers: begin with the connection anew."""
        if self._client.online:
            self._core.came()
        self._go_on()

    def _woke(self) -> None:
        self._core.woke()
        self._go_on()

    # -- time ------------------------------------------------------------------------------------------

    def _measure(self) -> None:
        sent = self._device_ms()
        self._client.send("clock", {"t0": sent}, partial(self._measured, sent))
        self._alarm("measure", EVERY_MS / 1000, self._measure)

    def _measured(self, sent: float, answer: Json) -> None:
        if self._over or "t1" not in answer:
            return
        if self._to_measure == BURST:
            self._clock.forget()  # a device that was away may have slept, and its clock with it
        self._clock.measured(Trip(sent, answer["t1"], self._device_ms()))
        self._to_measure -= 1
        if self._to_measure > 0:
            self._measure()
        self._go_on()

    def _look(self) -> None:
        """Say it when another phase is on, and set the alarm for the next."""
        now = self.server_ms()
        if now is None or not self.state.created:
            return
        shown = cue(self.state, now)
        if shown != self._cue:
            self._cue = shown
            self._listener("cue", {"cue": shown, "at": now})
        change = next_change(self.state, now)
        if change is None:
            self._silence("cue")
        else:
            self._alarm("cue", max(SOON_S, (change - now) / 1000), self._go_on)

    def _alarm(self, name: str, after_s: float, ring: Callable[[], None]) -> None:
        self._silence(name)

        def rings() -> None:
            del self._alarms[name]
            ring()

        if not self._over:
            self._alarms[name] = asyncio.get_running_loop().call_later(after_s, rings)

    def _silence(self, name: str) -> None:
        alarm = self._alarms.pop(name, None)
        if alarm is not None:
            alarm.cancel()


def _checked(kind: str, value: Json) -> None:
    """Raises BadValue for what would be refused whatever the group is like."""
    op, _ = decode_op(
        {"n": 1, "base": 0, "at": 0, "workout": _NONE, "kind": kind, "value": value}, WireLimits()
    )
    if kinds.decode(op) is None:
        raise BadValue("kind", f"{kind[:40]!r} is no kind of a group's op")
