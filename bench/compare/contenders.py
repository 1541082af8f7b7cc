"""Who is measured, and how each is started: a server of its own for every turn, ended afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import asyncpg

from fitai.app.failures import Refused
from fitai.bench import stores
from fitai.bench.compare import peers
from fitai.bench.compare.voices import Ours, Peer, Voice
from fitai.bench.plan import Pass, Person, Plan
from fitai.bench.target import Target, started

PEERS = Path(peers.__file__).parent
CACHE = Path(".cache")
START_S = 20.0

SQLITE = "FitAI, SQLite"
SCALED = "FitAI, PostgreSQL + Redis"
WORKERS = "FitAI, PostgreSQL + Redis, 2 workers"
PSIO = "python-socketio"
PSIO_REDIS = "python-socketio + Redis manager"
NODE = "Node socket.io"
NODE_REDIS = "Node socket.io + Redis adapter"
BARE = "bare aiohttp"


class Missing(Refused):
    """A peer can not be run on this machine; the message says what it takes."""


class Stores:
    """The Redis and the PostgreSQL of a comparison, started when they are first asked for."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._redis: str | None = None
        self._postgres: str | None = None

    @property
    def redis(self) -> str:
        """Its URL."""
        if self._redis is None:
            self._redis = self._stack.enter_context(stores.redis())
        return self._redis

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The URL of an empty database, which is dropped afterwards."""
        if self._postgres is None:
            self._postgres = self._stack.enter_context(stores.postgres())
        name = f"bench_{secrets.token_hex(6)}"
        await self._run(f"CREATE DATABASE {name}")
        try:
            yield f"{self._postgres.rpartition('/')[0]}/{name}"
        finally:
            await self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        """End what was started."""
        self._stack.close()

    async def _run(self, statement: str) -> None:
        connection = await asyncpg.connect(self._postgres)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


class Rooms:
    """The people of a peer: a room each, nobody has to be anybody."""

    async def make(self, users: int, devices: int) -> list[Person]:
        """So many rooms, and ways in for so many devices."""
        return [
            Person(number, f"room-{number}", tuple(Pass(at, "") for at in range(1, devices + 1)))
            for number in range(users)
        ]

    async def remove(self) -> str:
        """Nothing was made."""
        return ""


Start = Callable[[Plan, Stores], AbstractAsyncContextManager[Target]]


@dataclass(frozen=True, slots=True)
class Contender:
    """One server. `needs` raises Missing where it can not be run."""

    name: str
    voice: type[Voice]
    start: Start
    needs: Callable[[], None] = field(default=lambda: None)


@asynccontextmanager
async def ours(plan: Plan, owned: Stores, *, scaled: bool = False, workers: int = 1) -> AsyncIterator[Target]:
    """FitAI on a new SQLite file, or on PostgreSQL and Redis."""
    if not scaled:
        async with started(plan, None, None) as target:
            yield target
        return
    async with owned.database() as url, started(plan, url, owned.redis, workers) as target:
        yield target


@asynccontextmanager
async def peer(
    plan: Plan, owned: Stores, *, command: Callable[[], Sequence[str]], redis: bool = False
) -> AsyncIterator[Target]:
    """One of the programs in `peers/`."""
    words = [*command(), *([owned.redis] if redis else [])]
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(_modules().resolve())},
    )
    try:
        assert process.stdout is not None
        try:
            said = await asyncio.wait_for(process.stdout.readline(), START_S)
            port = int(said)
        except (TimeoutError, ValueError) as error:
            raise Refused(f"{' '.join(words)} did not start.") from error
        yield Target(f"http://127.0.0.1:{port}", process.pid, Rooms(), None, {})
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _python(name: str) -> list[str]:
    return [sys.executable, "-m", f"{peers.__name__}.{name}"]


def _node() -> list[str]:
    installed()
    return ["node", str(PEERS / "server.cjs")]


def needs_node() -> None:
    """Raise Missing when Node.js or npm is not here."""
    found = shutil.which("node") if shutil.which("npm") else None
    asked = "process.stdout.write(process.versions.node)"
    told = (
        subprocess.run([found, "-e", asked], capture_output=True, text=True, check=False).stdout
        if found
        else ""
    )
    if not told.partition(".")[0].isdecimal() or int(told.partition(".")[0]) < 18:
        raise Missing("Node.js 18 or newer with npm is not here (Debian: apt-get install nodejs npm).")


def installed() -> None:
    """Have what the Node peers need, from npm, as the lock file has it; raises Refused."""
    folder = _modules().parent
    done = folder / ".complete"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PEERS / name, folder)
    words = ["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
    npm = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if npm.returncode:
        raise Refused(f"npm did not install the peers: {npm.stderr or npm.stdout}")
    done.touch()


def _modules() -> Path:
    lock = hashlib.sha256((PEERS / "package-lock.json").read_bytes()).hexdigest()[:12]
    return CACHE / f"peers-{lock}" / "node_modules"


def node_facts() -> dict[str, str]:
    """The versions of the Node peers."""
    packages = json.loads((PEERS / "package-lock.json").read_text())["packages"]
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    names = ("socket.io", "@socket.io/redis-adapter")
    return {"node": node, **{name: packages[f"node_modules/{name}"]["version"] for name in names}}


CONTENDERS = {
    one.name: one
    for one in (
        Contender(SQLITE, Ours, ours),
        Contender(SCALED, Ours, partial(ours, scaled=True)),
        Contender(WORKERS, Ours, partial(ours, scaled=True, workers=2)),
        Contender(PSIO, Peer, partial(peer, command=partial(_python, "psio"))),
        Contender(PSIO_REDIS, Peer, partial(peer, command=partial(_python, "psio"), redis=True)),
        Contender(NODE, Peer, partial(peer, command=_node), needs_node),
        Contender(NODE_REDIS, Peer, partial(peer, command=_node, redis=True), needs_node),
        Contender(BARE, Peer, partial(peer, command=partial(_python, "bare"))),
    )
}
