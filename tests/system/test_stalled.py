"""Clients that stop reading, against a real server process: what they cost it, and what they cost others.

The question: while 50,000 events go the way of clients that read nothing, how much does the server grow,
and does anybody else wait longer? The control is the same run without them; the latency of a bystander is
compared within one run, between windows in which the stalled clients are there and windows in which they
are not.
"""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pytest

from tests.gateways.attacker import tiny_socket
from tests.gateways.conftest import Wire
from tests.system.conftest import Process, people

EVENTS = 50_000
WINDOWS = 6  # every second one with stalled clients
PUSH = 200  # ops in a push
TEXT = "x" * 1000  # so that a window is more than what the kernels of both ends hold
STALLED = 4
CAP = 1024 * 1024  # FITAI_LIMIT_QUEUE_BYTES
MIB = 1024 * 1024
PATIENCE = 120.0  # seconds
WORST_RATIO = 4.0  # the machine is shared: what is looked for is a stall, not a percent

pytestmark = pytest.mark.timeout(400)


@dataclass
class Measured:
    """Of one run: bytes that the server grew at most, and a bystander's latencies (s) window by window."""

    growth: int = 0
    quiet: list[list[float]] = field(default_factory=list)
    stalled: list[list[float]] = field(default_factory=list)


class Sleeper:
    """A client that authenticates and reads nothing more."""

    def __init__(self, process: Process, user: str, device: int) -> None:
        self._process = process
        self._user = user
        self._device = device

    async def connect(self) -> None:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=tiny_socket))
        url = f"{self._process.url}/socket.io/?EIO=4&transport=websocket"
        self._ws = await self._http.ws_connect(url, max_msg_size=0)
        auth = {"token": self._process.tokens.issue(self._user, self._device)}
        await self._ws.send_str("40/live," + orjson.dumps(auth).decode())
        async for message in self._ws:
            if message.data.startswith('42/live,["ready"'):
                return

    async def wakes(self) -> list[str]:
        """Read all that is still to be read, up to the end of the transport."""
        async with asyncio.timeout(PATIENCE):
            heard = [message.data async for message in self._ws]
        await self._http.close()
        return heard


class Reader(Sleeper):
    """A client that reads all it gets, as fast as it comes."""

    async def connect(self) -> None:
        await super().connect()
        self._reading = asyncio.get_running_loop().create_task(super().wakes())

    async def leave(self) -> None:
        await self._ws.close()
        await self._reading


async def write(wire: Wire, count: int) -> None:
    """Push so many ops, a workout each time; all of them go to the other devices only."""
    for _ in range(count // PUSH):
        workout = str(uuid.uuid4())
        ops = [wire.op("note.set", workout, {"text": TEXT}) for _ in range(PUSH)]
        answer = await wire.push(*ops)
        assert answer["ok"], answer
        wire.packets.clear()


async def latencies(wire: Wire, workout: str, until: asyncio.Event) -> list[float]:
    """How long each of a bystander's acks took, one op after another."""
    took = []
    while not until.is_set():
        op = wire.op("note.set", workout, {"text": "y"})
        began = time.perf_counter()
        answer = await wire.push(op)
        took.append(time.perf_counter() - began)
        assert answer["ok"], answer
        wire.packets.clear()
        await asyncio.sleep(0.005)
    return took


async def watch_memory(process: Process, until: asyncio.Event) -> int:
    """The most bytes that the process had in memory."""
    most = 0
    while not until.is_set():
        most = max(most, process.memory())
        await asyncio.sleep(0.05)
    return most


async def run(process: Process, *, stalled: int) -> Measured:
    """Let 50,000 events go the way of `stalled` clients; in every second window they are there."""
    (user, (phone, *sleepy)), (other, (theirs,)) = await accounts(process.database_url)
    node: Any = process  # it has what a Wire asks of a server
    writer, bystander = Wire(node, user, phone), Wire(node, other, theirs)
    await writer.connect()
    await bystander.connect()
    reader = Reader(process, user, sleepy[0])
    await reader.connect()
    measured = Measured()
    await write(writer, EVENTS // WINDOWS // 2)  # whatever is loaded or grown once has been
    before, done = process.memory(), asyncio.Event()
    memory = asyncio.get_running_loop().create_task(watch_memory(process, done))
    for window in range(WINDOWS):
        there = [Sleeper(process, user, sleepy[0]) for _ in range(stalled if window % 2 else 0)]
        for sleeper in there:
            await sleeper.connect()
        over = asyncio.Event()
        waits = asyncio.get_running_loop().create_task(latencies(bystander, str(uuid.uuid4()), over))
        await write(writer, EVENTS // WINDOWS)
        over.set()
        (measured.stalled if there else measured.quiet).append(await waits)
        for sleeper in there:
            assert_closed_as_slow(await sleeper.wakes())
    done.set()
    measured.growth = await memory - before
    for wire in (writer, bystander):
        await wire.close()
    await reader.leave()
    return measured


async def accounts(url: str) -> Sequence[tuple[str, list[int]]]:
    return [*await people(url, 1, devices=2), *await people(url, 1)]


def assert_closed_as_slow(heard: Sequence[str]) -> None:
    """It was told only a part, in order; if it heard why, it may come back."""
    frames = [orjson.loads(text[len("42/live,") :])[1] for text in heard if text.startswith('42/live,["ops"')]
    assert sum(len(frame["records"]) for frame in frames) < EVENTS // WINDOWS, "it never stalled"
    assert [frame["from"] for frame in frames[1:]] == [frame["to"] + 1 for frame in frames[:-1]]
    byes = [text for text in heard if text.startswith('42/live,["bye"')]
    assert all('"code":"slow","reconnect":true' in bye for bye in byes)


def p99(took: Sequence[float]) -> float:
    return statistics.quantiles(took, n=100)[98]


async def test_stalled_clients_cost_at_most_their_queues_and_nobody_else_waits_for_them(
    sqlite_url: str, make_process: Callable[..., Awaitable[Process]]
) -> None:
    control = await run(await make_process(sqlite_url, FITAI_LIMITS="off"), stalled=0)
    measured = await run(await make_process(sqlite_url, FITAI_LIMITS="off"), stalled=STALLED)
    print(f"grew {measured.growth / MIB:.1f} MiB with stalled clients, {control.growth / MIB:.1f} without")
    measures: dict[str, Callable[[Sequence[float]], float]] = {"median": statistics.median, "p99": p99}
    for name, at in measures.items():
        without, with_them = [statistics.median(map(at, w)) for w in (measured.quiet, measured.stalled)]
        print(f"ack {name}: {without * 1000:.1f} ms without, {with_them * 1000:.1f} ms with them")
        assert with_them < without * WORST_RATIO + 0.005
    assert measured.growth - control.growth <= STALLED * (CAP + MIB)
