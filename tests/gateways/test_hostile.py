"""What no client of ours would send: it never raises past the gateway, never closes or disturbs others.

Every test here fails when the server logs an exception, when a bystander of the same server hears or loses
anything, or when a socket, a session or a task is left of the attacker.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import msgpack
import orjson
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fitai.gateways.live.frames import CODECS, Frame, Unreadable
from tests.gateways.conftest import Server, Wire, new_id

Connect = Callable[..., Awaitable[Wire]]
Bytes = str | bytes

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

AUTH_S = 0.4
HOLD_S = 5.0  # seconds after which a transport that is neither closed nor answers is held open for nothing
SMALL = 64 * 1024  # the largest packet that these servers take

DEEP = "[" * 50_000
HOSTILE: list[Any] = [
    None,
    True,
    0,
    -1,
    2**63,
    2**64 - 1,
    1e308,
    "",
    "\u0000",
    "x" * 5000,
    [],
    [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]],
    {},
    {"": {}},
    {"ops": None},
    {"ops": {}},
    {"ops": []},
    {"ops": [None]},
    {"ops": [[]]},
    {"ops": [{}]},
    {"ops": [{}] * 501},
    {"ops": [{"n": 2**63, "base": 0, "kind": "note.set", "workout": "0" * 36, "value": {}, "at": 0}]},
    {"after": -1},
    {"after": 2**63},
    {"after": "0"},
    {"after": 0, "limit": 0},
    {"after": 0, "limit": 2**64 - 1},
    {"after": 0, "limit": -5},
    {"workout": None},
    {"workout": 5},
    {"workout": "../../etc/passwd"},
    {"workout": "' OR 1=1 --"},
    {"workout": "\u202e" * 36},
    {"t0": {}},
    {"t0": 2**64 - 1},
    {"t0": 1e308},
    {"token": None},
    {"token": "a.b.c"},
    {"token": "x" * 20_000},
    {"token": "\u0000"},
]
EVENTS = [
    "push",
    "pull",
    "workout:get",
    "telemetry",
    "clock",
    "auth",
    "ready",
    "ops",
    "connect",
    "disconnect",
]
EVENTS += ["bye", "group:push", "__init__", "", "x" * 3000, "\u0000"]


def good_op(**changes: Any) -> dict[str, Any]:
    """A push of one op, with some of the op's fields changed."""
    op = {"n": 1, "base": 0, "kind": "workout.create", "workout": new_id(), "value": {}, "at": 0}
    return {"ops": [{**op, **changes}]}


STRANGE_OPS = [
    good_op(n=0),
    good_op(n=-1),
    good_op(n=2**63 - 1),
    good_op(n=2**63),
    good_op(n=2**64 - 1),
    good_op(n=1.5),
    good_op(n="1"),
    good_op(n=True),
    good_op(base=-1),
    good_op(base=2**53),
    good_op(base=2**64 - 1),
    good_op(base=None),
    good_op(at=2**63),
    good_op(at=-(2**53)),
    good_op(v=0),
    good_op(v=2**40),
    good_op(kind=""),
    good_op(kind="x" * 65),
    good_op(kind=["workout.create"]),
    good_op(workout="x"),
    good_op(workout="0" * 37),
    good_op(entity="x"),
    good_op(value=[]),
    good_op(value="x"),
    good_op(clock={}, base=None),
    good_op(clock={"-1": 1}),
    good_op(clock={"1": 2**53}),
    good_op(clock={"99999999999": 1}),
    good_op(clock={"٣": 1}),
    good_op(clock={str(d): 1 for d in range(500)}),
    good_op(value={"title": "x" * 20_000}),
    good_op(value={"title": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}}}}}}),
    {**good_op(), "epoch": 5},
    {**good_op(), "epoch": "x" * 10_000},
    {**good_op(), "sent_at": 2**63},
    {**good_op(), "sent_at": "now"},
]

