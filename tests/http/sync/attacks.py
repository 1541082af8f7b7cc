"""What a device that means harm may push, by its sort, each with the one code that it is refused with.

A payload is plain values; what no encoder would write (bottomless nesting, numbers without an end) stands in
it as a word of `RAW`, which is replaced in the encoded bytes.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

Payload = Any
BOTH = ("json", "msgpack")
LEVELS = 10_000

RAW: Mapping[str, tuple[bytes, bytes]] = {
    "{{objects}}": (b'{"a":' * LEVELS + b"0" + b"}" * LEVELS, b"\x81\xa1a" * LEVELS + b"\x00"),
    "{{lists}}": (b"[" * LEVELS + b"]" * LEVELS, b"\x91" * LEVELS + b"\x90"),
    "{{unclosed}}": (b"[" * LEVELS, b"\x91" * LEVELS),
    "{{1e999}}": (b"1e999", b"\xcb\x7f\xf0" + bytes(6)),
    "{{digits}}": (b"9" * 5_000, b"\xcf" + b"\xff" * 8),
}
"""word: (its JSON, its msgpack)."""


def encoded(payload: Payload, codec: str) -> bytes:
    """The payload as a hostile encoder writes it: NaN, lone surrogates and `RAW` included."""
    if codec == "json":
        body = json.dumps(payload, allow_nan=True).encode()
    else:
        body = msgpack.packb(payload, unicode_errors="surrogatepass", use_bin_type=True)
    for word, (as_json, as_msgpack) in RAW.items():
        quoted, plain = (json.dumps(word).encode(), as_json)
        if codec == "msgpack":
            quoted, plain = (msgpack.packb(word), as_msgpack)
        body = body.replace(quoted, plain)
    return body


@dataclass(frozen=True)
class Victim:
    """What an attacker may have learnt of somebody else: ids, the epoch, the head, and a batch as it was
    pushed and as it stands in the log."""

    workout: str
    entity: str
    device: int
    epoch: str
    head: int
    ops: Sequence[dict[str, Any]]
    records: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Attack:
    """One push of a device that has written nothing yet, and the code that refuses it."""

    name: str
    payload: Callable[[Victim], Payload]
    code: str
    codecs: Sequence[str] = BOTH


def op(**changes: Any) -> dict[str, Any]:
    """A good first op, changed; an Ellipsis leaves a field out."""
    good = {"n": 1, "base": 0, "kind": "workout.create", "workout": str(uuid.uuid4()), "value": {}, "at": 1}
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def changed(code: str, codecs: Sequence[str] = BOTH, /, **changes: Any) -> Attack:
    """A push of one op with some fields changed."""
    return Attack(_short(changes), lambda _: {"ops": [op(**changes)]}, code, codecs)


def pushed(code: str, payload: Payload, codecs: Sequence[str] = BOTH) -> Attack:
    """A push of just this."""
    return Attack(_short(payload), lambda _: payload, code, codecs)


def _short(value: Any) -> str:
    return ascii(value)[:90]


def _wrong_types() -> list[Attack]:
    wrong: dict[str, list[Any]] = {
        "n": [..., None, True, False, "1", "", 1.5, [], [1], {}],
        "base": [..., None, True, "0", 0.5, [], {}],
        "kind": [..., None, True, 1, "", "x" * 65, [], ["workout.create"], {}],
        "workout": [..., None, True, 1, "", "x", "0" * 36, "0" * 32, f"{uuid.uuid4()}\n", [], {}],
        "entity": [True, 1, "", "x", f" {uuid.uuid4()}", [], {}],
        "value": [True, 1, 1.5, "x", "{}", [], [{}]],
        "at": [..., None, True, "1", "2026-01-01", 0.5, [], {}],
        "v": [None, True, "1", 0, -1, 1.5, 10**6 + 1, [], {}],
    }
    clocks: list[Any] = [True, 1, "x", [], [[1, 1]], {"": 1}, {"x": 1}, {"-1": 1}, {"1.5": 1}, {" 1": 1}]
    clocks += [{"٣": 1}, {"99999999999": 1}, {"1": None}, {"1": True}, {"1": "1"}, {"1": 0.5}, {"1": -1}]
    pushes: list[Any] = [None, True, 0, 1.5, "", "x", [], [op()], {}]
    pushes += [{"ops": ops} for ops in (None, True, 1, "x", {}, [], [None], [True], [1], ["x"], [[]], [{}])]
    pushes += [{"ops": [op()], "epoch": epoch} for epoch in (True, 1, 1.5, [], {})]
    pushes += [{"ops": [op()], "sent_at": at} for at in (True, "1", "now", 0.5, [], {})]
    return [
        *(changed("bad_request", **{field: value}) for field, values in wrong.items() for value in values),
        *(changed("bad_request", base=..., clock=clock) for clock in clocks),
        *(pushed("bad_request", payload) for payload in pushes),
    ]


def _counters() -> list[Attack]:
    numbers = ("n", "base", "at", "v")
    return [
        *(changed("bad_request", **{field: huge}) for field in numbers for huge in (2**63, 2**64 - 1)),
        *(changed("bad_request", ("json",), **{name: huge}) for name in numbers for huge in (2**64, 2**200)),
        *(changed("bad_request", **{field: "{{digits}}"}) for field in numbers),
        *(changed("bad_request", **{field: 2.0**64}) for field in numbers),
        *(changed("bad_request", **{field: -(2**63)}) for field in numbers),
        *(changed("bad_request", base=..., clock={"1": huge}) for huge in (2**53, 2**63, 2**64 - 1)),
        *(pushed("bad_request", {"ops": [op()], "sent_at": at}) for at in (2**53, 2**63, -(2**63))),
        changed("bad_request", n=0),
        changed("bad_request", n=-1),
        changed("bad_request", n=2**53),
        changed("gap", n=2),
        changed("gap", n=2**53 - 1),
        *(
            pushed("bad_request", {"ops": [op(n=first), op(n=second)]})
            for first, second in ((1, 1), (1, 3), (2, 1), (1, 2**53 - 1))
        ),
    ]


def _forged() -> list[Attack]:
    """Contexts that the author can not have, and other people's."""

    def theirs(name: str, code: str, payload: Callable[[Victim], Payload]) -> Attack:
        return Attack(name, payload, code)

    return [
        changed("base_ahead", base=1),
        changed("base_ahead", base=2**53 - 1),
        changed("bad_request", base=2**53),
        changed("bad_request", base=-1),
        pushed("base_ahead", {"ops": [op(), op(n=2, base=1)]}),
        changed("later", base=..., clock={"9": 1}),
        changed("later", base=..., clock={"9": 2**53 - 1}),
        changed("later", clock={"9": 1}),
        pushed("epoch", {"ops": [op()], "epoch": "x" * 10_000}),
        pushed("epoch", {"ops": [op()], "epoch": ""}),
        pushed("epoch", {"ops": [op()], "epoch": "' OR 1=1 --\u0000"}),
        theirs("their epoch", "epoch", lambda v: {"ops": [op()], "epoch": v.epoch}),
        theirs("their head as base", "base_ahead", lambda v: {"ops": [op(base=v.head)]}),
        theirs("the tail of their batch", "gap", lambda v: {"ops": list(v.ops[1:])}),
        theirs("their records as they stand", "base_ahead", lambda v: {"ops": list(v.records)}),
        theirs("their clock", "later", lambda v: {"ops": [op(base=..., clock={str(v.device): v.head})]}),
    ]


