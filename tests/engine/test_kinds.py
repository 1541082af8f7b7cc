from __future__ import annotations

import pytest
from msgspec import Struct

from fitai.engine.kinds import KINDS, BadValue, Kind, decode_value, set_id, stamp
from fitai.engine.ops import Op

WORKOUT = "018f0000-0000-7000-8000-000000000001"
OTHER = "018f0000-0000-7000-8000-00000000000a"
ENTRY = "018f0000-0000-7000-8000-0000000000e1"
SET = "018f0000-0000-7000-8000-0000000000f1"


def op(kind, value, entity=None, v=1):
    return Op(
        n=1, base=0, clock=None, kind=kind, workout=WORKOUT, entity=entity, value=value, at=0, v=v, raw={}
    )


def decode(kind, value, entity=None):
    return decode_value(op(kind, value, entity))


def refused(kind, value, entity=None):
    """The field that a value is refused for."""
    with pytest.raises(BadValue) as caught:
        decode(kind, value, entity)
    assert caught.value.code == "bad_value"
    assert set(caught.value.detail) == {"field", "reason"}
    return caught.value.detail["field"]


def a_set(**value):
    return {"exercise_entry": ENTRY, "type": "working", "slot": 1, **value}


GOOD = [
    ("workout.create", {}, None),
    (
        "workout.create",
        {
            "title": "Push",
            "template": "ppl-a",
            "units": "kg",
            "tz": "Europe/Zurich",
            "plan": [
                {
                    "entry": ENTRY,
                    "exercise": "bench-press",
                    "position": "a0",
                    "superset": 1,
                    "sets": [{"slot": 1, "target": {"reps": 5}}, {"slot": "b"}],
                }
            ],
        },
        None,
    ),
    ("workout.start", {}, None),
    ("workout.pause", {"reason": "phone call"}, None),
    ("workout.resume", {}, None),
    ("workout.complete", {"rating": 5, "note": "good"}, None),
    ("workout.abandon", {"reason": "ill"}, None),
    ("workout.edit", {"field": "title", "value": "Pull"}, None),
    ("workout.edit", {"field": "tz", "value": "UTC"}, None),
    ("workout.edit", {"field": "started_at", "value": 1_700_000_000_000}, None),
    ("workout.edit", {"field": "ended_at", "value": None}, None),
    ("workout.remove", {}, None),
    ("workout.restore", {}, None),
    ("workout.merge", {"into": OTHER}, None),
    ("workout.unmerge", {}, None),
    ("exercise.add", {"exercise": "squat", "position": "a", "superset": "A", "target": {"sets": 3}}, ENTRY),
    ("exercise.edit", {"field": "exercise", "value": "front-squat"}, ENTRY),
    ("exercise.edit", {"field": "superset", "value": None}, ENTRY),
    ("exercise.edit", {"field": "target", "value": {"rest_s": 90}}, ENTRY),
    ("exercise.move", {"position": "b", "superset": 2}, ENTRY),
    ("exercise.remove", {}, ENTRY),
    ("exercise.restore", {}, ENTRY),
    (
        "set.log",
        a_set(
            reps=5,
            load={"value": 62.5, "unit": "kg"},
            rpe=8.5,
            rir=1.5,
            duration_ms=40_000,
            distance_m=12.345,
            side="left",
            assisted=False,
            rest_s=120,
            done=True,
        ),
        None,
    ),
    ("set.log", {"exercise_entry": ENTRY, "type": "amrap"}, SET),
    ("set.edit", {"field": "load", "value": {"value": 135, "unit": "lb"}}, SET),
    ("set.edit", {"field": "rpe", "value": 9}, SET),
    ("set.edit", {"field": "done", "value": False}, SET),
    ("set.edit", {"field": "exercise_entry", "value": ENTRY}, SET),
    ("set.remove", {}, SET),
    ("set.restore", {}, SET),
    ("rest.start", {"seconds": 90}, None),
    ("rest.extend", {"seconds": -15}, None),
    ("rest.skip", {}, None),
    ("note.set", {"text": "left knee", "parent": [1, 4]}, None),
    ("note.set", {"text": "slow"}, SET),
    ("conflict.choose", {"field": "load", "dot": [2, 7]}, SET),
]


@pytest.mark.parametrize(("kind", "value", "entity"), GOOD)
def test_a_good_value_is_decoded_and_its_unknown_fields_are_no_matter(kind, value, entity):
    assert decode(kind, value, entity) == decode(kind, {**value, "mood": "🙂"}, entity)


