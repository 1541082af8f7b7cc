"""Every attack over every way in: a socket or REST, JSON or msgpack, plain or compressed.

Each is refused with its own code, nothing of it is stored, the connection lives on, and somebody else on the
same server neither hears of it nor loses anything. No exception is logged.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from dataclasses import dataclass
from typing import Any

import msgpack
import orjson
import pytest
import zstandard
from yarl import URL

from fitai.engine.workout import digest
from fitai.persistence.log import Log
from tests.gateways.conftest import Wire
from tests.http.conftest import Person
from tests.http.sync.attacks import ATTACKS, VALUES, Victim, encoded, op
from tests.http.sync.conftest import new_id

pytestmark = pytest.mark.usefixtures("no_exception_is_logged")

TYPES = {"json": "application/json", "msgpack": "application/msgpack"}
PACKERS: dict[str, Any] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


# -- the ways in -------------------------------------------------------------------------------------


@dataclass
class Socket:
    """Events on one socket."""

    wire: Wire

    @property
    def codec(self) -> str:
        return self.wire.codec

    async def push(self, body: bytes) -> dict[str, Any]:
        """The answer to a push of these bytes; a code of our own when the connection ends instead."""
        id = next(self.wire._ids)
        if self.codec == "json":
            await self.wire.ws.send_str(f'42/live,{id}["push",' + body.decode() + "]")
        else:  # in the order of the stock client's parser: the id comes last
            head = b"\x84\xa4type\x02\xa4data\x92\xa4push"
            await self.wire.ws.send_bytes(head + body + b"\xa2id" + msgpack.packb(id) + b"\xa3nsp\xa5/live")
        answer = asyncio.ensure_future(self.wire.ack(id))
        await asyncio.wait({answer, self.wire._reader}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            return {"ok": False, "code": "the connection ended"}
        told: dict[str, Any] = await answer
        return told


@dataclass
class Rest:
    """Requests, with bodies in a codec and a compression."""

    person: Person
    codec: str
    packing: str | None

    async def push(self, body: bytes) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.person.token}", "Content-Type": TYPES[self.codec]}
        if self.packing is not None:
            body, headers["Content-Encoding"] = PACKERS[self.packing](body), self.packing
        client = self.person.api.client
        async with client.post("/sync/push", data=body, headers=headers) as response:
            told: dict[str, Any] = await _read(response)
            assert response.status < 500, told
            assert told["ok"] == (response.status == 200)
        return told


async def _read(response: Any) -> Any:
    raw = await response.read()
    return msgpack.unpackb(raw) if response.content_type == TYPES["msgpack"] else orjson.loads(raw)


WAYS = {
    "socket, json": ("socket", "json", None),
    "socket, msgpack": ("socket", "msgpack", None),
    "rest, json": ("rest", "json", None),
    "rest, msgpack": ("rest", "msgpack", None),
    "rest, json in gzip": ("rest", "json", "gzip"),
    "rest, msgpack in zstd": ("rest", "msgpack", "zstd"),
    "rest, json in deflate": ("rest", "json", "deflate"),
}


class Scene:
    """Ada, who was here before, and Eve, who means harm."""

    def __init__(self, ada: Person, eve: Person, phone: Wire, way: Any) -> None:
        self.ada, self.eve, self.phone, self.way = ada, eve, phone, way

    async def begin(self) -> None:
        """Ada trains."""
        phone, workout, entry = self.phone, new_id(), new_id()
        bench = {"exercise": "bench press", "position": "a"}
        ops = [
            phone.op("workout.create", workout, {"title": "Push"}),
            phone.op("workout.start", workout),
            phone.op("exercise.add", workout, bench, entity=entry),
        ]
        await phone.push(*ops)
        late = phone.op("note.set", workout, {"text": "heavy"}, base=3)
        await phone.push(late)
        records = await self.records(self.ada)
        epoch = phone.events("ready")[0]["epoch"]
        self.victim = Victim(workout, entry, self.ada.device, epoch, 4, [*ops, late], records)
        self.before = await self.standing()
        self.heard = self.told()

    async def records(self, person: Person) -> list[dict[str, Any]]:
        async with person.api.db.read() as session:
            stream = await Log(session).stream_of(person.id)
            assert stream is not None
            return [record.wire() for record in await Log(session).read(stream.id, 0, 10_000)]

    async def standing(self) -> Any:
        """All that Ada has: her log, its head, and what her workout looks like."""
        state = await self.ada.call("GET", f"/workouts/{self.victim.workout}")
        pulled = await self.ada.call("GET", "/sync/pull")
        return await self.records(self.ada), pulled.body["head"], digest(state.body), state.body["rev"]

    def told(self) -> list[Any]:
        """What came to her phone, but for what is derived from her own ops, in its own time."""
        return [packet for packet in self.phone.packets if packet[:2] != ["event", "insight"]]

    async def undisturbed(self) -> None:
        """Ada has what she had, has heard nothing, and can go on."""
        assert await self.standing() == self.before
        assert self.told() == self.heard
        assert not self.phone.ws.closed
        answer = await self.phone.push(self.phone.op("workout.pause", self.victim.workout, base=4))
        assert answer["results"] == [{**answer["results"][0], "n": 5, "seq": 5, "verdict": "applied"}]


@pytest.fixture
async def scene(request, database_url, make_api):
    kind, codec, packing = WAYS[request.param]
    api = await make_api(database_url, live=True)
    # Ada's second device, so that its number is none of Eve's.
    ada, eve = await api.login(await api.register()), await api.register()
    wires = [Wire(_server(api), person.id, person.device, c) for person, c in ((ada, "json"), (eve, codec))]
    await wires[0].connect(token=ada.token)
    if kind == "socket":
        await wires[1].connect(token=eve.token)
    scene = Scene(ada, eve, wires[0], Socket(wires[1]) if kind == "socket" else Rest(eve, codec, packing))
    await scene.begin()
    yield scene
    for wire in wires[: 2 if kind == "socket" else 1]:
        await wire.close()


def _server(api: Any) -> Any:
    """What a Wire asks of a server."""

    class Server:
        port, clock, tokens = api.client.port, api.clock, api.tokens

    return Server


every_way = pytest.mark.parametrize("scene", WAYS, indirect=True)
one_engine = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For attacks of which nothing reaches the database; where something does, both are tried."""


