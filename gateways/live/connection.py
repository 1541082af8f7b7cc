"""One Socket.IO connection in the live namespace: a reader of its user's stream, and its two queues.

**Inbox.** Events are handled one after another, in the order they came: at once, unless one that came
before has something to wait for; then by a task that exists only as long. **Outbox.** Bounded by bytes;
over the cap the connection is closed with a reconnectable `bye`, and it resumes from its cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import structlog
from engineio.packet import CLOSE
from engineio.packet import Packet as Transport
from socketio import packet as sio

from fitai.gateways import meters, occasion
from fitai.gateways.identity import Identity
from fitai.gateways.live.frames import Codec, Frame, OpsFrame
from fitai.gateways.live.limits import LiveLimits
from fitai.gateways.live.outbox import LOW, Item, Outbox
from fitai.gateways.live.rates import Bucket
from fitai.gateways.live.reader import Page, Reader
from fitai.gateways.tasks import spawn

if TYPE_CHECKING:
    from fitai.gateways.groups.seat import Seat
    from fitai.gateways.live.host import Host

_log = structlog.get_logger(__name__)

Handler = Callable[["Connection", str, list[Any], int | None], Any]
"""Returns the answer, `PENDING`, or a coroutine that returns one of the two."""

PENDING = object()
"""What a handler returns when the acknowledgement will be sent at its place in the order."""

BYES: dict[str, bool] = {
    "draining": True,
    "slow": True,
    "expired": True,
    "overload": True,
    "revoked": False,
    "protocol": False,
}
"""The codes of `bye`, and whether the client should reconnect."""

for _code in BYES:
    meters.BYES.labels(_code)  # there from the start


class Connection(Reader):
    """A connection that has authenticated; made by the server, attached to its user's host. `seats` are those
    in rooms of groups, by the group's id; `address` is the caller's, "" where there is none."""

    __slots__ = (
        "_codec",
        "_drained",
        "_event",
        "_events",
        "_expiry",
        "_handler",
        "_hang_up",
        "_inbox",
        "_limits",
        "_now_ms",
        "_outbox",
        "_telemetry",
        "_telemetry_timer",
        "_working",
        "address",
        "host",
        "identity",
        "leaving",
        "name",
        "seats",
        "sid",
    )

    def __init__(
        self,
        *,
        sid: str,
        name: str,
        codec: Codec,
        outbox: Outbox,
        identity: Identity,
        host: Host,
        handler: Handler,
        limits: LiveLimits,
        now_ms: Callable[[], int],
        hang_up: Callable[[float], None],
        address: str = "",
    ) -> None:
        super().__init__()
        self.sid = sid
        self.name = name
        self.identity = identity
        self.address = address
        self.host = host
        self.seats: dict[str, Seat] | None = None  # few have any
        self.leaving = False
        self._event = ""  # the one that was taken last
        self._events: Bucket | None = None
        self._codec = codec
        self._outbox = outbox
        self._handler = handler
        self._limits = limits
        self._now_ms = now_ms
        self._hang_up = hang_up
        self._inbox: list[tuple[str, list[Any], int | None]] = []
        self._working = False
        self._drained: asyncio.Event | None = None  # set when there is room again
        self._telemetry: dict[Any, Frame] = {}
        self._telemetry_timer: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        outbox.on_full = self._slow

    @property
    def events(self) -> Bucket:
        """How many events it may send."""
        if self._events is None:
            self._events = Bucket(self._limits.events_per_s, self._limits.events_burst, self._now_ms())
        return self._events

    # -- outgoing ---------------------------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        """Queue an event."""
        if not self.closed:
            self._outbox.push(frame.packet(self._codec))

    def answer(self, ack: int | None, payload: Any) -> None:
        """Queue the acknowledgement of an event; nothing when the client asked for none."""
        if ack is not None and not self.closed:
            self._outbox.push(self._codec.packet(sio.ACK, [payload], ack))

    def telemetry(self, key: Any, frame: Frame) -> None:
        """Queue the newest of a derived value; older ones that still wait are forgotten."""
        self._telemetry.pop(key, None)
        self._telemetry[key] = frame
        if self._telemetry_timer is None:
            self._send_telemetry()

    def _send_telemetry(self) -> None:
        self._telemetry_timer = None
        if self.closed or not self._telemetry:
            return
        if self.ready:
            self.send(self._telemetry.pop(next(iter(self._telemetry))))
        pause = 1 / self._limits.telemetry_per_s
        self._telemetry_timer = asyncio.get_running_loop().call_later(pause, self._send_telemetry)

    # -- its user's stream ------------------------------------------------------------------------

    def _head(self) -> int:
        return self.host.head

    def _frame(self, first: int, last: int, records: list[dict[str, Any]]) -> OpsFrame:
        return OpsFrame(self.host.epoch, first, last, records)

    async def _read(self, after: int, limit: int) -> Page:
        records = await self.host.read(after, limit, LOW)
        return Page(records, records[-1]["seq"] if records else after)

    def _lost(self) -> None:
        self.bye("overload")  # it comes back with its cursor

    @property
    def ready(self) -> bool:
        """The client has taken most of what was sent."""
        return self._outbox.bytes <= LOW

    async def drained(self) -> None:
        """Wait until the client has taken most of what was sent."""
        while not (self.ready or self.closed):
            if self._drained is None:
                self._drained = asyncio.Event()
                self._outbox.on_drained = self._drained.set
            drained = self._drained
            await drained.wait()
            if self._drained is drained:  # others may have waited as well
                self._drained = self._outbox.on_drained = None

    # -- incoming ---------------------------------------------------------------------------------

    def receive(self, event: str, args: list[Any], ack: int | None) -> None:
        """Take an event; a client that sends more than can be held is told to come later."""
        if self.closed or self.leaving:
            return
        if not self._working:
            waits = self._handle(event, args, ack)
            if waits is not None:
                self._working = True
                spawn("live.inbox", self._work(event, waits, ack))
        elif len(self._inbox) >= self._limits.inbox_events:
            self.answer(
                ack, {"ok": False, "code": "later", "message": "too many at once", "retry_after_ms": 1000}
            )
        else:
            self._inbox.append((event, args, ack))

    async def _work(self, event: str, waits: Coroutine[Any, Any, Any], ack: int | None) -> None:
        try:
            await self._finish(event, waits, ack)
            while self._inbox and not self.closed:
                event, args, ack = self._inbox.pop(0)
                more = self._handle(event, args, ack)
                if more is not None:
                    await self._finish(event, more, ack)
        finally:
            self._working = False

    def _handle(self, event: str, args: list[Any], ack: int | None) -> Coroutine[Any, Any, Any] | None:
        """Answer an event; what it has to wait for, if it has to."""
        self._event = event
        occasion.NOW.set(self)
        try:
            answer = self._handler(self, event, args, ack)
        except Exception:
            self._failed(event, ack)
            return None
        if isinstance(answer, CoroutineType):
            return answer
        if answer is not PENDING:
            self.answer(ack, answer)
        return None

    async def _finish(self, event: str, waits: Coroutine[Any, Any, Any], ack: int | None) -> None:
        try:
            answer = await waits
            if answer is not PENDING:
                self.answer(ack, answer)
        except Exception:
            self._failed(event, ack)

    def _failed(self, event: str, ack: int | None) -> None:
        _log.exception("event_failed", live_event=event)
        failed = {"ok": False, "code": "unavailable", "message": "something went wrong here; try again"}
        self.answer(ack, failed)

    def told(self) -> dict[str, Any]:
        """Whose it is and what came last, see `occasion`."""
        who = {"user": self.identity.user, "device": self.identity.device, "connection": self.sid}
        return {**who, "live_event": self._event, "pushes": self.pending}

    # -- the end ----------------------------------------------------------------------------------

    def expires(self, at: int) -> None:
        """(Re)arm the warning before and the close after the access token's end (Unix ms)."""
        if self._expiry is not None:
            self._expiry.cancel()
        left = max(0.0, (at - self._now_ms()) / 1000)
        warned = min(self._limits.expiring_s, left / 2)
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(left - warned, self._expiring, at, warned)

    def _expiring(self, at: int, left: float) -> None:
        self.send(Frame("auth:expiring", {"at": at}))
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(left + self._limits.expiry_grace_s, self.bye, "expired")

    def leave(self) -> None:
        """Take no more events, for a `bye` that is to come when those taken are answered. What is sent from
        now on is as if it had crossed the `bye` on its way: the client sends it again when it is back."""
        self.leaving = True

    @property
    def answered(self) -> bool:
        """Every event that was taken has its answer in the outgoing queue."""
        seated = all(seat.settled for seat in (self.seats or {}).values())
        return self.settled and seated and not (self._inbox or self._working)

    def _slow(self) -> None:
        self.bye("slow")

    def bye(self, code: str, after_ms: int = 0) -> None:
        """Say why, then close: in `bye_s` at the latest, whatever the client does."""
        if self.closed:
            return
        meters.BYES.labels(code).inc()
        reconnect = BYES[code]
        frame = Frame("bye", {"code": code, "reconnect": reconnect, "after_ms": after_ms})
        last: list[Item] = [frame.packet(self._codec)]
        if not reconnect:
            # Stock clients reconnect by themselves after a lost transport, not after a DISCONNECT.
            last.append(self._codec.packet(sio.DISCONNECT, None))
        last += [Transport(CLOSE), None]
        self.close()
        if code == "slow":
            self._outbox.replace(last)
        else:
            for packet in last:
                self._outbox.push(packet)
        self._hang_up(self._limits.bye_s)

    def close(self) -> None:
        """Stop taking part: the transport is gone or going."""
        if self.closed:
            return
        self.closed = True
        for timer in (self._expiry, self._telemetry_timer):
            if timer is not None:
                timer.cancel()
        self._outbox.on_full = None
        if self._outbox.on_drained is not None:
            self._outbox.on_drained()
        self._inbox.clear()
        for seat in list((self.seats or {}).values()):
            seat.leave()
        self.host.detach(self)
