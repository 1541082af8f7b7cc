"""Who is out is out on every node: two real nodes of one PostgreSQL, and a silent bus between them."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import pytest
import socketio

from tests.redis_servers import RedisServer
from tests.system.conftest import Process, asked

pytestmark = pytest.mark.timeout(180)

OUT_S = 2.0  # promised: from the request that revokes to the client that hears of it


class Socket:
    """A stock client, and when it was told to go."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self.bye: asyncio.Future[tuple[str, float]] = asyncio.get_running_loop().create_future()
        self.ready = asyncio.Event()
        self.client.on("bye", self._told, namespace="/live")
        self.client.on("ready", lambda _: self.ready.set(), namespace="/live")

    def _told(self, payload: dict[str, Any]) -> None:
        self.bye.set_result((payload["code"], time.monotonic()))

    async def connect(self, node: Process, token: str) -> None:
        await self.client.connect(
            node.url, namespaces=["/live"], auth={"token": token}, transports=["websocket"]
        )
        async with asyncio.timeout(10):
            await self.ready.wait()


async def test_a_silent_redis_keeps_nobody_in(postgres_url, make_process):
    redis = RedisServer()
    redis.start()
    shared = {"FITAI_REDIS_URL": redis.url, "FITAI_REDIS_PREFIX": uuid.uuid4().hex}
    here, there = [await make_process(postgres_url, **shared) for _ in range(2)]
    account = {"email": "ada@example.org", "password": "correct horse battery staple"}
    sessions = []
    for number, name in enumerate(("phone", "watch", "tablet")):
        device = {"name": name, "platform": "ios", "install_id": name}
        path = "/auth/login" if number else "/auth/register"
        _, session = await asked(here, "POST", path, **account, device=device)
        sessions.append(session)
    tokens = [session["access_token"] for session in sessions]
    sockets = [Socket() for _ in sessions]
    try:
        for socket, token in zip(sockets, tokens, strict=True):
            await socket.connect(there, token)
        redis.freeze()
        revoked = time.monotonic()
        status, _ = await asked(here, "DELETE", f"/auth/devices/{sessions[1]['device']['id']}", tokens[0])
        assert status == 204
        signed_out = time.monotonic()
        body = {"refresh_token": sessions[2]["refresh_token"]}
        status, _ = await asked(here, "POST", "/auth/logout", **body)
        assert status == 204
        for socket, since in ((sockets[1], revoked), (sockets[2], signed_out)):
            async with asyncio.timeout(30):
                code, at = await socket.bye
            assert (code, at - since < OUT_S) == ("revoked", True), at - since
        assert not sockets[0].bye.done()
        refused = [await asked(there, "GET", "/auth/devices", token) for token in tokens]
        assert [status for status, _ in refused] == [200, 401, 401]
    finally:
        redis.thaw()
        for socket in sockets:
            await socket.client.shutdown()
        redis.remove()
