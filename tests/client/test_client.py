"""The client whole: on its file, over REST and over real sockets."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web

from fitai.engine.workout import digest
from fitai.gateways.client.account import Denied, Offline
from fitai.gateways.client.client import Client, OtherUser, Stopped
from fitai.gateways.client.core import Patience
from fitai.gateways.client.store import connect as open_file
from fitai.persistence.database import Database
from fitai.persistence.devices import Devices
from fitai.sync.wire import Refusal
from tests.client.cutting import CuttingRelay
from tests.client.rest_stand_in import RestStandIn
from tests.gateways.conftest import TEST_LIMITS, Server

W = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
HOUR = 3_600_000
QUICK = Patience(base_ms=5, cap_ms=40)
STEP = int(os.environ.get("FITAI_CUT_STEP", "89"))  # 1: cut real connections at every byte, in minutes
ADA = ("ada@example.com", "a long password")


def now():
    return time.time_ns() // 1_000_000


@pytest.fixture
async def make(tmp_path) -> AsyncIterator[Any]:
    """Open clients on files of their own; all are closed at the end."""
    opened: list[Client] = []
    names = itertools.count()

    async def make(url, path=None, **options) -> Client:
        options = {"now_ms": now, "patience": QUICK, **options}
        client = await Client.open(path or tmp_path / f"{next(names)}.db", url=url, **options)
        opened.append(client)
        return client

    yield make
    for client in opened:
        await client.close()


@pytest.fixture
async def rest() -> AsyncIterator[Any]:
    """The stand-in of the REST twins, served."""
    stand_in = RestStandIn()
    runner = web.AppRunner(stand_in.app(), shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stand_in.port = site._server.sockets[0].getsockname()[1]
    yield stand_in
    await runner.cleanup()


@pytest.fixture
async def server(sqlite_url) -> AsyncIterator[Server]:
    """A real node."""
    db = Database.open(sqlite_url)
    server = await Server(db, limits=TEST_LIMITS).start()
    yield server
    await server.stop()
    await db.close()


async def adopt(server, client, user, device):
    await client.adopt(user, device, server.tokens.issue(user, device))


def url_of(server):
    return f"http://127.0.0.1:{server.port}"


async def pair(server, make, **options):
    """Two clients of one person at a real node, signed in and not connected."""
    user = await server.user()
    clients = []
    for name, codec in (("phone", "json"), ("watch", "msgpack")):
        client = await make(url_of(server), codec=codec, **options)
        await adopt(server, client, user, await server.enrol(user, name))
        clients.append(client)
    return clients


async def begin(client, workout=W):
    entry = str(uuid.uuid4())
    await client.log("workout.create", workout, {"title": "Legs"})
    await client.log("workout.start", workout, {})
    await client.log("exercise.add", workout, {"exercise": "squat", "position": "a"}, entry)
    return entry


async def log_set(client, entry, reps=5, workout=W, at=None):
    value = {"exercise_entry": entry, "type": "working", "reps": reps, "load": {"value": 100, "unit": "kg"}}
    return await client.log("set.log", workout, value, str(uuid.uuid4()), at=at)


async def served(client, workout=W):
    """The digest of the state that the server gives."""
    return digest((await client.ask("workout:get", {"workout": workout}))["state"])


# -- alone ---------------------------------------------------------------------------------------------


async def test_it_works_at_once_without_a_server(make):
    client = await make("http://127.0.0.1:9")
    entry = await begin(client)
    op = await log_set(client, entry, at=5)
    assert (op["n"], op["base"], op["at"]) == (4, 0, 5)
    document = await client.state(W)
    assert document["exercises"][0]["sets"][0]["reps"] == 5
    assert await client.workouts() == [W]
    with pytest.raises(Offline):
        await client.register(*ADA, name="phone", platform="ios")
    with pytest.raises(Offline):
        await client.ask("workout:get", {"workout": W})


async def test_what_was_logged_is_there_when_the_file_is_opened_again(make, tmp_path):
    client = await make("http://127.0.0.1:9", tmp_path / "kept.db")
    await begin(client)
    before = await client.digest(W)
    await client.close()
    again = await make("http://127.0.0.1:9", tmp_path / "kept.db")
    assert await again.digest(W) == before
    assert (await again.log("workout.complete", W, {}))["n"] == 4


async def test_what_no_server_could_read_is_refused_before_it_is_numbered(make):
    client = await make("http://127.0.0.1:9")
    with pytest.raises(Refusal, match="UUID"):
        await client.log("workout.start", "no uuid", {})
    with pytest.raises(Refusal, match="NaN"):
        await client.log("note.set", W, {"text": float("nan")})
    assert client.held.next_n == 1


class Full(sqlite3.Connection):
    """A disk that is full when a test says so."""

    full = False

    def execute(self, sql, *values):
        if Full.full and sql.startswith("INSERT"):
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(sql, *values)


async def test_a_full_disk_is_told_and_the_op_is_not_half_there(make):
    def opened(path):
        return sqlite3.connect(path, isolation_level=None, factory=Full, check_same_thread=False)

    client = await make("http://127.0.0.1:9", opened=opened)
    await client.log("workout.create", W, {"title": "Legs"})
    Full.full = True
    with pytest.raises(sqlite3.OperationalError, match="full"):
        await client.log("workout.start", W, {})
    Full.full = False
    assert (await client.state(W))["status"] == "planned"
    assert (await client.log("workout.start", W, {}))["n"] == 2


# -- over REST (the stand-in) ----------------------------------------------------------------------------


async def test_two_devices_over_rest_end_up_with_the_servers_state(make, rest):
    phone = await make(rest.url, transport="rest")
    watch = await make(rest.url, transport="rest")
    await phone.register(*ADA, name="phone", platform="ios")
    await watch.login(*ADA, name="watch", platform="watchos")
    entry = await begin(phone)
    await phone.sync()
    await watch.sync()
    await log_set(phone, entry, 5)
    await log_set(watch, entry, 6)
    for client in (phone, watch, phone):
        await client.sync()
    (stream,) = rest.streams.values()
    assert {W: await phone.digest(W)} == {W: await watch.digest(W)} == stream.digests()
    assert await phone.digest() == await watch.digest()
    assert not phone.online


async def test_an_access_token_that_has_ended_is_renewed_on_the_way(make, rest):
    client = await make(rest.url, transport="rest")
    await client.register(*ADA, name="phone", platform="ios")
    await client.sync()
    rest.expired |= set(rest.sessions)
    await begin(client)
    await client.sync()
    assert client.held.outbox == []
    rest.expired |= set(rest.sessions)
    rest.refresh.clear()
    await client.log("workout.complete", W, {})
    with pytest.raises(Stopped, match="signed_out"):
        await client.sync()
    await client.login(*ADA, name="phone", platform="ios")
    await client.sync()
    assert (client.device, client.held.outbox) == (1, [])


async def test_a_file_takes_no_other_persons_sign_in(make, rest):
    client = await make(rest.url, transport="rest")
    await client.register(*ADA, name="phone", platform="ios")
    await begin(client)
    with pytest.raises(OtherUser):
        await client.register("eve@example.com", "another password", name="phone", platform="ios")
    with pytest.raises(Denied, match="invalid_credentials"):
        await client.login("nobody@example.com", "x", name="phone", platform="ios")
    await client.sync()
    assert client.user == rest.streams[ADA[0]].user
    assert rest.streams["eve@example.com"].records == []


async def test_a_restored_copy_of_the_file_forks_over_rest(make, rest, tmp_path):
    phone = await make(rest.url, tmp_path / "phone.db", transport="rest")
    await phone.register(*ADA, name="phone", platform="ios")
    entry = await begin(phone)
    await phone.sync()
    await phone.close()
    shutil.copy(tmp_path / "phone.db", tmp_path / "copy.db")
    phone = await make(rest.url, tmp_path / "phone.db", transport="rest")
    copy = await make(rest.url, tmp_path / "copy.db", transport="rest")
    await log_set(phone, entry, 5)
    await log_set(copy, entry, 6)
    for client in (phone, copy, phone):
        await client.sync()
    assert (phone.device, copy.device) == (1, 2)
    (stream,) = rest.streams.values()
    assert {W: await phone.digest(W)} == {W: await copy.digest(W)} == stream.digests()
    assert len((await phone.state(W))["exercises"][0]["sets"]) == 2
    await copy.login(*ADA, name="copy", platform="ios")
    assert copy.device == 2, "the copy keeps an install id of its own"


async def test_a_long_history_is_seen_by_snapshot_before_the_log_has_come(make, rest):
    phone = await make(rest.url, transport="rest")
    await phone.register(*ADA, name="phone", platform="ios")
    names = [str(uuid.uuid4()) for _ in range(3)]
    for name in names:
        await begin(phone, name)
    await phone.sync()
    tablet = await make(rest.url, transport="rest", snapshot_over=5)
    await tablet.login(*ADA, name="tablet", platform="ios")
    await tablet.connect()
    await tablet.until(lambda: bool(tablet.held.page and tablet.held.page["done"]))
    await tablet.sync()
    assert rest.requests.count("/sync/snapshot") == 2
    assert await tablet.digest() == await phone.digest()


async def test_refused_ops_can_be_listed_and_exported(make, rest, tmp_path):
    client = await make(rest.url, transport="rest")
    await client.register(*ADA, name="phone", platform="ios")
    await client.log("workout.create", W, {})
    await client.log("workout.resume", W, {})
    await client.sync()
    (refused,) = await client.refused()
    assert (refused["n"], refused["code"], refused["op"]["kind"]) == (2, "illegal_edge", "workout.resume")
    assert await client.export_refused(tmp_path / "refused.ndjson") == 1
    assert orjson.loads((tmp_path / "refused.ndjson").read_bytes()) == refused


async def test_a_rest_exchange_cut_in_any_of_its_messages_ends_in_the_same_state(make, rest, tmp_path):
    """Each time a new person: their phone has one op to push, their watch has written one to pull."""
    relay = await CuttingRelay(rest.port).start()
    whole = await _cut_exchange(make, rest, relay, tmp_path, None)
    assert whole > 1_000
    for count in range(3, whole, STEP):
        await _cut_exchange(make, rest, relay, tmp_path, count)
    await relay.close()


async def _cut_exchange(make, rest, relay, tmp_path, count):
    email = f"{count}@example.com"
    path = tmp_path / f"cut {count}.db"
    phone = await Client.open(
        path, url=relay.url, now_ms=now, transport="rest", patience=Patience(base_ms=1, cap_ms=2)
    )
    relay.mend()
    await phone.register(email, "password", name="p", platform="p")
    stream = rest.streams[email]
    other = stream.enrol()
    op = {"n": 1, "base": 0, "kind": "workout.create", "workout": W, "value": {}, "at": 1}
    assert stream.push(other, {"ops": [op]})["ok"]
    await phone.log("workout.start", W, {}, at=2)
    if count is None:
        relay.passed = 0
    else:
        relay.cut_after(count)
        await phone.connect()
        await phone.until(lambda: relay.left == 0, 10)
        relay.mend()
    await phone.sync(10)
    passed = relay.passed
    assert {W: await phone.digest(W)} == stream.digests()
    assert [tuple(dot) for dot in stream.dots()] == [(2, 1), (1, 1)]
    await phone.close()
    return passed


# -- over real sockets -------------------------------------------------------------------------------------


async def test_two_clients_that_were_offline_for_hours_meet_and_have_the_servers_state(make, server):
    phone, watch = await pair(server, make)
    start = now() - 5 * HOUR
    entry = await begin(phone)
    await phone.sync()
    await watch.sync()
    for minute in range(20):
        await log_set(phone, entry, 5, at=start + 60_000 * minute)
        await log_set(watch, entry, 6, at=start + 60_000 * minute + 30_000)
    await phone.log("workout.edit", W, {"field": "title", "value": "Legs, phone"})
    await watch.log("workout.edit", W, {"field": "title", "value": "Legs, watch"})
    await watch.log("mood.set", W, {"mood": "fine"})
    await watch.log("workout.complete", W, {"rating": 9}, at=start + 2 * HOUR)
    await phone.connect()
    await watch.connect()
    head = len(phone.held.outbox) + len(watch.held.outbox) + phone.held.cursor
    for client in (phone, watch):
        await client.until(lambda c=client: c.settled and c.held.cursor >= head)
    assert await phone.digest(W) == await watch.digest(W) == await served(phone)
    assert await phone.records() == await watch.records()
    document = await watch.state(W)
    assert len(document["exercises"][0]["sets"]) == 40


async def test_live_ops_reach_the_other_device_and_the_states_stay_equal(make, server):
    phone, watch = await pair(server, make)
    await phone.connect()
    await watch.connect()
    entry = await begin(phone)
    for reps in range(1, 6):
        await log_set(phone if reps % 2 else watch, entry, reps)
    for client in (phone, watch):
        await client.until(lambda c=client: c.settled and c.held.cursor >= 8)
    assert await phone.digest(W) == await watch.digest(W) == await served(watch)


async def test_it_comes_back_by_itself_when_the_server_was_away(make, server):
    phone, watch = await pair(server, make)
    await phone.connect()
    await phone.until(lambda: phone.settled)
    await server.stop()
    await phone.until(lambda: not phone.online)
    await begin(phone)
    await server.start()
    await phone.until(lambda: phone.settled and phone.held.cursor == 3)
    await watch.sync()
    assert await watch.digest(W) == await phone.digest(W) == await served(phone)


async def test_a_revoked_device_stops_and_its_ops_go_on_after_the_next_sign_in(make, server):
    phone, watch = await pair(server, make)
    await phone.connect()
    await begin(phone)
    await phone.until(lambda: phone.settled)
    async with server.db.write() as session:
        await Devices(session).revoke(phone.user, phone.device, now())
    await phone.disconnect()
    await phone.log("note.set", W, {"text": "still here"})
    with pytest.raises(Stopped):
        await phone.sync()
    with pytest.raises(Stopped):
        await phone.until(lambda: phone.settled)
    await phone.until(lambda: phone.stopped is not None)
    await adopt(server, phone, phone.user, await server.enrol(phone.user, "phone again"))
    await phone.sync()
    await watch.sync()
    assert (await watch.state(W))["note"] == (await phone.state(W))["note"]
    assert await watch.digest(W) == await phone.digest(W)


async def test_a_socket_exchange_cut_in_any_of_its_messages_ends_in_the_same_state(make, server, tmp_path):
    """Push, acknowledgement and foreign records, cut at bytes all over the conversation."""
    relay = await CuttingRelay(server.port).start()
    whole = await _cut_conversation(make, server, relay, None)
    for count in range(3, whole, STEP):
        await _cut_conversation(make, server, relay, count)
    await relay.close()


async def _cut_conversation(make, server, relay, count):
    user = await server.user()
    phone = await make(relay.url, patience=Patience(base_ms=1, cap_ms=4))
    watch = await make(f"http://127.0.0.1:{server.port}")
    for client in (phone, watch):
        await adopt(server, client, user, await server.enrol(user))
    await watch.log("workout.create", W, {"title": "Legs"})
    await watch.sync()
    await phone.log("workout.start", W, {})
    relay.mend()
    relay.passed = 0
    if count is not None:
        relay.cut_after(count)
        await phone.connect()
        await phone.until(lambda: relay.left == 0 or phone.settled, 10)
        relay.mend()
    await phone.sync(10)
    passed = relay.passed
    await watch.connect()
    await watch.until(lambda: watch.settled and watch.held.cursor == 2)
    assert await phone.digest(W) == await watch.digest(W) == await served(watch)
    assert await phone.records() == await watch.records()
    await phone.close()
    await watch.close()
    return passed


async def test_the_file_of_a_running_client_is_its_own(make, tmp_path):
    client = await make("http://127.0.0.1:9", tmp_path / "one.db")

    def impatient(path):
        connection = open_file(":memory:")
        connection.close()
        other = sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        return other

    with pytest.raises(sqlite3.OperationalError, match="locked"):
        await make("http://127.0.0.1:9", tmp_path / "one.db", opened=impatient)
    assert await client.workouts() == []
    await asyncio.sleep(0)


# -- what the listener hears -----------------------------------------------------------------------------


def heard(log, event):
    return [payload for name, payload in log if name == event]


async def test_the_listener_hears_of_every_record_in_order_when_it_is_in_the_file(make, server):
    told: list[Any] = []
    kept: list[Any] = []

    def hear(event, payload):
        if event == "records":
            told.extend(payload["records"])
            kept.extend(ear._store.at(one["seq"]).body for one in payload["records"])

    phone, watch = await pair(server, make)
    await begin(watch)
    await watch.sync()
    ear: Any = await make(url_of(server), listener=hear)
    await adopt(server, ear, watch.user, await server.enrol(watch.user, "ear"))
    await ear.log("note.set", W, {"text": "first"})
    await ear.sync()
    await phone.log("workout.complete", W, {})
    await phone.sync()
    await ear.sync()
    assert kept == told
    newest = {one["seq"]: one for one in told}
    assert list(newest) == [1, 2, 3, 4, 5]
    assert list(newest.values()) == await ear.records()


async def test_the_listener_hears_of_connections_and_answers(make, server):
    told: list[Any] = []
    user = await server.user()
    phone = await make(url_of(server), listener=lambda *said: told.append(said))
    await adopt(server, phone, user, await server.enrol(user))
    await begin(phone)
    await phone.connect()
    await phone.until(lambda: phone.settled)
    (answer,) = heard(told, "pushed")
    assert [result["verdict"] for result in answer["results"]] == ["applied"] * 3
    await server.stop()
    await phone.until(lambda: bool(heard(told, "offline")))
    await server.start()
    await phone.until(lambda: phone.settled)
    await phone.disconnect()
    lines = [name for name, _ in told if name in ("online", "bye", "offline")]
    assert lines == ["online", "bye", "offline", "online", "offline"]
    assert [one["resumed"] for one in heard(told, "online")] == [False, True]
    assert [one["code"] for one in heard(told, "bye")] == ["draining"]


async def test_waiting_may_be_for_what_the_listener_heard(make, server):
    told: list[Any] = []
    phone, watch = await pair(server, make)
    ear = await make(url_of(server), listener=lambda *said: told.append(said))
    await adopt(server, ear, watch.user, await server.enrol(watch.user, "ear"))
    await ear.connect()
    await ear.until(lambda: ear.settled)
    await log_set(phone, await begin(phone))
    await phone.sync()
    await ear.until(lambda: any(one["kind"] == "totals" for one in heard(told, "insight")), 10)
    assert {one["workout"] for one in heard(told, "insight")} == {W}


async def test_a_listener_that_fails_does_not_stop_sync(make, server):
    def fails(event, payload):
        raise ValueError(event)

    user = await server.user()
    phone = await make(url_of(server), listener=fails)
    await adopt(server, phone, user, await server.enrol(user))
    await begin(phone)
    await phone.sync(10)
    assert (phone.held.cursor, phone.held.outbox) == (3, [])


async def test_asking_again_cuts_the_wait_for_the_next_attempt_short(make, server):
    hours = Patience(base_ms=HOUR, cap_ms=HOUR)
    phone, _ = await pair(server, make, patience=hours, random=lambda: 1.0)
    await phone.connect()
    await phone.until(lambda: phone.settled)
    await server.stop()
    await phone.until(lambda: not phone.online)
    await begin(phone)
    await server.start()
    await phone.connect()
    await phone.until(lambda: phone.settled and phone.held.cursor == 3, 10)
    assert phone.held.outbox == []
