"""A relay on loopback that breaks everything after so many bytes, wherever in a message that is."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class CuttingRelay:
    """Relays a port. `left` bytes, both ways together, are passed on; then every connection breaks, and
    new ones break at once. None: no limit. `passed` counts."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.left: int | None = None
        self.passed = 0
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> CuttingRelay:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        self._server.close()
        self._break()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut_after(self, count: int) -> None:
        self.left, self.passed = count, 0

    def mend(self) -> None:
        self.left = None

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.left == 0:
            writer.transport.abort()
            return
        there, onward = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers |= {writer, onward}
        ways = [self._pass(reader, onward), self._pass(there, writer)]
        tasks = [asyncio.get_running_loop().create_task(way) for way in ways]
        self._tasks |= set(tasks)
        with suppress(asyncio.CancelledError):
            await asyncio.wait(tasks)
        for each in (writer, onward):
            each.transport.abort()
            self._writers.discard(each)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if self.left is not None:
                    data, cut = data[: self.left], len(data) >= self.left
                    self.left -= len(data)
                    writer.write(data)
                    await writer.drain()
                    self.passed += len(data)
                    if cut:
                        await asyncio.sleep(0.002)  # what was passed on is read before the end is heard of
                        self._break()
                        return
                else:
                    writer.write(data)
                    self.passed += len(data)
            writer.close()

    def _break(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()
