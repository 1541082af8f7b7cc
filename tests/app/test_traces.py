"""Traces: real protobuf over HTTP to a collector on loopback, from two nodes that meet through a real
Redis."""

from __future__ import annotations

import asyncio
import gzip
import io
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sqlalchemy import select

from fitai.app.runtime import VERSION
from fitai.gateways.mail.letters import VerifyEmail, letter
from fitai.persistence import tracing
from fitai.persistence.append import Append, Appender
from fitai.persistence.identity_models import JobRow
from fitai.persistence.jobs import Jobs
from tests.app.node import lines, serving, settings_of, told
from tests.gateways.conftest import new_id

NOTE = "planted knee hurts"
LOAD = 817.261
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


class Span:
    """One span as it came over the wire."""

    def __init__(self, span, resource):
        self.name = span.name
        self.kind = span.kind  # 1 internal, 2 server, 4 producer, 5 consumer
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.links = [link.span_id.hex() for link in span.links]
        self.about = _plain(span.attributes)
        self.resource = _plain(resource.attributes)
        self.error = span.status.code == 2
        self.events = list(span.events)
        assert span.end_time_unix_nano >= span.start_time_unix_nano > 0


def _plain(attributes):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


class Collector:
    """`POST /v1/traces`, as a collector has it."""

    def __init__(self):
        self.spans = []
        self.raw = b""
        self.out = io.StringIO()

    async def take(self, request):
        assert request.content_type == "application/x-protobuf"
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.raw += body
        told = ExportTraceServiceRequest.FromString(body)
        for of in told.resource_spans:
            self.spans += [Span(span, of.resource) for scope in of.scope_spans for span in scope.spans]
        return web.Response(content_type="application/x-protobuf")

    def named(self, name):
        return [span for span in self.spans if span.name == name]

    def only(self, name):
        (span,) = self.named(name)
        return span

    def under(self, parent, name):
        (span,) = [span for span in self.named(name) if span.parent == parent.id]
        assert span.trace == parent.trace
        return span


