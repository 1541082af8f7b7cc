"""A light device that goes on whatever happens, and believes nothing that breaks the protocol's promises.

It is the strict `Device` of the gateway's tests with a life of its own: it connects to some node, sends
what waits in its outbox with a few pushes ahead of their answers, gives up a connection that does not answer,
comes back after a random part of a growing pause, at another node maybe, with its cursor. What survives is
what would be on its disk: the counter, the outbox, the records that it knows.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import aiohttp
import msgpack
import orjson

from tests.gateways.conftest import _packet
from tests.gateways.device import Device
from tests.system.conftest import now_ms

ANSWER_S = 8.0  # after which a connection that does not answer is given up; longer after failures in a row
PAUSE_S = (0.1, 2.0)  # before the first and the later attempts, of which a random part is waited
AHEAD = 3  # pushes on their way at once
PORTION = 8  # ops in a push
FULL = 80  # ops in the outbox, after which the person stops for a while

Json = dict[str, Any]


class Lost(Exception):
    """The connection is gone, or was given up."""


class Roamer(Device):
    """See the module's first lines.

    ways      (node, URL) of the ways to the server; the first is tried first
    token     makes the access token of the user's device
    wrong     is told of each broken promise
    counts    besides the Device's own: connected, lost, given up, bye …, sent again
    """

    def __init__(
        self,
        user: str,
        id: int,
        *,
        http: aiohttp.ClientSession,
        ways: Sequence[tuple[int, Callable[[], str]]],
        token: Callable[[], str],
        codec: str,
        random: Random,
        wrong: Callable[[str], None],
    ) -> None:
        super().__init__(user, id)
        self.codec = codec
        self.node: int | None = None  # where it is connected
        self._http = http
        self._ways = ways
        self._token = token
        self._random = random
        self._wrong = wrong
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._ready: asyncio.Future[Json] | None = None
        self._sent = 0  # the last n that went out on this connection
        self._once = 0  # the last n that ever went out
        self._since: dict[int, float] = {}
        self._refused_until = 0.0
        self._news = asyncio.Event()
        self._failures = 0
        self._place: int | None = None
        self._heard: deque[list[Any]] = deque(maxlen=12)

    # -- its life --------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Be connected, and again, until cancelled."""
        for attempt in itertools.count():
            try:
                await self._one_connection(attempt)
            except (Lost, OSError, TimeoutError, aiohttp.ClientError):
                self.counts["lost" if self.node is not None else "not reached"] += 1
            except AssertionError as error:
                self._wrong(f"{self.name} at node {self.node}: {error}; heard last: {[*self._heard]}")
            finally:
                await self.cut()
            self._failures += 1
            pause = min(PAUSE_S[1], PAUSE_S[0] * 2 ** min(self._failures, 10))
            await asyncio.sleep(self._random.random() * pause)

    @property
    def name(self) -> str:
        return f"{self.user[:8]}.{self.id} ({self.codec})"

    @property
    def in_flight(self) -> int:
        """Pushes that wait for an answer."""
        return len(self._pushes)

    @property
    def full(self) -> bool:
        return len(self.outbox) >= FULL

    @property
    def _patience(self) -> float:
        return ANSWER_S * 2 ** min(self._failures // 2, 2)

    async def _one_connection(self, attempt: int) -> None:
        place = 0 if attempt == 0 else self._random.randrange(len(self._ways))
        node, url = self._ways[place if self._place is None else self._place]
        async with asyncio.timeout(self._patience):
            self._ws = await self._http.ws_connect(
                f"{url()}/socket.io/?EIO=4&transport=websocket&codec={self.codec}", max_msg_size=0
            )
        self._here, self._pushes, self._asked = set(), {}, {}
        self._ready = asyncio.get_running_loop().create_future()
        reading = asyncio.get_running_loop().create_task(self._reading())
        try:
            await self._begin()
            self.node = node
            self.counts["connected"] += 1
            await self._writing(reading)
        finally:
            reading.cancel()
            outcome = (await asyncio.gather(reading, return_exceptions=True))[0]
            if isinstance(outcome, AssertionError):
                raise outcome

    async def _begin(self) -> None:
        assert self._ready is not None
        cursor = self.place
        self.told = 0 if cursor is None else self.cursor
        await self._send(0, {"token": self._token()} | ({} if cursor is None else {"cursor": cursor}))
        async with asyncio.timeout(self._patience):
            ready = await self._ready
        if cursor is None and ready["head"]:
            await self._pull_all(ready["head"])
        self._sent = self.outbox[0]["n"] - 1 if self.outbox else self.next_n - 1
        self._refused_until = 0.0
        if not self.outbox:
            self._failures = 0

    def _readied(self, ready: Json) -> None:
        """In the reading task, before anything that comes after `ready` is looked at."""
        assert self._ready is not None
        assert self.epoch in (None, ready["epoch"]), "the log began anew"
        fresh, self.epoch = self.epoch is None, ready["epoch"]
        assert fresh or ready["resumed"], f"not resumed from {self.cursor}; the head is {ready['head']}"
        assert ready["next_n"] > max(self.acked, default=0), "an acknowledged op of ours is missing"
        assert ready["next_n"] <= self.next_n, "somebody wrote under our name"
        self.told = ready["head"] if fresh else self.cursor
        self.counts["begun" if fresh else "resumed"] += 1
        _settle(self._ready, ready)

    async def _pull_all(self, head: int) -> None:
        while self.cursor < head:
            answer = await self.ask("pull", {"after": self.cursor, "limit": 200})
            if not answer["ok"]:
                raise Lost(answer["code"])
            for record in answer["records"]:
                self._learn(record)

    async def _writing(self, reading: asyncio.Task[None]) -> None:
        """Send what waits, until the connection is gone or does not answer."""
        loop = asyncio.get_running_loop()
        while not reading.done():
            oldest = min(self._since.values(), default=None)
            if oldest is not None and loop.time() - oldest > self._patience:
                self.counts["given up"] += 1
                raise Lost("no answer")
            await self._send_more()
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await self._news.wait()
        await reading
        raise Lost("closed")

    async def _send_more(self) -> None:
        loop = asyncio.get_running_loop()
        while len(self._pushes) < AHEAD and loop.time() >= self._refused_until:
            if self._refused_until and self._pushes:
                return  # what was sent behind a refused push is going to be refused too
            if self._refused_until:
                self._refused_until = 0.0
                self._sent = self.outbox[0]["n"] - 1 if self.outbox else self._sent
            ops = [op for op in self.outbox if op["n"] > self._sent][:PORTION]
            if not ops:
                return
            self._sent = ops[-1]["n"]
            self.counts["sent again"] += sum(op["n"] <= self._once for op in ops)
            self._once = max(self._once, self._sent)
            for _ in range(2 if self._random.random() < 0.03 else 1):
                id = next(self._ids)
                self._pushes[id], self._since[id] = ops, loop.time()
                await self._send(2, ["push", {"ops": ops, "epoch": self.epoch}], id)

    async def ask(self, event: str, payload: Any) -> Any:
        """Send an event and wait for its answer."""
        id = next(self._ids)
        answer = self._asked[id] = asyncio.get_running_loop().create_future()
        await self._send(2, [event, payload], id)
        async with asyncio.timeout(self._patience):
            return await answer

    async def goes_to(self, node: int) -> None:
        """From now on be connected to this node, and return when that is so."""
        self._place = next(place for place, (number, _) in enumerate(self._ways) if number == node)
        while self.node != node:
            self.drop()
            await asyncio.sleep(0.1)

    async def cut(self) -> None:
        """Lose the transport without a word; what was not read yet is lost with it."""
        ws, self._ws, self.node = self._ws, None, None
        self._since, self._pushes = {}, {}
        for future in (*self._asked.values(), self._ready):
            if future is not None:
                future.cancel()
        if ws is not None:
            self._abort(ws)
            with suppress(Exception):
                await ws.close()

    def drop(self) -> bool:
        """Break its connection, if there is one."""
        if self._ws is None or self.node is None:
            return False
        self._abort(self._ws)
        return True

    @staticmethod
    def _abort(ws: aiohttp.ClientWebSocketResponse) -> None:
        transport = ws._writer.transport
        if transport is not None:
            transport.abort()

    # -- writing -----------------------------------------------------------------------------------------

    async def does(self, kind: str, workout: str, value: Json, entity: str | None) -> None:
        """Write an op; it is sent when there is a connection."""
        self.write(kind, workout, value, entity, at=now_ms())
        self._news.set()

    # -- packets -------------------------------------------------------------------------------------------

    async def _send(self, kind: int, data: Any, id: int | None = None) -> None:
        ws = self._ws
        if ws is None or ws.closed:
            raise Lost("closed")
        if self.codec == "msgpack":
            packet = {"type": kind, "nsp": "/live", "data": data}
            await ws.send_bytes(msgpack.packb(packet if id is None else {**packet, "id": id}))
        else:
            await ws.send_str(f"4{kind}/live,{'' if id is None else id}{orjson.dumps(data).decode()}")

    async def _reading(self) -> None:
        ws = self._ws
        assert ws is not None
        try:
            async for message in ws:
                packet = self._decode(message)
                if packet is not None:
                    self._take(packet)
                    self._news.set()
                elif message.data == "2":
                    await ws.send_str("3")
        finally:
            self._news.set()
            for future in (*self._asked.values(), self._ready):
                _settle(future, Lost("closed"))

    @staticmethod
    def _decode(message: aiohttp.WSMessage) -> list[Any] | None:
        if message.type is aiohttp.WSMsgType.BINARY:
            packet = msgpack.unpackb(message.data)
            return _packet(packet["type"], packet.get("id"), packet.get("data"))
        if message.type is not aiohttp.WSMsgType.TEXT or not message.data.startswith("4"):
            return None
        rest = message.data[2:].removeprefix("/live,")
        digits = "".join(itertools.takewhile(str.isdigit, rest))
        body = rest[len(digits) :]
        kind, id = int(message.data[1]), int(digits) if digits else None
        return _packet(kind, id, orjson.loads(body) if body else None)

    def _take(self, packet: list[Any]) -> None:
        self._heard.append(packet)
        match packet:
            case ["event", "ops", frame]:
                self._told(frame)
            case ["event", "ready", ready]:
                self._readied(ready)
            case ["ack", id, answer] if id in self._pushes:
                self._since.pop(id)
                self._pushed(self._pushes.pop(id), answer)
            case ["ack", id, answer] if id in self._asked:
                _settle(self._asked.pop(id), answer)
            case ["event", "insight", insight] if insight["kind"] == "rest_over":
                self.counts["rests over"] += 1
                assert insight["at"] <= now_ms(), f"told before the rest was over: {insight}"
            case ["event", "bye", bye]:
                self.counts[f"bye {bye['code']}"] += 1
                assert bye["reconnect"], f"sent away for good: {bye}"
            case ["refused", data]:
                code = data["data"]["code"]
                self.counts[f"refused {code}"] += 1
                assert data["data"]["retry"], f"not let in: {data}"
                _settle(self._ready, Lost(code))

    def _pushed(self, ops: list[Json], answer: Json) -> None:
        self._answered(ops, answer)
        if answer["ok"]:
            self._failures = 0
        if len(answer.get("results", ())) < len(ops):
            self._wait(answer)

    def _wait(self, answer: Json) -> None:
        """Before more is sent, wait as we are told to."""
        wait_s = answer.get("retry_after_ms", 0) / 1000
        now = asyncio.get_running_loop().time()
        self._refused_until = max(self._refused_until, now + 0.05 + wait_s * self._random.random())


def _settle(future: asyncio.Future[Any] | None, outcome: Any) -> None:
    """Tell who waits, unless nobody does any more."""
    if future is None or future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
