"""Properties of the engine as a whole, over random ops of three devices in any order, at any time."""

from __future__ import annotations

import json
import uuid

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitai.engine.insights import changes, insights
from fitai.engine.kinds import KINDS, SET_FIELDS, set_id
from fitai.engine.machine import LEAVES
from fitai.engine.ops import Op, Record, Stamp, Verdict
from fitai.engine.timers import due_op, timers
from fitai.engine.totals import totals
from fitai.engine.workout import Limits, digest, judge, state
from fitai.sync.fold import Folded
from fitai.sync.fold import fold as fold_all

WORKOUT = "018f0000-0000-7000-8000-000000000001"
ENTRIES = [str(uuid.uuid5(uuid.NAMESPACE_OID, f"entry {i}")) for i in range(3)]
SETS = [set_id(WORKOUT, slot) for slot in range(3)]

loads = st.fixed_dictionaries(
    {"value": st.sampled_from([0, 20, 60.0, 62.5, 135]), "unit": st.sampled_from(["kg", "lb"])}
)
FIELD_VALUES = {
    "exercise_entry": st.sampled_from(ENTRIES),
    "type": st.sampled_from(["warmup", "working", "drop"]),
    "reps": st.integers(0, 12) | st.none(),
    "load": loads | st.none(),
    "rpe": st.sampled_from([7, 8.5, None]),
    "rir": st.sampled_from([0, 1.5, None]),
    "duration_ms": st.sampled_from([None, 30_000]),
    "distance_m": st.sampled_from([None, 400, 12.345]),
    "side": st.sampled_from(["left", "right", None]),
    "assisted": st.sampled_from([True, False, None]),
    "rest_s": st.sampled_from([None, 0, 30, 90]),
    "done": st.booleans(),
}
assert FIELD_VALUES.keys() == SET_FIELDS.keys()

REQUIRED = ("exercise_entry", "type")
logs = st.fixed_dictionaries(
    {field: FIELD_VALUES[field] for field in REQUIRED},
    optional={field: value for field, value in FIELD_VALUES.items() if field not in REQUIRED},
)
supersets = st.sampled_from([None, "S"])
targets = st.sampled_from([None, {"rest_s": 60}])
positions = st.sampled_from("abc")
plans = st.lists(
    st.fixed_dictionaries(
        {
            "entry": st.sampled_from(ENTRIES),
            "exercise": st.sampled_from(["squat", "row"]),
            "position": positions,
            "superset": supersets,
            "target": targets,
            "sets": st.lists(
                st.fixed_dictionaries({"slot": st.integers(0, 2), "target": targets}), max_size=2
            ),
        }
    ),
    max_size=2,
)


def edits(**fields):
    return st.one_of(
        [st.fixed_dictionaries({"field": st.just(name), "value": value}) for name, value in fields.items()]
    )


def _or(strategy, default):
    return st.just(default) if strategy is None else strategy


def ops_of(kind, value=None, entity=None):
    return st.tuples(st.just(kind), _or(value, {}), _or(entity, None))


entries, sets = st.sampled_from(ENTRIES), st.sampled_from(SETS)
BODIES = {
    "workout.create": ops_of(
        "workout.create", st.fixed_dictionaries({}, optional={"title": st.sampled_from("AB"), "plan": plans})
    ),
    "workout.start": ops_of("workout.start"),
    "workout.pause": ops_of("workout.pause", st.sampled_from([{}, {"reason": "idle"}])),
    "workout.resume": ops_of("workout.resume"),
    "workout.complete": ops_of("workout.complete", st.sampled_from([{}, {"rating": 3, "note": "x"}])),
    "workout.abandon": ops_of("workout.abandon"),
    "workout.edit": ops_of(
        "workout.edit",
        edits(
            title=st.sampled_from(["C", None]),
            started_at=st.integers(0, 10**6),
            ended_at=st.integers(0, 10**6) | st.none(),
        ),
    ),
    "workout.remove": ops_of("workout.remove"),
    "workout.restore": ops_of("workout.restore"),
    "workout.merge": ops_of("workout.merge", st.just({"into": ENTRIES[0]})),
    "workout.unmerge": ops_of("workout.unmerge"),
    "exercise.add": ops_of(
        "exercise.add",
        st.fixed_dictionaries(
            {"exercise": st.sampled_from(["squat", "row"]), "position": positions},
            optional={"superset": supersets, "target": targets},
        ),
        entries,
    ),
    "exercise.edit": ops_of(
        "exercise.edit",
        edits(exercise=st.sampled_from(["squat", "press"]), superset=supersets, target=targets),
        entries,
    ),
    "exercise.move": ops_of("exercise.move", st.fixed_dictionaries({"position": positions}), entries),
    "exercise.remove": ops_of("exercise.remove", None, entries),
    "exercise.restore": ops_of("exercise.restore", None, entries),
    "set.log": ops_of("set.log", logs, sets),
    "set.edit": ops_of("set.edit", edits(**FIELD_VALUES), sets),
    "set.remove": ops_of("set.remove", None, sets),
    "set.restore": ops_of("set.restore", None, sets),
    "rest.start": ops_of("rest.start", st.fixed_dictionaries({"seconds": st.sampled_from([0, 30, 90])})),
    "rest.extend": ops_of("rest.extend", st.fixed_dictionaries({"seconds": st.sampled_from([-30, 15])})),
    "rest.skip": ops_of("rest.skip"),
    "note.set": ops_of("note.set", st.just({"text": "x"}), st.sampled_from([None, *ENTRIES, *SETS])),
    "conflict.choose": ops_of("conflict.choose", st.just({"field": "reps", "dot": [1, 1]}), sets),
}
assert BODIES.keys() == KINDS.keys()
# Sets and exercises are what most ops of a true workout are about.
bodies = st.one_of(
    *BODIES.values(), BODIES["set.log"], BODIES["set.log"], BODIES["set.edit"], BODIES["exercise.add"]
)
moves = st.tuples(bodies, st.integers(0, 2), st.integers(-60_000, 60_000))
# Half of them begin like a true workout; in the others everything may come before what it is about.
OPENING = [
    (("workout.create", {"title": "A"}, None), 0, 0),
    (("exercise.add", {"exercise": "squat", "position": "a", "superset": "S"}, ENTRIES[0]), 0, 1_000),
    (("exercise.add", {"exercise": "row", "position": "b", "superset": "S"}, ENTRIES[1]), 0, 1_000),
    (
        ("set.log", {"exercise_entry": ENTRIES[0], "type": "working", "reps": 5, "rest_s": 90}, SETS[0]),
        0,
        1_000,
    ),
]
schedules = st.builds(
    lambda opening, rest: opening + rest, st.sampled_from([[], OPENING]), st.lists(moves, max_size=40)
)