@asynccontextmanager
async def collected(folder, **more):
    """Traces of this process; at the end of the block all have arrived."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    block = told(settings_of(folder, otlp_url=f"http://127.0.0.1:{runner.addresses[0][1]}", **more))
    collector.out = block.__enter__()
    try:
        yield collector
    finally:
        await asyncio.to_thread(block.__exit__, None, None, None)  # it waits for the answers of this loop
        await runner.cleanup()
    assert tracing.tracer is None


async def test_an_op_is_followed_from_the_sockets_event_to_another_nodes_devices(tmp_path, redis_url):
    settings = settings_of(tmp_path, redis_url=redis_url, redis_prefix=new_id())
    async with collected(tmp_path) as collector, serving(settings) as one, serving(settings) as other:
        phone = await one.register()
        login = {"email": phone["user"]["email"], "password": "correct horse battery"}
        _, watch = await one.call(
            "POST", "/auth/login", {**login, "device": {"name": "Watch", "platform": "watchos"}}
        )
        async with one.wire(phone) as here, other.wire(watch) as there:
            workout = new_id()
            await here.push(here.op("workout.create", workout))
            await there.told(1)
            ops = [here.op("note.set", workout, {"text": NOTE}), here.op("workout.start", workout)]
            await here.push(*ops)
            await there.told(3)
        nodes = [each.node.hosts.node for each in (one, other)]
    push = next(span for span in collector.named("push") if span.about["fitai.ops"] == 2)
    batch = collector.under(push, "batch")
    collector.under(batch, "place")
    append = collector.under(batch, "append")
    commit = collector.under(append, "commit")
    publish = collector.under(batch, "publish")
    deliver = collector.under(publish, "deliver")
    assert push.parent == ""
    assert push.about == {
        "fitai.user": phone["user"]["id"],
        "fitai.device": phone["device"]["id"],
        "fitai.ops": 2,
    }
    assert (append.about["fitai.records"], commit.about["fitai.streams"]) == (2, 1)
    assert append.links == [commit.id]
    assert [batch.about["fitai.node"], deliver.about["fitai.node"]] == nodes
    assert (deliver.kind, deliver.about["fitai.records"], deliver.about["fitai.devices"]) == (5, 2, 1)
    assert push.resource["service.name"] == "fitai"
    assert push.resource["service.version"] == VERSION
    assert push.resource["deployment.environment.name"] == "production"
    assert not any(span.error for span in (push, batch, append, commit, publish, deliver))


async def test_nothing_that_was_logged_and_no_secret_is_in_a_trace(tmp_path, monkeypatch):
    async with collected(tmp_path) as collector, serving(settings_of(tmp_path)) as here:
        session = await here.register()
        me = {"Authorization": f"Bearer {session['access_token']}"}
        await here.call("POST", f"/workouts?token={session['refresh_token']}", {"title": NOTE}, **me)
        await here.call("GET", f"/nowhere/{NOTE}", **me)
        async with here.wire(session) as wire:
            await wire.push(wire.op("workout.create", new_id(), {"title": NOTE, "load": LOAD}))
            host = here.node.live.connections[0].host

            def failing(*_):
                raise ValueError(NOTE)

            monkeypatch.setattr(type(host), "_place", failing)
            await wire.push(wire.op("note.set", new_id(), {"text": NOTE}))
    assert len(collector.spans) > 8
    (failed,) = [span for span in collector.named("batch") if span.error]
    assert failed.about["error.type"] == "ValueError"
    assert not failed.events
    for secret in (NOTE, session["access_token"], session["refresh_token"], session["user"]["email"]):
        assert secret.encode() not in collector.raw


async def test_a_request_goes_on_in_the_trace_of_who_sent_it_and_the_log_names_it(tmp_path):
    async with collected(tmp_path) as collector, serving(settings_of(tmp_path)) as here:
        session = await here.register()
        me = {"Authorization": f"Bearer {session['access_token']}"}
        traced = {"traceparent": f"00-{TRACE}-{CALLER}-01", "X_Request_Id": "mine-1"}
        workout = new_id()
        op = {"n": 1, "base": 0, "kind": "workout.create", "workout": workout, "value": {}, "at": 1}
        assert (await here.call("POST", "/sync/push", {"ops": [op]}, **me, **traced))[0] == 200
        assert (await here.call("POST", "/workouts", {"title": "Legs"}, **me, **traced))[0] == 201
        assert (await here.call("GET", "/nowhere", traceparent="00-not-one"))[0] == 404
    pushed = collector.only("POST /sync/push")
    assert (pushed.trace, pushed.parent, pushed.kind) == (TRACE, CALLER, 2)
    assert (pushed.about["fitai.status"], pushed.about["fitai.request_id"]) == (200, "mine-1")
    collector.under(collector.under(collector.under(pushed, "push"), "batch"), "append")
    created = collector.only("POST /workouts")
    collector.under(collector.under(collector.under(created, "command"), "batch"), "append")
    lost = collector.only("GET (unknown)")
    assert (lost.parent, lost.about["fitai.status"]) == ("", 404)
    told_of = {line["route"]: line for line in lines(collector.out) if line["event"] == "request"}
    assert told_of["/sync/push"]["trace"] == TRACE
    assert told_of["(unknown)"]["trace"] == lost.trace != TRACE


async def test_pushes_over_a_socket_begin_traces_of_their_own(tmp_path):
    async with collected(tmp_path) as collector, serving(settings_of(tmp_path)) as here:
        session = await here.register()
        async with here.wire(session) as wire:
            for _ in range(3):
                await wire.push(wire.op("workout.create", new_id()))
    pushes = collector.named("push")
    assert [span.parent for span in pushes] == [""] * 3
    assert len({span.trace for span in pushes}) == 3
    for push in pushes:
        collector.under(collector.under(collector.under(push, "batch"), "append"), "commit")


async def test_a_commit_is_linked_with_every_append_that_went_down_in_it(tmp_path, db, log_of):
    streams = [await log_of(name) for name in ("ada", "bob", "cyd")]
    async with collected(tmp_path) as collector:
        appender = Appender(db)
        await appender.start()

        async def append(stream, traced):
            span = tracing.began("push", root=True) if traced else None
            with tracing.shared("batch", [Holder(span)]):
                await appender.append(Append(stream.id, stream.epoch, 0, [stream.record]))
            tracing.ended(span)

        await asyncio.gather(*(append(stream, i != 1) for i, stream in enumerate(streams)))
        await appender.close()
    commit = collector.only("commit")
    first, third = collector.named("append")
    assert len({first.trace, third.trace}) == 2
    assert commit.about["fitai.streams"] == 3
    assert {commit.parent, *commit.links} == {first.id, third.id}
    assert first.links == third.links == [commit.id]


class Holder:
    def __init__(self, span):
        self.span = span


@pytest.mark.parametrize("share", [0.0, 1.0])
async def test_how_many_are_kept_we_say_and_not_the_caller(tmp_path, share):
    async with collected(tmp_path, trace_share=share) as collector, serving(settings_of(tmp_path)) as here:
        session = await here.register()
        await here.call("GET", "/health", traceparent=f"00-{TRACE}-{CALLER}-01")
        await here.call("GET", "/health/live", traceparent=f"00-{TRACE}-{CALLER}-00")  # it is not kept there
        async with here.wire(session) as wire:
            await wire.push(wire.op("workout.create", new_id()))
    assert {span.name for span in collector.spans} >= ({"GET /health", "push", "commit"} if share else set())
    assert bool(collector.spans) == bool(share)
    assert "GET /health/live" not in {span.name for span in collector.spans}


async def test_a_job_goes_on_in_the_trace_of_what_asked_for_it(tmp_path, db):
    async with collected(tmp_path) as collector:
        with tracing.server("POST /auth/register", f"00-{TRACE}-{CALLER}-01"):
            async with db.write() as session:
                await Jobs(session).put("mail", {"to": NOTE}, now=1)
        async with db.write() as session:
            await Jobs(session).put("sweep", {}, now=1)
            rows = {row.kind: row.trace for row in (await session.execute(select(JobRow))).scalars()}
        for kind, trace in rows.items():
            with tracing.job(kind, trace):
                pass
    request, mail = collector.only("POST /auth/register"), collector.only("job mail")
    assert (mail.trace, mail.parent, mail.kind) == (TRACE, request.id, 5)
    sweep = collector.only("job sweep")
    assert (sweep.parent, sweep.trace == TRACE) == ("", False)
    assert NOTE.encode() not in collector.raw


async def test_a_letter_that_the_outbox_sends_is_in_the_trace_of_what_asked_for_it(tmp_path):
    settings = settings_of(tmp_path, public_url="https://fit.example.com")
    async with collected(tmp_path) as collector, serving(settings) as here:
        with tracing.server("POST /auth/register", f"00-{TRACE}-{CALLER}-01"):
            async with here.node.db.write() as session:
                payload = letter("ada@example.org", VerifyEmail(link="/verify-email?token=x", minutes=60))
                await Jobs(session).put("mail", payload, now=1)
        async with asyncio.timeout(20):
            while not [line for line in lines(collector.out) if line.get("kind") == "mail"]:
                await asyncio.sleep(0.02)
    assert [line["event"] for line in lines(collector.out) if line.get("kind") == "mail"] == ["job_done"]
    request, sent = collector.only("POST /auth/register"), collector.only("job mail")
    assert (sent.trace, sent.parent, sent.error) == (TRACE, request.id, False)
    assert b"ada@example.org" not in collector.raw
    assert "ada@example.org" not in collector.out.getvalue()


async def test_an_append_that_fails_tells_its_kind(tmp_path, db, log_of):
    stream = await log_of("ada")
    async with collected(tmp_path) as collector:
        appender = Appender(db)
        await appender.start()
        for _ in range(2):
            span = tracing.began("push", root=True)
            try:
                with tracing.shared("batch", [Holder(span)]):
                    await appender.append(Append(stream.id, stream.epoch, 0, [stream.record]))
            except Exception as error:
                tracing.ended(span, type(error).__name__)
            tracing.ended(span)
        await appender.close()
    assert [span.about.get("error.type") for span in collector.named("append")] == [None, "HeadMoved"]
    assert [span.error for span in collector.named("push")] == [False, True]


async def test_a_collector_that_is_away_harms_nobody(tmp_path):
    with told(settings_of(tmp_path, otlp_url="http://127.0.0.1:9")):
        async with serving(settings_of(tmp_path)) as here:
            session = await here.register()
            async with here.wire(session) as wire:
                assert (await wire.push(wire.op("workout.create", new_id())))["ok"]


def test_while_nothing_is_traced_every_seam_is_the_same_nothing():
    assert tracing.span("a") is tracing.server("b", None) is tracing.job("c", None) is tracing.shared("d", [])
    assert tracing.began("a", root=True) is None
    assert tracing.heard("x") is None
    assert tracing.traceparent() is None
    assert tracing.published() is tracing.trace_id() is None
