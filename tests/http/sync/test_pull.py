"""Pulling over REST: pages of the log in the codec and the compression that a client asks for."""

from __future__ import annotations

import gzip
from dataclasses import replace

import aiohttp
import msgpack
import orjson
import pytest
import zstandard

from tests.http.conftest import LIMITS
from tests.http.sync.conftest import RestDevice, new_id


async def fill(device, count):
    await device.pushed(*(device.op("workout.create", new_id(), {"title": "a title"}) for _ in range(count)))


async def test_the_log_comes_in_pages_until_there_is_no_more(phone):
    await fill(phone, 5)
    first = await phone.pull(after=0, limit=3)
    second = await phone.pull(after=3, limit=3)
    assert ([r["seq"] for r in first["records"]], first["more"]) == ([1, 2, 3], True)
    assert ([r["seq"] for r in second["records"]], second["more"]) == ([4, 5], False)
    assert (first["ok"], first["head"], first["next_n"]) == (True, 5, 6)
    assert await phone.pull(after=5) == {**second, "records": []}


async def test_a_record_is_the_one_that_sockets_get(phone, connect):
    wire = await connect(phone.person)
    await fill(phone, 2)
    await wire.told(2)
    assert (await phone.pull())["records"] == wire.records()
    answer = await wire.call("pull", {"after": 0})
    assert answer == {key: value for key, value in (await phone.pull()).items() if key != "next_n"}


async def test_the_limit_is_clamped(make_api):
    api = await make_api(limits=replace(LIMITS, pull_records=2))
    phone = RestDevice(await api.register())
    await fill(phone, 3)
    assert len((await phone.pull(limit=10**9))["records"]) == 2
    assert len((await phone.pull())["records"]) == 2


async def test_a_position_beyond_the_head_is_refused(phone):
    answer = await phone.get("pull", after=1)
    assert (answer.status, answer.code, answer.body["head"], answer.body["ok"]) == (
        400,
        "bad_request",
        0,
        False,
    )


async def test_a_log_that_began_anew_is_refused_by_its_epoch(phone):
    epoch = (await phone.pull())["epoch"]
    assert (await phone.get("pull", epoch=epoch)).status == 200
    answer = await phone.get("pull", epoch="another")
    assert (answer.status, answer.code, answer.body["epoch"]) == (409, "epoch", epoch)


@pytest.mark.parametrize(
    "query",
    [{"after": -1}, {"after": "x"}, {"after": 2**53}, {"limit": 0}, {"since": 1}, {"after": "1&after=2"}],
)
async def test_a_query_that_is_not_valid_is_told(phone, query):
    answer = await phone.get("pull", **query)
    assert (answer.status, answer.code, answer.body["ok"]) == (422, "validation_failed", False)


async def test_nobody_pulls_anothers_log(phone, bob):
    await fill(phone, 1)
    theirs = await RestDevice(bob).pull()
    assert (theirs["records"], theirs["head"]) == ([], 0)
    assert theirs["epoch"] != (await phone.pull())["epoch"]


async def as_sent(device, headers):
    """A page and its bytes as they came over the wire."""
    url = device.person.api.client.make_url("/sync/pull")
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(url, headers=headers) as response,
    ):
        return response, await response.read()


UNPACK = {
    None: lambda raw: raw,
    "gzip": gzip.decompress,
    "zstd": lambda raw: zstandard.ZstdDecompressor().decompressobj().decompress(raw),
}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/msgpack", "application/msgpack"),
        ("application/x-msgpack", "application/msgpack"),
        ("application/json;q=0.5, application/msgpack", "application/msgpack"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
    ],
)
@pytest.mark.parametrize(
    ("encoding", "coding"),
    [
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip", "gzip"),
        ("gzip;q=1.0, zstd;q=0.1", "gzip"),
        ("*", "zstd"),
        ("identity", None),
        ("gzip;q=0, zstd;q=0", None),
        ("br", None),
    ],
)
async def test_a_page_comes_as_it_was_asked_for(phone, accept, kind, encoding, coding):
    await fill(phone, 20)
    headers = {"Authorization": f"Bearer {phone.person.token}", "Accept": accept, "Accept-Encoding": encoding}
    response, raw = await as_sent(phone, headers)
    assert response.content_type == kind
    assert response.headers.get("Content-Encoding") == coding
    assert response.headers["Vary"] == "Accept, Accept-Encoding"
    body = (orjson.loads if kind == "application/json" else msgpack.unpackb)(UNPACK[coding](raw))
    assert [record["seq"] for record in body["records"]] == list(range(1, 21))


async def test_compression_makes_a_page_small(phone):
    await fill(phone, 100)
    sizes = {}
    for encoding in ("identity", "zstd"):
        headers = {"Authorization": f"Bearer {phone.person.token}", "Accept-Encoding": encoding}
        sizes[encoding] = len((await as_sent(phone, headers))[1])
    assert sizes["zstd"] * 3 < sizes["identity"]