def test_every_kind_has_a_good_value_here():
    assert {kind for kind, _, _ in GOOD} == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "value", "field"),
    [
        ("workout.create", {"title": 5}, "title"),
        ("workout.create", {"title": "x" * 501}, "title"),
        ("workout.create", {"plan": [{"entry": "7", "exercise": "x", "position": "a"}]}, "plan[0]"),
        ("workout.create", {"plan": [{"entry": ENTRY, "position": "a"}]}, "plan[0].exercise"),
        ("workout.complete", {"rating": 11}, "rating"),
        ("workout.complete", {"rating": True}, "rating"),
        ("workout.edit", {"field": "status", "value": "completed"}, "field"),
        ("workout.edit", {"field": "started_at", "value": -1}, "value"),
        ("workout.edit", {"field": "started_at", "value": "2026-01-01"}, "value"),
        ("workout.merge", {"into": "somewhere"}, "value"),
        ("workout.merge", {}, "into"),
        ("workout.merge", {"into": WORKOUT}, "into"),
        ("rest.start", {}, "seconds"),
        ("rest.start", {"seconds": 1.5}, "seconds"),
        ("rest.start", {"seconds": 86_401}, "seconds"),
        ("rest.start", {"seconds": "90"}, "seconds"),
        ("note.set", {"text": None}, "text"),
        ("note.set", {"text": "x", "parent": [1]}, "parent"),
        ("conflict.choose", {"field": "load", "dot": "1:2"}, "dot"),
    ],
)
def test_a_wrong_value_of_the_workout_names_its_field(kind, value, field):
    assert refused(kind, value) == field


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"type": "heavy"}, "type"),
        ({"reps": -1}, "reps"),
        ({"reps": 5.5}, "reps"),
        ({"reps": "5"}, "reps"),
        ({"reps": True}, "reps"),
        ({"reps": 5_001}, "reps"),
        ({"load": 60}, "load"),
        ({"load": {"value": 60}}, "load.unit"),
        ({"load": {"value": 60, "unit": "stone"}}, "load.unit"),
        ({"load": {"value": -1, "unit": "kg"}}, "load.value"),
        ({"load": {"value": 60.0001, "unit": "kg"}}, "load"),
        ({"load": {"value": 3_001, "unit": "kg"}}, "load"),
        ({"load": {"value": float("nan"), "unit": "kg"}}, "load.value"),
        ({"load": {"value": float("inf"), "unit": "kg"}}, "load"),
        ({"load": {"value": 10**400, "unit": "kg"}}, "load.value"),
        ({"rpe": 10.5}, "rpe"),
        ({"rpe": 8.1234}, "value"),
        ({"rir": float("nan")}, "rir"),
        ({"distance_m": 0.0005}, "value"),
        ({"distance_m": float("inf")}, "distance_m"),
        ({"duration_ms": 2**63}, "duration_ms"),
        ({"side": "middle"}, "side"),
        ({"assisted": 1}, "assisted"),
        ({"done": None}, "done"),
        ({"rest_s": -1}, "rest_s"),
        ({"slot": ""}, "slot"),
        ({"slot": 1.5}, "slot"),
        ({"exercise_entry": "bench"}, "value"),
        ({"exercise_entry": None}, "exercise_entry"),
    ],
)
def test_a_wrong_field_of_a_set_is_named(value, field):
    assert refused("set.log", a_set(**value)) == field


def test_pounds_go_as_far_as_kilograms():
    assert decode("set.log", a_set(load={"value": 6_613, "unit": "lb"})).load.value == 6_613
    assert refused("set.log", a_set(load={"value": 6_614, "unit": "lb"})) == "load"


def test_a_set_needs_a_slot_or_an_id_of_its_own():
    assert refused("set.log", {"exercise_entry": ENTRY, "type": "working"}) == "entity"


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.entity == "required"])
def test_a_kind_about_an_entity_names_it(kind):
    value = next(value for name, value, _ in GOOD if name == kind)
    assert refused(kind, value) == "entity"


def test_60_and_60_point_0_are_one_number_also_as_an_integer():
    typed = decode("set.log", a_set(reps=5.0, slot=3.0, load={"value": 60, "unit": "kg"}))
    assert (typed.reps, typed.slot) == (5, 3)
    assert decode("set.log", a_set(slot=3, reps=5, load={"value": 60.0, "unit": "kg"})) == typed
    assert decode("workout.edit", {"field": "ended_at", "value": 5e3}).value == 5_000


def test_ids_inside_values_are_lower_case():
    assert decode("set.log", a_set(exercise_entry=ENTRY.upper())).exercise_entry == ENTRY
    assert decode("workout.merge", {"into": OTHER.upper()}).into == OTHER
    plan = [{"entry": ENTRY.upper(), "exercise": "x", "position": "a"}]
    assert decode("workout.create", {"plan": plan}).plan[0].entry == ENTRY
    assert decode("set.edit", {"field": "exercise_entry", "value": ENTRY.upper()}, SET).value == ENTRY


def test_an_edit_is_decoded_as_the_field_that_it_names():
    edit = decode("set.edit", {"field": "load", "value": {"value": 135.0, "unit": "lb"}}, SET)
    assert (edit.value, type(edit.value["value"])) == ({"value": 135, "unit": "lb"}, int)
    assert refused("set.edit", {"field": "load", "value": 60}, SET) == "value"
    assert refused("set.edit", {"field": "load", "value": {"value": 1, "unit": "t"}}, SET) == "value.unit"
    assert refused("set.edit", {"field": "rpe", "value": 8.1234}, SET) == "value"
    assert refused("set.edit", {"field": "type", "value": None}, SET) == "value"
    assert refused("set.edit", {"field": "slot", "value": 2}, SET) == "field"
    assert refused("exercise.edit", {"field": "position", "value": "b"}, ENTRY) == "field"


