"""What must hold of the fold over any schedule of any devices: tests/sync/schedules.py makes them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fitai.engine.ops import Record
from fitai.engine.workout import digest, state
from fitai.sync.fold import Folded, fold
from fitai.sync.place import SERVER
from tests.sync.oracle import Oracle, clocks_of
from tests.sync.schedules import WORKOUT, Step, World, Written, steps
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
    return {"there": {key[:2] for key in alone}, "beside": beside, "alone": alone}


_BY_TIME = {
    *("position", "plan", "at", "dot", "rev", "phase", "rest", "reason", "totals", "flags", "alternatives"),
    *("started_at", "ended_at", "created_at", "updated_at", "exercises", "sets"),
}
"""Where a thing stands, when it was and what that adds up to are for the clocks to say."""


def _things(told: Json) -> Iterable[tuple[str, str | None, Json]]:
    yield "workout", None, told
    for entry in told["exercises"]:
        yield "exercise", entry["id"], entry
        for row in entry["sets"]:
            yield "set", row["id"], row


def but_rests(told: Json) -> Json:
    """A state document without rests: whether a set starts one is decided in the order of the log."""
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
        stream.append(
            one.device, {key: value for key, value in one.raw.items() if key != "base"} | {"clock": clock}
        )
        waiting.remove(one)
        server = [other for other in server if other is not one]
    return stream.records


def _ready(stream: Stream, one: Written, server: Sequence[Written]) -> bool:
    mine = {one.device: one.raw["n"] - 1}
    if not stream.holds({**one.clock, **mine}):
        return False
    return not any(
        other is not one and not _saw(other, one) and other.device != one.device for other in server
    )


def _saw(later: Written, earlier: Written) -> bool:
    return earlier.raw["n"] <= later.clock.get(earlier.device, 0)


def other_clocks(world: World, order: random.Random) -> list[Record]:
    """The same ops by devices whose wall clocks were off by up to ten years, each op by its own."""
    stream = Stream()
    for record in world.records:
        off = order.choice([0, order.randint(-TEN_YEARS_S, TEN_YEARS_S)]) * 1000
        stream.append(record.device, {**record.op.raw, "at": max(0, record.op.at + off)})
    return stream.records


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
    told = document(world.records)
    assert Oracle(WORKOUT, world.records, world.clocks).complaints(told) == []
    for one in told["alternatives"]:
        devices = [other["dot"][0] for other in (one["shown"], *one["others"])]
        assert len(devices) == len(set(devices)), "more values than devices"


def test_the_schedules_reach_every_verdict_flag_and_reason() -> None:
    met: set[str] = set()

    @settings(thorough, max_examples=600, derandomize=True, database=None, phases=[Phase.generate])
    @given(worlds)
    def look(world: World) -> None:
        told = document(world.records)
        met.update(record.verdict for record in world.records)
        met.update("beyond" for record in world.records if record.beyond)
        met.update(flag["flag"] for flag in told["flags"])
        met.update(one["why"] for one in told["alternatives"])
        met.update(one["of"] for one in told["alternatives"])
        met.update("note" for one in told["alternatives"] if one["field"] == "note")
        met.add(told["status"])

    look()
    assert met >= {
        *("applied", "merged", "deferred", "void", "beyond"),
        *("late_sets", "abandoned_with_sets", "concurrent_transitions", "removed_and_edited", "notes_merged"),
        *("later", "dot", "there", "workout", "exercise", "set", "note"),
        *("planned", "active", "paused", "completed", "abandoned"),
    }


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
    records = other_clocks(world, order)
    told = document(records)
    assert values(told) == values(document(world.records))
    assert Oracle(WORKOUT, records, world.clocks).complaints(told) == []


# -- what schedules have shown to be wrong once ---------------------------------------------------------

SECOND, LATER, BACK = 1, 3_600, -3_600
FOUND: dict[str, tuple[bool, list[Step]]] = {
    "a set moves on from an exercise that it alone had kept": (
        True,
        [
            Step(2, "log", 0, 9, SECOND),
            Step(1, "remove exercise", 0, 0, 0),
            Step(2, "edit set", 0, 27, LATER),
        ],
    ),
    "a set logged elsewhere by somebody who had seen it keeps its old exercise no more": (
        True,
        [
            Step(3, "log", 1, 24, LATER),
            Step(3, "push", 1, 0, 40),
            Step(4, "sync", 0, 0, 0),
            Step(4, "log", 4, 19, SECOND),
            Step(1, "remove exercise", 3, 0, BACK),
        ],
    ),
    "an edit of a set that nobody logged keeps no exercise": (
        True,
        [Step(4, "edit set", 5, 7, LATER), Step(1, "remove exercise", 4, 0, LATER)],
    ),
    "who reopens a workout had not seen the end that was typed elsewhere": (
        False,
        [
            Step(5, "start", 0, 0, 0),
            Step(5, "complete", 0, 0, SECOND),
            Step(5, "log", 0, 15, LATER),
            Step(4, "edit workout", 0, 10, LATER),
            Step(5, "sync", 0, 0, SECOND),
        ],
    ),
    "a completion without a start, on one device before the other creates the workout": (
        False,
        [
            Step(2, "create", 2, 7, 40),
            Step(4, "complete", 2, 1, 40),
            Step(4, "push", 0, 0, 40),
        ],
    ),
    "a second start of one device, whose workout another created": (
        False,
        [Step(1, "create", 2, 18, SECOND), Step(2, "start", 0, 0, SECOND), Step(2, "start", 0, 0, SECOND)],
    ),
    "of two equal versions of a note only one names its parent": (
        True,
        [Step(2, "note", 0, 4, 0), Step(5, "choose", 0, 3, BACK), Step(3, "note", 0, 0, BACK)],
    ),
    "a set that had seen the server's completion, which then yields": (
        True,
        [
            Step(2, "server", 1, 0, 0),
            Step(3, "sync", 0, 0, LATER),
            Step(4, "log", 3, 4, 0),
            Step(3, "log", 0, 14, BACK),
        ],
    ),
    "a version of a note chosen where nobody has written one": (
        False,
        [Step(1, "unknown", 0, 0, SECOND), Step(2, "note", 0, 0, SECOND), Step(1, "choose", 0, 0, 0)],
    ),
}


@pytest.mark.parametrize(("begun", "schedule"), FOUND.values(), ids=FOUND)
def test_a_schedule_that_went_wrong_goes_right(begun: bool, schedule: list[Step]) -> None:
    world = World(schedule, begun=begun)
    told = document(world.records)
    assert Oracle(WORKOUT, world.records, world.clocks).complaints(told) == []
    for seed in range(20):
        order = random.Random(seed)
        assert but_rests(document(arrive(world.written.values(), order))) == but_rests(told)
        assert values(document(other_clocks(world, order))) == values(told)
