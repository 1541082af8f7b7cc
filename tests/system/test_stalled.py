"""Clients that connect and never read: bounded memory, a closed transport, and nobody else harmed."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import statistics
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import socketio

from tests.system.server import Process

STALLED = 8
PUSHES, OPS = 120, 100  # 12,000 records of about 1 KB for each device: far beyond any queue's cap
CAP = 1024 * 1024
OVERHEAD = 512 * 1024  # per connection: what the writer and the transport hold beside the queue
NOISE = 6 * 1024 * 1024  # between two processes that did the same


class Stalled:
    """A WebSocket client that authenticates and never reads again."""

    def __init__(self, url: str, token: str) -> None:
        place = urlsplit(url)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(30)
        self.socket.connect((place.hostname, place.port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {place.netloc}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert b"101" in self.socket.recv(64)
        self._send("40/live," + json.dumps({"token": token}))

    def _send(self, text: str) -> None:
        """One masked text frame (RFC 6455, 5.2); a mask of zeros is a mask."""
        data = text.encode()
        self.socket.sendall(bytes([0x81, 0xFE]) + len(data).to_bytes(2, "big") + bytes(4) + data)

    def last_words(self) -> bytes:
        """Read what is still in the pipe, until the server's end of it is gone."""
        said = b""
        try:
            while part := self.socket.recv(65536):
                said += part
        except ConnectionResetError:
            pass
        self.socket.close()
        return said


async def run(folder: Path, stalled: int) -> tuple[int, float, list[bytes]]:
    """Push while `stalled` clients do not read; returns the growth of the server's memory at its most,
    the median time to an ack, and each stalled client's last words."""
    server = Process(folder, FITAI_LIMITS="off").start()
    try:
        account = server.register()
        phone, watch = await device(server, account), await device(server, server.enrol(account, "watch"))
        await push(phone, 5)  # what is loaded at first use is loaded before memory is counted
        clients = [
            Stalled(server.url, server.enrol(account, f"stalled {n}")["access_token"]) for n in range(stalled)
        ]
        await asyncio.sleep(0)
        before = most = server.rss()
        times = []
        for _ in range(PUSHES):
            began = time.perf_counter()
            await push(phone, OPS)
            times.append(time.perf_counter() - began)
            most = max(most, server.rss())
        expected = 5 + PUSHES * OPS
        while watch["seen"] < expected:
            await asyncio.sleep(0.01)
        assert watch["seqs"] == list(range(1, expected + 1))
        words = [await asyncio.to_thread(client.last_words) for client in clients]
        for each in (phone, watch):
            await each["socket"].disconnect()
        return most - before, statistics.median(times), words
    finally:
        server.stop()


async def device(server: Process, account: dict[str, Any]) -> dict[str, Any]:
    """A stock client; notes what it is told."""
    client = socketio.AsyncClient(reconnection=False)
    state: dict[str, Any] = {"socket": client, "n": 0, "seen": 0, "seqs": []}
    ready = asyncio.get_running_loop().create_future()

    def ops(frame: dict[str, Any]) -> None:
        state["seqs"] += [record["seq"] for record in frame["records"]]
        state["seen"] = frame["to"]

    client.on("ops", ops, namespace="/live")
    client.on("ready", ready.set_result, namespace="/live")
    await client.connect(
        server.url, namespaces=["/live"], transports=["websocket"], auth={"token": account["access_token"]}
    )
    await ready
    return state


async def push(phone: dict[str, Any], count: int) -> None:
    ops = []
    for _ in range(count):
        phone["n"] += 1
        ops.append(
            {
                "n": phone["n"],
                "base": 0,
                "kind": "future.kind",
                "workout": str(uuid.UUID(int=1)),
                "value": {"text": "x" * 900},
                "at": 0,
            }
        )
    ack = await phone["socket"].call("push", {"ops": ops}, namespace="/live", timeout=60)
    assert ack["ok"], ack


@pytest.mark.timeout(300)
async def test_stalled_clients_cost_at_most_their_queues_and_are_closed_while_others_go_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "with").mkdir()
    without, calm, _ = await run(tmp_path / "without", 0)
    with_, busy, words = await run(tmp_path / "with", STALLED)
    sent = PUSHES * OPS * 900 * STALLED
    allowed = STALLED * (CAP + OVERHEAD) + NOISE
    assert sent > 3 * allowed, "the flood would not be noticed"
    print(f"grew by {with_} and {without} bytes; an ack took {busy:.4f} and {calm:.4f} s")
    assert with_ - without <= allowed, f"grew by {with_ - without} bytes more than without"
    assert busy <= 5 * calm, f"an ack took {busy:.4f} s, {calm:.4f} s without stalled clients"
    assert len(words) == STALLED
    assert not any(b"41/live" in each for each in words), "told not to come back"
