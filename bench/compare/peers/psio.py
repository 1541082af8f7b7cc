"""python-socketio as shipped, or with its Redis manager: `python -m fitai.bench.compare.peers.psio [redis://…]`.

On uvloop and with orjson, as who cares for speed would run it.
"""

from __future__ import annotations

import sys
from typing import Any

import orjson
import socketio
from aiohttp import web

from fitai.bench.compare.peers import run


class Json:
    """orjson under the names that python-socketio asks for."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_: Any) -> Any:
        return orjson.loads(text)


def application(redis: str | None) -> web.Application:
    """The server."""
    manager = socketio.AsyncRedisManager(redis) if redis is not None else socketio.AsyncManager()
    sio = socketio.AsyncServer(
        async_mode="aiohttp", json=Json, transports=["websocket"], client_manager=manager
    )
    rooms: dict[str, str] = {}

    @sio.event  # type: ignore[untyped-decorator]
    async def connect(sid: str, _: dict[str, Any], auth: dict[str, str]) -> None:
        rooms[sid] = auth["room"]
        await sio.enter_room(sid, auth["room"])

    @sio.event  # type: ignore[untyped-decorator]
    async def disconnect(sid: str, _: str) -> None:
        rooms.pop(sid, None)

    @sio.on("set")  # type: ignore[untyped-decorator]
    async def take(sid: str, payload: Any) -> dict[str, bool]:
        await sio.emit("set", payload, room=rooms[sid], skip_sid=sid)
        return {"ok": True}

    app = web.Application()
    sio.attach(app)
    return app


if __name__ == "__main__":
    run(application(sys.argv[1] if len(sys.argv) > 1 else None))
