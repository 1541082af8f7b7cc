"""A device of the demo: the least that a client must do so that nothing is lost, doubled or disordered.

On the stock `socketio.AsyncClient`, which also reconnects by itself. What is ours is three things:

log     the run of the stream that this device has: foreign records as they come, its own as they are
        acknowledged. Everything on a connection comes in `seq` order, so the run only ever grows at its
        end; `cursor`, its length, is what a connection resumes from and the `base` of what is written.
outbox  ops that are written and not acknowledged. Sent on every `ready`, whole and in order, one push at a
        time; an op whose acknowledgement was lost is answered as a duplicate.
told    insights by id: a later one replaces, a withdrawn one goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import aiohttp
import socketio

from fitai.gateways.tasks import spawn

NAMESPACE = "/live"
BATCH = 100  # ops in one push
PATIENCE_S = 15.0

Json = dict[str, Any]


class NothingCame(Exception):
    """What a device waited for did not happen in time."""


class Watcher(Protocol):
    """Hears what happens to a device; the demo's screen."""

    def wrote(self, device: Device, op: Json) -> None:
        """An op went into the outbox."""

    def has(self, device: Device, record: Json) -> None:
        """A record joined the device's log, foreign or its own."""

    def heard(self, device: Device, insight: Json) -> None:
        """An insight that the device did not have like that."""

    def came(self, device: Device, ready: Json) -> None:
        """The device is connected."""

    def went(self, device: Device) -> None:
        """The device lost its connection."""