def _nested() -> list[Attack]:
    words = ("{{objects}}", "{{lists}}")
    endless = ("json",)  # in msgpack it is no whole frame, and nobody can say what it asked
    return [
        changed("bad_request", endless, value={"x": "{{unclosed}}"}),
        pushed("bad_request", {"ops": "{{unclosed}}"}, endless),
        pushed("bad_request", "{{unclosed}}", endless),
        *(changed("bad_request", value={"x": word}) for word in words),
        *(changed("bad_request", value=word) for word in words),
        *(changed("bad_request", later_field=word) for word in words),
        *(changed("bad_request", base=..., clock=word) for word in words),
        *(changed("bad_request", n=word) for word in words),
        *(pushed("bad_request", {"ops": word}) for word in words),
        *(pushed("bad_request", {"ops": [word]}) for word in words),
        *(pushed("bad_request", {"ops": [op()], "epoch": word}) for word in words),
        *(pushed("bad_request", word) for word in words),
        changed("bad_request", value={"x": _deep(12)}),
        changed("bad_request", value={"x": _deep(500)}),
    ]


def _deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def _no_numbers() -> list[Attack]:
    found = []
    for odd in (math.nan, math.inf, -math.inf, "{{1e999}}"):
        found += [changed("bad_request", **{field: odd}) for field in ("n", "base", "at", "v")]
        found += [
            changed("bad_request", value={"rating": odd}),
            changed("bad_request", value={"x": [[odd]]}),
            changed("bad_request", later_field=odd),
            changed("bad_request", base=..., clock={"1": odd}),
            pushed("bad_request", {"ops": [op()], "sent_at": odd}),
        ]
    return found


