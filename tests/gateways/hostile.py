"""What no client of ours would send, by its sort."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack

from tests.gateways.conftest import new_id

Bytes = str | bytes

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


def frames_of(codec: str) -> Sequence[Bytes]:
    return [*TEXT_FRAMES, *BINARY_FRAMES] if codec == "json" else [*MSGPACK_FRAMES, *TEXT_FRAMES[:20]]


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
