from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import pytest
import uvloop

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


async def takes(count, folder):
    """In which turn of the loop each of so many connections was taken that all were waiting."""
    loop, turn, taken = asyncio.get_running_loop(), 0, []

    def passes():
        nonlocal turn
        turn += 1
        loop.call_soon(passes)

    class Taken(asyncio.Protocol):
        def connection_made(self, transport):
            taken.append(turn)

    with ExitStack() as stack:
        listeners = stack.enter_context(listen.bound(load_settings(data_dir=folder, port=0, env_file=None)))
        [listening] = listeners.main
        listening.listen(listen.BACKLOG)
        for _ in range(count):
            stack.enter_context(socket.create_connection(("127.0.0.1", listeners.port)))
        passes()
        server = await loop.create_server(Taken, sock=listening, backlog=listen.BACKLOG)
        while len(taken) < count:
            await asyncio.sleep(0)
        server.close()
    return taken


def test_one_connection_is_taken_in_a_turn_so_that_workers_share_those_that_come_at_once(tmp_path):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        taken = runner.run(takes(20, tmp_path))
    assert len(set(taken)) == 20, taken
