from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import aiohttp
import pytest
import structlog
import yarl
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from fitai.gateways.identity import Identity
from fitai.http import boundary, frame, reading
from fitai.http.frame import Query, Reply, Routes, Schema
from fitai.http.problems import Problem, not_found


class Thing(Schema):
    name: str
    size: int = 1


class Filter(Query):
    limit: int = 10


things = Routes("things")


@things.post("/things", status=201, response=Thing)
async def make_thing(request: web.Request, body: Thing) -> Reply:
    """Make a thing."""
    return Reply(body, etag='"1"')


@things.get("/things", response=Thing)
async def count_things(request: web.Request, query: Filter) -> Thing:
    """Count things."""
    return Thing(name="all", size=query.limit)


@things.get("/broken")
async def broken(request: web.Request) -> None:
    """Break."""
    raise RuntimeError("the password is swordfish")


@things.get("/unheard")
async def unheard(request: web.Request) -> None:
    """Write to somebody who has hung up."""
    assert request.transport is not None
    request.transport.abort()
    await web.StreamResponse().prepare(request)


@things.get("/gone", errors=("not_found",))
async def gone(request: web.Request) -> None:
    """Be gone."""
    raise not_found()


@pytest.fixture
async def client() -> Any:
    app = web.Application(client_max_size=1000)
    boundary.install(app)
    app[reading.BODY_SECONDS] = 0.2
    frame.install(app, things.declared)

    async def elsewhere(request: web.Request) -> web.Response:
        raise web.HTTPFound("/things")

    app.router.add_get("/elsewhere", elsewhere)
    server = TestServer(app)
    await server.start_server(auto_decompress=False)
    async with TestClient(server) as client:
        yield client


JSON = {"Content-Type": "application/json"}


async def problem(response: aiohttp.ClientResponse) -> tuple[int, str]:
    """Status and code, after looking at what every problem has."""
    document = await response.json(content_type="application/problem+json")
    assert document["status"] == response.status
    assert document["type"] == f"/docs/errors#{document['code']}"
    assert document["title"]
    assert document["request_id"] == response.headers["X-Request-Id"]
    return response.status, document["code"]


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_a_route_answers_as_written_and_with_v1_in_front(client, prefix):
    response = await client.post(f"{prefix}/things", json={"name": "a"})

    assert response.status == 201
    assert response.headers["ETag"] == '"1"'
    assert await response.json() == {"name": "a", "size": 1}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", (400, "bad_request")),
        (b'{"name": NaN}', (400, "bad_request")),
        (b'{"name": "\\ud800"}', (400, "bad_request")),
        (b'{"size": 1e999}', (400, "bad_request")),
        (b"\xff\xfe", (400, "bad_request")),
        (b"[" * 5 + b"]" * 4, (400, "bad_request")),
        (b"[]", (422, "validation_failed")),
        (b"null", (422, "validation_failed")),
        (b"", (422, "validation_failed")),
        (b'{"name": "a", "size": "1"}', (422, "validation_failed")),
        (b'{"name": "a", "size": true}', (422, "validation_failed")),
        (b'"' + b"x" * 1000 + b'"', (413, "too_large")),
    ],
)
async def test_a_body_is_read_strictly(client, body, expected):
    assert await problem(await client.post("/things", data=body, headers=JSON)) == expected


async def test_nesting_without_end_is_unreadable_not_a_crash(client):
    deep = b"[" * 499 + b"]" * 499
    assert await problem(await client.post("/things", data=deep, headers=JSON)) == (422, "validation_failed")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/jsonx",
    ],
)
async def test_another_content_type_is_refused(client, content_type):
    response = await client.post("/things", data=b"{}", headers={"Content-Type": content_type})

    assert await problem(response) == (415, "unsupported_media_type")
    assert response.headers["Accept"] == "application/json"