# -- refused -----------------------------------------------------------------------------------------


@one_engine
@every_way
@pytest.mark.parametrize("sort", ATTACKS)
async def test_an_attack_is_refused_with_its_code_and_nothing_of_it_is_stored(scene, sort):
    attacks = [attack for attack in ATTACKS[sort] if scene.way.codec in attack.codecs]
    wrong = []
    for attack in attacks:
        answer = await scene.way.push(encoded(attack.payload(scene.victim), scene.way.codec))
        if (answer["ok"], answer["code"]) != (False, attack.code):
            wrong.append((attack.name, attack.code, answer))
    assert wrong == []
    assert await scene.records(scene.eve) == []
    good = await scene.way.push(encoded({"ops": [op()]}, scene.way.codec))
    assert good["results"] == [{**good["results"][0], "n": 1, "seq": 1, "verdict": "applied"}]
    await scene.undisturbed()


@one_engine
@every_way
@pytest.mark.parametrize("cut", [1, 2, 20, -1])
async def test_a_push_that_is_cut_off_is_refused_or_ends_its_own_connection(scene, cut):
    whole = encoded({"ops": [op()]}, scene.way.codec)
    answer = await scene.way.push(whole[:cut])
    ends = ("bad_request", "the connection ended") if isinstance(scene.way, Socket) else ("bad_request",)
    assert answer["code"] in ends
    assert await scene.records(scene.eve) == []
    await scene.undisturbed()


# -- understood, and without effect on anybody else ----------------------------------------------------


