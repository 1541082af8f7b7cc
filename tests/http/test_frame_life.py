"""What the frame does around every handler: time is bounded, answers are shortened, ends are told."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import zstandard
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from fitai.http import boundary, frame, openapi
from fitai.http.deprecation import Deprecated
from fitai.http.frame import Reply, Routes, Schema
from fitai.http.problems import not_found
from fitai.persistence.database import Database
from fitai.persistence.users import Users

SINCE = datetime(2026, 11, 1, tzinfo=timezone(timedelta(hours=2)))
GOES = Deprecated(since=SINCE, sunset=datetime(2027, 5, 1, tzinfo=UTC), link="https://fit.example.com/moving")


class Text(Schema):
    text: str


life = Routes("life")
DB: web.AppKey[Database] = web.AppKey("db", Database)


@life.get("/long", response=Text, etag=True)
async def long(request: web.Request) -> Reply:
    """Be long."""
    return Reply(Text(text="long " * 1000), etag='"1"')


@life.get("/short", response=Text)
async def short(request: web.Request) -> Text:
    """Be short."""
    return Text(text="short")


@life.get("/secret", response=Text, limit="auth")
async def secret(request: web.Request) -> Text:
    """Hold a token."""
    return Text(text="token " * 1000)


@life.get("/slow", status=204)
async def slow(request: web.Request) -> None:
    """Never end."""
    await asyncio.Event().wait()


@life.get("/impatient", status=204)
async def impatient(request: web.Request) -> None:
    """Give something up by itself."""
    async with asyncio.timeout(0):
        await asyncio.Event().wait()


@life.post("/half", status=204)
async def half(request: web.Request) -> None:
    """Write, and never come to an end."""
    async with request.app[DB].write() as session:
        await Users(session).create(email="a@example.com", password_hash="x", display_name=None, now=0)
        await asyncio.Event().wait()


@life.get("/old", status=204, errors=("not_found",), deprecated=GOES)
async def old(request: web.Request) -> None:
    """Be on the way out."""
    if "gone" in request.query:
        raise not_found()


@pytest.fixture
async def client() -> AsyncIterator[TestClient[Any, Any]]:
    app = web.Application()
    boundary.install(app)
    app[frame.ANSWER_SECONDS] = 0.1
    frame.install(app, life.declared)
    async with TestClient(TestServer(app), auto_decompress=False) as client:
        yield client


@pytest.mark.parametrize(
    ("accepted", "coding", "inflate"),
    [
        ("gzip", "gzip", gzip.decompress),
        ("gzip, zstd", "zstd", lambda raw: zstandard.ZstdDecompressor().decompressobj().decompress(raw)),
        ("gzip;q=0, br", None, bytes),
        ("identity", None, bytes),
        ("", None, bytes),
    ],
)
async def test_a_long_answer_is_shortened_for_who_takes_that(client, accepted, coding, inflate):
    response = await client.get("/long", headers={"Accept-Encoding": accepted})
    raw = await response.read()

    assert response.headers.get("Content-Encoding") == coding
    assert response.headers["Vary"] == "Accept-Encoding"
    assert response.headers["ETag"] == '"1"'
    assert inflate(raw) == b'{"text":"' + b"long " * 1000 + b'"}'
    assert len(raw) == int(response.headers["Content-Length"])
    assert (len(raw) < 500) == (coding is not None)


@pytest.mark.parametrize("path", ["/short", "/secret"])
async def test_a_short_answer_and_one_with_tokens_go_as_they_are(client, path):
    response = await client.get(path, headers={"Accept-Encoding": "gzip, zstd"})

    assert "Content-Encoding" not in response.headers
    assert (await response.read()).startswith(b'{"text":')


async def test_work_that_takes_too_long_is_answered_and_called_off(client):
    response = await client.get("/slow")

    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert (await response.json(content_type=None))["code"] == "unavailable"
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if "slow" in repr(task.get_coro())]


async def test_what_a_handler_itself_gave_up_is_no_answer_in_time(client):
    response = await client.get("/impatient")

    assert (await response.json(content_type=None))["code"] == "internal"


async def test_work_that_was_called_off_leaves_nothing_half_written_and_holds_nothing(database_url):
    db = Database.open(database_url)
    app = web.Application()
    boundary.install(app)
    app[frame.ANSWER_SECONDS] = 0.5
    app[DB] = db
    frame.install(app, life.declared)
    async with TestClient(TestServer(app)) as client:
        assert (await client.post("/half")).status == 503
        async with db.read() as read:
            assert await Users(read).by_email("a@example.com") is None
        async with db.write() as session:  # neither the one connection nor a lock is still held
            await Users(session).create(email="a@example.com", password_hash="x", display_name=None, now=0)
    await db.close()


@pytest.mark.parametrize(("query", "status"), [("", 204), ("?gone=1", 404)])
@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_a_route_that_is_on_its_way_out_says_so_in_every_answer(client, prefix, query, status):
    response = await client.get(f"{prefix}/old{query}")

    assert response.status == status
    assert response.headers["Deprecation"] == f"@{int(SINCE.timestamp())}"
    assert response.headers["Sunset"] == "Sat, 01 May 2027 00:00:00 GMT"
    assert parsedate_to_datetime(response.headers["Sunset"]) == GOES.sunset
    assert response.headers["Link"].startswith('<https://fit.example.com/moving>; rel="deprecation"')
    assert "Deprecation" not in (await client.get("/short")).headers


def test_the_documents_say_so_too():
    document = openapi.document(life.declared, version="1", description="", tags=())

    assert document["paths"]["/old"]["get"]["deprecated"] is True
    assert "deprecated" not in document["paths"]["/short"]["get"]


def test_a_deprecation_must_make_sense():
    with pytest.raises(ValueError, match="time zone"):
        Deprecated(since=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="not gone before"):
        Deprecated(since=SINCE, sunset=datetime(2026, 1, 1, tzinfo=UTC))


def test_a_class_of_rates_is_one_of_those_that_there_are():
    async def handler(request: web.Request) -> None:
        """Do it."""

    with pytest.raises(TypeError, match="a limit is one of default, auth, mail, heavy"):
        life.get("/x", limit="many")(handler)
