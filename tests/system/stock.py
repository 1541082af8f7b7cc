"""Stock clients, as other people install them, and the accounts that they sign in with."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio

from tests.system.conftest import Process

PATIENCE = 30.0
JS = Path(__file__).parents[1] / "js"


class Client(ABC):
    """A stock client, and the little that the protocol asks of its user: a counter, a view and a cursor."""

    def __init__(self, url: str, account: dict[str, Any]) -> None:
        self.url = url
        self.token = account["access_token"]
        self.device = account["device"]["id"]
        self.readies: list[dict[str, Any]] = []
        self.insights: list[dict[str, Any]] = []
        self.byes: list[Any] = []
        self.view: dict[int, tuple[int, int]] = {}  # seq -> (device, n), in the order of arrival
        self.next_n = 1
        self.contiguous = 0
        self.listeners: list[Callable[[str, Any], None]] = []
        self._news = asyncio.Condition()

    @abstractmethod
    async def open(self) -> None:
        """Connect."""

    @abstractmethod
    async def call(self, event: str, payload: Any) -> Any:
        """Emit an event and wait for its acknowledgement."""

    @abstractmethod
    async def drop(self) -> None:
        """Cut the transport; the client comes back by itself."""

    @abstractmethod
    async def close(self) -> None:
        """Leave for good."""

    async def write(self, kind: str, workout: str, value: Any = None, entity: str | None = None) -> Any:
        """Push one op."""
        n = self.next_n
        op = {"n": n, "base": self.contiguous, "kind": kind, "workout": workout, "at": 0}
        op |= {"value": value or {}} | ({} if entity is None else {"entity": entity})
        self.next_n += 1
        answer = await self.call("push", {"ops": [op]})
        assert answer["ok"], answer
        (result,) = answer["results"]
        self._learn(result["seq"], (self.device, n))
        return result

    async def heard(self, event: str, payload: Any) -> None:
        """An event came."""
        async with self._news:
            if event == "ready":
                self.readies.append(payload)
            elif event == "ops":
                for record in payload["records"]:
                    self._learn(record["seq"], (record["device"], record["n"]))
            elif event == "insight":
                self.insights.append(payload)
            elif event == "bye":
                self.byes.append(payload)
            for listener in self.listeners:
                listener(event, payload)
            self._news.notify_all()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(holds), PATIENCE)

    def _learn(self, seq: int, dot: tuple[int, int]) -> None:
        assert self.view.setdefault(seq, dot) == dot, f"two records at {seq}"
        while self.contiguous + 1 in self.view:
            self.contiguous += 1


class PythonClient(Client):
    """python-socketio's AsyncClient."""

    def __init__(self, url: str, account: dict[str, Any], **options: Any) -> None:
        super().__init__(url, account)
        self._transports = options.pop("transports", None)
        self._codec = options.get("serializer", "json")
        self._client = socketio.AsyncClient(reconnection_delay=0.1, **options)
        self._client.on("*", self.heard, namespace="/live")

    def _auth(self) -> dict[str, Any]:
        if not self.readies:
            return {"token": self.token}
        return {"token": self.token, "cursor": {"epoch": self.readies[0]["epoch"], "seq": self.contiguous}}

    async def open(self) -> None:
        url = self.url if self._codec == "json" else f"{self.url}?codec={self._codec}"
        await self._client.connect(url, namespaces=["/live"], auth=self._auth, transports=self._transports)

    async def call(self, event: str, payload: Any) -> Any:
        return await self._client.call(event, payload, namespace="/live", timeout=PATIENCE)

    async def drop(self) -> None:
        transport = self._client.eio.ws._writer.transport
        assert transport is not None
        transport.abort()

    async def close(self) -> None:
        await self._client.disconnect()


class NodeClient(Client):
    """socket.io-client, in Node.js; see tests/js/client.mjs."""

    def __init__(self, url: str, account: dict[str, Any], **options: Any) -> None:
        super().__init__(url, account)
        self._options = options
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.transports: list[str] = []

    async def open(self) -> None:
        asked = json.dumps({"url": self.url, "token": self.token, **self._options})
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            "node", "client.mjs", asked, cwd=JS, stdin=pipe, stdout=pipe, limit=2**24
        )
        self._reader = asyncio.get_running_loop().create_task(self._read())

    async def call(self, event: str, payload: Any) -> Any:
        return await self._ask({"call": event, "payload": payload})

    async def drop(self) -> None:
        await self._ask({"drop": True})

    async def close(self) -> None:
        try:
            await self._ask({"close": True})
            assert await asyncio.wait_for(self._process.wait(), PATIENCE) == 0
        finally:
            if self._process.returncode is None:
                self._process.kill()
            await self._reader

    async def _ask(self, line: dict[str, Any]) -> Any:
        id = next(self._ids)
        self._answers[id] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": id, **line}).encode() + b"\n")
        return await asyncio.wait_for(self._answers[id], PATIENCE)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "id" in said:
                self._answers[said["id"]].set_result(said["answer"])
            elif "event" in said:
                await self.heard(said["event"], said["payload"])
            elif said["state"] == "connect":
                self.transports.append(said["transport"])


@pytest.fixture(scope="session")
def node() -> None:
    """Node.js with the stock client. Where there is none that is said, and on CI it is a failure."""
    version = _node_version()
    if version < 18:
        reason = "Node.js 18 or newer with npm is not here: the stock JavaScript client was not tested"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    if not (JS / "node_modules" / "socket.io-client").is_dir():
        command = ["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=JS, capture_output=True, text=True)
        assert done.returncode == 0, f"`npm ci` in tests/js needs the npm registry:\n{done.stderr[-2000:]}"


def _node_version() -> int:
    if shutil.which("node") is None or shutil.which("npm") is None:
        return 0
    told = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
    return int(told.strip().removeprefix("v").partition(".")[0] or 0)


def client_of(make: str, url: str, account: dict[str, Any]) -> Client:
    """A client by its make, as node-websocket-msgpack; without `websocket` it takes its default transports,
    long-polling first."""
    kind, *options = make.split("-")
    chosen: dict[str, Any] = {"transports": ["websocket"]} if "websocket" in options else {}
    if kind == "node":
        return NodeClient(url, account, **chosen, **({"msgpack": True} if "msgpack" in options else {}))
    return PythonClient(url, account, **chosen, **({"serializer": "msgpack"} if "msgpack" in options else {}))


@pytest.fixture
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """Connect clients; all leave at the end."""
    made: list[Client] = []

    async def open(make: str, url: str, account: dict[str, Any]) -> Client:
        client = client_of(make, url, account)
        await client.open()
        made.append(client)
        await client.until(lambda: bool(client.readies))
        return client

    yield open
    for client in made:
        await client.close()


async def register(process: Process) -> tuple[dict[str, Any], dict[str, Any]]:
    """One account with two devices, over REST as an app does it."""
    who = {"email": f"{uuid.uuid4().hex}@example.org", "password": "one-more-rep-and-done"}
    async with aiohttp.ClientSession(process.url) as http:
        phone = {**who, "device": {"name": "phone", "platform": "test"}}
        async with http.post("/auth/register", json=phone) as answer:
            assert answer.status == 201, await answer.text()
            first = await answer.json()
        async with http.post(
            "/auth/login", json={**who, "device": {"name": "watch", "platform": "test"}}
        ) as answer:
            assert answer.status == 200, await answer.text()
            return first, await answer.json()
