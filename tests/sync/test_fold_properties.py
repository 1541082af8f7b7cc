"""What must hold of the fold over any schedule of any devices: tests/sync/schedules.py makes them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fitai.engine.ops import Dot, Record
from fitai.engine.workout import digest, state
from fitai.sync.fold import Folded, fold
from fitai.sync.place import SERVER
from tests.sync.oracle import Oracle, clocks_of
from tests.sync.schedules import BEGIN, WORKOUT, Step, World, Written, steps
from tests.sync.stream import OWNER, Stream

Json = dict[str, Any]
TEN_YEARS_S = 10 * 366 * 86_400

thorough = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
worlds = st.builds(World, steps(), begun=st.booleans())


def document(records: Iterable[Record]) -> Json:
    return state(fold(WORKOUT, OWNER, records).workout)


def values(told: Json) -> Json:
    """What exists by a state document: who is there, and of each thing the values, shown or beside."""
    beside = {
        (one["of"], one["entity"], one["field"]): sorted(
            str(other["value"]) for other in (one["shown"], *one["others"])
        )
        for one in told["alternatives"]
    }
    alone = {
        (of, id_, name): value
        for of, id_, thing in _things(told)
        for name, value in thing.items()
        if name not in _BY_TIME and (of, id_, name) not in beside
    }
    return {"there": sorted(str(key[:2]) for key in alone), "beside": beside, "alone": alone}


_BY_TIME = frozenset(
    "sets plan position at dot rev phase rest started_at ended_at created_at updated_at totals flags reason "
    "alternatives exercises".split()
)
"""Where a thing stands, when it was and what that adds up to are for the clocks to say."""


def _things(told: Json) -> Iterable[tuple[str, str | None, Json]]:
    yield "workout", None, told
    for entry in told["exercises"]:
        yield "exercise", entry["id"], entry
        for row in entry["sets"]:
            yield "set", row["id"], row


def but_rests(told: Json) -> Json:
    """A state document without what rests come to: whether a set starts one is decided in the order of the log."""
    totals = {key: value for key, value in told["totals"].items() if key not in ("work_ms", "rest_ms")}
    return {**told, "rest": None, "phase": None, "rev": None, "totals": totals}


def arrive(written: Iterable[Written], order: random.Random) -> list[Record]:
    """Place the same ops, with the same contexts as full clocks, in another order that causality allows.

    The server's own op is written at the head of the log, so that what it had not seen comes after it.
    """
    stream, waiting = Stream(), list(written)
    server = [one for one in waiting if one.device == SERVER]
    while waiting:
        ready = [one for one in waiting if _ready(stream, one, server)]
        one = order.choice(ready)
        clock = {str(device): n for device, n in one.clock.items()}
        stream.append(one.device, {key: value for key, value in one.raw.items() if key != "base"} | {"clock": clock})
        waiting.remove(one)
        server = [other for other in server if other is not one]
    return stream.records


def _ready(stream: Stream, one: Written, server: Sequence[Written]) -> bool:
    mine = {one.device: one.raw["n"] - 1}
    if not stream.holds({**one.clock, **mine}):
        return False
    return not any(other is not one and not _saw(other, one) and other.device != one.device for other in server)


def _saw(later: Written, earlier: Written) -> bool:
    return earlier.raw["n"] <= later.clock.get(earlier.device, 0)


# -- the set of records is all that counts -------------------------------------------------------------


@thorough
@given(worlds, st.randoms(use_true_random=False))
def test_any_order_of_the_records_and_any_doubles_give_one_digest(world: World, order: random.Random) -> None:
    expected = digest(document(world.records))
    shuffled = [*world.records, *world.records[::3]]
    order.shuffle(shuffled)
    assert digest(document(shuffled)) == expected
    assert digest(document(reversed(world.records))) == expected


@thorough
@given(worlds)
def test_taking_records_one_by_one_gives_at_each_of_them_what_a_fold_from_nothing_gives(world: World) -> None:
    read, unread = Folded(WORKOUT, OWNER), Folded(WORKOUT, OWNER)
    for count, record in enumerate(world.records, 1):
        unread.take(record)
        read.take(record)
        assert state(read.workout) == document(world.records[:count])
    assert state(unread.workout) == document(world.records)
    assert state(world.stream.folds[WORKOUT].workout) == document(world.records)


@thorough
@given(worlds, st.randoms(use_true_random=False))
def test_merging_replicas_commutes_associates_and_is_idempotent(world: World, order: random.Random) -> None:
    a, b, c = ([r for r in world.records if order.random() < 0.6] for _ in range(3))
    assert document(a + b) == document(b + a)
    assert document((a + b) + c) == document(a + (b + c)) == document(c + b + a)
    assert document(a + a) == document(a)
    assert document(a + world.records) == document(world.records)


# -- which values exist ---------------------------------------------------------------------------------


@thorough
@given(worlds)
def test_no_accepted_value_is_lost_and_none_is_made_up(world: World) -> None:
    assert Oracle(WORKOUT, world.records, world.clocks).complaints(document(world.records)) == []


@thorough
@given(worlds)
def test_the_contexts_in_the_log_say_what_the_devices_had_seen(world: World) -> None:
    told = clocks_of(world.records)
    for dot, clock in world.clocks.items():
        assert {d: n for d, n in told[dot].items() if n} == {d: n for d, n in clock.items() if n}


@thorough
@given(worlds, st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_values(world: World, order: random.Random) -> None:
    records = arrive(world.written.values(), order)
    told = document(records)
    assert but_rests(told) == but_rests(document(world.records))
    assert Oracle(WORKOUT, records, world.clocks).complaints(told) == []


@thorough
@given(worlds, st.randoms(use_true_random=False))
def test_any_wall_clock_gives_the_same_values(world: World, order: random.Random) -> None:
    stream = Stream()
    for record in world.records:
        off = order.choice([0, order.randint(-TEN_YEARS_S, TEN_YEARS_S)]) * 1000
        stream.append(record.device, {**record.op.raw, "at": max(0, record.op.at + off)})
    told = document(stream.records)
    assert values(told) == values(document(world.records))
    assert Oracle(WORKOUT, stream.records, world.clocks).complaints(told) == []
