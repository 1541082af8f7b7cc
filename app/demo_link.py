"""The network between one device and the server, as a relay that can fail.

A device of the demo dials its link and the link dials the server, so that what happens to a phone in a
lift happens to real bytes on real sockets: `swallow` loses every answer from now on, `cut` breaks the
connection and lets none through, `mend` ends both. Each way may take its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any

from fitai.gateways.tasks import spawn

CHUNK = 65_536


class Link:
    """A relay on a port of its own; `target` is the server's port and may change while it lives. What the
    device says takes `there_s` seconds, what it is told `back_s`."""

    def __init__(self, there_s: float = 0.0, back_s: float = 0.0) -> None:
        self._there_s = there_s
        self._back_s = back_s
        self.target = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._swallowing = False
        self._broken = False

    @property
    def url(self) -> str:
        """Where the device finds the server."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, target: int) -> None:
        """Listen, and relay to a port of this machine."""
        self.target = target
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Break everything and stop listening."""
        self.cut()
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*self._running, return_exceptions=True)

    def swallow(self) -> None:
        """From now on what the server says does not arrive; what the device says still does."""
        self._swallowing = True

    def cut(self) -> None:
        """Break the connections, as a lost network does, and let no new one through."""
        self._broken = True
        for writer in list(self._open):
            writer.transport.abort()

    def mend(self) -> None:
        """The network is back."""
        self._broken = self._swallowing = False

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        writers = [writer]
        try:
            if self._broken:
                return
            behind, ahead = await asyncio.open_connection("127.0.0.1", self.target)
            writers.append(ahead)
            self._open.update(writers)
            if not self._broken:
                await _both(self._carry(reader, ahead, deaf=False), self._carry(behind, writer, deaf=True))
        except OSError:
            return  # the server is down: to the device that is a connection which breaks
        finally:
            self._hang_up(writers)
            self._running.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, deaf: bool) -> None:
        """Pass bytes on until either side ends; `deaf` is the way on which answers can be lost."""
        takes_s = self._back_s if deaf else self._there_s
        if not takes_s:
            await self._pass_on(reader, writer, deaf=deaf)
            return
        clock = asyncio.get_running_loop().time
        way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        arriving = spawn("demo.link.way", _arrive(way, writer))
        try:
            while data := await reader.read(CHUNK):
                if not (deaf and self._swallowing):
                    way.put_nowait((clock() + takes_s, data))
        except OSError:
            return
        finally:
            arriving.cancel()
            await asyncio.gather(arriving, return_exceptions=True)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, deaf: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if not (deaf and self._swallowing):
                    writer.write(data)
                    await writer.drain()

    def _hang_up(self, writers: Iterable[asyncio.StreamWriter]) -> None:
        for writer in writers:
            self._open.discard(writer)
            writer.transport.abort()


async def _arrive(way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    """What was put on its way arrives when its time has come, in order."""
    clock = asyncio.get_running_loop().time
    with suppress(OSError):
        while True:
            at, data = await way.get()
            await asyncio.sleep(at - clock())
            writer.write(data)
            await writer.drain()


async def _both(*ways: Coroutine[Any, Any, None]) -> None:
    """Run the two ways of a connection; when one ends, so does the other."""
    tasks = [spawn("demo.link", way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
