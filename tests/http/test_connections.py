"""Below the application: heads that do not come, bytes that are no HTTP, and requests that are two."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web

from fitai.gateways.live import engine_io
from fitai.http import boundary, headers
from fitai.http.connections import Runner

SOON = 5.0  # seconds that a test waits for what must happen
LONG = 60.0  # a bound that must not be met in a test

WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

MakePort = Callable[..., Awaitable[int]]


@pytest.fixture
async def make_port() -> AsyncIterator[MakePort]:
    """Starts a server that answers "ok" on its port, slowly at /slow."""
    runners: list[web.AppRunner] = []

    async def ok(request: web.Request) -> web.Response:
        return web.Response(text=f"ok {(await request.read()).decode()}")

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(0.5)
        return web.Response(text="slow")

    async def make(**bounds: float) -> int:
        app = web.Application()
        boundary.install(app)
        headers.install(app)
        app.router.add_get("/", ok)
        app.router.add_post("/", ok)
        app.router.add_get("/slow", slow)
        runner = Runner(app, **{"head_s": LONG, "idle_s": LONG, **bounds}, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    yield make
    for runner in runners:
        await runner.cleanup()


class Caller:
    """Somebody who sends bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def say(self, data: bytes) -> None:
        self._writer.write(data)

    async def trickle(self, data: bytes, every_s: float) -> None:
        """Byte by byte, until the server has had enough."""
        for byte in data:
            if self._reader.at_eof():
                return
            self.say(bytes([byte]))
            await asyncio.sleep(every_s)

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer."""
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), SOON)
        length = next(
            int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-le")
        )
        body = await asyncio.wait_for(self._reader.readexactly(length), SOON)
        return int(head.split()[1]), body

    async def rest(self, within_s: float = SOON) -> bytes:
        """What comes until the server closes; raises TimeoutError when it does not."""
        return await asyncio.wait_for(self._reader.read(), within_s)


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


# -- slow ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-", b"\x16\x03"])
async def test_a_connection_whose_first_head_does_not_come_is_closed(make_port, sent):
    async with calling(await make_port(head_s=0.1)) as caller:
        caller.say(sent)
        assert b"200" not in await caller.rest()


async def test_bytes_that_trickle_in_win_no_time(make_port):
    async with calling(await make_port(head_s=0.2)) as caller:
        await asyncio.wait_for(caller.trickle(WHOLE.replace(b"x", b"x" * 5000), 0.01), SOON)
        assert await caller.rest() == b""


async def test_a_later_head_is_bounded_from_its_first_byte(make_port):
    async with calling(await make_port(head_s=0.1)) as caller:
        caller.say(WHOLE)
        assert await caller.answer() == (200, b"ok ")
        with pytest.raises(TimeoutError):
            await caller.rest(0.3)  # to be silent is no head
    async with calling(await make_port(head_s=0.1)) as caller:
        caller.say(WHOLE)
        await caller.answer()
        caller.say(WHOLE[:9])
        assert await caller.rest() == b""


async def test_neither_a_slow_body_nor_a_slow_answer_is_a_slow_head(make_port):
    port = await make_port(head_s=0.1)
    async with calling(port) as caller:
        caller.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n")
        await caller.trickle(b"abcdef", 0.05)
        assert await caller.answer() == (200, b"ok abcdef")
    async with calling(port) as caller:
        caller.say(WHOLE.replace(b"/ ", b"/slow "))
        assert await caller.answer() == (200, b"slow")


async def test_a_connection_without_a_request_is_closed_after_a_while(make_port):
    async with calling(await make_port(idle_s=0.1)) as caller:
        caller.say(WHOLE + WHOLE)
        assert await caller.answer() == (200, b"ok ")
        assert await caller.answer() == (200, b"ok ")
        assert await caller.rest() == b""


async def test_a_socket_outlives_the_bounds_of_its_handshake(make_api):
    api = await make_api(live=True, bounds={"head_s": 0.1, "idle_s": 0.1})
    async with api.client.ws_connect("/socket.io/?EIO=4&transport=websocket") as socket:
        assert (await socket.receive()).data.startswith("0{")
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.4)
        await socket.send_str("3")
        assert not socket.closed


# -- requests that are read in two ways --------------------------------------------------------------

POST = b"POST / HTTP/1.1\r\nHost: x\r\n"

AMBIGUOUS = {
    "both lengths": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "one length twice": POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "a list of lengths": POST + b"Content-Length: 4, 4\r\n\r\nabcd",
    "a signed length": POST + b"Content-Length: +4\r\n\r\nabcd",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a length in hex": POST + b"Content-Length: 0x4\r\n\r\nabcd",
    "another coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "no coding": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "chunked not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a coding behind a control": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a chunk in C": POST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk with a bare newline": POST + b"Transfer-Encoding: chunked\r\n\r\n2;a\n\r\n{}\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Content-Length : 4\r\n\r\nabcd",
    "a folded header": POST + b"X-A: b\r\n c: d\r\n\r\n",
    "bare newlines": b"GET / HTTP/1.1\nHost: x\n\n",
    "a newline in a header": POST + b"X-A: b\nX-B: c\r\n\r\n",
    "a carriage return in a header": POST + b"X-A: b\rX-B: c\r\n\r\n",
    "a nul in a header": POST + b"X-A: b\x00\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a long line": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": POST + b"X-A: " + b"a" * 9000 + b"\r\n\r\n",
    "many headers": POST + b"X-A: a\r\n" * 200 + b"\r\n",
    "a method of nobody": b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\n" * 9,
}


@pytest.mark.parametrize("case", AMBIGUOUS)
async def test_what_can_be_read_in_two_ways_is_refused_and_ends_the_connection(make_port, case):
    """A second request behind the first, which a proxy would not have seen, is never served."""
    async with calling(await make_port()) as caller:
        caller.say(AMBIGUOUS[case] + WHOLE)
        status, body = await caller.answer()
        assert (status, json.loads(body)["code"]) == (400, "bad_request")
        assert b"200 OK" not in await caller.rest()


async def test_what_cannot_be_read_is_neither_quoted_nor_logged_at_length(make_port):
    with structlog.testing.capture_logs() as lines:
        async with calling(await make_port()) as caller:
            caller.say(b"GET / HTTP/1.1\r\nHost: x\r\nswordfish\x00: <script>\r\n\r\n")
            _, body = await caller.answer()
    assert b"swordfish" not in body
    assert [line["event"] for line in lines] == ["unreadable_request"]
    assert "swordfish" not in str(lines)
    assert lines[0]["request_id"] == json.loads(body)["request_id"]


async def test_an_upgrade_to_anything_else_is_ignored(make_port):
    async with calling(await make_port()) as caller:
        caller.say(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\n\r\n"
        )
        assert await caller.answer() == (200, b"ok ")


async def test_a_failure_below_the_application_is_told_as_a_problem_without_its_reason(make_port):
    async def broken(request: web.BaseRequest) -> Any:
        raise RuntimeError("swordfish")

    class Broken(Runner):
        async def _make_server(self) -> web.Server:
            server = await super()._make_server()
            server.request_handler = broken
            return server

    runner = Broken(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    with structlog.testing.capture_logs() as lines:
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            text = await answer.text()
    await runner.cleanup()
    assert (answer.status, answer.content_type) == (500, "application/problem+json")
    assert "swordfish" not in text
    assert "swordfish" in str(lines)


async def test_the_body_of_a_poll_that_comes_too_slowly_is_given_up(make_api, monkeypatch):
    monkeypatch.setattr(engine_io, "BODY_S", 0.1)
    api = await make_api(live=True)
    session = await api.call("GET", "/socket.io/?EIO=4&transport=polling")
    sid = session.body.partition('"sid":"')[2].partition('"')[0]
    async with calling(api.client.port) as caller:
        target = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
        caller.say(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n2".encode())
        assert (await caller.answer())[0] == 400
    assert (await api.call("GET", f"{target}")).status == 400, "the session ended with it"
