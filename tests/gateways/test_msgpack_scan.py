"""The ack id is found whatever lies around it, and nothing is made of what is no packet."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitai.gateways.live.msgpack_scan import SCANNED, ack_of

KEYS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=300) | st.binary()
SCALARS = KEYS | st.floats() | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=40))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(KEYS, inner, max_size=20),
    max_leaves=40,
)


def packed(data, **more):
    packet = {"type": 2, "data": data, "options": {"compress": True}, "id": 7, "nsp": "/live"}
    return msgpack.packb({**packet, **more})


@given(VALUES, st.integers(0, 2**64 - 1))
def test_the_id_is_found_behind_any_value(data, id):
    frame = packed(data, id=id)
    assert ack_of(frame) == (id if len(frame) <= SCANNED else None)


@pytest.mark.parametrize("size", [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
@pytest.mark.parametrize("sort", ["text", "bytes", "list", "map", "extension"])
def test_every_width_of_a_length_is_stepped_over(sort, size, monkeypatch):
    monkeypatch.setattr("fitai.gateways.live.msgpack_scan.SCANNED", 2**20)
    value = {
        "text": "x" * size,
        "bytes": b"x" * size,
        "list": [None] * size,
        "map": dict.fromkeys(range(size)),
        "extension": msgpack.ExtType(5, b"x" * size),
    }[sort]
    assert ack_of(packed(value)) == 7


def test_what_a_decoder_would_not_take_is_no_hindrance():
    deep = packed("@").replace(msgpack.packb("@"), b"\x81\xa1a" * 10_000 + b"\xc0")
    no_text = packed("@@").replace(b"@@", b"\xed\xa0")
    assert (ack_of(deep), ack_of(no_text)) == (7, 7)


@given(st.binary())
def test_nothing_raises(frame):
    ack_of(frame)


def test_a_frame_that_is_cut_off_or_goes_on_has_no_id():
    whole = packed(["push", {"ops": [{"n": 1, "value": {"title": "x" * 40}}]}])
    assert [ack_of(whole[:cut]) for cut in range(len(whole))] == [None] * len(whole)
    assert ack_of(whole + b"\x00") is None


@pytest.mark.parametrize(
    "frame",
    [
        packed("x", nsp="/other"),
        packed("x", nsp=b"/live"),
        packed("x", id=-1),
        packed("x", id="7"),
        packed("x", id=None),
        packed("x", id=7.0),
        msgpack.packb({"type": 2, "nsp": "/live"}),
        msgpack.packb([2, 7]),
        msgpack.packb(7),
        b"\xc1",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff" * 1_000,
        packed("x" * SCANNED),
    ],
)
def test_what_can_not_be_answered_has_no_id(frame):
    assert ack_of(frame) is None
