"""The bad network: it delays, and swallows, and breaks, but what it passes on it passes on in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from tests.chaos.links import FAIR, Link, Weather


class Echo(asyncio.Protocol):
    """Answers with what it hears."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    link = await Link([lambda: server.sockets[0].getsockname()[1]]).start()
    yield link
    await link.close()
    server.close()


async def test_what_comes_late_is_overtaken_by_nothing(link):
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    random = Random(1)
    said = b""
    for turn in range(200):
        link.weather = random.choice([FAIR, Weather(delay_s=0.01, jitter_s=0.02), Weather(bytes_per_s=5e4)])
        writer.write(b"%d," % turn)
        said += b"%d," % turn
        await asyncio.sleep(random.random() * 0.005)
        if turn % 20 == 0:
            until = asyncio.get_running_loop().time() + 0.03
            while asyncio.get_running_loop().time() < until:
                pass  # a busy loop, in which what is late becomes due
    assert await asyncio.wait_for(reader.readexactly(len(said)), 10) == said
    assert link.counts["slowed"] > 50
    writer.close()


async def test_a_silent_link_accepts_and_swallows_and_a_stream_that_lost_a_byte_stays_silent(link):
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(b"a")
    assert await asyncio.wait_for(reader.read(1), 5) == b"a"
    link.weather = Weather(silent=True)
    other_reader, other = await asyncio.open_connection("127.0.0.1", link.port)
    for each in (writer, other):
        each.write(b"b")
    while link.counts["swallowed"] < 2:
        await asyncio.sleep(0.01)
    link.weather = FAIR
    for each in (writer, other):
        each.write(b"c")
    for deaf in (reader, other_reader):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(deaf.read(1), 0.2)
    fresh_reader, fresh = await asyncio.open_connection("127.0.0.1", link.port)
    fresh.write(b"d")
    assert await asyncio.wait_for(fresh_reader.read(1), 5) == b"d"
    for each in (writer, other, fresh):
        each.close()


async def test_a_cut_breaks_every_connection(link):
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(b"a")
    await reader.readexactly(1)
    assert link.open == 1
    link.cut()
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(1), 5)
    assert link.counts["broken"] == 1
    writer.close()
