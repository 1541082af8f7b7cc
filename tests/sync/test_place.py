"""Placing ops at the head of a stream: counters, order, verdicts, and nothing that outlives a failure."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fitai.engine.ops import Op, Record, Verdict
from fitai.engine.workout import Limits, state
from fitai.sync.fold import Folded, fold
from fitai.sync.log import Context, Position
from fitai.sync.place import SERVER, Placer
from fitai.sync.wire import WireLimits, decode_op

WORKOUT = "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001"
ENTRY = "0198c1f2-8c11-7d02-b1f0-0f6f3f2ab9d1"


def op(n: int, kind: str, at: int = 0, **more: Any) -> Op:
    raw = {"n": n, "base": 0, "kind": kind, "workout": WORKOUT, "value": {}, "at": at, **more}
    return decode_op(raw, WireLimits())[0]


def placer(folds: dict[str, Folded], head: int = 0, last_rt: int = 0) -> Placer:
    return Placer(head, last_rt, {}, folds, Limits())


def empty() -> dict[str, Folded]:
    return {WORKOUT: fold(WORKOUT, "owner", [])}


def test_records_are_numbered_in_stream_and_workout_and_void_ones_take_their_place() -> None:
    place = placer(empty(), head=7)
    kinds = ["workout.create", "workout.resume", "workout.start"]
    records = [
        place.place(1, op(n, kind), Context(7, None), now=50, offset=0) for n, kind in enumerate(kinds, 1)
    ]
    assert [r.seq for r in records] == [8, 9, 10]
    assert [r.rev for r in records] == [1, 2, 3]
    assert [r.verdict for r in records] == [Verdict.APPLIED, Verdict.VOID, Verdict.APPLIED]
    assert records[1].detail == {"from": "planned", "trigger": "resume"}
    assert place.position(1) == Position(4, 7, None, 0)


def test_receipt_never_goes_back_and_time_is_held_between_the_previous_op_and_receipt() -> None:
    place = placer(empty(), last_rt=1_000)
    first = place.place(1, op(1, "workout.create", at=9_999), Context(0, None), now=400, offset=0)
    assert (first.rt, first.te) == (1_000, 1_000)
    later = place.place(1, op(2, "workout.start", at=-50_000_000), Context(0, None), now=2_000, offset=0)
    assert (later.rt, later.te) == (2_000, 1_000)
    corrected = place.place(1, op(3, "workout.pause", at=900), Context(0, None), now=3_000, offset=1_500)
    assert corrected.te == 2_400


def test_the_server_s_own_ops_keep_the_time_that_they_are_dated() -> None:
    place = placer(empty())
    place.place(1, op(1, "workout.create", at=500), Context(0, None), now=600, offset=0)
    own = place.place(SERVER, op(1, "workout.start", at=100), Context(1, None), now=900, offset=0)
    assert own.te == 100


def test_an_op_that_has_not_seen_another_device_s_record_of_the_workout_is_merged() -> None:
    place = placer(empty())
    place.place(1, op(1, "workout.create"), Context(0, None), now=1, offset=0)
    unseen = place.place(2, op(1, "workout.start"), Context(0, None), now=1, offset=0)
    assert unseen.verdict is Verdict.MERGED
    seen = place.place(1, op(2, "workout.pause"), Context(2, None), now=1, offset=0)
    assert seen.verdict is Verdict.APPLIED


def test_an_op_of_an_unknown_kind_is_deferred_at_its_place_and_blocks_nothing_behind_it() -> None:
    place = placer(empty())
    kinds = ["workout.create", "mood.set", "workout.start"]
    records = [
        place.place(1, op(n, kind), Context(0, None), now=1, offset=0) for n, kind in enumerate(kinds, 1)
    ]
    assert [r.verdict for r in records] == [Verdict.APPLIED, Verdict.DEFERRED, Verdict.APPLIED]
    assert [(r.seq, r.rev) for r in records] == [(1, 1), (2, 2), (3, 3)]


def test_an_op_whose_workout_is_not_there_yet_is_deferred() -> None:
    placed = placer(empty()).place(1, op(1, "workout.start"), Context(0, None), now=1, offset=0)
    assert placed.verdict is Verdict.DEFERRED


@given(st.integers(0, 2**32))
def test_what_is_placed_folds_to_the_same_state_when_it_is_read_back(seed: int) -> None:
    rng = random.Random(seed)
    folds = empty()
    place = placer(folds)
    counters = {1: 0, 2: 0}
    kinds = [
        ("workout.create", {}),
        ("workout.start", {}),
        ("exercise.add", {"exercise": "squat", "position": "a0"}),
        ("set.log", {"exercise_entry": ENTRY, "type": "working", "slot": rng.randrange(3), "rest_s": 30}),
        ("rest.skip", {}),
        ("workout.pause", {}),
        ("workout.resume", {}),
        ("workout.complete", {}),
        ("future.kind", {"x": 1}),
    ]
    records: list[Record] = []
    for now in range(30):
        device = rng.choice([1, 2])
        counters[device] += 1
        kind, value = rng.choice(kinds)
        entity = {"entity": ENTRY} if kind == "exercise.add" else {}
        made = op(counters[device], kind, at=now * 10_000, value=value, **entity)
        context = Context(rng.randrange(place.head + 1), None)
        records.append(place.place(device, made, context, now * 10_000, 0))
    assert state(fold(WORKOUT, "owner", records).workout) == state(folds[WORKOUT].workout)
    assert [r.seq for r in records] == list(range(1, 31))
