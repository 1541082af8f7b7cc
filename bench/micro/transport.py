"""What does a message cost the server's process on its way through the transport, and nothing else?

**Question.** A server in a process of its own, on loopback, with WebSocket clients in this one. How much of
its processor's time goes into

- a `clock` event and its ack: read, decoded, dispatched, answered, written;
- one delivery of an event that goes to all 50 devices of a user: encoded once, framed, written?

**Figures.** Microseconds of processor time each, on two busy cores in November 2026. Through a task for each
message, aiohttp's WebSocket and a task for each writer: 40 and 7.9. In the transport's callback, and written
straight into it, once in a turn of the loop: 7.0 and 1.9.

**Control.** Every clock event is answered with what it asked; every device hears every event once, in order.

    python -m fitai.bench.micro transport [--runs 5] [--messages 20000]
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from multiprocessing.connection import Connection as Pipe
from typing import Any

from aiohttp import web

from fitai.app.serve import run
from fitai.bench.link import Memory, Socket, connect
from fitai.bench.micro import report
from fitai.bench.micro.push import NOW, database, node
from fitai.bench.micro.report import Figure
from fitai.bench.wire import CODECS
from fitai.gateways.identity import Identity
from fitai.gateways.live.frames import Frame
from fitai.gateways.live.limits import LiveLimits
from fitai.gateways.live.server import LiveServer
from fitai.http.connections import Runner

DEVICES = 50
WINDOW = 8  # clock events on the way from each device
BURST = 4  # events that the server says before it lets its loop turn


class One:
    """Whoever comes is the same person, on any device."""

    def __init__(self, user: str, device: int) -> None:
        self._identity = Identity(user, device, NOW * 2)

    async def read(self, token: str) -> Identity:
        return self._identity

    async def confirm(self, identity: Identity) -> None:
        pass

    async def authenticate(self, token: str) -> Identity:
        return self._identity


def _serve(pipe: Pipe) -> None:
    """The server's process: ends when the pipe does."""
    run(_served(pipe))


async def _served(pipe: Pipe) -> None:
    limits = LiveLimits(rates=False, connections_per_user=DEVICES, connections_per_device=DEVICES)
    async with database() as db, node(db) as server:
        who = await server.person()
        live = LiveServer(server.hosts, One(who.user, who.device), limits=limits, now_ms=lambda: NOW)
        app = web.Application()
        live.attach(app)
        running = Runner(app)
        await running.setup()
        site = web.TCPSite(running, "127.0.0.1", 0)
        await site.start()
        pipe.send(running.addresses[0][1])
        commands: asyncio.Queue[int | None] = asyncio.Queue()
        asyncio.get_running_loop().add_reader(pipe.fileno(), lambda: commands.put_nowait(pipe.recv()))
        while (events := await commands.get()) is not None:
            await _say(live, events)
            pipe.send(time.process_time())
        await live.drain(0, 1.0)
        await running.cleanup()


async def _say(live: LiveServer, events: int) -> None:
    for number in range(events):
        frame = Frame("insight", {"id": "x" * 36, "kind": "totals", "number": number, "text": "y" * 150})
        for connection in live.connections:
            connection.send(frame)
        if number % BURST == 0:
            await asyncio.sleep(0.001)


class Ears:
    """The devices of the user, and what they heard."""

    def __init__(self) -> None:
        self.sockets: list[Socket] = []
        self.heard: list[list[int]] = []

    async def open(self, port: int, codec: str) -> None:
        for _ in range(DEVICES):
            numbers: list[int] = []
            self.heard.append(numbers)
            url = f"http://127.0.0.1:{port}"
            hear = _hear(numbers)
            self.sockets.append(
                await connect(url, CODECS[codec], {"token": "t"}, memory=Memory(), hear=hear, gone=_gone)
            )

    async def everything(self, events: int) -> None:
        async with asyncio.timeout(60):
            while any(len(numbers) < events for numbers in self.heard):
                await asyncio.sleep(0.01)
        assert all(numbers == list(range(events)) for numbers in self.heard), "lost, doubled or out of order"

    async def ask(self, messages: int) -> None:
        """Clock events, `WINDOW` at a time from each device; raises AssertionError for a wrong answer."""
        left, waiting = messages, DEVICES * WINDOW
        done = asyncio.Event()

        def emit(socket: Socket) -> None:
            nonlocal left, waiting
            if left <= 0:
                waiting -= 1
                if not waiting:
                    done.set()
                return
            number = left
            left -= 1

            def answered(answer: Any) -> None:
                assert answer == {"t0": number, "t1": NOW}, answer
                emit(socket)

            socket.emit("clock", {"t0": number}, answered)

        for socket in self.sockets:
            for _ in range(WINDOW):
                emit(socket)
        async with asyncio.timeout(60):
            await done.wait()


def _hear(numbers: list[int]) -> Callable[[str, Any], None]:
    return lambda name, payload: numbers.append(payload["number"]) if name == "insight" else None


def _gone() -> None:
    """At the end everybody goes."""


@asynccontextmanager
async def devices(codec: str) -> AsyncIterator[tuple[Ears, Callable[[int], Any]]]:
    """Connected devices, and a function that has the server say so many events and tells its time."""
    ours, its = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(its,))
    process.start()

    async def command(events: int) -> float:
        ours.send(events)
        return float(await asyncio.to_thread(ours.recv))

    try:
        ears = Ears()
        await ears.open(await asyncio.to_thread(ours.recv), codec)
        yield ears, command
        for socket in ears.sockets:
            socket.close()
        ours.send(None)
        await asyncio.to_thread(process.join, 10)
    finally:
        process.kill()
        process.join()


async def _measured(codec: str, messages: int) -> tuple[float, float]:
    async with devices(codec) as (ears, command):
        await ears.ask(messages // 4)  # to get warm
        began = await command(0)
        await ears.ask(messages)
        asked = await command(0)
        said = await command(messages // DEVICES)
        await ears.everything(messages // DEVICES)
        said = await command(0)
    return (asked - began) / messages * 1e6, (said - asked) / messages * 1e6


def _measure(codec: str, messages: int, _: int) -> tuple[float, float]:
    return asyncio.run(_measured(codec, messages))


def measure(runs: int, messages: int) -> list[Figure]:
    """Microseconds of the server's processor for a message, by codec and way."""
    contenders = {codec: partial(_measure, codec, messages) for codec in CODECS}
    found = report.interleaved(runs, contenders)
    return [
        Figure.of(f"{what}, {codec}", "us", [pair[which] for pair in pairs])
        for codec, pairs in found.items()
        for which, what in enumerate(("clock event and its ack", f"delivery to each of {DEVICES}"))
    ]


def main(arguments: Sequence[str]) -> None:
    """Run with the options of the command line."""
    parser = report.parser("transport", "Processor time of a message in the server's process.")
    parser.add_argument("--messages", type=int, default=20_000)
    options = parser.parse_args(arguments)
    question = f"Processor time of the server for a message, {options.messages} of each kind."
    figures = measure(options.runs, options.messages)
    facts = report.machine(["aiohttp", "python-engineio", "uvloop"])
    report.tell("transport", question, figures, facts, options.into)