@pytest.mark.parametrize(
    "content_type", ["application/json", "APPLICATION/JSON; charset=UTF-8", "application/vnd.fitai+json"]
)
async def test_json_by_any_of_its_names_is_read(client, content_type):
    response = await client.post("/things", data=b'{"name":"a"}', headers={"Content-Type": content_type})

    assert response.status == 201


async def test_each_invalid_field_is_named_without_its_value(client):
    response = await client.post("/things", json={"size": "secret"})
    document = await response.json(content_type=None)

    assert {(error["in"], error["field"], error["code"]) for error in document["errors"]} == {
        ("body", "name", "missing"),
        ("body", "size", "int_type"),
    }
    assert "secret" not in json.dumps(document)


async def test_a_body_without_a_length_is_bounded_too(client):
    async def endless() -> Any:
        for _ in range(100):
            yield b"x" * 100

    assert await problem(await client.post("/things", data=endless(), headers=JSON)) == (413, "too_large")


async def test_a_small_body_that_inflates_to_a_large_one_is_too_large(client):
    bomb = gzip.compress(b'"' + b"x" * 1_000_000 + b'"')
    response = await client.post("/things", data=bomb, headers={**JSON, "Content-Encoding": "gzip"})

    assert await problem(response) == (413, "too_large")


async def test_a_body_that_comes_too_slowly_is_given_up(client):
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(
        b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    writer.close()
    await writer.wait_closed()

    assert head.startswith(b"HTTP/1.1 408 ")


async def test_unknown_paths_and_methods_are_problems_too(client):
    assert await problem(await client.get("/nowhere")) == (404, "not_found")
    response = await client.delete("/things")
    assert await problem(response) == (405, "method_not_allowed")
    assert set(response.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


async def test_what_nobody_expected_is_logged_and_not_told(client, capsys):
    response = await client.get("/broken")
    text = await response.text()

    assert await problem(response) == (500, "internal")
    assert "swordfish" not in text
    assert "Traceback" not in text
    logged = capsys.readouterr().out
    assert "swordfish" in logged  # whose line names the request: tests/app/test_observed.py


async def test_a_caller_who_hung_up_is_no_failure_of_ours(client):
    with structlog.testing.capture_logs() as lines:
        with pytest.raises(aiohttp.ClientError):
            await client.get("/unheard")
        await asyncio.sleep(0)
    (line,) = lines
    assert (line["event"], line["status"]) == ("request", 499)


async def test_a_redirect_is_no_error(client):
    response = await client.get("/elsewhere", allow_redirects=False)

    assert response.status == 302
    assert "X-Request-Id" in response.headers


async def test_a_sane_request_id_is_kept_and_another_one_replaced(client):
    kept = await client.get("/things", headers={"X-Request-Id": "proxy-1.2:3"})
    assert kept.headers["X-Request-Id"] == "proxy-1.2:3"
    for strange in ("", "x" * 65, "a b", 'a"b', "ä"):
        response = await client.get("/things", headers={"X-Request-Id": strange})
        assert response.headers["X-Request-Id"] != strange
        assert len(response.headers["X-Request-Id"]) == 32


async def test_a_query_is_validated(client):
    assert await (await client.get("/things?limit=5")).json() == {"name": "all", "size": 5}
    assert await problem(await client.get("/things?limit=many")) == (422, "validation_failed")
    assert await problem(await client.get("/things?nope=1")) == (422, "validation_failed")


def test_a_handler_that_the_frame_cannot_serve_is_refused_when_it_is_declared():
    routes = Routes("x")

    async def strange(request: web.Request, body: Thing, user: str) -> None:
        """Take something strange."""

    async def nameless(request: web.Request) -> None: ...

    async def other_path(request: web.Request, path: Thing) -> None:
        """Name other parameters."""

    async def fine(request: web.Request, caller: Identity) -> None:
        """Do it."""

    with pytest.raises(TypeError, match="must take request"):
        routes.get("/x")(strange)
    with pytest.raises(TypeError, match="docstring"):
        routes.get("/x")(nameless)
    with pytest.raises(TypeError, match="different parameters"):
        routes.get("/x/{id}")(other_path)
    with pytest.raises(TypeError, match="no such problem: sadness"):
        routes.get("/x", errors=("sadness",))(fine)
    assert routes.declared == []


def test_errors_follow_from_what_a_handler_takes():
    (make, *_) = things.declared

    assert make.errors == (
        "bad_request",
        "request_timeout",
        "too_large",
        "unsupported_media_type",
        "validation_failed",
        "later",
        "unavailable",
    )


def test_a_problem_needs_a_code_of_the_catalogue():
    with pytest.raises(KeyError):
        Problem("sadness")


class Door:
    """Knows callers by the name of what they may do; `everything` is a person."""

    async def read(self, token: str) -> Identity:
        return Identity("u", 1, 0, None if token == "everything" else frozenset({token}))

    async def authenticate(self, token: str) -> Identity:
        return await self.read(token)

    async def confirm(self, identity: Identity) -> None: ...


@pytest.mark.parametrize(
    ("path", "token", "status", "lacks"),
    [
        ("/read", "everything", 204, None),
        ("/read", "things:read", 204, None),
        ("/read", "things:write", 403, "things:read"),
        ("/people", "everything", 204, None),
        ("/people", "things:read", 403, None),
        ("/perhaps", "things:read", 403, None),
        ("/perhaps", "", 204, None),
    ],
)
async def test_a_token_may_do_what_its_scopes_say_and_nothing_that_names_none(path, token, status, lacks):
    scoped = Routes("scoped")

    @scoped.get("/read", status=204, scope="things:read")
    async def read(request: web.Request, caller: Identity) -> None:
        """Read."""

    @scoped.get("/people", status=204)
    async def people(request: web.Request, caller: Identity) -> None:
        """Do what only people do."""

    @scoped.get("/perhaps", status=204)
    async def perhaps(request: web.Request, caller: Identity | None) -> None:
        """Take whoever comes."""

    app = web.Application()
    boundary.install(app)
    app[frame.AUTHENTICATOR] = Door()
    frame.install(app, scoped.declared)
    async with TestClient(TestServer(app)) as client:
        response = await client.get(path, headers={"Authorization": f"Bearer {token}"} if token else {})
        assert response.status == status
        if status == 403:
            assert await problem(response) == (403, "forbidden")
            assert (await response.json(content_type=None)).get("scope") == lacks
            challenge = response.headers["WWW-Authenticate"]
            assert 'error="insufficient_scope"' in challenge
            assert (f'scope="{lacks}"' in challenge) == (lacks is not None)


def test_a_scope_needs_a_caller_and_has_a_domain_and_a_way():
    async def anybody(request: web.Request) -> None:
        """Do it."""

    async def somebody(request: web.Request, caller: Identity) -> None:
        """Do it."""

    for handler, scope in ((anybody, "x:read"), (somebody, "x"), (somebody, "x:y")):
        with pytest.raises(TypeError, match="a scope is like"):
            Routes("x").get("/x", scope=scope)(handler)


@pytest.mark.parametrize(
    "path",
    [
        "/things%0d%0aSet-Cookie:%20a=b",
        "/nowhere%0aERROR%20all%20is%20lost",
        "/things?limit=5%0d%0aSet-Cookie:%20a=b",
        "/things?%0aevent=forged=1",
        "/gone%1b[31m",
    ],
)
async def test_what_a_caller_sends_makes_no_header_and_no_line_of_the_log(client, capsys, path):
    raw = yarl.URL(str(client.make_url("/")).rstrip("/") + path, encoded=True)
    async with (
        aiohttp.ClientSession() as session,
        session.get(raw) as response,
    ):
        assert response.status in (404, 422)
        assert "Set-Cookie" not in response.headers
    logged = capsys.readouterr().out.splitlines()
    assert len(logged) == 1
    assert "forged" not in logged[0]
    assert "lost" not in logged[0]
    assert "Set-Cookie" not in logged[0]