class Device:
    """One device of a user; `codec` is json or msgpack."""

    def __init__(
        self, name: str, number: int, token: str, codec: str, now_ms: Callable[[], int], watcher: Watcher
    ) -> None:
        self.name = name
        self.number = number
        self.codec = codec
        self.log: list[Json] = []
        self.outbox: list[Json] = []
        self.told: dict[str, Json] = {}
        self.here = False
        self.written = 0
        self.acknowledged = 0
        self.duplicates = 0
        self.connects = 0
        self.resumes = 0
        self.holes = 0
        self.bye: str | None = None
        self.refusals: list[Json] = []
        self._token = token
        self._epoch: str | None = None
        self._now_ms = now_ms
        self._watcher = watcher
        self._news = asyncio.Event()
        self._in_flight: asyncio.Future[Json | None] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._http: aiohttp.ClientSession | None = None
        self._sio: Any = None

    @property
    def cursor(self) -> int:
        """The end of the contiguous run of the stream that this device has."""
        return len(self.log)

    # -- what the person does ------------------------------------------------------------------------

    def write(
        self,
        workout: str,
        kind: str,
        value: Mapping[str, Any],
        *,
        entity: str | None = None,
        at: int | None = None,
    ) -> Json:
        """Write an op, connected or not. `at` (Unix ms) is for what happened earlier."""
        self.written += 1
        op: Json = {
            "n": self.written,
            "base": self.cursor,
            "kind": kind,
            "workout": workout,
            "value": dict(value),
        }
        op["at"] = self._now_ms() if at is None else at
        if entity is not None:
            op["entity"] = entity
        self.outbox.append(op)
        self._watcher.wrote(self, op)
        self._changed()
        return op

    async def until(self, holds: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
        """Wait until something holds; raises NothingCame."""
        try:
            async with asyncio.timeout(within_s):
                while not holds():
                    await self._news.wait()
        except TimeoutError:
            raise NothingCame(f"The {self.name} waited {within_s:g} s until {what}.") from None

    def records_told(self, workout: str) -> dict[str, Json]:
        """The record insights of a workout that this device knows, by id."""
        records = (one for one in self.told.values() if one["kind"] == "record")
        return {one["id"]: one for one in records if one["workout"] == workout}

    async def sent(self) -> None:
        """Wait until every op is acknowledged."""
        await self.until(lambda: self.here and not self.outbox, "all was acknowledged")

    async def ask(self, event: str, payload: Json) -> Json:
        """An event that is answered at once, such as workout:get."""
        answer: Json = await self._sio.call(event, payload, namespace=NAMESPACE, timeout=PATIENCE_S)
        return answer

    # -- the connection ------------------------------------------------------------------------------

    async def connect(self, url: str) -> None:
        """Connect and stay connected, through whatever happens, until `close`."""
        self._http = aiohttp.ClientSession()
        self._sio = self._client(self._http)
        self._pump = spawn(f"demo.{self.name}", self._push_all())
        query = "?codec=msgpack" if self.codec == "msgpack" else ""
        await self._sio.connect(
            url + query, auth=self._auth, transports=["websocket"], namespaces=[NAMESPACE], wait_timeout=5
        )
        await self.until(lambda: self.here, "it was connected")

    async def close(self) -> None:
        """Hang up and stop reconnecting."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        if self._http is not None:
            await self._sio.shutdown()
            await self._http.close()

    def _client(self, http: aiohttp.ClientSession) -> socketio.AsyncClient:
        client = socketio.AsyncClient(
            serializer="msgpack" if self.codec == "msgpack" else "default",
            reconnection_delay=0.1,
            reconnection_delay_max=0.4,
            randomization_factor=0.05,
            handle_sigint=False,
            http_session=http,  # ours, since the client forgets its own in the middle of an attempt
        )
        for event in ("ready", "ops", "insight", "bye", "disconnect"):
            # Plain functions: the client runs each to its end before the next packet.
            client.on(event, getattr(self, f"_on_{event}"), namespace=NAMESPACE)
        return client

    def _auth(self) -> Json:
        """Asked by the client at every attempt."""
        if self._epoch is None:
            return {"token": self._token}
        return {"token": self._token, "cursor": {"epoch": self._epoch, "seq": self.cursor}}

    def _on_ready(self, ready: Json) -> None:
        self.connects += 1
        self.resumes += ready["resumed"]
        self._epoch = ready["epoch"]
        self.bye = None
        self._lose_answer()  # an attempt that the client gave up is not told to us as a lost connection
        self.here = True
        self._watcher.came(self, ready)
        self._changed()

    def _on_bye(self, bye: Json) -> None:
        self.bye = bye["code"]

    def _on_disconnect(self, *_: Any) -> None:
        if not self.here:
            return
        self.here = False
        self._lose_answer()
        self._watcher.went(self)
        self._changed()

    def _lose_answer(self) -> None:
        """The answer to the push on the way will not come any more."""
        if self._in_flight is not None and not self._in_flight.done():
            self._in_flight.set_result(None)

    # -- what comes ----------------------------------------------------------------------------------

    def _on_ops(self, frame: Json) -> None:
        if not self.here:
            return  # still in the pipe of a connection that is gone: it will come again
        for record in frame["records"]:
            self._take(record)
        self._changed()

    def _on_insight(self, insight: Json) -> None:
        known = self.told.pop(insight["id"], None)
        if not insight.get("withdrawn"):
            self.told[insight["id"]] = insight
        if insight != known:
            self._watcher.heard(self, insight)
        self._changed()

    def _take(self, record: Json) -> None:
        """Put a record at the end of the run, where it must belong, or know it already."""
        if record["seq"] > self.cursor + 1:
            self.holes += 1
        if record["seq"] == self.cursor + 1:
            self.log.append(record)
            self._watcher.has(self, record)

    def _acknowledge(self, result: Json) -> None:
        """An own op has its place. What the server decided about it is in the answer."""
        op = self.outbox.pop(0)
        if op["n"] != result["n"]:
            self.refusals.append(
                {"code": "strange_answer", "message": f"op {op['n']} was answered as {result}"}
            )
        self.acknowledged += 1
        self.duplicates += result["verdict"] == "duplicate"
        self._take({**op, "device": self.number, "seq": result["seq"], **result.get("first", result)})

    # -- what goes -----------------------------------------------------------------------------------

    async def _push_all(self) -> None:
        while True:
            while not (self.here and self.outbox):
                await self._news.wait()
            answer = await self._push({"ops": self.outbox[:BATCH]})
            if answer is not None and not answer["ok"]:
                self.refusals.append(answer)
                await asyncio.sleep(answer.get("retry_after_ms", 200) / 1000)

    async def _push(self, payload: Json) -> Json | None:
        """The answer, or None when the connection was lost before it came."""
        done = self._in_flight = asyncio.get_running_loop().create_future()
        try:
            await self._sio.emit("push", payload, namespace=NAMESPACE, callback=self._answered)
        except socketio.exceptions.SocketIOError:
            await asyncio.sleep(0.05)  # gone, and not yet told so
            return None
        answer: Json | None = await done
        return answer

    def _answered(self, answer: Json) -> None:
        """Called in the order of the connection, like every event: the log grows in `seq` order."""
        for result in answer.get("results", ()):
            self._acknowledge(result)
        if self._in_flight is not None and not self._in_flight.done():
            self._in_flight.set_result(answer)
        self._changed()

    def _changed(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
