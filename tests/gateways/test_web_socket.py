"""The WebSocket of a client, frame by frame: what comes in pieces, too fast, too large or not at all."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import orjson
import pytest
import socketio

from fitai.gateways.live import web_socket
from fitai.gateways.live.frames import Frame
from tests.gateways.conftest import Server

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Line:
    """A TCP connection on which any frame may be sent, and every one that comes is seen."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def open(self, query: str = "", early: bytes = b"") -> Line:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.server.port, limit=2**16)
        key = base64.b64encode(os.urandom(16)).decode()
        self.writer.write(
            f"GET /socket.io/?EIO=4&transport=websocket{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
            + early
        )
        self.head = await self.reader.readuntil(b"\r\n\r\n")
        return self

    async def admitted(self, user: str, device: int) -> Line:
        await self.open()
        self.writer.write(text("40/live," + auth(self.server, user, device)))
        await self.until('42/live,["presence"')
        return self

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: (opcode, payload); (-1, b"") at the end of the transport."""
        try:
            first, size = await self.reader.readexactly(2)
            assert first & 0x80, "the server does not fragment"
            if size >= 126:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8))
            return first & 0x0F, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return -1, b""

    async def until(self, start: str) -> str:
        """The first text that begins so."""
        while True:
            opcode, payload = await self.frame()
            assert opcode != -1, f"gone before {start!r}"
            if opcode == TEXT and payload.decode().startswith(start):
                return payload.decode()

    async def closed(self) -> int:
        """Read to the close frame and answer it; its code, 0 without one. Nothing follows it."""
        while True:
            opcode, payload = await self.frame()
            if opcode == -1:
                return 0
            if opcode == CLOSE:
                self.writer.write(made(CLOSE, payload))
                assert await self.frame() == (-1, b"")
                return int.from_bytes(payload[:2])

    def stall(self) -> None:
        """Read nothing more; the kernel keeps little."""
        self.writer.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def wake(self) -> None:
        """Read again."""
        self.writer.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 1 << 20)
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]

    async def end(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


def made(opcode: int, payload: bytes, *, fin: bool = True, reserved: int = 0) -> bytes:
    """A masked frame."""
    first, size, mask = fin << 7 | reserved << 4 | opcode, len(payload), b"\x37\xfa\x21\x3d"
    if size < 126:
        length = bytes((0x80 | size,))
    else:
        length = b"\xfe" + size.to_bytes(2) if size < 1 << 16 else b"\xff" + size.to_bytes(8)
    return bytes((first,)) + length + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def text(words: str) -> bytes:
    return made(TEXT, words.encode())


def auth(server: Server, user: str, device: int) -> str:
    return orjson.dumps({"token": server.tokens.issue(user, device)}).decode()


def clock(number: int) -> str:
    return f'42/live,{number}["clock",{{"t0":{number}}}]'


@pytest.fixture
async def line(server: Server) -> AsyncIterator[Line]:
    """Admitted."""
    user = await server.user()
    made = await Line(server).admitted(user, await server.enrol(user))
    yield made
    await made.end()


# -- coming in ---------------------------------------------------------------------------------------


async def test_a_message_may_come_in_fragments_with_a_ping_between_them_and_byte_by_byte(line: Line) -> None:
    words = clock(7).encode()
    whole = (
        made(TEXT, words[:5], fin=False)
        + made(PING, b"are you there?")
        + made(0, words[5:20], fin=False)
        + made(0, words[20:])
    )
    line.writer.write(whole)
    assert await line.frame() == (PONG, b"are you there?")
    assert (await line.until("43/live,7"))[9:].startswith('[{"t0":7')
    for byte in whole:
        line.writer.write(bytes((byte,)))
        await line.writer.drain()
        await asyncio.sleep(0)
    assert await line.frame() == (PONG, b"are you there?")
    await line.until("43/live,7")


async def test_what_comes_with_the_handshake_is_heard(server: Server) -> None:
    user = await server.user()
    line = Line(server)
    await line.open(early=text("40/live," + auth(server, user, await server.enrol(user))))
    assert line.head.startswith(b"HTTP/1.1 101 ")
    assert (await line.frame())[1].startswith(b'0{"sid"')
    assert (await line.frame())[1].startswith(b"40/live,")
    await line.until('42/live,["ready"')
    await line.end()


async def test_events_that_wait_and_events_that_do_not_are_answered_in_order(line: Line) -> None:
    asked = []
    for number in range(60):
        waits = f'42/live,{number}["pull",{{"after":0}}]'
        asked.append(waits if random.Random(number).random() < 0.4 else clock(number))
    line.writer.write(b"".join(map(text, asked)))
    answered = [int((await line.until("43/live,"))[8:].split("[")[0]) for _ in asked]
    assert answered == list(range(60))


async def test_a_flood_is_answered_in_order_and_leaves_the_loop_to_others(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, most, turn = 0, 0, 0
    engine = line.server.live.eio
    hear = engine.on_message

    def count(sid: str, data: str | bytes) -> None:
        nonlocal heard
        heard += 1
        hear(sid, data)

    def tick() -> None:
        nonlocal most, turn
        most, turn = max(most, heard - turn), heard
        again.append(loop.call_soon(tick))

    loop, again = asyncio.get_running_loop(), []
    monkeypatch.setattr(engine, "on_message", count)
    tick()
    line.writer.write(b"".join(text(clock(number)) for number in range(1_000)))
    for number in range(1_000):
        await line.until(f"43/live,{number}[")
    again[-1].cancel()
    assert heard == 1_000
    assert most <= web_socket.TURN * 2  # a turn, and the next one's beginning


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (made(TEXT, b"42/live,[]", reserved=4), 1002),
        (made(3, b""), 1002),
        (made(PING, b"", fin=False), 1002),
        (made(PING, b"x" * 126), 1002),
        (made(0, b"nothing to go on with"), 1002),
        (made(TEXT, b"4", fin=False) + made(TEXT, b"2"), 1002),
        (made(TEXT, b"4\xff"), 1007),
        (made(TEXT, b"42" + b"x" * 1024 * 1024), 1009),
        (b"\x82\xff" + (1 << 62).to_bytes(8), 1009),
        (made(CLOSE, b"\x03"), 1002),
        (made(CLOSE, (999).to_bytes(2)), 1002),
        (made(TEXT, b""), 1002),
        (made(TEXT, b"no packet"), 1002),
        (made(CLOSE, (1001).to_bytes(2) + b"bye"), 1001),
        (made(CLOSE, b""), 1000),
        (made(TEXT, b"1"), 1000),
    ],
    ids=lambda value: repr(value)[:24],
)
async def test_the_end_is_told_with_its_code_and_nothing_after_it_is_heard(
    line: Line, sent: bytes, code: int
) -> None:
    [connection] = line.server.live.connections
    line.writer.write(sent + text(clock(5)))
    assert await line.closed() == code
    assert connection.closed
    assert not line.server.live.eio.sockets
    assert not line.server.live._sessions
    await line.end()


async def test_a_handshake_that_is_none_is_refused(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=websocket"
    good = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with aiohttp.ClientSession() as http:
        for name, value in (
            ("Sec-WebSocket-Version", "12"),
            ("Sec-WebSocket-Key", "short"),
            ("Sec-WebSocket-Key", "?"),
            ("Connection", "close"),
        ):
            async with http.get(url, headers={**good, name: value}) as answer:
                assert answer.status == 400, name
        async with http.get(url, headers=good) as answer:
            assert answer.status == 101
            assert answer.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            assert "Sec-WebSocket-Extensions" not in answer.headers
            answer.close()


# -- going out ---------------------------------------------------------------------------------------


async def test_what_is_sent_in_one_turn_of_the_loop_leaves_in_one_write_and_in_order(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    [connection] = line.server.live.connections
    [socket] = line.server.live.eio.sockets.values()
    writes = []
    transport = socket._web_socket._transport
    write = transport.write

    class Counted:
        def __getattr__(self, name: str) -> Any:
            return getattr(transport, name)

        def write(self, data: bytes) -> None:
            writes.append(len(data))
            write(data)

    monkeypatch.setattr(socket._web_socket, "_transport", Counted())
    for number in range(10):
        connection.send(Frame("insight", {"number": number}))
    sizes = (125, 126, 65_535, 65_536, 200_000)
    for size in sizes:
        connection.send(Frame("x", "y" * size))
    for number in range(10):
        assert orjson.loads((await line.until("42/live,"))[8:])[1] == {"number": number}
    for size in sizes:
        assert orjson.loads((await line.until("42/live,"))[8:])[1] == "y" * size
    assert len(writes) < 5
    monkeypatch.undo()


async def stalled(
    make_server: Callable[..., Awaitable[Server]], queue_bytes: int
) -> tuple[Server, Line, Any, Any]:
    """A client that reads nothing, whose transport and queue hold something."""
    server = await make_server(limits={"queue_bytes": queue_bytes, "bye_s": 60.0})
    user = await server.user()
    line = await Line(server).admitted(user, await server.enrol(user))
    [connection] = server.live.connections
    [socket] = server.live.eio.sockets.values()
    line.stall()
    its = socket._web_socket._transport.get_extra_info("socket")
    its.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 4096)
    number = 0
    while socket.queue.bytes < queue_bytes // 2:
        connection.send(Frame("insight", {"number": number, "text": "x" * 5000}))
        number += 1
        await asyncio.sleep(0)
    return server, line, connection, socket


async def test_a_transport_that_is_not_read_holds_little_and_the_queue_holds_the_rest_in_order(
    make_server: Callable[..., Awaitable[Server]],
) -> None:
    _, line, connection, socket = await stalled(make_server, 400_000)
    held = socket._web_socket._transport.get_write_buffer_size()
    assert held <= 2 * web_socket.HIGH + 6000
    assert not socket._web_socket.ready
    connection.send(Frame("insight", {"number": -1}))
    line.wake()
    numbers = []
    while -1 not in numbers:
        numbers.append(orjson.loads((await line.until('42/live,["insight"'))[8:])[1]["number"])
    assert numbers == [*range(len(numbers) - 1), -1]
    assert socket.queue.bytes == 0
    assert socket.queue.empty()
    connection.send(Frame("insight", {"number": -2}))
    await line.until('42/live,["insight",{"number":-2}')
    await line.end()


async def test_who_is_told_slow_hears_that_last(make_server: Callable[..., Awaitable[Server]]) -> None:
    _, line, connection, socket = await stalled(make_server, 200_000)
    while not connection.closed:
        connection.send(Frame("insight", {"number": -1, "text": "x" * 5000}))
    waiting = socket.queue.bytes
    connection.send(Frame("insight", {"number": -3}))
    assert socket.queue.bytes == waiting < 2000
    line.wake()
    heard = []
    while (frame := await line.frame())[0] == TEXT:
        heard.append(frame[1])
    assert heard[-1].startswith(b'42/live,["bye",{"code":"slow"')
    assert frame == (CLOSE, (1000).to_bytes(2))
    await line.end()


@pytest.mark.parametrize("how", ["client cuts", "client closes", "server closes", "server cuts"])
async def test_an_end_in_the_middle_of_what_is_buffered_leaves_nothing(
    make_server: Callable[..., Awaitable[Server]], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_socket, "PATIENCE_S", 0.2)
    server, line, connection, socket = await stalled(make_server, 400_000)
    transport = socket._web_socket._transport
    if how == "client cuts":
        line.writer.transport.abort()
    elif how == "client closes":
        line.writer.write(made(CLOSE, b"\x03\xe8"))
    elif how == "server closes":
        await socket.close(wait=False)
    else:
        await socket.cut()
    for _ in range(300):
        if transport.is_closing() and not server.live._sessions:
            break
        await asyncio.sleep(0.02)
    assert transport.is_closing()
    assert connection.closed
    assert not server.live._sessions
    assert not server.live.eio.sockets
    await line.end()


async def test_a_client_that_does_not_answer_a_close_is_cut_after_a_while(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_socket, "PATIENCE_S", 0.2)
    [connection] = line.server.live.connections
    connection.bye("protocol")
    assert (await line.until('42/live,["bye"')).startswith('42/live,["bye",{"code":"protocol"')
    assert await line.frame() == (TEXT, b"41/live,")
    assert await line.frame() == (CLOSE, (1000).to_bytes(2))
    assert await line.frame() == (-1, b"")


async def test_a_stock_python_client_comes_back_after_a_bye_that_lets_it(server: Server) -> None:
    user = await server.user()
    device = await server.enrol(user)
    back = asyncio.Event()
    client = socketio.AsyncClient(reconnection_delay=0.05, randomization_factor=0)
    client.on("ready", lambda _: back.set(), namespace="/live")
    token = orjson.loads(auth(server, user, device))
    url = f"http://127.0.0.1:{server.port}"
    await client.connect(url, namespaces=["/live"], auth=token, transports=["websocket"])
    for code in ("overload", "draining", "revoked"):
        async with asyncio.timeout(10):
            await back.wait()
        back.clear()
        [connection] = server.live.connections
        connection.bye(code)
    async with asyncio.timeout(10):
        await client.wait()  # for good
    assert not back.is_set()
    assert not server.live.connections


async def test_a_node_that_drains_waits_for_the_answers_to_its_close_frames(
    server: Server, line: Line
) -> None:
    draining = asyncio.get_running_loop().create_task(server.live.drain(0, 30.0))
    await line.until('42/live,["bye"')
    line.writer.write(text("42/live," + '["push",{"ops":[]}]'))  # had not heard it yet
    while (frame := await line.frame())[0] != CLOSE:
        assert frame[0] != -1
    assert not draining.done()
    line.writer.write(made(CLOSE, frame[1]))
    assert await line.frame() == (-1, b"")
    await draining


async def test_a_client_that_does_not_answer_a_ping_is_closed(
    make_server: Callable[..., Awaitable[Server]],
) -> None:
    server = await make_server(limits={"ping_interval_s": 0.2, "ping_timeout_s": 0.5})
    user = await server.user()
    line = await Line(server).admitted(user, await server.enrol(user))
    for _ in range(4):
        await line.until("2")
        line.writer.write(text("3"))
    await line.until("2")
    assert await line.closed() == 1000
    assert not server.live._sessions
    await line.end()


async def test_the_web_server_s_end_ends_the_sockets_also_of_those_who_do_not_answer(server: Server) -> None:
    user = await server.user()
    line = await Line(server).admitted(user, await server.enrol(user))
    told = await Line(server).admitted(user, await server.enrol(user))
    server.live.connections[1].bye("protocol")
    await told.until("41/live,")
    assert len(server.live.eio.turn.there) == 2
    await server.runner.shutdown()
    assert await told.frame() == (CLOSE, (1000).to_bytes(2))
    assert await told.frame() == (-1, b"")
    await line.closed()
    assert not server.live.eio.sockets
    assert not server.live.eio.turn.there
    await told.end()
    await line.end()


# -- coming from long-polling ------------------------------------------------------------------------


async def test_a_failed_upgrade_leaves_the_polling_session_and_a_second_one_at_a_time_is_refused(
    server: Server,
) -> None:
    url = f"http://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=polling"
    user = await server.user()
    token = auth(server, user, await server.enrol(user))
    async with aiohttp.ClientSession() as http:
        async with http.get(url) as opened:
            sid = orjson.loads((await opened.text())[1:])["sid"]
        for garbage in ("3probe", "5", "2", ""):
            line = await Line(server).open(f"&sid={sid}")
            second = await Line(server).open(f"&sid={sid}")
            assert second.head.startswith(b"HTTP/1.1 400 ")
            await second.end()
            line.writer.write(text(garbage))
            assert await line.closed() == 1002
            await line.end()
        async with http.post(f"{url}&sid={sid}", data=f"40/live,{token}") as posted:
            assert posted.status == 200
        async with http.get(f"{url}&sid={sid}") as polled:
            assert (await polled.text()).startswith("40/live,")
        line = await Line(server).open(f"&sid={sid}")
        line.writer.write(text("2probe"))
        assert await line.frame() == (TEXT, b"3probe")
        async with http.get(f"{url}&sid={sid}") as polled:
            assert (await polled.text()).endswith("6")
        line.writer.write(text("5") + text(clock(3)))
        await line.until("43/live,3[")
        async with http.get(f"{url}&sid={sid}") as polled:
            assert polled.status == 400
        await line.end()
