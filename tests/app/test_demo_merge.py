from __future__ import annotations

import pytest

from fitai.app.demo_merge import alternative_words, flag_words

DEVICES = {1: "phone", 2: "watch"}
NAMES = {"s": "squat, set 1", "b": "bench press, set 3"}


def version(value, device, n=1):
    return {"value": value, "dot": [device, n], "at": 5}


def stamps(*devices):
    return [{"dot": [device, n], "at": 5} for n, device in enumerate(devices, 1)]


def alternative(of, entity, field, why, shown, *others):
    return {"of": of, "entity": entity, "field": field, "why": why, "shown": shown, "others": list(others)}


def flag(name, **said):
    return {"flag": name, **said}


@pytest.mark.parametrize(
    ("why", "because"),
    [
        ("later", "the later one is shown"),
        ("dot", "written in the same moment"),
        ("there", "the later one's exercise is gone"),
    ],
)
def test_an_alternative_says_whose_value_is_shown_whose_is_kept_and_why(why, because):
    left = alternative("set", "s", "duration_ms", why, version(7, 2), version(8, 1), version(None, 2))
    words = (
        "squat, set 1: duration ms 7 from the watch, and beside it 8 from the phone and null from the watch"
    )
    assert alternative_words(left, NAMES.__getitem__, DEVICES) == (words, because)


def test_an_alternative_of_the_workout_names_no_entity():
    left = alternative("workout", None, "title", "later", version("Legs", 2), version("Push", 1))
    words, _ = alternative_words(left, NAMES.__getitem__, DEVICES)
    assert words == "title Legs from the watch, and beside it Push from the phone"


FLAGS = [
    (
        flag("removed_and_edited", of="set", entity="s", removed=stamps(2, 2), kept=stamps(1)),
        ("squat, set 1: removed on the watch, edited on the phone", "it stays"),
    ),
    (
        flag("removed_and_edited", of="workout", entity=None, removed=stamps(1), kept=stamps(2, 1)),
        ("the workout: removed on the phone, edited on the phone and watch", "it stays"),
    ),
    (
        flag("late_sets", sets=["b", "s"], devices=[2]),
        (
            "bench press, set 3 and squat, set 1: logged on the watch, which did not know of the end",
            "in the workout",
        ),
    ),
    (flag("notes_merged", of="set", entity="s", dots=[]), ("notes merged", "")),
]


@pytest.mark.parametrize(("raised", "words"), FLAGS)
def test_a_flag_says_what_happened_and_what_became_of_it(raised, words):
    assert flag_words(raised, NAMES.__getitem__, DEVICES) == words