def play(schedule, limits=None):
    """Judge and fold a schedule of (body, device, step of time); the workout and its records."""
    folded = Folded(WORKOUT, "owner")
    records: list[Record] = []
    counters: dict[int, int] = {}
    te = 1_000_000
    for (kind, value, entity), device, step in schedule:
        te += step
        n = counters[device] = counters.get(device, 0) + 1
        op = Op(
            n=n,
            base=len(records),
            clock=None,
            kind=kind,
            workout=WORKOUT,
            entity=entity,
            value=value,
            at=te,
            v=1,
            raw={},
        )
        place = len(records) + 1
        stamp = Stamp(place, device, n, te, place - 1)
        judged = folded.judge(op, stamp, limits or Limits())
        record = Record(
            op=op,
            seq=place,
            rev=place,
            device=device,
            base=place - 1,
            beyond=None,
            te=te,
            rt=te,
            verdict=judged.verdict,
            code=judged.code,
            detail=judged.detail,
        )
        folded.take(record)
        records.append(record)
    return folded.workout, records


def fold(records):
    return fold_all(WORKOUT, "owner", records).workout


@given(schedules)
def test_a_fold_is_a_function_of_the_records_and_a_json_document(schedule):
    w, records = play(schedule)
    document = state(w)
    assert document == state(fold(records))
    assert orjson.loads(orjson.dumps(document)) == document == json.loads(json.dumps(document))
    assert digest(document) == digest(json.loads(json.dumps(document)))
    assert document["rev"] == len(records)


@given(schedules)
def test_void_ops_change_nothing(schedule):
    w, records = play(schedule)
    standing = fold([record for record in records if record.verdict is not Verdict.VOID])
    assert digest(state(standing)) == digest(state(w))


@given(schedules)
def test_rest_end_and_state_always_fit_together(schedule):
    _, records = play(schedule)
    folded = Folded(WORKOUT, "owner")
    for record in records:
        folded.take(record)
        w = folded.workout
        assert w.state in LEAVES
        assert (w.rest is not None) is (w.state in ("active.resting", "paused.resting"))
        if w.rest is not None:
            assert (w.rest.remaining_ms is not None) is (w.state == "paused.resting")
        assert (w.ended_at is not None) is (w.state in ("completed", "abandoned"))
        if w.state.startswith(("active", "paused")):
            assert w.started_at is not None


@given(schedules)
def test_no_time_is_counted_twice_or_backwards(schedule):
    folded = Folded(WORKOUT, "owner")
    spent = 0
    _, records = play(schedule)
    for record in records:
        folded.take(record)
        w = folded.workout
        told = totals(w)
        now = told["work_ms"] + told["rest_ms"] + w.paused_ms
        assert now >= 0
        assert w.work_ms + w.rest_ms + w.paused_ms >= spent
        spent = w.work_ms + w.rest_ms + w.paused_ms
    if records:
        te = [record.te for record in records]
        assert spent <= max(te) - min(te)


