"""Pushing over REST: the one path of all ops, answered as a socket is."""

from __future__ import annotations

import asyncio
import gzip
import io
import zlib
from dataclasses import replace
from typing import Any

import msgpack
import orjson
import pytest
import zstandard

from fitai.http import media
from fitai.persistence.log import Log
from tests.http.conftest import LIMITS
from tests.http.sync.conftest import RestDevice, new_id, send

MSGPACK = "application/msgpack"


async def log_of(person):
    async with person.api.db.read() as session:
        log = Log(session)
        stream = await log.stream_of(person.id)
        assert stream is not None
        return await log.read(stream.id, 0, 1000)


async def test_a_push_is_answered_after_the_commit_as_on_a_socket(phone):
    workout = new_id()
    answer = await phone.push(
        phone.op("workout.create", workout),
        phone.op("workout.start", workout),
        phone.op("workout.start", workout),
    )
    assert answer.status == 200
    te = phone.person.api.clock()
    assert answer.body == {
        "ok": True,
        "head": 3,
        "results": [
            {"n": 1, "seq": 1, "rev": 1, "te": te, "verdict": "applied"},
            {"n": 2, "seq": 2, "rev": 2, "te": te, "verdict": "applied"},
            {
                "n": 3,
                "seq": 3,
                "rev": 3,
                "te": te,
                "verdict": "void",
                "code": "illegal_edge",
                "detail": {"from": "active", "trigger": "start"},
            },
        ],
    }
    assert [record.device for record in await log_of(phone.person)] == [phone.person.device] * 3


async def test_a_retry_is_a_duplicate_with_its_first_answer(phone):
    ops = [phone.op("workout.create", new_id()), phone.op("workout.pause", new_id())]
    first = await phone.push(*ops)
    again = await phone.push(*ops)
    for once, twice in zip(first.body["results"], again.body["results"], strict=True):
        assert twice["verdict"] == "duplicate"
        assert {"n": once["n"], "seq": once["seq"], **twice["first"]} == once
        assert all(twice[key] == once[key] for key in ("n", "seq", "rev", "te"))
    assert len(await log_of(phone.person)) == 2


async def test_every_socket_of_the_user_hears_of_a_push_those_of_its_device_too(
    api, ada, bob, phone, connect
):
    watch = await api.login(ada, name="Watch")
    own, other, strange = await connect(ada), await connect(watch), await connect(bob)
    await phone.pushed(phone.op("workout.create", new_id()))
    for wire in (own, other):
        await wire.told(1)
        assert [(record["device"], record["n"]) for record in wire.records()] == [(ada.device, 1)]
    await strange.call("clock", {"t0": 1})
    assert strange.records() == []


async def test_socket_and_rest_share_the_devices_counter(phone, connect):
    workout = new_id()
    await phone.pushed(phone.op("workout.create", workout))
    wire = await connect(phone.person)
    assert wire.ready["next_n"] == 2
    ack = await wire.push(wire.op("workout.start", workout, base=1))
    [result] = ack["results"]
    assert (result["n"], result["seq"], result["rev"], result["verdict"]) == (2, 2, 2, "applied")
    assert (await phone.pull())["next_n"] == 3


def broken_pushes():
    workout = new_id()

    def op(n=1, **more):
        return {"n": n, "base": 0, "kind": "workout.create", "workout": workout, "value": {}, "at": 1, **more}

    yield "gap", {"ops": [op(5)]}, 409, {"next_n": 2}
    yield "equivocation", {"ops": [op(1, at=2)]}, 409, {"n": 1, "next_n": 2}
    yield "base_ahead", {"ops": [op(2, base=9)]}, 409, {"n": 2, "head": 1}
    yield "epoch", {"ops": [op(2)], "epoch": "another"}, 409, {}
    yield "too_many", {"ops": [op(n) for n in range(2, 504)]}, 413, {"max": 500}
    yield "too_large", {"ops": [op(2, value={"text": "x" * 20_000})]}, 413, {"max": 16 * 1024}
    yield "later", {"ops": [op(2, clock={"9": 4})]}, 429, {"missing": {"9": 4}, "retry_after_ms": 1000}
    for ops in ([], None, [op(2), op(4)], [{"n": 2}], "x", [op("2")], [op(True)], [op(2**63)], [op(0)]):
        yield "bad_request", {"ops": ops}, 400, {}
    yield "bad_request", {}, 400, {}
    yield "bad_request", [], 400, {}


@pytest.mark.parametrize(("code", "body", "status", "extra"), list(broken_pushes()))
async def test_a_refusal_keeps_its_code_and_what_the_code_promises(phone, code, body, status, extra):
    await phone.pushed(phone.op("workout.create", new_id(), at=1))
    answer = await phone.person.call("POST", "/sync/push", body)
    assert (answer.status, answer.code, answer.body["ok"]) == (status, code, False)
    assert answer.body["message"]
    assert {name: answer.body[name] for name in extra} == extra
    assert ("Retry-After" in answer.headers) == (status == 429)
    assert len(await log_of(phone.person)) == 1


