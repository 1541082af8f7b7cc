"""An attacker, the bystanders on his server, and what he may send and leave behind."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import Any

import aiohttp
import orjson

from tests.gateways.conftest import Server, Wire, new_id
from tests.gateways.hostile import Bytes, pack

HOLD_S = 5.0  # seconds after which a transport that is neither closed nor answers is held open for nothing


class Scene:
    """A server, two devices of a bystander who lives on it, and an attacker with an account of his own."""

    def __init__(self, server: Server, phone: Wire, watch: Wire, user: str, device: int) -> None:
        self.server = server
        self.phone = phone
        self.watch = watch
        self.user = user
        self.device = device
        self.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        self._tasks = tasks()

    def url(self, **query: str) -> str:
        pairs = {"EIO": "4", "transport": "websocket", **query}
        text = "&".join(f"{key}={value}" for key, value in pairs.items())
        return f"http://127.0.0.1:{self.server.port}/socket.io/?{text}"

    async def socket(self, codec: str = "json", *, admitted: bool = True) -> Raw:
        """A transport of the attacker's; `admitted` when he has authenticated on it."""
        raw = Raw(await self.http.ws_connect(self.url(codec=codec), max_msg_size=0), codec)
        if admitted:
            await raw.send(*raw.packets(0, {"token": self.server.tokens.issue(self.user, self.device)}))
            await raw.wait_for("ready")
        return raw

    async def undisturbed(self) -> None:
        """The bystander can work, and noticed nothing; nothing of the attacker is left."""
        before = self.watch.position()
        answer = await self.phone.push(self.phone.op("workout.create", new_id()))
        assert answer["ok"], answer
        await self.watch.told(before + 1)
        for wire in (self.phone, self.watch):
            assert not wire.events("bye")
            assert not wire.ws.closed
            assert [p[0] for p in wire.packets].count("connect") == 1
            assert all(r["device"] in (self.phone.device, self.watch.device) for r in wire.records())
            seen = {d["device"] for p in wire.events("presence") for d in p["devices"]}
            assert seen <= {self.phone.device, self.watch.device}
        await self._nothing_left()

    async def _nothing_left(self) -> None:
        """No session, socket or task but the bystander's, soon."""
        for _ in range(250):
            left = self._left()
            if not left:
                break
            await asyncio.sleep(0.02)
        assert not left, left
        assert len(self.server.live.connections) == 2

    def _left(self) -> list[str]:
        live = self.server.live
        left = [f"task {name}" for name in (tasks() - self._tasks).elements()]
        left += [f"session {sid}" for sid in live._sessions][2:]
        # The library forgets the sockets that it has closed when it next looks around.
        return left + [f"socket {sid}" for sid, socket in live.eio.sockets.items() if not socket.closed][2:]


def tasks() -> Counter[str]:
    """What runs besides the test, by the names of the coroutines; a wait for an event comes and goes."""
    running = asyncio.all_tasks() - {asyncio.current_task()}
    names = Counter(str(getattr(task.get_coro(), "__qualname__", task)) for task in running)
    del names["Event.wait"]
    return names


class Raw:
    """A WebSocket on which anything may be sent."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, codec: str) -> None:
        self.ws = ws
        self.codec = codec
        self.heard: list[str] = []

    def packets(self, kind: int, data: Any, id: int | None = None) -> list[Bytes]:
        """A well-formed Socket.IO packet as a frame of this codec."""
        packet: dict[str, Any] = {"type": kind, "nsp": "/live", "data": data}
        if self.codec == "msgpack":
            return [pack(packet if id is None else {**packet, "id": id})]
        return [f"4{kind}/live,{'' if id is None else id}{orjson.dumps(data).decode()}"]

    async def send(self, *frames: Bytes) -> None:
        """Send; a transport that the server has closed swallows it."""
        for frame in frames:
            try:
                await (self.ws.send_str(frame) if isinstance(frame, str) else self.ws.send_bytes(frame))
            except (ConnectionError, aiohttp.ClientError):
                return

    async def wait_for(self, text: str) -> bool:
        """Read until a frame holds this text: True, or until the transport ends: False."""
        async with asyncio.timeout(HOLD_S):
            async for message in self.ws:
                data = message.data
                self.heard.append(data if isinstance(data, str) else data.decode("utf-8", "replace"))
                if text in self.heard[-1]:
                    return True
        return False

    def acks(self) -> set[int]:
        """The ids that were answered (JSON)."""
        return {int(frame[8 : frame.index("[")]) for frame in self.heard if frame.startswith("43/live,")}

    async def alive(self, mark: int) -> bool:
        """Whether events are still answered here (`mark` is a number not used before)."""
        await self.send(*self.packets(2, ["clock", {"t0": mark}], mark))
        if self.codec == "json":
            return await self.wait_for(f'"t0":{mark}')
        return await self.wait_for(pack(mark).decode("utf-8", "replace"))

    async def close(self) -> None:
        await self.ws.close()


def tiny_socket(address: Any) -> socket.socket:
    """A socket whose kernel keeps little for whoever does not read."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.setblocking(False)
    return made