def _no_text() -> list[Attack]:
    found = []
    for odd in ("\ud800", "\udfff", "a\udc00b", "\udc00\ud800"):
        found += [changed("bad_request", **{field: odd}) for field in ("kind", "workout", "entity")]
        found += [
            changed("bad_request", value={"title": odd}),
            changed("bad_request", value={odd: 1}),
            changed("bad_request", **{odd: 1}),
            changed("bad_request", base=..., clock={odd: 1}),
            pushed("bad_request", {"ops": [op()], "epoch": odd}),
        ]
    return found


def _no_json() -> list[Attack]:
    only = ("msgpack",)
    odd: list[Any] = [
        b"",
        b"\xff",
        msgpack.ExtType(5, b"x"),
        msgpack.ExtType(0, b""),
        msgpack.ExtType(0, b"more"),
        msgpack.ExtType(127, b"x" * 300),
        msgpack.Timestamp(1, 2),
    ]
    keys: list[Any] = [b"x", b"\xff", 1, -1, 1.5, None, True]
    fields = ("n", "base", "kind", "workout", "entity", "value", "at", "v")
    return [
        *(changed("bad_request", only, **{field: value}) for field in fields for value in odd),
        *(changed("bad_request", only, value={"title": value}) for value in odd),
        *(changed("bad_request", only, later_field=[value]) for value in odd),
        *(pushed("bad_request", {"ops": [value]}, only) for value in odd),
        *(pushed("bad_request", {"ops": value}, only) for value in odd),
        *(pushed("bad_request", {"ops": [op()], "epoch": value}, only) for value in odd),
        *(changed("bad_request", only, value={key: 1}) for key in keys),
        *(changed("bad_request", only, base=..., clock={key: 1}) for key in keys),
        *(pushed("bad_request", {"ops": [{**op(), key: 1}]}, only) for key in keys),
        pushed("bad_request", {b"ops": [op()]}, only),
        pushed("bad_request", {"ops": [{name.encode(): value for name, value in op().items()}]}, only),
    ]


def _sizes() -> list[Attack]:
    return [
        changed("too_large", value={"title": "x" * 20_000}),
        changed("too_large", value={"x" * 20_000: 1}),
        changed("too_large", later_field=["x"] * 5_000),
        changed("too_large", base=..., clock={str(device): 0 for device in range(3_000)}),
        pushed("too_large", {"ops": [op(n=n, value={"title": "x" * 1_500}) for n in range(1, 400)]}),
        pushed("too_many", {"ops": [op(n=n) for n in range(1, 502)]}),
        pushed("too_many", {"ops": [None] * 50_000}),
    ]


ATTACKS: Mapping[str, Sequence[Attack]] = {
    "wrong types": _wrong_types(),
    "counters": _counters(),
    "forged contexts": _forged(),
    "nesting": _nested(),
    "numbers that are none": _no_numbers(),
    "text that is none": _no_text(),
    "values that JSON does not have": _no_json(),
    "sizes": _sizes(),
}

VALUES: Sequence[tuple[str, dict[str, Any]]] = [
    *(("workout.create", {"title": odd}) for odd in (1, True, [], {}, 2**64 - 1)),
    *(("workout.create", {"plan": odd}) for odd in (1, "x", {}, [1], [{}], [{"entry": 5}])),
    *(("workout.complete", {"rating": odd}) for odd in ("x", [], 2**63, 2**64 - 1, -(2**63), 1e308, 0.0001)),
    *(("workout.edit", {"field": odd, "value": 1}) for odd in (1, None, "", "owner", "\u0000", [])),
    *(("workout.merge", {"into": odd}) for odd in (1, "x", None, [])),
    *(("rest.start", {"seconds": odd}) for odd in (-1, "5", 2**63, 2**64 - 1, 1e300, None, [])),
    *(("conflict.choose", {"field": "title", "dot": odd}) for odd in (1, [], [1], [1, "1"], "x", None)),
    *(("note.set", {"text": odd}) for odd in (1, None, [], {})),
]
"""(kind, value) of ops that can be read and mean nothing: each takes its place as void, code bad_value."""