async def test_a_new_epoch_is_told_with_the_refusal(phone):
    answer = await phone.push(phone.op("workout.create", new_id()), epoch="another")
    assert answer.body["epoch"] == (await phone.pull())["epoch"]


async def test_anothers_batch_is_written_to_the_log_of_whoever_sends_it(ada, bob, phone):
    workout = new_id()
    batch = [phone.op("workout.create", workout, device=ada.device, user=ada.id, seq=7)]
    await phone.pushed(*batch)
    answer = await RestDevice(bob).push(*batch)
    assert [(result["n"], result["seq"]) for result in answer.body["results"]] == [(1, 1)]
    assert len(await log_of(ada)) == len(await log_of(bob)) == 1
    [record] = (await RestDevice(bob).pull())["records"]
    assert (record["device"], record["seq"]) == (bob.device, 1)


async def test_a_push_needs_a_token(api):
    answer = await api.call("POST", "/sync/push", {"ops": []})
    assert (answer.status, answer.code, answer.body["ok"]) == (401, "unauthorized", False)


async def test_pushes_at_the_same_time_become_one_order(api, ada, phone):
    watches = [RestDevice(await api.login(ada, name=f"Watch {i}")) for i in range(4)]
    workouts = [new_id() for _ in watches]
    answers = await asyncio.gather(
        *(
            device.push(*(device.op("workout.create", workout) for _ in range(3)))
            for device, workout in zip(watches, workouts, strict=True)
        )
    )
    seqs = sorted(result["seq"] for answer in answers for result in answer.body["results"])
    assert seqs == list(range(1, 13))


async def test_a_device_that_floods_is_told_to_come_later(make_api):
    api = await make_api(limits=replace(LIMITS, pushes_in_flight=0))
    phone = RestDevice(await api.register())
    answer = await phone.push(phone.op("workout.create", new_id()))
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (429, "later", "1")


async def test_over_its_rate_the_first_ops_are_taken_and_the_rest_is_for_later(make_api):
    api = await make_api(limits=replace(LIMITS, ops_burst=2))
    phone = RestDevice(await api.register())
    ops = [phone.op("workout.create", new_id()) for _ in range(3)]
    assert len((await phone.push(*ops)).body["results"]) == 2
    rest = await phone.push(ops[2])
    assert (rest.status, rest.code) == (429, "later")
    api.clock.advance(seconds=1)
    assert (await phone.push(ops[2])).body["results"][0]["verdict"] == "applied"


# -- codecs and compression --------------------------------------------------------------------------

