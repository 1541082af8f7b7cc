"""A record on the wire: the op as it came, and what only the server can say of it."""

from __future__ import annotations

from typing import Any

from fitai.engine.ops import SERVERS_OWN, Op, Record, Verdict

WORKOUT = "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001"
RAW = {"n": 3, "base": 5, "kind": "workout.start", "workout": WORKOUT, "value": {}, "at": 9, "mood": "good"}


def record(raw: dict[str, Any] = RAW, **changes: Any) -> Record:
    """RAW or another op as the record 8 of its stream, with its own base unless told otherwise."""
    clock = {int(device): n for device, n in raw["clock"].items()} if "clock" in raw else None
    op = Op(
        n=3, base=raw.get("base"), clock=clock, kind="workout.start", workout=WORKOUT, entity=None, value={},
        at=9, v=1, raw=raw,
    )  # fmt: skip
    fields = {"base": 5, "beyond": None, **changes}
    return Record(op=op, seq=8, rev=2, device=4, te=9, rt=10, verdict=Verdict.APPLIED, **fields)


def test_a_record_is_the_op_as_it_came_and_what_the_server_says() -> None:
    told = {"seq": 8, "rev": 2, "device": 4, "te": 9, "verdict": "applied"}
    assert record().wire() == {**RAW, **told}


def test_a_context_is_told_only_where_it_is_not_the_op_s_own_base() -> None:
    clocked = {key: value for key, value in RAW.items() if key != "base"} | {"clock": {"2": 1}}
    assert "context" not in record().told()
    assert record(base=6).told()["context"] == {"base": 6}
    assert record(clocked).told()["context"] == {"base": 5}
    assert record(beyond={2: 7, 1: 1}).wire()["context"] == {"base": 5, "beyond": {"2": 7, "1": 1}}


def test_what_only_the_server_says_is_never_taken_from_an_op() -> None:
    forged = {
        **RAW, "seq": 1, "rev": 1, "device": 1, "te": 1, "verdict": "void", "context": {"base": 99},
        "code": "bad_value", "detail": {"field": "x"},
    }  # fmt: skip
    assert set(forged) >= SERVERS_OWN
    assert record(forged).wire() == record().wire()


def test_every_field_that_is_told_is_the_server_s_own() -> None:
    full = record(base=6, code="illegal_edge", detail={"from": "active"})
    assert {"device", *full.told()} == SERVERS_OWN
