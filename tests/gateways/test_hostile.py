"""What no client of ours would send: it never raises past the gateway, never closes or disturbs others.

Every test here fails when the server logs an exception, when a bystander of the same server hears or loses
anything, or when a socket, a session or a task is left of the attacker.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fitai.gateways.live.frames import CODECS, Frame, Unreadable
from tests.gateways.attacker import Raw, Scene, tiny_socket
from tests.gateways.conftest import Server, Wire, new_id
from tests.gateways.hostile import (
    EVENTS,
    HOSTILE,
    POSTS,
    SMALL,
    STRANGE_OPS,
    Bytes,
    frames_of,
    good_op,
    pack,
)

Connect = Callable[..., Awaitable[Wire]]

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.usefixtures("no_exception_is_logged"),
]

AUTH_S = 2.0

# -- the scene -------------------------------------------------------------------------------------


@pytest.fixture
async def scene(make_server: Callable[..., Awaitable[Server]], connect: Connect) -> AsyncIterator[Scene]:
    limits = {"auth_s": AUTH_S, "bye_s": 0.2, "rates": False, "packet_bytes": SMALL}
    server = await make_server(limits=limits)
    bystander, attacker = await server.user(), await server.user()
    phone = await connect(server, bystander, await server.enrol(bystander))
    watch = await connect(server, bystander, await server.enrol(bystander), codec="msgpack")
    scene = Scene(server, phone, watch, attacker, await server.enrol(attacker))
    yield scene
    await scene.http.close()


# -- packets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("admitted", [False, True])
async def test_a_malformed_frame_ends_at_most_the_connection_that_sent_it(
    scene: Scene, codec: str, admitted: bool
) -> None:
    survived = 0
    for mark, frame in enumerate(frames_of(codec), 1000):
        raw = await scene.socket(codec, admitted=admitted)
        await raw.send(frame)
        try:
            survived += admitted and await raw.alive(mark)
        except TimeoutError:
            raise AssertionError(f"after {frame[:60]!r} the transport is held open for nothing") from None
        await raw.close()
    assert 0 < survived < len(frames_of(codec)) or not admitted
    await scene.undisturbed()


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_every_event_with_a_readable_envelope_is_answered_and_the_connection_survives_it(
    scene: Scene, codec: str
) -> None:
    raw = await scene.socket(codec)
    payloads = HOSTILE + STRANGE_OPS if codec == "msgpack" else [p for p in HOSTILE + STRANGE_OPS if _json(p)]
    asked = [(event, payload) for event in EVENTS for payload in payloads]
    for id, (event, payload) in enumerate(asked, 1):
        await raw.send(*raw.packets(2, [event, payload], id))
        if id % 100 == 0 or id == len(asked):
            assert await raw.alive(10**6 + id), raw.heard[-3:]
    if codec == "json":
        ids = set(range(1, len(asked) + 1))
        while ids - raw.acks():  # a push that waits for a commit is answered after it
            assert await raw.wait_for("43/live,"), [asked[id - 1] for id in ids - raw.acks()]
    await raw.send(*raw.packets(2, ["push"], 1), *raw.packets(2, ["clock", {}, {}, []], 2))
    assert await raw.alive(2 * 10**6)
    await raw.close()
    await scene.undisturbed()


def _json(payload: Any) -> bool:
    try:
        orjson.dumps(payload)
    except TypeError:
        return False
    return True


@pytest.mark.parametrize("seed", range(6))
async def test_mutated_packets_disturb_nobody(scene: Scene, seed: int) -> None:
    """Valid packets, bent at random: cut, doubled, spliced, and some in the other sort of frame."""
    rng = random.Random(seed)
    codec = ("json", "msgpack")[seed % 2]
    raw = await scene.socket(codec)
    seeds: list[Bytes] = [
        *raw.packets(2, ["push", good_op()], 1),
        *raw.packets(2, ["pull", {"after": 0, "limit": 5}], 2),
        *raw.packets(2, ["workout:get", {"workout": new_id()}], 3),
        *raw.packets(2, ["telemetry", {"workout": new_id(), "hr": 100}], 4),
        *raw.packets(0, {"token": "x"}),
        *frames_of(codec)[:40],
    ]
    opened = 1
    for mark in range(1000, 1060):
        await raw.send(*(mutated(rng, rng.choice(seeds), rng.choice(seeds)) for _ in range(8)))
        if not await raw.alive(mark):
            raw = await scene.socket(codec, admitted=rng.random() < 0.8)
            opened += 1
    await raw.close()
    assert opened > 5
    await scene.undisturbed()


def mutated(rng: random.Random, frame: Bytes, other: Bytes) -> Bytes:
    """The frame with one to four accidents."""
    data = frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else frame
    more = other.encode("utf-8", "surrogatepass") if isinstance(other, str) else other
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(data))
        match rng.randrange(5):
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
            case 2:
                data = data[:at] + rng.randbytes(rng.randint(1, 5)) + data[at:]
            case 3:
                data = data[:at] + more[rng.randint(0, len(more)) :]
            case _:
                data = data[:at] + data[max(0, at - 9) :]
    as_text = isinstance(frame, str) ^ (rng.random() < 0.05)
    return data.decode("utf-8", "ignore") if as_text else data


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=12,
)


@given(st.text() | st.text(alphabet='0123456789-/live,?[]{}":pushnul \\'))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_text_frame_is_a_packet_or_unreadable(database_url: str, frame: str) -> None:
    assert decodes("json", frame) is not None


@given(st.binary() | JSONISH.map(lambda v: packed_or_empty({"type": 2, "nsp": "/live", "data": v, "id": v})))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_binary_frame_is_a_packet_or_unreadable(database_url: str, frame: bytes) -> None:
    assert decodes("msgpack", frame) is not None


def packed_or_empty(value: Any) -> bytes:
    try:
        return pack(value)
    except (OverflowError, UnicodeEncodeError, ValueError):
        return b""


def decodes(codec: str, frame: Bytes) -> bool:
    """True for a packet with a type and an id that can be answered, False for Unreadable; else it raises."""
    try:
        packet = CODECS[codec].decode(frame)
    except Unreadable:
        return False
    assert type(packet.packet_type) is int
    assert packet.id is None or isinstance(packet.id, int)
    CODECS[codec].packet(3, [{"ok": False}], packet.id).encode()
    return True


# -- connecting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_connect_with_garbage_is_refused_with_a_code_and_the_transport_closed_in_time(
    scene: Scene, codec: str
) -> None:
    garbage: list[Any] = [
        None,
        [],
        5,
        "x",
        {},
        {"token": None},
        {"token": 5},
        {"token": ["x"]},
        {"token": ""},
    ]
    garbage += [{"token": "a.b.c"}, {"token": "x" * 9000}, {"token": "\u0000"}, {"token": "é.é.é"}]
    garbage += [{"token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."}]
    opened = [await scene.socket(codec, admitted=False) for _ in garbage]
    for raw, auth in zip(opened, garbage, strict=True):
        await raw.send(*raw.packets(0, auth))
        assert await raw.wait_for("unauthorized"), auth
    for raw in opened:
        assert not await raw.wait_for("never")
    await scene.undisturbed()


async def test_who_does_not_authenticate_is_closed_in_time(scene: Scene) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    silent = await scene.socket(admitted=False)
    chatty = await scene.socket(admitted=False)
    await chatty.send("3", "40/other,", *chatty.packets(2, ["push", good_op()], 1), *chatty.packets(1, None))
    assert not await silent.wait_for("never")
    assert loop.time() - began >= AUTH_S * 0.9
    assert not await chatty.wait_for("never")
    assert not any(frame.startswith("43") for frame in chatty.heard), "answered before it authenticated"
    await scene.undisturbed()


async def test_who_polls_and_does_not_authenticate_is_forgotten_in_time(scene: Scene) -> None:
    async with scene.http.get(scene.url(transport="polling")) as opened:
        assert opened.status == 200
    await scene.undisturbed()


async def test_events_before_connect_are_not_answered_and_change_nothing(scene: Scene) -> None:
    raw = await scene.socket(admitted=False)
    for event in EVENTS[:6]:
        await raw.send(*raw.packets(2, [event, good_op()], 9))
    await raw.send(*raw.packets(0, {"token": scene.server.tokens.issue(scene.user, scene.device)}))
    assert await raw.wait_for("ready")
    assert await raw.alive(7)
    assert not any(frame.startswith("43/live,9") for frame in raw.heard)
    host = await scene.server.hosts.open(scene.user)
    assert host.head == 0
    await raw.close()
    await scene.undisturbed()


async def test_a_second_connect_on_a_connection_changes_nothing(scene: Scene) -> None:
    raw = await scene.socket(admitted=False)
    token = {"token": scene.server.tokens.issue(scene.user, scene.device)}
    other = {"token": scene.server.tokens.issue(scene.phone.user, scene.phone.device)}
    await raw.send(*raw.packets(0, token), *raw.packets(0, token), *raw.packets(0, other))
    assert await raw.wait_for("ready")
    await raw.send(*raw.packets(0, other), *raw.packets(0, token), *raw.packets(0, {"token": "x"}))
    assert await raw.alive(1)
    assert await raw.alive(2)
    assert sum('"ready"' in frame for frame in raw.heard) == 1
    assert sum(frame.startswith("40/live,") for frame in raw.heard) == 1
    await raw.close()
    await scene.undisturbed()


async def test_a_client_may_leave_the_namespace_and_come_back_on_one_transport(scene: Scene) -> None:
    raw = await scene.socket()
    for mark in range(5):
        await raw.send(*raw.packets(1, None))
        await raw.send(*raw.packets(0, {"token": scene.server.tokens.issue(scene.user, scene.device)}))
        assert await raw.wait_for("ready")
        assert await raw.alive(mark + 100)
    await raw.close()
    await scene.undisturbed()


async def test_a_flood_of_connections_that_say_nothing_leaves_nothing(scene: Scene) -> None:
    opened = [await scene.socket(admitted=False) for _ in range(60)]
    for raw in opened[::2]:
        raw.ws._writer.transport.abort()
    assert (await scene.phone.call("clock", {"t0": 1}))["t0"] == 1
    for raw in opened[1::2]:
        assert not await raw.wait_for("never")
    for raw in opened:
        await raw.close()
    await scene.undisturbed()


# -- long-polling ----------------------------------------------------------------------------------


async def test_garbage_over_long_polling_disturbs_nobody(scene: Scene) -> None:
    polling = {"transport": "polling"}
    for body in POSTS:
        async with scene.http.get(scene.url(**polling)) as opened:
            sid = orjson.loads((await opened.text())[1:])["sid"]
        for _ in range(2):
            async with scene.http.post(scene.url(**polling, sid=sid), data=body) as answer:
                assert answer.status in (200, 400, 413), (body[:50], answer.status)
        async with scene.http.post(scene.url(**polling, sid=sid), data=b"1") as answer:
            assert answer.status in (200, 400)
    await scene.undisturbed()


async def test_strange_requests_are_refused(scene: Scene) -> None:
    strange = [
        {"transport": "polling", "EIO": "3"},
        {"transport": "polling", "EIO": ""},
        {"transport": "carrier-pigeon"},
        {"transport": "polling", "sid": "x"},
        {"transport": "websocket", "sid": "../x"},
        {"transport": "polling", "j": "x"},
        {"transport": "websocket"},  # without an Upgrade header
        {"transport": "polling", "sid": "%00"},
    ]
    for query in strange:
        for method in ("GET", "POST"):
            async with scene.http.request(method, scene.url(**query), data=b"4") as answer:
                assert answer.status == 400, (query, method)
    for method in ("PUT", "DELETE", "PATCH"):
        async with scene.http.request(method, scene.url()) as answer:
            assert answer.status == 405
    await scene.undisturbed()


async def test_a_garbage_upgrade_of_a_polling_session_disturbs_nobody(scene: Scene) -> None:
    for probe in ("", "2", "3probe", "2probe", "4", "x", "42/live,[]", "5"):
        async with scene.http.get(scene.url(transport="polling")) as opened:
            sid = orjson.loads((await opened.text())[1:])["sid"]
        raw = Raw(await scene.http.ws_connect(scene.url(sid=sid)), "json")
        await raw.send(probe, "x", "5garbage")
        await raw.close()
    await scene.undisturbed()


async def test_a_client_that_came_by_polling_and_stalls_after_its_upgrade_is_cut_in_time(
    scene: Scene,
) -> None:
    host = await scene.server.hosts.open(scene.user)
    async with scene.http.get(scene.url(transport="polling")) as opened:
        sid = orjson.loads((await opened.text())[1:])["sid"]
    raw = Raw(await scene.http.ws_connect(scene.url(sid=sid)), "json")
    await raw.send("2probe")
    assert await raw.wait_for("3probe")
    await raw.send("5", *raw.packets(0, {"token": scene.server.tokens.issue(scene.user, scene.device)}))
    assert await raw.wait_for("ready")
    big = Frame("insight", {"id": new_id(), "text": "x" * 200_000})
    for _ in range(500):  # nobody reads: first the kernel's buffers are full, then the queue
        host.broadcast(big)
        await asyncio.sleep(0.005)
        if not host.connections:
            break
    assert not host.connections, "never closed as slow"
    await scene.undisturbed()


async def test_where_long_polling_is_off_it_is_answered_websocket_only(
    make_server: Callable[..., Awaitable[Server]], connect: Connect
) -> None:
    server = await make_server(polling=False)
    async with aiohttp.ClientSession() as http:
        for query in ("EIO=4&transport=polling", "EIO=4", "EIO=4&transport=polling&sid=x"):
            for method in ("GET", "POST"):
                url = f"http://127.0.0.1:{server.port}/socket.io/?{query}"
                async with http.request(method, url) as answer:
                    assert answer.status == 400
                    assert (await answer.json())["code"] == "websocket_only"
    user = await server.user()
    wire = await connect(server, user, await server.enrol(user))
    assert (await wire.call("clock", {"t0": 1}))["t0"] == 1


# -- stalled ---------------------------------------------------------------------------------------


async def test_a_stalled_client_is_told_slow_when_it_wakes_and_resumes_without_a_hole(
    make_server: Callable[..., Awaitable[Server]], connect: Connect
) -> None:
    server = await make_server(limits={"bye_s": 10.0, "queue_bytes": 200_000, "rates": False})
    user = await server.user()
    phone = await connect(server, user, await server.enrol(user))
    watch = await server.enrol(user)
    tiny = aiohttp.TCPConnector(socket_factory=tiny_socket)
    async with aiohttp.ClientSession(connector=tiny) as http:
        url = f"http://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=websocket"
        raw = Raw(await http.ws_connect(url, max_msg_size=0), "json")
        await raw.send(*raw.packets(0, {"token": server.tokens.issue(user, watch)}))
        assert await raw.wait_for('"ready"')
        workout, host = new_id(), await server.hosts.open(user)
        while len(host.connections) == 2:  # nobody reads on the watch
            notes = [phone.op("note.set", workout, {"text": "x" * 5000}) for _ in range(5)]
            assert (await phone.push(*notes))["ok"]
            assert phone.next_n < 10_000, "never found out"
        assert await raw.wait_for('"bye"')
        assert '"code":"slow","reconnect":true' in raw.heard[-1]
        assert not await raw.wait_for("never")
    frames = [
        orjson.loads(text[len("42/live,") :])[1] for text in raw.heard if text.startswith('42/live,["ops"')
    ]
    assert [frame["from"] for frame in frames[1:]] == [frame["to"] + 1 for frame in frames[:-1]]
    cursor = {"epoch": frames[0]["epoch"], "seq": frames[-1]["to"]}
    back = await connect(server, user, watch, cursor=cursor)
    await back.told(host.head)
    assert [record["seq"] for record in back.records()] == list(range(cursor["seq"] + 1, host.head + 1))


# -- other people's things -------------------------------------------------------------------------


async def test_another_user_s_things_do_not_exist(scene: Scene, connect: Connect) -> None:
    phone, watch = scene.phone, scene.watch
    workout = new_id()
    await phone.push(
        phone.op("workout.create", workout, {"title": "mine"}), phone.op("workout.start", workout)
    )
    epoch = phone.events("ready")[0]["epoch"]
    thief = await connect(scene.server, scene.user, scene.device, cursor={"epoch": epoch, "seq": 0})
    ready = thief.events("ready")[0]
    assert (ready["resumed"], ready["head"], ready["epoch"] == epoch) == (False, 0, False)
    known, unknown = [await thief.call("workout:get", {"workout": id}) for id in (workout, new_id())]
    assert known == unknown
    assert known["code"] == "not_found"
    assert (await thief.call("pull", {"after": 0}))["records"] == []
    assert (await thief.call("pull", {"after": 1}))["code"] == "bad_request"
    token = scene.server.tokens.issue(phone.user, phone.device)
    assert (await thief.call("auth", {"token": token}))["code"] == "unauthorized"
    await thief.send(2, ["telemetry", {"workout": workout, "hr": 99}])
    written = await thief.push(
        thief.op("set.remove", workout, entity=new_id()), thief.op("workout.create", workout)
    )
    assert [r["verdict"] for r in written["results"]] == ["deferred", "applied"]
    own = (await thief.call("workout:get", {"workout": workout}))["state"]
    theirs = (await watch.call("workout:get", {"workout": workout}))["state"]
    assert (theirs["title"], theirs["status"], theirs["rev"]) == ("mine", "active", 2)
    assert own["title"] is None
    assert {d["device"] for p in thief.events("presence") for d in p["devices"]} == {scene.device}
    assert watch.events("telemetry") == []
    assert {i["workout"] for i in thief.events("insight")} <= {workout}
    await thief.close()
    await scene.undisturbed()