@every_way
async def test_a_replayed_batch_of_somebody_else_is_an_own_one(scene):
    """Whoever sends it wrote it: the token says so, whatever the ops say of themselves."""
    victim = scene.victim
    copied = [{**record, "base": 0, "user": scene.ada.id} for record in victim.records]
    answer = await scene.way.push(encoded({"ops": copied}, scene.way.codec))
    assert [result["seq"] for result in answer["results"]] == [1, 2, 3, 4]
    own = await scene.records(scene.eve)
    assert {record["device"] for record in own} == {scene.eve.device}
    again = await scene.way.push(encoded({"ops": list(victim.ops)}, scene.way.codec))
    assert again["code"] == "equivocation", "they differ from what was written here first"
    await scene.undisturbed()


@every_way
async def test_ids_of_somebody_else_name_things_of_ones_own(scene):
    victim, eve = scene.victim, scene.eve
    workout, entry = victim.workout, victim.entity
    lift = {"exercise_entry": entry, "type": "working", "reps": 9}
    ops = [
        op(n=1, workout=workout, kind="set.log", value=lift),
        op(n=2, workout=workout, kind="workout.edit", value={"field": "title", "value": "stolen"}),
        op(n=3, workout=workout, kind="exercise.remove", entity=entry),
        op(n=4, workout=workout.upper(), kind="note.set", value={"text": "x", "parent": [victim.device, 4]}),
        op(n=5, workout=workout, kind="conflict.choose", value={"field": "title", "dot": [victim.device, 1]}),
        op(n=6, kind="workout.create"),
        op(n=7, kind="workout.merge", value={"into": workout}),
        op(n=8, workout=workout, kind="workout.create"),
    ]
    answer = await scene.way.push(encoded({"ops": ops}, scene.way.codec))
    assert [result["seq"] for result in answer["results"]] == list(range(1, 9))
    own = await eve.call("GET", f"/workouts/{workout}")
    assert (own.status, own.body["title"], own.body["exercises"]) == (200, "stolen", [])
    assert "heavy" not in str(own.body)
    await scene.undisturbed()


@every_way
async def test_an_op_without_sense_is_void_at_its_place(scene):
    workout, wrong = new_id(), []
    first = {"ops": [op(workout=workout), op(n=2, workout=workout, kind="workout.start")]}
    await scene.way.push(encoded(first, scene.way.codec))
    pushed = [op(n=n, workout=workout, kind=kind, value=value) for n, (kind, value) in enumerate(VALUES, 3)]
    answer = await scene.way.push(encoded({"ops": pushed}, scene.way.codec))
    for result, sent in zip(answer["results"], pushed, strict=True):
        if (result["verdict"], result.get("code")) != ("void", "bad_value"):
            wrong.append((sent["kind"], sent["value"], result))
    assert wrong == []
    listed = await scene.eve.call("GET", "/sync/void?limit=500")
    assert [record["n"] for record in listed.body["records"]] == [sent["n"] for sent in pushed[::-1]]
    state = await scene.eve.call("GET", f"/workouts/{workout}")
    assert (state.body["status"], state.body["rev"]) == ("active", len(pushed) + 2)
    await scene.undisturbed()


@every_way
async def test_strange_but_plain_values_come_back_as_they_were(scene):
    """Of kinds and fields that nobody here knows: the largest and smallest numbers, NUL, and odd text."""
    odd = [2**63 - 1, 2**63, 2**64 - 1, -(2**63), 1e308, 5e-324, -0.5, "", "\u0000", "a\u0000b", "\u202e"]
    odd += ["' OR 1=1 --", "\uffff", "\U0010ffff", [], {}, None, {"": {"\u0000": []}}, [[[[[[[[]]]]]]]]]
    ops = [op(n=n, kind=f"x.{chr(n % 2)}y", value={"x": x}, more=x) for n, x in enumerate(odd, 1)]
    answer = await scene.way.push(encoded({"ops": ops}, scene.way.codec))
    assert {result["verdict"] for result in answer["results"]} == {"deferred"}
    pulled = (await scene.eve.call("GET", "/sync/pull")).body["records"]
    assert [(r["value"], r["more"], r["kind"]) for r in pulled] == [
        (o["value"], o["more"], o["kind"]) for o in ops
    ]
    again = await scene.way.push(encoded({"ops": ops}, scene.way.codec))
    assert {result["verdict"] for result in again["results"]} == {"duplicate"}
    await scene.undisturbed()


