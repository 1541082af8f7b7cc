"""A bare aiohttp WebSocket with the frames of Socket.IO written by hand: what is left without layers.

It has no heartbeat and no codec but JSON, and it believes whatever it is told.
"""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from fitai.bench.compare.peers import run

OPEN = '0{"sid":"bare","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'


class Bare:
    """The rooms and who is in them."""

    def __init__(self) -> None:
        self._rooms: dict[str, set[web.WebSocketResponse]] = {}

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await socket.send_str(OPEN)
        room: set[web.WebSocketResponse] = set()
        async for message in socket:
            text: str = message.data
            if text.startswith("42"):
                await self._set(socket, room, text)
            elif text.startswith("40"):
                room = self._rooms.setdefault(orjson.loads(text[2:])["room"], set())
                room.add(socket)
                await socket.send_str('40{"sid":"bare"}')
        room.discard(socket)
        return socket

    async def _set(self, socket: web.WebSocketResponse, room: set[web.WebSocketResponse], text: str) -> None:
        start = text.index("[")
        event: list[Any] = orjson.loads(text[start:])
        told = "42" + orjson.dumps(event).decode()
        for other in tuple(room):
            if other is not socket and not other.closed:
                await other.send_str(told)
        await socket.send_str(f'43{text[2:start]}[{{"ok":true}}]')


def application() -> web.Application:
    """The server."""
    app = web.Application()
    app.router.add_get("/socket.io/", Bare().serve)
    return app


if __name__ == "__main__":
    run(application())
