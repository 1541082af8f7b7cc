"""What an operator runs, on loopback: nodes, one PostgreSQL, one Redis; and ways to be cruel to each.

Each node reaches Redis by a link of its own. All are processes of ours, ended by their ids whatever happens.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from fitai.persistence.database import Database
from tests.chaos.links import Link
from tests.conftest import PostgresServer
from tests.redis_servers import RedisServer
from tests.system.conftest import Process

NODES = 3
PATIENCE_S = 30.0  # for a node to come up, however often it is started: longer than any store is away
AGAIN_S = 0.5
ASK_S = 3.0
# What it says that is no line of the log: that it is up, and what it ends with when it finds no database.
SAID = ("FitAI ", "  try it", "  stop", "fitai: FITAI_DATABASE_URL: the database cannot be reached")

# Lines at level `error` that a fault may cause, and why that is right.
EXPECTED: dict[str, str] = {}


class Node(Process):
    """`fitai serve`. `starts` counts how often it was started."""

    starts = 0

    async def start(self) -> Node:
        """Start it, and again as a supervisor does when it ends at once: what it needs may be away."""
        clock = asyncio.get_running_loop().time
        until = clock() + PATIENCE_S
        while clock() < until:
            self.starts += 1
            try:
                await super().start()
            except AssertionError:
                if self.running:
                    raise
                await asyncio.sleep(AGAIN_S)
            else:
                return self
        raise AssertionError(f"the node does not come up:\n{self.log()[-3000:]}")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.running:
            assert self._process is not None
            self._process.send_signal(signal.SIGCONT)

    def errors(self) -> list[str]:
        """What it logged as an error, besides what a fault may cause, and what is no line of a log at all: a
        library's last words, mostly."""
        wrong = [entry for entry in self.entries() if entry["level"] in ("error", "critical")]
        others = [line for line in self.log().splitlines() if line and not line.startswith(("{", *SAID))]
        return [*(str(entry) for entry in wrong if entry["event"] not in EXPECTED), *others]

    def warned(self) -> Counter[str]:
        """How often it logged each warning."""
        return Counter(entry["event"] for entry in self.entries() if entry["level"] == "warning")

    def entries(self) -> list[dict[str, Any]]:
        """The lines of its log."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    async def ready(self, http: aiohttp.ClientSession) -> bool:
        """Whether it says that it is."""
        try:
            timeout = aiohttp.ClientTimeout(ASK_S)
            async with http.get(f"{self.url}/health/ready", timeout=timeout) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False


async def to_its_end(work: Callable[[], object]) -> None:
    """Do something that blocks in a thread; whoever is cancelled meanwhile waits for its end all the same,
    and so knows what there is to be ended."""
    doing = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        raise


class Stack:
    """All of it; `async with Stack(…)` starts it and leaves nothing behind.

    data      a PostgreSQL data folder to copy, with a migrated database `postgres`
    """

    def __init__(self, data: Path, nodes: int = NODES, **environment: str) -> None:
        self._data = data
        self.to_redis = [Link([lambda: self.redis.port], seed) for seed in range(nodes)]
        self.nodes: list[Node] = []
        self._count = nodes
        self._environment = environment

    @property
    def database_url(self) -> str:
        return self.postgres.url("postgres")

    async def __aenter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="fitai-chaos-"))
        self.redis = RedisServer()
        self.postgres = PostgresServer(self._data)
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def _start(self) -> None:
        self.redis.start()
        await to_its_end(self.postgres.start)
        for number, link in enumerate(self.to_redis):
            await link.start()
            folder = self.folder / f"node-{number}"
            folder.mkdir()
            redis = f"redis://127.0.0.1:{link.port}/0"
            node = Node(self.database_url, folder, FITAI_REDIS_URL=redis, **self._environment)
            self.nodes.append(node)
        await asyncio.gather(*(node.start() for node in self.nodes))

    async def _end(self) -> None:
        for node in self.nodes:
            node.thaw()
            node.end()
        for link in self.to_redis:
            if link.port:
                await link.close()
        self.redis.remove()
        self.postgres.remove()
        shutil.rmtree(self.folder)


@asynccontextmanager
async def template() -> AsyncIterator[Path]:
    """A PostgreSQL data folder that no server runs on, with a migrated database, to copy."""
    server = PostgresServer()
    try:
        await to_its_end(server.start)
        db = Database.open(server.url("postgres"))
        await db.migrate()
        await db.close()
        await to_its_end(server.stop)
        yield server.data
    finally:
        server.remove()