@every_way
async def test_absurd_clocks_are_clamped_and_refuse_nothing(scene):
    far = 2**53 - 1
    for n, (at, sent_at) in enumerate(((-far, far), (far, -far), (-far, -far), (far, far), (0, far)), 1):
        answer = await scene.way.push(encoded({"ops": [op(n=n, at=at)], "sent_at": sent_at}, scene.way.codec))
        assert [result["verdict"] for result in answer["results"]] == ["applied"]
    told = [record["te"] for record in await scene.records(scene.eve)]
    assert told == sorted(told)
    assert told[0] >= -far
    assert told[-1] <= scene.eve.api.clock.now
    assert (await scene.eve.call("GET", "/workouts")).status == 200
    await scene.undisturbed()


# -- bombs -------------------------------------------------------------------------------------------

MIB = 2**20


def _bombs() -> dict[str, tuple[str, bytes, str]]:
    """{name: (encoding, body, code)}; none is longer than what a body may be."""
    gz, df, zs = PACKERS["gzip"], PACKERS["deflate"], PACKERS["zstd"]
    spaces = b" " * (64 * MIB)
    push = orjson.dumps({"ops": [op()]})
    skipped = b"\x50\x2a\x4d\x18" + (100).to_bytes(4, "little") + b"x" * 100
    endless = b"\x1f\x8b\x08\x08" + bytes(6) + b"name" * 200_000  # a gzip header whose file name never ends
    window = b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\x00\x00"  # a zstd frame that asks for 2 GiB of window
    claims = b"\x28\xb5\x2f\xfd\xe0" + (2**62).to_bytes(8, "little") + b"\x01\x00\x00"  # and for 4 EiB in all
    return {
        "a gzip bomb": ("gzip", gz(spaces), "too_large"),
        "a deflate bomb": ("deflate", df(spaces), "too_large"),
        "a zstd bomb": ("zstd", zs(spaces), "too_large"),
        "a gzip bomb in a gzip bomb": ("gzip", gz(gz(spaces) + bytes(8 * MIB)), "too_large"),
        "an op after a megabyte of nothing": ("gzip", gz(b" " * MIB + push), "too_large"),
        "ten thousand gzip members": ("gzip", gz(b" " * 90) * 10_000, "bad_request"),
        "ten thousand empty gzip members": ("gzip", gz(b"") * 10_000, "bad_request"),
        "ten thousand zstd frames": ("zstd", zs(b" " * 90) * 10_000, "bad_request"),
        "ten thousand empty zstd frames": ("zstd", zs(b"") * 10_000, "bad_request"),
        "a push, then a bomb": ("gzip", gz(push) + gz(spaces), "bad_request"),
        "a push, then a zstd bomb": ("zstd", zs(push) + zs(spaces), "bad_request"),
        "a zstd frame to be skipped, then a bomb": ("zstd", skipped + zs(spaces), "too_large"),
        "nothing but zstd frames to be skipped": ("zstd", skipped * 5_000, "bad_request"),
        "a gzip header without an end": ("gzip", endless, "bad_request"),
        "a zstd window of 2 GiB": ("zstd", window, "bad_request"),
        "a zstd frame that claims 4 EiB": ("zstd", claims, "bad_request"),
        "gzip that is zstd": ("gzip", zs(push), "bad_request"),
        "zstd that is gzip": ("zstd", gz(push), "bad_request"),
    }


BOMBS = _bombs()


