from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from fitai.app.demo_link import Link


async def echo(reader, writer):
    with suppress(ConnectionError):
        while data := await reader.read(100):
            heard.append(data)
            writer.write(data.upper())
    writer.close()


heard: list[bytes] = []


@pytest.fixture
async def link():
    heard.clear()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    made = Link()
    await made.start(server.sockets[0].getsockname()[1])
    yield made
    await made.close()
    server.close()


@pytest.fixture
async def dial(link):
    """Connect through the link; whatever is still open at the end is closed."""
    writers = []

    async def open_one():
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writers.append(writer)
        return reader, writer

    yield open_one
    for writer in writers:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def says(reader, writer, data):
    writer.write(data)
    return await asyncio.wait_for(reader.read(100), 5)


async def ended(reader):
    try:
        return await asyncio.wait_for(reader.read(100), 5) == b""
    except ConnectionError:
        return True


async def test_a_link_carries_both_ways(link, dial):
    reader, writer = await dial()
    assert await says(reader, writer, b"one") == b"ONE"
    assert await says(reader, writer, b"two") == b"TWO"


async def test_a_swallowing_link_delivers_and_lets_no_answer_back(link, dial):
    reader, writer = await dial()
    link.swallow()
    writer.write(b"lost")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(100), 0.2)
    assert heard == [b"lost"]
    link.cut()
    assert await ended(reader)


async def test_a_cut_link_breaks_connections_and_takes_none_until_it_is_mended(link, dial):
    reader, _ = await dial()
    link.cut()
    assert await ended(reader)
    reader, _ = await dial()
    assert await ended(reader)
    link.mend()
    reader, writer = await dial()
    assert await says(reader, writer, b"back") == b"BACK"


async def test_a_server_that_is_down_looks_like_a_broken_connection(link, dial):
    link.target = 1
    reader, _ = await dial()
    assert await ended(reader)


async def test_the_end_of_one_side_is_the_end_of_the_other(link, dial):
    reader, writer = await dial()
    assert await says(reader, writer, b"x") == b"X"
    writer.write_eof()
    assert await ended(reader)


async def test_a_slow_link_takes_its_time_each_way_and_keeps_the_order(dial, link):
    slow = Link(there_s=0.05, back_s=0.1)
    await slow.start(link.target)
    clock = asyncio.get_running_loop().time
    reader, writer = await asyncio.open_connection("127.0.0.1", slow.port)
    sent = clock()
    for part in (b"one", b"two", b"three"):
        writer.write(part)
        await asyncio.sleep(0)
    told = await asyncio.wait_for(reader.readexactly(11), 5)
    assert clock() - sent >= 0.15
    assert told == b"ONETWOTHREE"
    slow.swallow()
    writer.write(b"lost")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(100), 0.4)
    assert b"".join(heard) == b"onetwothreelost"
    slow.cut()
    assert await ended(reader)
    writer.close()
    await slow.close()
