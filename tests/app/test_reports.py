"""Error reports: the kept client, against a server on loopback that speaks Sentry's envelopes."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from contextlib import asynccontextmanager

import pytest
import structlog
from aiohttp import ClientConnectionResetError, web
from redis.exceptions import ConnectionError as RedisAway

from fitai.app.redaction import GONE, WITHHELD
from fitai.app.reports import BUGS, MINUTE_MS, Sampler
from fitai.app.runtime import VERSION
from fitai.gateways.identity import NotAuthenticated
from fitai.http.blame import blame, of_status
from fitai.http.problems import CATALOGUE, NotReady, Problem
from fitai.persistence.database import Unavailable
from fitai.sync.place import Placer
from fitai.sync.wire import Refusal
from tests.app.node import serving, settings_of, told
from tests.gateways.conftest import new_id

KEY = "0123456789abcdef"
NOTE = "planted knee hurts"
LOAD = "817.261"


class Inbox:
    """What reached `POST /api/7/envelope/`: an envelope is a line of headers, then items with a line each."""

    def __init__(self):
        self.dsn = ""
        self.events = []
        self.raw = b""

    async def take(self, request):
        assert f"sentry_key={KEY}" in request.headers["X-Sentry-Auth"]
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.raw += body
        head, _, rest = body.partition(b"\n")
        assert "event_id" in json.loads(head)
        while rest:
            about, _, rest = rest.partition(b"\n")
            size = json.loads(about)["length"]
            assert json.loads(about)["type"] == "event"
            self.events.append(json.loads(rest[:size]))
            rest = rest[size:].removeprefix(b"\n")
        return web.json_response({"id": "x"})


@asynccontextmanager
async def inbox():
    heard = Inbox()
    app = web.Application()
    app.router.add_post("/api/7/envelope/", heard.take)
    runner = web.AppRunner(app, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    heard.dsn = f"http://{KEY}@127.0.0.1:{runner.addresses[0][1]}/7"
    yield heard
    await runner.cleanup()


@asynccontextmanager
async def reported(tmp_path, **more):
    """A node whose errors are reported; at the end of the block all reports have arrived."""
    async with inbox() as heard:
        block = told(settings_of(tmp_path, sentry_dsn=heard.dsn, log_level="warning", **more))
        block.__enter__()
        try:
            async with serving(settings_of(tmp_path)) as here:
                heard.here = here
                yield heard
        finally:
            # It waits for the last reports, which this loop is to answer.
            await asyncio.to_thread(block.__exit__, None, None, None)


def failing(*arguments):
    body = repr(arguments[2])
    try:
        raise OSError(5, "Input/output error")
    except OSError as error:
        raise ValueError(f"cannot place {body}") from error


async def test_a_bug_behind_a_request_is_reported_with_what_an_operator_needs_and_nothing_of_the_body(
    tmp_path, monkeypatch
):
    async with reported(tmp_path) as heard:
        session = await heard.here.register()
        monkeypatch.setattr(Placer, "place_all", failing)
        headers = {
            "Authorization": f"Bearer {session['access_token']}",
            "Cookie": "planted=cookie",
            "X_Request_Id": "mine-1",
        }
        path = f"/workouts?token={session['refresh_token']}"
        assert (await heard.here.call("POST", path, {"title": NOTE, "units": "kg"}, **headers))[0] == 500
    (event,) = heard.events
    assert (event["release"], event["environment"], event["level"]) == (VERSION, "production", "error")
    assert (event["message"], event["logger"]) == ("request_failed", "fitai.http.boundary")
    assert event["tags"] == {"blame": "bug", "route": "/workouts"}
    assert event["user"] == {"id": session["user"]["id"]}
    assert (event["extra"]["request_id"], event["extra"]["method"]) == ("mine-1", "POST")
    assert (event["extra"]["device"], event["extra"]["dropped_before"]) == (session["device"]["id"], 0)
    cause, raised = event["exception"]["values"]
    assert (raised["type"], raised["value"]) == ("ValueError", WITHHELD)
    assert (cause["type"], cause["value"]) == ("OSError", "[Errno 5] Input/output error")
    assert raised["stacktrace"]["frames"][-1]["function"] == "failing"
    assert "request" not in event
    assert "breadcrumbs" not in event
    assert b'"vars"' not in heard.raw
    for secret in (
        NOTE,
        "cookie",
        session["access_token"],
        session["refresh_token"],
        session["user"]["email"],
    ):
        assert secret.encode() not in heard.raw


async def test_a_bug_behind_a_sockets_event_tells_the_event(tmp_path, monkeypatch):
    async with reported(tmp_path) as heard:
        session = await heard.here.register()
        async with heard.here.wire(session) as wire:
            host = heard.here.node.live.connections[0].host
            monkeypatch.setattr(type(host), "page", lambda *_: 1 / 0)
            await wire.call("pull", {"after": 0})
            monkeypatch.setattr(Placer, "place_all", failing)
            await wire.push(wire.op("note.set", new_id(), {"text": NOTE, "load": LOAD}))
    one, other = heard.events
    assert (one["message"], one["tags"]["live_event"]) == ("event_failed", "pull")
    assert one["exception"]["values"][-1]["value"] == "division by zero"
    assert (other["message"], other["extra"]["jobs"]) == ("push_failed", 1)
    assert one["user"] == other["user"] == {"id": session["user"]["id"]}
    assert NOTE.encode() not in heard.raw
    assert LOAD.encode() not in heard.raw


async def test_nothing_is_reported_of_what_callers_do_wrong(tmp_path):
    async with reported(tmp_path) as heard:
        here = heard.here
        session = await here.register()
        me = {"Authorization": f"Bearer {session['access_token']}"}
        assert (await here.call("GET", "/nowhere"))[0] == 404
        assert (await here.call("POST", "/workouts", {"title": 5}, **me))[0] == 422
        assert (await here.call("GET", "/auth/devices"))[0] == 401
        async with here.wire(session) as wire:
            assert not (await wire.call("push", {"ops": "none"}))["ok"]
        _, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.transport.abort()
        await here.call("GET", "/health")
    assert heard.events == []


async def test_of_a_storm_while_the_database_is_away_one_is_reported(tmp_path, monkeypatch):
    async with reported(tmp_path) as heard:

        def away(*_):
            raise Unavailable("the database is away: connection refused")

        monkeypatch.setattr(heard.here.node.db, "read", away)
        body = {"password": "p" * 12, "device": {"name": "x", "platform": "ios"}}
        bodies = [{"email": f"{number}@example.org", **body} for number in range(12)]
        answers = await asyncio.gather(*(heard.here.call("POST", "/auth/login", one) for one in bodies))
        assert {status for status, _ in answers} == {503}
    (event,) = heard.events
    assert (event["level"], event["tags"]["blame"], event["message"]) == ("warning", "away", "request")


async def test_a_line_without_an_exception_is_reported_by_its_level_and_redacted(tmp_path):
    async with reported(tmp_path) as heard:
        log = structlog.get_logger("somewhere")
        log.error("went_wrong", note=NOTE, path=f"https://u:{LOAD}@x/", ok=1)
        log.warning("only_odd")
        logging.getLogger("a.library").error("failed with password=%s", LOAD)
        logging.getLogger("opentelemetry.exporter").error("could not export")
        logging.getLogger("sentry_sdk.errors").error("could not report")
    one, other = heard.events
    assert (one["message"], one["extra"]["note"], one["extra"]["ok"]) == ("went_wrong", GONE, 1)
    assert other["message"] == f"failed with password={GONE}"
    assert LOAD.encode() not in heard.raw


async def test_the_settings_secrets_are_not_in_a_report(tmp_path):
    async with reported(tmp_path, metrics_token="operators say friend") as heard:
        structlog.get_logger("somewhere").error("went_wrong", line="it was operators say friend")
    assert heard.events[0]["extra"]["line"] == f"it was {GONE}"


async def test_a_server_that_takes_no_reports_harms_nobody(tmp_path):
    with told(settings_of(tmp_path, sentry_dsn=f"http://{KEY}@127.0.0.1:9/7")):
        async with serving(settings_of(tmp_path)) as here:
            structlog.get_logger("somewhere").error("went_wrong")
            assert (await here.call("GET", "/health"))[0] == 200


def test_a_sampler_lets_so_many_a_minute_through_and_counts_the_others():
    now = 0
    sampler = Sampler(lambda: now)
    assert [sampler.admit("a", 1) for _ in range(4)] == [0, None, None, None]
    assert sampler.admit("b", 1) == 0
    now = MINUTE_MS - 1
    assert sampler.admit("a", 1) is None
    now = MINUTE_MS
    assert sampler.admit("a", 1) == 4
    now = 2 * MINUTE_MS
    assert sampler.admit("a", 1) == 0
    assert [sampler.admit("c", BUGS) for _ in range(BUGS + 1)] == [0] * BUGS + [None]
    for kind in range(10 * Sampler.KINDS):
        sampler.admit(kind, 1)
    assert len(sampler._minutes) <= Sampler.KINDS + 1


@pytest.mark.parametrize(
    ("error", "whose"),
    [
        (Problem("not_found"), "client"),
        (Problem("later"), "client"),
        (Problem("internal"), "bug"),
        (Problem("unavailable"), "away"),
        (NotReady({}), "away"),
        (Refusal("gap", "send from 3", next_n=3), "client"),
        (Refusal("unavailable", "no"), "away"),
        (NotAuthenticated("unauthorized", "no"), "client"),
        (web.HTTPRequestEntityTooLarge(1, 2), "client"),
        (web.HTTPInternalServerError(), "bug"),
        (Unavailable("away"), "away"),
        (RedisAway("away"), "away"),
        (ConnectionRefusedError(), "away"),
        (TimeoutError(), "away"),
        (ConnectionResetError(), "gone"),
        (ClientConnectionResetError(), "gone"),
        (BrokenPipeError(), "gone"),
        (asyncio.CancelledError(), "gone"),
        (ValueError("82.5"), "bug"),
        (ZeroDivisionError(), "bug"),
    ],
)
def test_each_failure_is_somebodys(error, whose):
    assert blame(error) == whose


def test_every_problem_has_a_blame():
    assert {of_status(kind.status) for kind in CATALOGUE.values()} == {"client", "away", "bug"}
    assert (of_status(200), of_status(304), of_status(499)) == (None, None, "gone")