def test_one_slot_cannot_be_planned_twice_since_its_set_has_one_id():
    entry = {"entry": ENTRY, "exercise": "x", "position": "a", "sets": [{"slot": 1}, {"slot": "1"}]}
    assert refused("workout.create", {"plan": [entry]}) == "value"


def test_a_position_is_printable_ascii():
    assert refused("exercise.add", {"exercise": "x", "position": "é"}, ENTRY) == "value"
    assert refused("exercise.move", {"position": "a\n"}, ENTRY) == "value"


@pytest.mark.parametrize(
    "target",
    [
        {"x": float("nan")},
        {"x": 10**20},
        {"x": b"bytes"},
        {1: "number as key"},
        {"x": "y" * 2_100},
        {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}},
        {"rest_s": -1},
        {"rest_s": "90"},
    ],
)
def test_a_free_form_target_is_small_plain_json(target):
    assert refused("exercise.add", {"exercise": "x", "position": "a", "target": target}, ENTRY) == "value"


def test_a_target_is_copied_and_its_whole_floats_are_integers():
    given = {"reps": [8.0, 12], "load": {"value": 62.5}, "rest_s": 90.0}
    typed = decode("exercise.add", {"exercise": "x", "position": "a", "target": given}, ENTRY).target
    assert repr(typed) == "{'reps': [8, 12], 'load': {'value': 62.5}, 'rest_s': 90}"
    assert typed["reps"] is not given["reps"]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_text_that_no_json_can_carry_is_refused_and_the_reason_can_be_stored(text):
    assert refused("note.set", {"text": text}) == "value"
    assert refused("workout.edit", {"field": "title", "value": text}) == "value"
    with pytest.raises(BadValue) as caught:
        decode("set.log", a_set(side=text))
    caught.value.detail["reason"].encode()


def test_deep_nesting_is_a_bad_value_and_no_crash():
    deep: dict = {}
    for _ in range(5_000):
        deep = {"a": deep}
    assert refused("exercise.add", {"exercise": "x", "position": "a", "target": deep}, ENTRY)


@pytest.mark.parametrize("value", [None, [], "x", 5])
def test_a_value_that_is_no_object_is_refused(value):
    assert refused("workout.start", value) == "value"


def test_kinds_and_schemas_of_newer_clients_are_unknown():
    assert decode_value(op("set.log", a_set(), SET)) is not None
    assert decode_value(op("set.log", a_set(), SET, v=2)) is None
    assert decode_value(op("set.dance", {})) is None


def test_a_planned_slot_has_one_set_id_everywhere():
    # Computed apart: uuid.uuid5(uuid.UUID(WORKOUT), "3")
    assert set_id(WORKOUT, 3) == set_id(WORKOUT, "3") == "2b05613d-9f6a-5c82-a417-27849a49a320"
    assert set_id(WORKOUT, 4) != set_id(WORKOUT, 3)


# -- schemas -----------------------------------------------------------------------------------------------


class Lifted(Struct, frozen=True):
    """Schema 3 of a kind for these tests: {grams, hand}."""

    grams: int
    hand: str


def to_grams(value):
    """From schema 1 {kilos, hand?} to schema 2 {grams, hand?}."""
    rest = {key: item for key, item in value.items() if key != "kilos"}
    return {**rest, "grams": value["kilos"] * 1000}


def to_named_hand(value):
    """From schema 2 to schema 3, in which the hand is always said."""
    return {"hand": "both", **value}


@pytest.fixture
def lifted(monkeypatch):
    """A kind that has come to its third schema."""
    monkeypatch.setitem(KINDS, "lifted", Kind("lifted", Lifted, upcasts=(to_grams, to_named_hand)))


@pytest.mark.parametrize(
    ("v", "value"), [(1, {"kilos": 60}), (2, {"grams": 60_000}), (3, {"grams": 60_000, "hand": "both"})]
)
def test_a_value_of_every_schema_is_read_as_the_newest_and_stays_as_it_was_written(lifted, v, value):
    written = op("lifted", dict(value), v=v)
    assert decode_value(written) == Lifted(60_000, "both")
    assert decode_value(written) == Lifted(60_000, "both")
    assert (written.value, written.v) == (value, v)


def test_a_schema_that_is_newer_than_ours_is_not_known(lifted):
    assert decode_value(op("lifted", {"grams": 60_000, "hand": "left"}, v=4)) is None


@pytest.mark.parametrize(
    ("v", "value"),
    [(1, {}), (1, {"kilos": None}), (1, {"kilos": []}), (1, {"kilos": "60"}), (2, {}), (2, {"grams": 1.5})],
)
def test_an_older_value_that_was_never_right_is_refused_as_a_bad_value(lifted, v, value):
    with pytest.raises(BadValue):
        decode_value(op("lifted", value, v=v))


def test_an_op_that_is_written_now_says_its_schema_where_it_is_not_the_first(lifted):
    assert stamp("lifted") == {"v": 3}
    assert stamp("set.log") == {}
    assert stamp("not.known") == {}