TEXT_FRAMES: list[str] = [
    "",
    "4",
    "4x",
    "4-1",
    "49",
    "4٣",
    "42",
    "42[",
    "42/live",
    "42/live,",
    "42/live,[",
    "42/live,[]",
    "42/live,{}",
    "42/live,null",
    "42/live,[1]",
    "42/live,[null,{}]",
    "42/live,[[]]",
    "42/live,7",
    "42/live,7[]",
    "42/live,-7[]",
    "42/live," + "9" * 30 + '["clock",{"t0":1}]',
    "42/live," + "9" * 101 + '["clock",{"t0":1}]',
    "42/live," + "9" * 40_000 + '["clock",{"t0":1}]',
    '42/live,1["clock",{"t0":NaN}]',
    '42/live,1["clock",{"t0":-Infinity}]',
    '42/live,1["clock",{"t0":1e999}]',
    '42/live,1["clock",{"t0":"\\ud800"}]',
    '42/live,1["\\udfff",{}]',
    '42/live,1["clock",{"t0":1,"t0":2}]',
    '42/live,1["clock"',
    "42/live,1" + DEEP,
    '42/live,1["push",' + DEEP,
    '42/live,1["push",{"ops":' + '{"a":' * 10_000,
    "42/live?x=1,[]",
    "42" + "/a" * 9_000 + ",[]",
    '42/other,["push",{}]',
    "42" + '["push",{}]',
    "41",
    "41/live,",
    "41/other,",
    "40",
    "40/other,",
    "40/other,{}",
    "40/" + "x" * 9_000 + ",",
    "40/live,",
    "40/live,{}",
    "40/live,7{}",
    "40/live,[]",
    "40/live,{",
    "43/live,",
    "43/live,1[]",
    "43/live," + "9" * 200 + "[]",
    "44/live,{}",
    '45/live,["push"]',
    '451-/live,1["push",{"_placeholder":true,"num":0}]',
    '459-/live,1["push"]',
    "45999999999999999999999-/live,[]",
    "45-/live,[]",
    "45--/live,[]",
    '461-/live,1[{"_placeholder":true,"num":0}]',
    "47/live,",
    "48/live,[]",
    "0",
    '0{"sid":"x"}',
    "1",
    "1x",
    "2",
    "2probe",
    "2" + "x" * 50,
    "2" + "x" * 5_000,
    "3",
    "3probe",
    "5",
    "6",
    "7",
    "b",
    "bAAAA",
    "\u0000",
    "٣",
    "x" * 60_000,
    "4" + "2" * 60_000,
    "42/live," + "x" * (SMALL + 10),
]
BINARY_FRAMES: list[bytes] = [
    b"",
    b"\x00",
    b"\xff" * 100,
    b"42/live,[]",
    msgpack.packb({"type": 2, "nsp": "/live"}),
]

LIVE: dict[str, Any] = {"type": 2, "nsp": "/live", "id": 1, "data": ["clock", {"t0": 1}]}


def pack(value: Any) -> bytes:
    return bytes(msgpack.packb(value, strict_types=False))