CODECS = {"application/json": orjson.dumps, MSGPACK: msgpack.packb, "application/x-msgpack": msgpack.packb}
ENCODINGS = {
    "identity": lambda raw: raw,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", CODECS)
async def test_a_body_comes_in_either_codec_under_every_encoding(phone, kind, encoding):
    raw = CODECS[kind]({"ops": [phone.op("workout.create", new_id(), {"title": "zß水🏋"})]})
    answer = await send(phone.person, ENCODINGS[encoding](raw), kind, Content_Encoding=encoding)
    assert answer.status == 200
    assert (answer.headers["Content-Type"] == MSGPACK) == (kind != "application/json"), "as it was asked"
    body = msgpack.unpackb(answer.body) if kind != "application/json" else answer.body
    result = {"n": 1, "seq": 1, "rev": 1, "te": phone.person.api.clock(), "verdict": "applied"}
    assert body == {"ok": True, "head": 1, "results": [result]}
    [record] = await log_of(phone.person)
    assert record.op.value == {"title": "zß水🏋"}


async def test_the_same_op_in_the_other_codec_is_the_same_op(phone):
    op = phone.op("workout.create", new_id(), {"rating": 60})
    await phone.pushed(op)
    again = await send(phone.person, msgpack.packb({"ops": [{**op, "value": {"rating": 60.0}}]}), MSGPACK)
    assert msgpack.unpackb(again.body)["results"][0]["verdict"] == "duplicate"


def zstd_bomb(size: int) -> bytes:
    compressor = zstandard.ZstdCompressor().compressobj()
    zeros = b" " * 2**20
    return b"".join([compressor.compress(zeros) for _ in range(size // len(zeros))]) + compressor.flush()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
async def test_a_bomb_is_refused_before_it_goes_off(phone, encoding, monkeypatch):
    size = 200 * 2**20
    pack = {"gzip": 31, "deflate": 15}
    if encoding == "zstd":
        bomb = zstd_bomb(size)
    else:
        compressor = zlib.compressobj(9, zlib.DEFLATED, pack[encoding])
        zeros = b" " * 2**20
        bomb = b"".join([compressor.compress(zeros) for _ in range(size // len(zeros))]) + compressor.flush()
    assert len(bomb) < 2**20
    came_out: list[Any] = []
    for name in ("_unzipped", "_unzstd"):
        whole = getattr(media, name)

        def watched(*args, whole=whole):
            try:
                out = whole(*args)
            except media._Bomb:
                came_out.append("stopped")
                raise
            came_out.append(len(out))
            return out

        monkeypatch.setattr(media, name, watched)
    answer = await send(phone.person, bomb, Content_Encoding=encoding)
    assert (answer.status, answer.code, answer.body["max"]) == (413, "too_large", 2**20)
    assert answer.body["ok"] is False
    assert came_out == ["stopped"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
async def test_a_body_cut_off_anywhere_writes_nothing(phone, encoding):
    whole = ENCODINGS[encoding](orjson.dumps({"ops": [phone.op("workout.create", new_id())]}))
    cuts = sorted({1, 2, len(whole) // 2, *range(len(whole) - 10, len(whole))})
    for cut in cuts:
        answer = await send(phone.person, whole[:cut], Content_Encoding=encoding)
        assert (answer.status, answer.code, answer.body["ok"]) == (400, "bad_request", False), cut
    for longer in (whole + b"x", whole + whole):
        assert (await send(phone.person, longer, Content_Encoding=encoding)).code == "bad_request"
    assert await log_of(phone.person) == []
    assert (await send(phone.person, whole, Content_Encoding=encoding)).status == 200


@pytest.mark.parametrize("encoding", ["br", "compress", "gzip, gzip", "zstd, gzip", "nonsense"])
async def test_an_encoding_that_is_not_spoken_here_is_named_with_those_that_are(phone, encoding):
    answer = await send(phone.person, b"{}", Content_Encoding=encoding)
    assert (answer.status, answer.code) == (415, "unsupported_media_type")
    assert answer.headers["Accept-Encoding"] == "gzip, deflate, zstd"


@pytest.mark.parametrize("kind", ["text/plain", "application/cbor", "application/json; charset=latin-1"])
async def test_a_type_that_is_not_spoken_here_is_named_with_those_that_are(phone, kind):
    answer = await send(phone.person, b"{}", kind)
    assert (answer.status, answer.code) == (415, "unsupported_media_type")
    assert answer.headers["Accept"] == "application/json, application/msgpack"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
async def test_a_body_that_is_not_what_it_says_is_unreadable(phone, encoding):
    answer = await send(phone.person, b'{"ops": []}', Content_Encoding=encoding)
    assert (answer.status, answer.code) == (400, "bad_request")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (MSGPACK, b"\x91" * 10_000),
        (MSGPACK, b"\xdd\xff\xff\xff\xff"),
        (MSGPACK, b"\xc1"),
        (MSGPACK, b"\x80\x80"),
        (MSGPACK, msgpack.packb({"ops": []})[:-1]),
        (MSGPACK, b"\x81\xa3ops\x91\x81\xa4kind\xa3\xed\xa0\x80"),
        (MSGPACK, b""),
        ("application/json", b"[" * 10_000 + b"]" * 10_000),
        ("application/json", b'{"ops": [' + b'{"value":' * 500 + b"{}" + b"}" * 500 + b"]}"),
        ("application/json", b'{"ops": [{"n": NaN}]}'),
        ("application/json", b'{"ops": [{"kind": "\\ud800"}]}'),
        ("application/json", b""),
    ],
)
async def test_a_body_that_is_none_is_unreadable(phone, kind, body):
    answer = await send(phone.person, body, kind)
    assert (answer.status, answer.code, answer.body["ok"]) == (400, "bad_request", False)


async def test_a_body_over_the_bound_is_too_large_before_it_is_read(phone):
    answer = await send(phone.person, io.BytesIO(b" " * (2**20 + 1)))
    assert (answer.status, answer.code, answer.body["max"]) == (413, "too_large", 2**20)


async def test_ops_before_one_that_must_wait_do_not_wait_with_it(ada, phone):
    """A watch had heard of op 1; op 2 had heard of the watch. Both would wait for ever."""
    watch = RestDevice(await ada.api.login(ada, name="watch"))
    workout = new_id()
    first = phone.op("workout.create", workout)
    heard = {str(phone.person.device): 1}
    later = phone.op("workout.start", workout, clock={**heard, str(watch.person.device): 1})
    answer = await phone.pushed(first, later, taken=1)
    assert [result["n"] for result in answer["results"]] == [1]
    await watch.pushed(watch.op("note.set", workout, {"text": "x"}, clock=heard))
    await phone.pushed(later)
    assert [record.op.kind for record in await log_of(ada)] == ["workout.create", "note.set", "workout.start"]


async def test_a_push_that_begins_with_an_op_that_must_wait_is_told_what_it_waits_for(phone):
    later = phone.op("workout.create", new_id(), clock={"9": 1})
    answer = await phone.push(later, phone.op("workout.start", new_id()))
    assert (answer.code, answer.body["missing"]) == ("later", {"9": 1})
    assert await log_of(phone.person) == []
