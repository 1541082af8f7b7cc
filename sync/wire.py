"""From what a client sent to typed ops: strict for the fields that we know, faithful to those that we don't.

An unreadable push is refused whole and nothing is stored (`Refusal`); what an op *means* is judged later,
one by one, so that a bad value takes its place in the log as `void` and blocks nothing behind it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
import orjson
from msgspec.structs import force_setattr

from fitai.engine.ops import SERVERS_OWN, Op, Record, Verdict

MAX_INT = 2**53 - 1  # the largest integer that every JSON client can name

_SCALARS = frozenset((str, int, bool, type(None)))
_COMMON = _SCALARS | {float, dict}

T = TypeVar("T")

_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_UUID_OF_0 = b"00000000-0000-0000-0000-000000000000"
_DIGITS_TO_0 = bytes.maketrans(b"123456789abcdef", b"0" * 15)

Counter = Annotated[int, msgspec.Meta(ge=1, le=MAX_INT)]
Position = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]
Millis = Annotated[int, msgspec.Meta(ge=-MAX_INT, le=MAX_INT)]
KindName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Schema = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Refusal(Exception):
    """A request that was refused whole; nothing of it was stored.

    `code` is one of the protocol's: bad_request, forbidden, too_large, too_many, gap, equivocation,
    base_ahead, epoch, later, not_found, unavailable. `extra` holds what the code promises (`next_n`,
    `retry_after_ms`…).
    """

    def __init__(self, code: str, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.extra = extra

    def answer(self) -> dict[str, Any]:
        """The acknowledgement that tells the client."""
        return {"ok": False, "code": self.code, "message": self.message, **self.extra}


class WireLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes that hold whatever the rates: bytes of one op and of one push, ops in a push, nesting."""

    op_bytes: int = 16 * 1024
    push_bytes: int = 256 * 1024
    push_ops: int = 500
    depth: int = 12


# A record was accepted once, maybe by a server with other limits.
_AS_ACCEPTED = WireLimits(op_bytes=2**31, depth=64)


class Push(NamedTuple):
    """A decoded push: ops with consecutive `n`, the epoch the client believes in, its clock when sending."""

    ops: list[Op]
    epoch: str | None
    sent_at: int | None


class _Envelope(msgspec.Struct):
    """The fields of an op that every version knows. Strict: `"1"` is no integer, `true` neither."""

    n: Counter
    kind: KindName
    workout: str
    at: Millis
    entity: str | None = None
    value: dict[str, Any] | None = None
    base: Position | None = None
    clock: dict[str, Position] | None = None
    v: Schema = 1


