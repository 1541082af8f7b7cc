"""Requests over HTTP at the least cost of a client: written beforehand, on connections that are kept.

A client library spends as much on a request as the server does, and on one machine that would be measured.
Here a request is bytes that somebody else made, and of an answer only its status and its length are read.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

from fitai.bench import schedule

LINES = 64  # connections of an open loop: what is due while all are in use waits, and that counts
PATIENCE_S = 20.0

Answered = Callable[[int, bytes], None]
"""Called with the status and the body of an answer."""


class Failed(Exception):
    """A connection was lost, or an answer did not come."""


def written(method: str, path: str, headers: Mapping[str, str], body: Any = None) -> bytes:
    """A request as it goes over the wire; a body is JSON."""
    sent = b"" if body is None else orjson.dumps(body)
    told = {"Host": "bench", **headers}
    if body is not None:
        told |= {"Content-Type": "application/json", "Content-Length": str(len(sent))}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + sent


@dataclass(slots=True)
class Heard:
    """What came of asking: how many answers had which status, and the seconds of those within the `count_s`
    seconds that count."""

    count_s: float
    statuses: dict[int, int] = field(default_factory=dict)
    spent: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    """Seconds by which requests of an open loop were sent too late, by the client's own doing."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.spent) / self.count_s


def p99(seconds: Sequence[float]) -> float:
    """What all but a hundredth are below."""
    return sorted(seconds)[int(len(seconds) * 0.99)]


class Line(asyncio.Protocol):
    """A connection, on which one request is on its way at a time."""

    def __init__(self) -> None:
        self.lost = False
        self._transport: asyncio.Transport | None = None
        self._got = b""
        self._whole = 0  # bytes of the answer, 0 until its head is there
        self._answered: Answered | None = None

    def ask(self, request: bytes, answered: Answered) -> None:
        """Send it; `answered` is called once the answer is there."""
        assert self._transport is not None
        self._answered = answered
        self._transport.write(request)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._whole:
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._got[:end].lower()
            _, _, after = head.partition(b"\r\ncontent-length: ")
            self._whole = end + 4 + int(after.partition(b"\r\n")[0])
        if len(self._got) < self._whole:
            return
        status, body = int(self._got[9:12]), self._got[self._got.index(b"\r\n\r\n") + 4 :]
        self._got, self._whole = b"", 0
        answered, self._answered = self._answered, None
        assert answered is not None
        answered(status, body)


@asynccontextmanager
async def lines(url: str, count: int) -> AsyncIterator[list[Line]]:
    """So many connections to a server; raises Failed when one of them was lost meanwhile."""
    parts, loop = urlsplit(url), asyncio.get_running_loop()
    host, port = parts.hostname or "", parts.port or 80
    made = [(await loop.create_connection(Line, host, port))[1] for _ in range(count)]
    try:
        yield made
        if any(line.lost for line in made):
            raise Failed(f"{url} hung up")
    finally:
        for line in made:
            line.close()


async def one(line: Line, request: bytes) -> tuple[int, bytes]:
    """Ask once, and wait for the status and the body."""
    answer = asyncio.get_running_loop().create_future()
    line.ask(request, lambda status, body: answer.set_result((status, body)))
    return await asyncio.wait_for(answer, PATIENCE_S)


async def in_windows(
    url: str, requests: Sequence[bytes], window: int, warm_s: float, count_s: float
) -> Heard:
    """Closed loop: `window` connections, each of which asks again as soon as it was answered, for
    `warm_s` seconds that do not count and `count_s` that do. Each request is asked as often as the others."""
    heard, clock = Heard(count_s), time.perf_counter
    begin = clock() + warm_s
    end = begin + count_s
    turn, asking = 0, 0

    def ask(line: Line) -> None:
        nonlocal turn, asking
        sent = clock()
        if sent >= end:
            asking -= 1
            return

        def answered(status: int, _: bytes) -> None:
            now = clock()
            heard.statuses[status] = heard.statuses.get(status, 0) + 1
            if begin <= now < end:
                heard.spent.append(now - sent)
            ask(line)

        turn += 1
        line.ask(requests[turn % len(requests)], answered)

    async with lines(url, window) as made:
        asking = len(made)
        for line in made:
            ask(line)
        await _over(lambda: asking, end)
    return heard


async def at_rate(
    url: str, requests: Sequence[bytes], rate: float, warm_s: float, count_s: float, rng: random.Random
) -> Heard:
    """Open loop: requests at moments fixed before, `rate` a second, whether or not the ones before were
    answered. Seconds run from the intended moment."""
    heard, clock = Heard(count_s), time.perf_counter
    start = clock()
    begin = start + warm_s
    waiting: deque[tuple[float, bytes]] = deque()
    asking = 0

    def ask(line: Line, intended: float, request: bytes) -> None:
        def answered(status: int, _: bytes) -> None:
            nonlocal asking
            heard.statuses[status] = heard.statuses.get(status, 0) + 1
            if intended >= begin:
                heard.spent.append(clock() - intended)
            asking -= 1
            if waiting:
                ask(line, *waiting.popleft())
            else:
                free.append(line)

        line.ask(request, answered)

    async with lines(url, LINES) as made:
        free = list(made)
        for due in schedule.open_loop(rate, warm_s + count_s, len(requests), rng):
            intended = start + due.at
            if (wait := intended - clock()) > 0:
                await asyncio.sleep(wait)
            heard.late.append(clock() - intended)
            asking += 1
            if free:
                ask(free.pop(), intended, requests[due.user])
            else:
                waiting.append((intended, requests[due.user]))
        await _over(lambda: asking, clock())
    return heard


async def _over(asking: Callable[[], int], end: float) -> None:
    """Wait until nothing is on its way any more; raises Failed when that takes too long."""
    while asking():
        if time.perf_counter() > end + PATIENCE_S:
            raise Failed(f"{asking()} requests were not answered")
        await asyncio.sleep(0.01)
