"""A real server process that tests may kill, and people who have accounts on it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import psutil  # type: ignore[import-untyped]
import pytest

from fitai.http.auth.keeper import KeyKeeper
from fitai.http.auth.tokens import ACCESS_MS, AccessTokens
from fitai.persistence.database import Database
from fitai.persistence.devices import Devices
from fitai.persistence.users import Users
from tests.keys import ring_of_release_before

SECRET = secrets.token_hex(32)
START_S = 40.0
STOP_S = 15.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def tokens_of(url: str) -> AccessTokens:
    """Tokens as a server on this database issues them now; as the release before does, if no server of this
    one has been there."""
    db = Database.open(url)
    try:
        keeper = KeyKeeper(db, SECRET, now_ms, life_ms=ACCESS_MS)
        await keeper.read()
    finally:
        await db.close()
    return AccessTokens(keeper.ring if keeper.ring.keys else ring_of_release_before(SECRET), now_ms)


class Process:
    """`fitai serve` on one database, in a process of its own; it can be started again after its end.

    `port`, `tokens` and `clock` are what a Wire asks of a server; `program` is what Python runs as `fitai`.
    """

    def __init__(self, url: str, folder: Path, **environment: str) -> None:
        self.program: Sequence[str | Path] = ("-m", "fitai.app.command")
        self.database_url = url
        self.tokens = AccessTokens(ring_of_release_before(SECRET), now_ms)
        self.clock = now_ms
        self.port = 0
        self._folder = folder
        self._announcement = folder / "server.json"
        self._log = folder / "server.log"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> Process:
        """Start it, on the port that it had before if any, and wait until it listens."""
        self._announcement.unlink(missing_ok=True)
        command = [sys.executable, *self.program, "serve", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--announce", str(self._announcement)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=self.variables(), stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_S
        while not self._announcement.exists():
            assert self._process.poll() is None, f"the server ended at once:\n{self.log()[-3000:]}"
            assert time.monotonic() < deadline, f"the server did not start:\n{self.log()[-3000:]}"
            await asyncio.sleep(0.02)
        first = self.port == 0
        self.port = json.loads(self._announcement.read_text())["port"]
        if first:
            self.tokens = await tokens_of(self.database_url)
        return self

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_S)

    async def stop(self) -> None:
        """Ask it to end, and see that it does."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(self._process.wait, STOP_S)
            assert code == 0, self.log()[-3000:]

    def end(self) -> None:
        """Leave nothing running, whatever happened before."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def memory(self) -> int:
        """Bytes of this process in memory that it shares with nobody."""
        assert self._process is not None
        return int(psutil.Process(self._process.pid).memory_full_info().uss)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def complaints(self) -> list[str]:
        """What the server logged as an error, or as an exception."""
        lines = [line for line in self.log().splitlines() if line.startswith("{")]
        entries = [json.loads(line) for line in lines]
        return [str(e) for e in entries if e.get("level") in ("error", "critical") or "exception" in e]

    def variables(self) -> dict[str, str]:
        """The environment that it runs in."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("FITAI_")}
        return own | {
            "FITAI_DATABASE_URL": self.database_url,
            "FITAI_DATA_DIR": str(self._folder),
            "FITAI_SECRET_KEY": SECRET,
            "FITAI_ENVIRONMENT": "production",  # no demo account
            "FITAI_LOG_FORMAT": "json",
            **self._environment,
        }


@pytest.fixture
async def make_process(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Process]]]:
    """Start servers; at the end those that still run are asked to stop, and none may have complained."""
    made: list[Process] = []

    async def make(url: str, program: Sequence[str | Path] = (), **environment: str) -> Process:
        folder = tmp_path / f"node-{len(made)}"
        folder.mkdir()
        process = Process(url, folder, **environment)
        process.program = program or process.program
        made.append(process)
        return await process.start()

    yield make
    try:
        for process in made:
            await process.stop()
            assert process.complaints() == []
    finally:
        for process in made:
            process.end()


async def asked(process: Process, method: str, path: str, token: str = "", **body: Any) -> tuple[int, Any]:
    """A REST call, as (status, body)."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, process.url + path, json=body or None, headers=headers) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def people(url: str, count: int, devices: int = 1) -> list[tuple[str, list[int]]]:
    """Users with so many devices each: (user, [device…])."""
    db = Database.open(url)
    try:
        async with db.write() as session:
            return [await _person(session, devices) for _ in range(count)]
    finally:
        await db.close()


async def _person(session: Any, devices: int) -> tuple[str, list[int]]:
    email = f"{uuid.uuid4().hex}@example.org"
    user = await Users(session).create(email=email, password_hash="x", display_name=None, now=now_ms())
    names: Sequence[str] = ("phone", "watch", "browser")[:devices]
    enrolled = [
        await Devices(session).enrol(
            user.id, name=name, platform="test", install_id=None, now=now_ms(), limit=32
        )
        for name in names
    ]
    return user.id, [each.device.id for each in enrolled]
