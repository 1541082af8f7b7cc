"""One Socket.IO connection in the live namespace: its place in the stream, and its two queues.

**Position.** `position` is the last seq of which this connection has been told, by `ops` or by an ack.
It is *live* while that equals the host's head: then each commit is handed to it at once. A connection
that returns with a cursor starts behind; a pager reads the log page by page, as the outgoing queue
drains, until it stands at the head. While it is behind, acknowledgements of its own pushes wait for
their place, so that everything leaves in `seq` order: each foreign record below an acknowledged seq
before that ack, none above it.

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
from fitai.gateways.tasks import spawn
from fitai.persistence.database import Unavailable

if TYPE_CHECKING:
    from fitai.gateways.live.host import Host

_log = structlog.get_logger(__name__)

Handler = Callable[["Connection", str, list[Any], int | None], Any]
"""Returns the answer, `PENDING`, or a coroutine that returns one of the two."""

PENDING = object()
"""What a handler returns when the acknowledgement will be sent at its place in the order."""

PAGE = 200  # records read at once for a connection that is catching up

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


class Connection:
    """A connection that has authenticated; made by the server, attached to its user's host."""

    __slots__ = (
        "_codec",
        "_event",
        "_events",
        "_expiry",
        "_handler",
        "_hang_up",
        "_inbox",
        "_limits",
        "_now_ms",
        "_outbox",
        "_paging",
        "_retries",
        "_settling",
        "_telemetry",
        "_telemetry_timer",
        "_working",
        "closed",
        "host",
        "identity",
        "leaving",
        "name",
        "pending",
        "position",
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
    ) -> None:
        self.sid = sid
        self.name = name
        self.pending = 0
        self.identity = identity
        self.host = host
        self.position = 0
        self.closed = False
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
        self._settling: list[tuple[int, int, dict[str, Any], int | None]] = []
        self._retries: list[tuple[int, dict[str, Any], int | None]] = []
        self._paging = False
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

    def start(self, position: int) -> None:
        """Take the place in the stream that the handshake agreed on, and catch up from it."""
        self.position = position
        self._catch_up()

    def offer(self, frame: OpsFrame) -> None:
        """A commit by somebody else: sent now when this connection is live, else met by its pager."""
        if self.position == frame.first - 1:
            self.position = frame.last
            self.send(frame)
            self._answer_retries()
        else:
            self._catch_up()

    def settle(self, ack: int | None, answer: dict[str, Any], first: int, last: int) -> None:
        """Acknowledge own records `first`..`last` at their place in the order."""
        self.pending -= 1
        if self.position == first - 1:
            self.position = last
            self.answer(ack, answer)
        else:
            self._settling.append((first, last, answer, ack))
            self._catch_up()

    def settle_retry(self, ack: int | None, answer: dict[str, Any], last: int) -> None:
        """Acknowledge a push of which all was in the log already, once what lies below it was sent."""
        self.pending -= 1
        self._settle_retry(ack, answer, last)

    def refuse(self, ack: int | None, answer: dict[str, Any]) -> None:
        """Answer a push that came to nothing."""
        self.pending -= 1
        self.answer(ack, answer)

    def _settle_retry(self, ack: int | None, answer: dict[str, Any], last: int) -> None:
        if self.position >= last:
            self.answer(ack, answer)
        else:
            self._retries.append((last, answer, ack))
            self._catch_up()

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
        if self._outbox.bytes <= LOW:
            self.send(self._telemetry.pop(next(iter(self._telemetry))))
        pause = 1 / self._limits.telemetry_per_s
        self._telemetry_timer = asyncio.get_running_loop().call_later(pause, self._send_telemetry)

    # -- catching up ------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        if not self._paging and not self.closed and self.position < self.host.head:
            self._paging = True
            spawn("live.catch_up", self._page())

    async def _page(self) -> None:
        try:
            while not self.closed and self.position < self.host.head:
                await self._room()
                records = await self.host.read(self.position, PAGE, LOW)
                if not self.closed:
                    self._emit(records)
        except Unavailable as error:
            _log.warning("catch_up_postponed", user=self.identity.user, error=str(error))
            self.bye("overload")  # it comes back with its cursor
        except Exception:
            _log.exception("catch_up_failed", user=self.identity.user)
            self.bye("overload")
        finally:
            self._paging = False

    async def _room(self) -> None:
        """Wait until the client has taken most of what was sent: a slow reader is not a dead one."""
        drained = asyncio.Event()
        self._outbox.on_drained = drained.set
        while self._outbox.bytes > LOW and not self.closed:
            drained.clear()
            await drained.wait()
        self._outbox.on_drained = None

    def _emit(self, records: list[dict[str, Any]]) -> None:
        """Send a page, with own acknowledgements in their places instead of the records they cover."""
        run: list[dict[str, Any]] = []
        first = self.position + 1
        for record in records:
            seq = record["seq"]
            if seq <= self.position:
                continue
            if self._settling and self._settling[0][0] == seq:
                self._flush(run, first)
                run = []
                _, last, answer, ack = self._settling.pop(0)
                self.position = last
                self.answer(ack, answer)
                first = last + 1
            else:
                run.append(record)
        self._flush(run, first)
        self._answer_retries()

    def _answer_retries(self) -> None:
        waiting, self._retries = self._retries, []
        for last, answer, ack in waiting:
            self._settle_retry(ack, answer, last)

    def _flush(self, run: list[dict[str, Any]], first: int) -> None:
        if run:
            last = run[-1]["seq"]
            self.send(OpsFrame(self.host.epoch, first, last, run))
            self.position = last

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
        return not (self._inbox or self._working or self.pending or self._settling or self._retries)

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
        self.host.detach(self)
