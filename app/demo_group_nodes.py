"""The servers of the group demo: real `fitai serve` processes on one database, and people's way to them.

With Redis they are three, which is what `gateways/bus` joins; without it one. They share the SQLite file of a
temporary folder, or a database of their own on a PostgreSQL server; neither is there afterwards.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from fitai.app.demo_server import ServerProcess

NODES = 3  # when Redis joins them
SIGN_INS = 1_000  # a minute: all people of a demo come from one address


@dataclass(slots=True)
class Node:
    """A server process; `port` is where it listens, 0 while it is down."""

    name: str
    process: ServerProcess
    port: int = 0

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http://127.0.0.1:{self.port}"


class Nodes:
    """All of them. `start` one before another one migrates the database."""

    def __init__(self, folder: Path, database: str, redis: str | None) -> None:
        settings = _settings(folder, database, redis)
        self.database = database
        self.all = [_node(folder, number, settings) for number in range(1, (NODES if redis else 1) + 1)]

    async def start(self) -> None:
        """Start the first, which migrates, then the others at once."""
        await self.revive(self.all[0])
        await asyncio.gather(*(self.revive(node) for node in self.all[1:]))

    async def revive(self, node: Node) -> None:
        """Start a node, or start it again."""
        node.port = await node.process.start()

    async def kill(self, node: Node) -> None:
        """SIGKILL."""
        node.port = 0
        await node.process.kill()

    async def close(self) -> None:
        """Leave nothing running."""
        await asyncio.gather(*(self.kill(node) for node in self.all))

    async def stop(self) -> list[int]:
        """SIGTERM to all; returns their exit codes."""
        ends = await asyncio.gather(*(node.process.stop() for node in self.all))
        return [code for code, _ in ends]

    def instead_of(self, node: Node) -> list[Node]:
        """Where a load balancer sends the people of a node that is down."""
        return [other for other in self.all if other is not node and other.port]


def _settings(folder: Path, database: str, redis: str | None) -> Mapping[str, str]:
    """What all nodes have in common."""
    settings = {
        "FITAI_DATABASE_URL": database,
        "FITAI_DATA_DIR": str(folder / "data"),
        "FITAI_SECRET_KEY": secrets.token_hex(32),
        "FITAI_LIMIT_AUTH_PER_MINUTE": str(SIGN_INS),
    }
    if redis is not None:
        settings |= {"FITAI_REDIS_URL": redis, "FITAI_REDIS_PREFIX": f"fitai-demo-{secrets.token_hex(6)}"}
    return settings


def _node(folder: Path, number: int, settings: Mapping[str, str]) -> Node:
    own = folder / f"node-{number}"
    own.mkdir()
    return Node(f"node {number}", ServerProcess(own, settings))


@asynccontextmanager
async def database(folder: Path, server: str | None) -> AsyncIterator[str]:
    """The URL of an empty database: a file in the folder, or one of its own on a PostgreSQL server, whose URL
    may name any database; it is dropped afterwards."""
    if server is None:
        yield f"sqlite:///{folder / 'data' / 'fitai.db'}"
        return
    name = f"fitai_demo_{secrets.token_hex(6)}"
    await _run(server, f"CREATE DATABASE {name}")
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        await _run(server, f"DROP DATABASE {name} WITH (FORCE)")


async def _run(server: str, statement: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