@given(schedules)
def test_timers_are_never_due_early_and_the_servers_ops_always_stand(schedule):
    _, records = play(schedule)
    folded = fold_all(WORKOUT, "owner", records)
    for _ in range(4):
        w = folded.workout
        due = timers(w)
        assert (due.rest is not None) <= (w.state == "active.resting")
        ops_due = [at for at in (due.idle_at, due.finish_at) if at is not None]
        if not ops_due:
            assert due_op(w, 2**60) is None
            return
        assert due_op(w, min(ops_due) - 1) is None
        own = due_op(w, min(ops_due))
        assert own is not None
        op = Op(
            n=len(records) + 1,
            base=len(records),
            clock=None,
            kind=own.kind,
            workout=WORKOUT,
            entity=None,
            value=own.value,
            at=own.at,
            v=1,
            raw={},
        )
        assert judge(w, op).verdict is Verdict.APPLIED
        place = w.rev + 1
        folded.take(
            Record(
                op=op,
                seq=place,
                rev=place,
                device=0,
                base=place - 1,
                beyond=None,
                te=own.at,
                rt=own.at,
                verdict=Verdict.APPLIED,
            ),
        )
    pytest.fail("the server went on appending to a workout in which nothing happens")


@given(schedules, st.sampled_from(SETS), st.sampled_from(["reps", "load", "type", "done", "side"]), st.data())
def test_an_edit_and_its_undoing_restore_totals_and_insights(schedule, one, field, data):
    w, _ = play([*schedule, *_a_set_of_its_own(one)])
    before, said = totals(w), insights(w, {})
    row = w.sets[one]
    old = getattr(row, field)
    new = data.draw(FIELD_VALUES[field])
    undone, _ = play(
        [
            *schedule,
            *_a_set_of_its_own(one),
            (("set.edit", {"field": field, "value": new}, one), 1, 0),
            (("set.edit", {"field": field, "value": old}, one), 1, 0),
        ]
    )
    after = totals(undone)
    # A sweep past a rest's deadline may move time between work and rest, never the sums of the sets.
    for times in (before, after):
        del times["work_ms"], times["rest_ms"], times["duration_ms"]
    assert after == before
    assert {id_: i for id_, i in insights(undone, {}).items() if i["kind"] == "record"} == {
        id_: i for id_, i in said.items() if i["kind"] == "record"
    }


def _a_set_of_its_own(one):
    yield ("workout.create", {}, None), 0, 0
    yield ("exercise.add", {"exercise": "squat", "position": "a"}, ENTRIES[0]), 0, 0
    yield ("set.log", {"exercise_entry": ENTRIES[0], "type": "working", "reps": 5}, one), 0, 0


@given(schedules, st.integers(0, 40))
def test_changes_bring_a_device_from_what_it_knew_to_what_is(schedule, at):
    _, records = play(schedule)
    before, after = insights(fold(records[:at]), {}), insights(fold(records), {})
    known = dict(before)
    for insight in changes(before, after):
        if insight.get("withdrawn"):
            del known[insight["id"]]
        else:
            known[insight["id"]] = insight
    assert known == after


@given(schedules, st.integers(1, 3), st.integers(1, 3))
def test_limits_bound_what_a_workout_holds(schedule, exercises, most_sets):
    w, _ = play(schedule, Limits(exercises=exercises, sets=most_sets))
    assert len(w.entries) <= exercises
    assert len(w.sets) <= most_sets
    assert len(w.notes) <= exercises + most_sets


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8)
    | st.sampled_from([*ENTRIES, "kg", "working", "load", "reps", "title"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELD_NAMES = sorted({name for kind in KINDS.values() for name in kind.value_type.__struct_fields__})
garbage = st.dictionaries(st.sampled_from(FIELD_NAMES), json_values, max_size=6)


@settings(max_examples=400)
@given(
    st.lists(
        st.tuples(st.sampled_from([*KINDS, "set.dance"]), garbage, st.sampled_from([None, *SETS])), max_size=6
    )
)
def test_garbage_is_void_or_kept_and_never_raises(ops):
    w, records = play([(op, 1, 1_000) for op in ops])
    orjson.dumps(state(w))
    for record in records:
        assert record.verdict in ("applied", "deferred", "void")
        if record.verdict is Verdict.VOID:
            assert record.code in ("bad_value", "limit", "illegal_edge")
            orjson.dumps(record.detail)


@given(st.lists(st.tuples(st.sampled_from(list(KINDS)), garbage, st.sampled_from([None, *SETS])), max_size=6))
def test_a_record_of_another_version_never_breaks_the_fold(ops):
    """Its verdict says that it stands; this version may see a bad value, an illegal edge, or no entity."""
    _, records = play([(op, 1, 1_000) for op in ops])
    folded = Folded(WORKOUT, "owner")
    for record in records:
        stands = {name: getattr(record, name) for name in Record.__struct_fields__}
        folded.take(Record(**{**stands, "verdict": Verdict.MERGED}))
    orjson.dumps(state(folded.workout))