MSGPACK_FRAMES: list[bytes] = [
    b"",
    b"\x00",
    b"\xc1",
    b"\xff" * 100,
    pack(None),
    pack([]),
    pack({}),
    pack({"type": 2}),
    pack({"nsp": "/live"}),
    *(pack({**LIVE, "type": kind}) for kind in (None, "2", 2.0, True, -1, 7, 2**63, [], {}, b"2")),
    *(pack({**LIVE, "nsp": name}) for name in (None, 5, [], {}, b"/live", "/", "/other", "x" * 9_000)),
    *(pack({**LIVE, "id": id}) for id in ("1", 1.5, -1, 2**64 - 1, [], b"1", True)),
    *(
        pack({**LIVE, "data": data})
        for data in (None, 1, "x", {}, [], [None], [1], [[]], [b"push"], ["clock"])
    ),
    *(pack({**LIVE, "type": 0, "data": data}) for data in (None, [], "x", {"token": 5}, b"")),
    *(pack({**LIVE, "type": 0, "nsp": name}) for name in (None, 5, {}, "/other", b"\xff")),
    *(pack({**LIVE, "type": kind}) for kind in (1, 3, 4, 5, 6)),
    pack({**LIVE, "data": ["clock", {"t0": float("nan")}]}),
    pack({**LIVE, "data": ["clock", {"t0": float("inf")}]}),
    pack({**LIVE, "data": ["clock", {"t0": b"\xff"}]}),
    pack({**LIVE, "data": ["clock", {1: 2}]}),
    pack({**LIVE, "data": ["clock", {"t0": msgpack.ExtType(5, b"x")}]}),
    pack({**LIVE, "data": ["clock", {"t0": msgpack.Timestamp(5, 5)}]}),
    pack({**LIVE, "data": ["push", good_op(value={"x": msgpack.Timestamp(5, 5)})]}),
    pack({**LIVE, "data": ["push", good_op(value={"x": b"\xff"})]}),
    pack({**LIVE, "data": ["push", good_op(value={"x": float("nan")})]}),
    pack({**LIVE, "x": msgpack.ExtType(0, b"")}),
    pack(LIVE) + b"more",
    pack(LIVE)[:-3],
    pack(LIVE).replace(b"clock", b"\xed\xa0\x80\xff\xff"),  # a lone surrogate in UTF-8
    b"\x91" * 5_000,  # lists in lists without end
    b"\x81\xa1a" * 5_000,
    b"\xdd\xff\xff\xff\xff",  # a list that claims four thousand million elements
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    pack({**LIVE, "data": ["clock", "x" * (SMALL + 10)]}),
]


# -- the scene -------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_exception_is_logged(caplog: pytest.LogCaptureFixture) -> Any:
    """Neither by us nor by a library, nor by the loop about a task or a callback that failed."""
    with structlog.testing.capture_logs() as ours:
        yield
    theirs = [r for phase in ("setup", "call") for r in caplog.get_records(phase)]
    wrong = [r.getMessage() for r in theirs if r.levelno >= logging.ERROR and _exceptional(r)]
    wrong += [
        str(entry) for entry in ours if entry["log_level"] in ("error", "critical") or "exc_info" in entry
    ]
    assert not wrong, wrong


def _exceptional(record: logging.LogRecord) -> bool:
    return bool(record.exc_info) or record.name.startswith(("asyncio", "aiohttp"))


class Scene:
    """A server, two devices of a bystander who lives on it, and an attacker with an account of his own."""

    def __init__(self, server: Server, phone: Wire, watch: Wire, user: str, device: int) -> None:
        self.server = server
        self.phone = phone
        self.watch = watch
        self.user = user
        self.device = device
        self.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        self._tasks = tasks()

    def url(self, **query: str) -> str:
        pairs = {"EIO": "4", "transport": "websocket", **query}
        text = "&".join(f"{key}={value}" for key, value in pairs.items())
        return f"http://127.0.0.1:{self.server.port}/socket.io/?{text}"

    async def socket(self, codec: str = "json", *, admitted: bool = True) -> Raw:
        """A transport of the attacker's; `admitted` when he has authenticated on it."""
        raw = Raw(await self.http.ws_connect(self.url(codec=codec), max_msg_size=0), codec)
        if admitted:
            await raw.send(*raw.packets(0, {"token": self.server.tokens.issue(self.user, self.device)}))
            await raw.wait_for("ready")
        return raw

    async def undisturbed(self) -> None:
        """The bystander can work, and noticed nothing; nothing of the attacker is left."""
        before = self.watch.position()
        answer = await self.phone.push(self.phone.op("workout.create", new_id()))
        assert answer["ok"], answer
        await self.watch.told(before + 1)
        for wire in (self.phone, self.watch):
            assert not wire.events("bye")
            assert not wire.ws.closed
            assert [p[0] for p in wire.packets].count("connect") == 1
            assert all(r["device"] in (self.phone.device, self.watch.device) for r in wire.records())
            seen = {d["device"] for p in wire.events("presence") for d in p["devices"]}
            assert seen <= {self.phone.device, self.watch.device}
        await self._nothing_left()

    async def _nothing_left(self) -> None:
        """No session, socket or task but the bystander's, soon."""
        for _ in range(250):
            left = self._left()
            if not left:
                break
            await asyncio.sleep(0.02)
        assert not left, left
        assert len(self.server.live.connections) == 2

    def _left(self) -> list[str]:
        live = self.server.live
        left = [f"task {name}" for name in (tasks() - self._tasks).elements()]
        left += [f"session {sid}" for sid in live._sessions][2:]
        # The library forgets the sockets that it has closed when it next looks around.
        return left + [f"socket {sid}" for sid, socket in live.eio.sockets.items() if not socket.closed][2:]