class _Plain(Op, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """An op in which nothing can need normalising: known fields, and a value, looked at apart, that is normal
    already. Most are so, and are made without a step in between; `raw` is given to them when all are read."""

    n: Counter
    base: Position
    clock: None = None
    kind: KindName
    entity: str | None = None
    value: Any
    at: Millis
    v: Schema = 1
    raw: None = None  # type: ignore[assignment]  # a client that says `raw` says an unknown field


class _Push(msgspec.Struct):
    """A push without its ops, which are read one by one."""

    epoch: str | None = None
    sent_at: Millis | None = None


class _PlainPush(_Push, kw_only=True):
    ops: list[_Plain]


def decode_push(payload: Any, limits: WireLimits) -> Push:
    """Decode the payload of `push` (a plain object, from JSON or msgpack); raises Refusal."""
    if not isinstance(payload, dict):
        raise Refusal("bad_request", "push takes an object {ops, epoch?, sent_at?}")
    ops = payload.get("ops")
    if not isinstance(ops, list) or not ops:
        raise Refusal("bad_request", "push takes a list of at least one op in `ops`")
    if len(ops) > limits.push_ops:
        raise Refusal("too_many", f"at most {limits.push_ops} ops in one push", max=limits.push_ops)
    plain = _all_plain(payload, limits)
    if plain is not None:
        return plain
    head = {key: payload[key] for key in ("epoch", "sent_at") if payload.get(key) is not None}
    envelope = _convert(normal(head, limits.depth), _Push, "push")
    return Push(_decode_ops(ops, limits), envelope.epoch, envelope.sent_at)


def _all_plain(payload: dict[str, Any], limits: WireLimits) -> Push | None:
    """A push whose ops are all plain, made at once; None where one is not so, or is wrong: then they are
    read one by one, and the first that is wrong is told."""
    raws = payload["ops"]
    try:
        sizes = list(map(len, map(orjson.dumps, raws)))
        push = msgspec.convert(payload, _PlainPush)
        ops: list[Op] = [*push.ops]
        plain = _are_normal([op.value for op in ops], limits.depth)
    except (TypeError, msgspec.ValidationError):
        return None
    first = ops[0].n
    if (
        not plain
        or max(sizes) > limits.op_bytes
        or sum(sizes) > limits.push_bytes
        or [op.n for op in ops] != list(range(first, first + len(ops)))
        or not _are_uuids([*{op.workout for op in ops}, *[op.entity for op in ops if op.entity is not None]])
    ):
        return None
    for op, raw in zip(ops, raws, strict=True):
        force_setattr(op, "raw", raw)
    return Push(ops, push.epoch, push.sent_at)


def _decode_ops(raws: Sequence[Any], limits: WireLimits) -> list[Op]:
    ops: list[Op] = []
    total, last = 0, None
    for raw in raws:
        op, size = decode_op(raw, limits)
        total += size
        if total > limits.push_bytes:
            raise Refusal(
                "too_large", f"at most {limits.push_bytes} bytes in one push", max=limits.push_bytes
            )
        if last is not None and op.n != last + 1:
            raise Refusal("bad_request", f"n must be consecutive: {op.n} after {last}")
        last = op.n
        ops.append(op)
    return ops


def decode_op(raw: Any, limits: WireLimits) -> tuple[Op, int]:
    """Decode one op; returns it with its size in bytes as JSON. Raises Refusal."""
    if not isinstance(raw, dict):
        raise Refusal("bad_request", "an op is an object")
    clean = normal(raw, limits.depth)
    try:
        size = len(orjson.dumps(clean))
    except (orjson.JSONEncodeError, TypeError) as error:
        raise Refusal("bad_request", f"an op must be plain JSON: {error}") from None
    if size > limits.op_bytes:
        raise Refusal("too_large", f"at most {limits.op_bytes} bytes in one op", max=limits.op_bytes)
    envelope = _convert(clean, _Envelope, "op")
    base, clock, entity = envelope.base, envelope.clock, envelope.entity
    if clock is None and base is None:
        raise Refusal("bad_request", f"op {envelope.n} has neither base nor clock")
    op = Op(
        n=envelope.n,
        base=base if clock is None else None,
        clock=None if clock is None else _clock(clock),
        kind=envelope.kind,
        workout=uuid_of(envelope.workout, "workout"),
        entity=None if entity is None else uuid_of(entity, "entity"),
        value=envelope.value or {},
        at=envelope.at,
        v=envelope.v,
        raw=raw,
    )
    return op, size


def normal(value: Any, depth: int) -> Any:
    """The same value with integral floats as integers (60.0 = 60); raises Refusal beyond `depth` levels
    or where something is not plain JSON (bytes, NaN, keys that are not text)."""
    kind = type(value)
    if kind is dict:
        if depth <= 0:
            raise Refusal("bad_request", "nested too deeply")
        out = {}
        for key, item in value.items():
            if type(key) is not str:
                raise Refusal("bad_request", "keys must be text")
            out[key] = item if type(item) in _SCALARS else normal(item, depth - 1)
        return out
    if kind is list:
        if depth <= 0:
            raise Refusal("bad_request", "nested too deeply")
        return [normal(item, depth - 1) for item in value]
    if kind is float:
        if value != value or value in (float("inf"), float("-inf")):
            raise Refusal("bad_request", "NaN and Infinity are not numbers here")
        return int(value) if value.is_integer() and abs(value) <= MAX_INT else value
    if kind is str or kind is int or kind is bool or value is None:
        return value
    raise Refusal("bad_request", f"{kind.__name__} is not plain JSON")


def _are_normal(values: Sequence[dict[str, Any]], depth: int) -> bool:
    """Whether `normal` would leave all of these as they are; false as well where only a closer look can tell.
    In the most usual value of all, that of a set, is a load, and decimals may be in it. Raises TypeError when
    one is no object."""
    kinds = set(map(type, chain.from_iterable(map(dict.values, values))))
    if kinds <= _SCALARS:
        return True
    if depth < 3 or not kinds <= _COMMON:  # an op, its value, and an object in that
        return False
    for value in values:
        for part in value.values():
            if type(part) is dict:
                if not (_SCALARS.issuperset(map(type, part)) and all(map(_is_normal, part.values()))):
                    return False
            elif not _is_normal(part):
                return False
    return True


def _is_normal(part: Any) -> bool:
    return type(part) in _SCALARS or (type(part) is float and not part.is_integer() and part - part == 0)


def op_hash(raw: Mapping[str, Any]) -> bytes:
    """16 bytes over all of an op but `base` and `clock`: equal for a retry, other for an equivocation.

    Keys in any order and 60 or 60.0 give the same hash.
    """
    content = {**raw, "base": None, "clock": None}
    del content["base"], content["clock"]
    if not _flat(content):
        content = normal(content, 64)
    return hashlib.blake2b(orjson.dumps(content, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def hash_of(record: Record) -> bytes:
    """`op_hash` of a record's op; worked out only for those that are stored, or pushed again."""
    return record.hash or op_hash(record.op.raw)


def _flat(content: dict[str, Any]) -> bool:
    """Whether an op is sure to be normal already, also in its value."""
    kinds = list(map(type, content.values()))
    value = content.get("value")
    if type(value) is dict:
        kinds.remove(dict)
        return _SCALARS.issuperset(kinds) and _are_normal([value], 3)
    return _SCALARS.issuperset(kinds)


def uuid_of(text: str, field: str) -> str:
    """`text` as a lower-case UUID in its usual form; raises Refusal."""
    if _UUID.fullmatch(text) is None:
        raise Refusal("bad_request", f"{field} must be a UUID")
    return text.lower()


def _are_uuids(texts: list[str]) -> bool:
    """Whether all are UUIDs in the form that `uuid_of` gives, told in one look at all of them."""
    return "\n".join(texts).encode().translate(_DIGITS_TO_0) == b"\n".join([_UUID_OF_0] * len(texts))


def _clock(clock: Mapping[str, int]) -> dict[int, int]:
    out = {}
    for key, n in clock.items():
        if not (key.isascii() and key.isdigit() and len(key) <= 10):
            raise Refusal("bad_request", "clock is {device: n} with the device's number as a text key")
        out[int(key)] = n
    return out


def _convert(value: Any, into: type[T], what: str) -> T:
    try:
        return msgspec.convert(value, into)
    except msgspec.ValidationError as error:
        raise Refusal("bad_request", f"unreadable {what}: {error}") from None


def decode_record(told: Mapping[str, Any]) -> Record:
    """The record that a server told (`Record.wire`), as a device folds it. Its receipt is not told: `te`
    stands for it."""
    raw = {key: value for key, value in told.items() if key not in SERVERS_OWN}
    context = told.get("context") or {}
    beyond = context.get("beyond")
    op, _ = decode_op(raw, _AS_ACCEPTED)
    return Record(
        op=op,
        seq=told["seq"],
        rev=told["rev"],
        device=told["device"],
        base=context.get("base", op.base or 0),
        beyond=None if beyond is None else {int(device): n for device, n in beyond.items()},
        te=told["te"],
        rt=told["te"],
        verdict=Verdict(told["verdict"]),
        code=told.get("code"),
        detail=told.get("detail"),
    )
