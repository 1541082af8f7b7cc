"""Decoding what clients send: strict where we know, faithful where we do not."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from fitai.sync.wire import Refusal, WireLimits, decode_op, decode_push, op_hash

WORKOUT = "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001"
ENTRY = "0198c1f2-8c11-7d02-b1f0-0f6f3f2ab9d1"
AT = 1_764_000_000_000
LIMITS = WireLimits()


def op(**changes: Any) -> dict[str, Any]:
    return {"n": 1, "base": 0, "kind": "workout.create", "workout": WORKOUT, "value": {}, "at": 1, **changes}


def refused(payload: Any, limits: WireLimits = LIMITS) -> Refusal:
    with pytest.raises(Refusal) as caught:
        decode_push(payload, limits)
    return caught.value


def test_a_push_keeps_unknown_fields_and_normalises_ids() -> None:
    raw = op(workout=WORKOUT.upper(), future={"a": [1]})
    push = decode_push({"ops": [raw], "sent_at": 5, "later": True}, LIMITS)
    assert push.ops[0].workout == WORKOUT
    assert push.ops[0].raw == raw
    assert push.sent_at == 5


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        "push",
        {},
        {"ops": {}},
        {"ops": []},
        {"ops": [None]},
        {"ops": [op(n=0)]},
        {"ops": [op(n="1")]},
        {"ops": [op(n=True)]},
        {"ops": [op(n=1.5)]},
        {"ops": [op(n=2**63)]},
        {"ops": [op(kind="")]},
        {"ops": [op(kind=7)]},
        {"ops": [op(workout="not-a-uuid")]},
        {"ops": [op(workout="{" + WORKOUT + "}")]},
        {"ops": [op(entity="x")]},
        {"ops": [op(value=[])]},
        {"ops": [op(value={"x": math.nan})]},
        {"ops": [op(value={"x": math.inf})]},
        {"ops": [op(value={"x": b"bytes"})]},
        {"ops": [op(value={1: "x"})]},
        {"ops": [op(base=-1)]},
        {"ops": [op(base=None)]},
        {"ops": [op(clock={"one": 1})]},
        {"ops": [op(clock={"1": -1})]},
        {"ops": [op(), op(n=3)]},
        {"ops": [op()], "sent_at": "now"},
        {"ops": [op()], "epoch": 5},
    ],
)
def test_an_unreadable_push_is_refused_whole(payload: Any) -> None:
    assert refused(payload).code == "bad_request"


def test_sizes_are_refused_by_what_is_too_big() -> None:
    assert refused({"ops": [op(value={"x": "y" * 20_000})]}).code == "too_large"
    many = [op(n=n, value={"x": "y" * 2_000}) for n in range(1, 200)]
    assert refused({"ops": many}).code == "too_large"
    assert refused({"ops": [op(n=n) for n in range(1, 502)]}).code == "too_many"


def test_ten_thousand_levels_are_refused_and_not_recursed_into() -> None:
    deep: Any = {}
    for _ in range(10_000):
        deep = {"a": deep}
    assert refused({"ops": [op(value=deep)]}).code == "bad_request"


def test_integral_floats_are_integers_in_the_typed_op() -> None:
    decoded, _ = decode_op(op(n=2.0, value={"reps": 8.0, "load": {"value": 60.0}}), LIMITS)
    assert decoded.n == 2
    assert decoded.value == {"reps": 8, "load": {"value": 60}}
    assert isinstance(decoded.value["reps"], int)


def test_the_hash_is_blind_to_key_order_number_spelling_base_and_clock_and_to_nothing_else() -> None:
    first = op_hash(op(value={"reps": 60, "unit": "kg"}))
    assert op_hash(dict(reversed(op(value={"unit": "kg", "reps": 60.0}, base=7).items()))) == first
    assert op_hash({**op(value={"reps": 60, "unit": "kg"}), "clock": {"1": 2}}) == first
    assert op_hash(op(value={"reps": 61, "unit": "kg"})) != first
    assert op_hash(op(value={"reps": 60, "unit": "kg"}, at=2)) != first
    assert op_hash(op(value={"reps": 60, "unit": "kg"}, note="x")) != first


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        (op(), "113c5b012cbdc3337915d9b5ae446d1e"),
        (
            op(n=2, base=7, kind="set.edit", entity=ENTRY, value={"field": "reps", "value": 8}, at=AT),
            "568d5cf2339f3608fef11c7189b46c0b",
        ),
        (
            {
                "n": 3,
                "clock": {"1": 2},
                "kind": "set.log",
                "workout": WORKOUT.upper(),
                "entity": ENTRY,
                "value": {
                    "exercise_entry": ENTRY,
                    "type": "working",
                    "reps": 8.0,
                    "load": {"unit": "kg", "value": 82.5},
                    "rpe": 9.0,
                },
                "at": AT,
                "v": 1,
            },
            "c2d22c34a7c47008aff25ea68225efc4",
        ),
        (
            {
                "n": 4,
                "base": 7,
                "entity": None,
                "kind": "note.set",
                "workout": WORKOUT,
                "value": {"text": 'héllo\n\u2028 \u007f"\\'},
                "at": -5,
                "later": [1.0, {"b": 2.5, "a": None}],
                "x": {"y": True},
            },
            "eee3c9e96f995cb7f9c5cd4cac78bf01",
        ),
    ],
)
def test_hashes_are_those_that_logs_hold(raw: dict[str, Any], stored: str) -> None:
    assert op_hash(raw).hex() == stored


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_any_payload_is_decoded_or_refused_and_never_raises_anything_else(payload: Any) -> None:
    for candidate in (payload, {"ops": [payload]}, {"ops": [op(value=payload)]}, {"ops": [op(n=payload)]}):
        with contextlib.suppress(Refusal):
            assert decode_push(candidate, LIMITS).ops


fields = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["set.edit", "", "new.kind"]) | st.text(max_size=3),
        "value": st.dictionaries(st.text(max_size=3), json_values, max_size=3) | st.none() | json_values,
        "at": st.integers(-(2**54), 2**54) | st.floats(),
    },
    optional={
        "entity": st.sampled_from([ENTRY, ENTRY.upper(), None, "x"]),
        "v": st.sampled_from([1, 2, 1.0, None, 0]),
        "clock": st.none() | st.dictionaries(st.sampled_from(["1", "2", "x"]), st.integers(-1, 3)),
        "future": json_values,
    },
)


@given(st.lists(fields, min_size=1, max_size=4))
def test_ops_that_are_read_together_are_read_as_each_alone_would_be(ops: list[dict[str, Any]]) -> None:
    raws = [op(n=n, **one) for n, one in enumerate(ops, 1)]

    def told(read: Any) -> Any:
        try:
            return [asdict(one) for one in read()]
        except Refusal as refusal:
            return refusal.answer()

    def alone() -> Any:
        return [decode_op(raw, LIMITS)[0] for raw in raws]

    together = told(lambda: decode_push({"ops": raws}, LIMITS).ops)
    assert repr(together) == repr(told(alone))