def tasks() -> Counter[str]:
    """What runs besides the test, by the names of the coroutines; a wait for an event comes and goes."""
    running = asyncio.all_tasks() - {asyncio.current_task()}
    names = Counter(str(getattr(task.get_coro(), "__qualname__", task)) for task in running)
    del names["Event.wait"]
    return names


class Raw:
    """A WebSocket on which anything may be sent."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, codec: str) -> None:
        self.ws = ws
        self.codec = codec
        self.heard: list[str] = []

    def packets(self, kind: int, data: Any, id: int | None = None) -> list[Bytes]:
        """A well-formed Socket.IO packet as a frame of this codec."""
        packet: dict[str, Any] = {"type": kind, "nsp": "/live", "data": data}
        if self.codec == "msgpack":
            return [pack(packet if id is None else {**packet, "id": id})]
        return [f"4{kind}/live,{'' if id is None else id}{orjson.dumps(data).decode()}"]

    async def send(self, *frames: Bytes) -> None:
        """Send; a transport that the server has closed swallows it."""
        for frame in frames:
            try:
                await (self.ws.send_str(frame) if isinstance(frame, str) else self.ws.send_bytes(frame))
            except (ConnectionError, aiohttp.ClientError):
                return

    async def wait_for(self, text: str) -> bool:
        """Read until a frame holds this text: True, or until the transport ends: False."""
        async with asyncio.timeout(HOLD_S):
            async for message in self.ws:
                data = message.data
                self.heard.append(data if isinstance(data, str) else data.decode("utf-8", "replace"))
                if text in self.heard[-1]:
                    return True
        return False

    async def alive(self, mark: int) -> bool:
        """Whether events are still answered here (`mark` is a number not used before)."""
        await self.send(*self.packets(2, ["clock", {"t0": mark}], mark))
        if self.codec == "json":
            return await self.wait_for(f'"t0":{mark}')
        return await self.wait_for(pack(mark).decode("utf-8", "replace"))

    async def close(self) -> None:
        await self.ws.close()


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


def frames_of(codec: str) -> Sequence[Bytes]:
    return [*TEXT_FRAMES, *BINARY_FRAMES] if codec == "json" else [*MSGPACK_FRAMES, *TEXT_FRAMES[:20]]


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
        answered = {int(frame[8 : frame.index("[")]) for frame in raw.heard if frame.startswith("43/live,")}
        assert [asked[id - 1] for id in range(1, len(asked) + 1) if id not in answered] == []
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

POSTS: list[bytes] = [
    b"",
    b"\x00",
    b"\xff\xfe\xfd",
    b"9",
    b"x",
    b"4",
    b"42",
    b"42/live,[",
    b"40/live,{",
    b"d=",
    b"d=4",
    b"d=%ff",
    b"\x1e",
    b"\x1e" * 10,
    b"\x1e" * 1000,
    b"4\x1e4\x1e4",
    b"b",
    b"b!!!!",
    b"bAAAA",
    b"0",
    b"2",
    b"2probe",
    b"5",
    b"6",
    b"42/live," + b"[" * 30_000,
    b'451-/live,["push",{"_placeholder":true,"num":0}]',
    b"42/live," + b"x" * (SMALL + 10),
    b"1",
]


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
    written = await thief.push(thief.op("workout.complete", workout), thief.op("workout.create", workout))
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
