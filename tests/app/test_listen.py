from __future__ import annotations

import asyncio
import socket

import pytest

from fitai.app import listen
from fitai.app.settings import load_settings


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux ends a stalled connection")
async def test_who_asks_and_never_reads_is_cut_off(monkeypatch, tmp_path):
    monkeypatch.setattr(listen, "STALLED_S", 1)
    lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    class Generous(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"x" * 8_000_000)
            transport.close()

        def connection_lost(self, exc: BaseException | None) -> None:
            lost.set_result(exc)

    with listen.bound(load_settings(data_dir=tmp_path, port=0, env_file=None)) as listeners:
        [listening] = listeners.main
        server = await asyncio.get_running_loop().create_server(Generous, sock=listening)
        with socket.socket() as greedy:
            greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            greedy.connect(("127.0.0.1", listeners.port))
            assert isinstance(await asyncio.wait_for(lost, 30), OSError)
        server.close()
        await server.wait_closed()