@one_engine
@pytest.mark.parametrize("scene", ["rest, json", "rest, msgpack"], indirect=True)
@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_does_not_go_off(scene, name):
    encoding, body, code = BOMBS[name]
    assert len(body) <= MIB
    headers = {"Authorization": f"Bearer {scene.eve.token}", "Content-Encoding": encoding}
    headers["Content-Type"] = TYPES[scene.way.codec]
    async with scene.eve.api.client.post("/sync/push", data=body, headers=headers) as response:
        told = await _read(response)
    assert (told["ok"], told["code"]) == (False, code), told
    assert await scene.records(scene.eve) == []
    await scene.undisturbed()


@one_engine
@pytest.mark.parametrize("scene", ["socket, json", "socket, msgpack"], indirect=True)
async def test_a_compressed_frame_on_a_socket_ends_that_socket_unread(scene):
    """Compression is not agreed on; who sends it all the same is not listened to."""
    deflated = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = deflated.compress(b" " * (64 * MIB)) + deflated.flush(zlib.Z_SYNC_FLUSH)
    assert len(bomb) < MIB
    frame = b"\xc1\xff" + len(bomb).to_bytes(8) + bytes(4) + bomb  # RSV1, masked with zeros
    wire = scene.way.wire
    wire.ws._writer.transport.write(frame)
    await wire.gone()
    await scene.undisturbed()


# -- questions ---------------------------------------------------------------------------------------

QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    *(("pull", {"after": odd}) for odd in (-1, 5, 2**53, 2**63, 2**64 - 1, "x", 0.5, "", "\u0000", "1e3")),
    *(("pull", {"after": 0, "limit": odd}) for odd in (0, -1, 2**63, 2**64 - 1, "x", 0.5)),
]
NAN = ("NaN", "Infinity", "%00", "%ff", "%ed%a0%80", "٣", "1_0", "0x1", "9" * 99)
CURSORS = ("x", "%00", "%ff", "W10", "W251bGxd", "e30", "Ii4i", "=" * 200, "A" * 257)
ASKED = [
    *(f"pull?after={odd}" for odd in NAN),
    *(f"snapshot?at={odd}" for odd in ("-1", "1", "x", 2**53, 2**63, 2**64)),
    *(f"snapshot?after={odd}" for odd in CURSORS),
    *(f"void?after={odd}" for odd in ("x", "-1", "1.5", "%00", "٣", "9" * 17)),
    *(f"void?limit={odd}" for odd in ("0", "-1", "501", "x", 2**64)),
    *("pull?after=0&after=1", "pull?limit=x", "pull?%ff=1", "pull?%ed%a0%80=1", "pull?strange=1"),
    *("pull?epoch=x", "snapshot?epoch=x"),
]


@one_engine
@pytest.mark.parametrize("scene", ["socket, json", "socket, msgpack"], indirect=True)
async def test_a_strange_question_on_a_socket_is_a_bad_request(scene):
    asked = QUESTIONS + [("workout:get", {"workout": odd}) for odd in (None, 1, "", "x", [], {})]
    for event, payload in asked:
        assert (await scene.way.wire.call(event, payload))["code"] == "bad_request", (event, payload)
    theirs = await scene.way.wire.call("workout:get", {"workout": scene.victim.workout})
    assert theirs["code"] == "not_found"
    assert (await scene.way.wire.call("clock", {"t0": 7}))["t0"] == 7
    await scene.undisturbed()


@one_engine
@pytest.mark.parametrize("scene", ["rest, json"], indirect=True)
async def test_a_strange_question_over_rest_is_refused_with_a_code(scene):
    twins = [f"{event}?" + "&".join(f"{k}={v}" for k, v in query.items()) for event, query in QUESTIONS]
    for path in [*(twin.replace("\u0000", "%00") for twin in twins), *ASKED]:
        url = URL(f"/sync/{path}", encoded=path.isascii())
        headers = {"Authorization": f"Bearer {scene.eve.token}"}
        async with scene.eve.api.client.get(url, headers=headers) as response:
            told = await _read(response)
        assert told["code"] in ("bad_request", "validation_failed", "epoch"), (path, told)
    assert (await scene.eve.call("GET", f"/workouts/{scene.victim.workout}")).code == "not_found"
    await scene.undisturbed()
