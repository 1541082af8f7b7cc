"""Whole workouts: their fields, removed and restored, two that meet, one merged into another."""

from __future__ import annotations

from typing import Any

from tests.vectors.tale import (
    BEGIN,
    PLANNED,
    TRAINING,
    WORKOUTS,
    Step,
    add,
    both,
    contexts,
    edit,
    id_of,
    log,
    move,
    op,
    settled,
    told,
)

SEEN = len(TRAINING)
EMPTY = {"bench": [], "squat": []}


def planned(at: float, target: dict[str, Any], **fields: Any):
    """A workout of a calendar, created by whoever opens it first: bench with slot 1."""
    entry = {
        "entry": id_of("bench"),
        "exercise": "bench",
        "position": "a0",
        "sets": [{"slot": 1, "target": target}],
    }
    return op("workout.create", at, plan=[entry], **fields)


EDITED = [
    *both(
        "A title typed on both devices",
        "workout edited",
        "a register per field",
        phone=[edit("workout", 100, title="Push day")],
        watch=[edit("workout", 90, title="Chest")],
        shows={"title": "Push day"},
        alternatives=[("workout.title", [("phone", "Push day"), ("watch", "Chest")], "later")],
    ),
    *both(
        "Title on one device, time zone on the other: both apply",
        "workout edited",
        "a register per field",
        phone=[edit("workout", 90, title="Push day")],
        watch=[edit("workout", 100, tz="Europe/Berlin")],
        shows={"title": "Push day", "tz": "Europe/Berlin"},
    ),
    *both(
        "Two ends typed for a past workout",
        "workout edited",
        "typed times are registers over what the timeline tells",
        phone=[edit("workout", 90, ended_at=BEGIN + 50_000)],
        watch=[edit("workout", 100, ended_at=BEGIN + 60_000)],
        shows={"ended_at": 60},
        alternatives=[("workout.ended_at", [("watch", 60), ("phone", 50)], "later")],
    ),
    *both(
        "A planned workout opened on both devices: one workout, one exercise, one slot",
        "workout edited",
        "creating a workout or an entry that exists writes its fields; equal ones are one value",
        start=[],
        phone=[planned(0, {"reps": 5}, title="Monday", template="push")],
        watch=[planned(5, {"reps": 5}, title="Monday", template="push")],
        status="planned",
        there={"bench": []},
        shows={"title": "Monday", "created_at": 0, "bench.plan.0.target": {"reps": 5}},
    ),
    *both(
        "A planned workout opened on both devices with two titles and two targets",
        "workout edited",
        "creating a workout that exists writes its fields; so do planned slots, each a register",
        start=[],
        phone=[planned(5, {"reps": 5}, title="Monday")],
        watch=[planned(0, {"reps": 8}, title="Chest")],
        status="planned",
        there={"bench": []},
        shows={"title": "Monday", "created_at": 0},
        alternatives=[
            ("workout.title", [("phone", "Monday"), ("watch", "Chest")], "later"),
            ("bench.plan:1", [("phone", {"reps": 5}), ("watch", {"reps": 8})], "later"),
        ],
    ),
    *both(
        "A planned workout opened on both devices, each of which ticks the slot",
        "set added",
        "workout, entry and slot have the same ids everywhere: all three meet",
        start=[],
        phone=[planned(0, {"reps": 5}), log(None, 30, slot=1, reps=5)],
        watch=[planned(5, {"reps": 5}), log(None, 40, slot=1, reps=6)],
        there={"bench": ["slot 1"]},
        shows={"started_at": 30},
        alternatives=[("slot 1.reps", [("watch", 6), ("phone", 5)], "later")],
    ),
]

REMOVED = [
    *both(
        "A workout removed on one device while a set is logged on the other stays",
        "workout removed",
        "a remove cancels only what it had seen",
        phone=[op("workout.remove", 100)],
        watch=[log("s2", 90, reps=4)],
        there={"bench": ["s1", "s2"], "squat": []},
        shows={"removed": False},
        flags=[settled("workout", removed=["phone"], kept=["watch"])],
    ),
    *both(
        "A workout removed on one device while an exercise is moved on the other stays",
        "workout removed",
        "every op of a person in it is a sign that somebody wants the workout",
        phone=[move("bench", 100, "a2")],
        watch=[op("workout.remove", 90)],
        there={"squat": [], "bench": ["s1"]},
        shows={"removed": False},
        flags=[settled("workout", removed=["watch"], kept=["phone"])],
    ),
    *both(
        "A workout removed on both devices is removed",
        "workout removed",
        "two removes are no conflict",
        phone=[op("workout.remove", 90)],
        watch=[op("workout.remove", 100)],
        shows={"removed": True},
    ),
    *contexts(
        "A workout that the server paused before a remove arrives that knew nothing of it is removed",
        "workout removed",
        "the server's own ops keep nothing alive",
        Step("server", op("workout.pause", 920, reason="idle"), SEEN),
        Step("phone", op("workout.remove", 90), SEEN),
        order="phone last",
        shows={"removed": True},
    ),
    *contexts(
        "A removed workout that the server completes late stays removed",
        "workout removed",
        "the server's own ops keep nothing alive",
        Step("phone", op("workout.remove", 90), SEEN),
        Step("server", op("workout.complete", 21_600, reason="idle"), SEEN + 1),
        order="phone first",
        status="completed",
        shows={"removed": True},
    ),
    *both(
        "A removed workout restored on one device and removed once more on the other is there",
        "workout removed",
        "a restore is a touch; the second remove had not seen it",
        start=[*TRAINING, op("workout.remove", 30)],
        phone=[op("workout.restore", 90)],
        watch=[op("workout.remove", 100)],
        shows={"removed": False},
        flags=[settled("workout", removed=["watch"], kept=["phone"])],
    ),
    *both(
        "A workout removed on one device and merged on the other is removed, and merged if restored",
        "workout removed",
        "a merge is no sign that somebody wants the workout as it was",
        phone=[op("workout.remove", 90)],
        watch=[op("workout.merge", 100, into=WORKOUTS["pull"])],
        shows={"removed": True, "merged_into": WORKOUTS["pull"]},
    ),
    *told(
        "A remove on the watch that had seen everything removes the workout",
        "workout removed",
        "removed by a remove that had seen it",
        ("phone", log("s2", 90, reps=4)),
        ("watch", op("workout.remove", 100)),
        there={"bench": ["s1", "s2"], "squat": []},
        shows={"removed": True},
    ),
    *told(
        "A set logged by somebody who had seen the workout removed brings it back",
        "workout removed",
        "nobody's accepted set is hidden",
        ("watch", op("workout.remove", 90)),
        ("phone", log("s2", 100, reps=4)),
        there={"bench": ["s1", "s2"], "squat": []},
        shows={"removed": False},
    ),
    *told(
        "A removed workout that is restored is as it was",
        "workout removed",
        "restorable",
        ("phone", op("workout.remove", 90)),
        ("watch", op("workout.restore", 100)),
        shows={"removed": False, "s1.reps": 5},
    ),
]

OTHER = (
    op("workout.create", 0, title="Pull", template="t", workout="pull"),
    op("exercise.add", 5, "row", exercise="row", position="a0", workout="pull"),
    log("s5", 50, into="row", reps=10, workout="pull"),
)
OURS = (
    op("workout.create", 3, title="Push", template="t"),
    add("bench", 4, "a0"),
    log("s1", 45, reps=5),
)


def merge(source: str, into: str, at: float):
    return op("workout.merge", at, workout=source, into=WORKOUTS[into])


def unmerge(source: str, at: float):
    return op("workout.unmerge", at, workout=source)


TWO = [
    *both(
        "Two workouts started apart are both kept: the phone's is whole",
        "two workouts",
        "never one of two thrown away; that they overlap is a hint, not a part of the state",
        start=[],
        phone=OURS,
        watch=OTHER,
        there={"bench": ["s1"]},
        shows={"title": "Push", "started_at": 45},
    ),
    *both(
        "Two workouts started apart are both kept: the watch's is whole",
        "two workouts",
        "never one of two thrown away; that they overlap is a hint, not a part of the state",
        start=[],
        phone=OURS,
        watch=OTHER,
        shown_of="pull",
        there={"row": ["s5"]},
        shows={"title": "Pull", "started_at": 50},
    ),
    *both(
        "Two workouts merged by somebody who had seen both: the target shows the exercises of both",
        "two workouts",
        "merge is an alias; entries of the merged workout name where they come from",
        start=[],
        phone=OURS,
        watch=OTHER,
        then=[("phone", merge("pull", "push", 100))],
        there={"bench": ["s1"]},
        combined={
            "there": {"bench": ["s1"], "row": ["s5"]},
            "shows": {"title": "Push", "merged": [WORKOUTS["pull"]], "totals.sets": 2, "totals.reps": 15},
        },
    ),
    *both(
        "A set logged into a workout that was merged meanwhile is shown in the target",
        "two workouts",
        "the merged workout lives on under its alias",
        start=[*OURS, *OTHER],
        phone=[merge("pull", "push", 100)],
        watch=[log("s6", 110, into="row", reps=9, workout="pull")],
        there={"bench": ["s1"]},
        combined={"there": {"bench": ["s1"], "row": ["s5", "s6"]}, "shows": {"totals.sets": 3}},
    ),
    *both(
        "A workout merged and then unmerged by somebody who knew is itself again",
        "two workouts",
        "a merge is reversible",
        start=[],
        phone=OURS,
        watch=OTHER,
        then=[("phone", merge("pull", "push", 100)), ("watch", unmerge("pull", 110))],
        there={"bench": ["s1"]},
        combined={"there": {"bench": ["s1"]}, "shows": {"totals.sets": 1}},
    ),
    *both(
        "A workout merged into two others: the later is shown, the other is kept",
        "two workouts",
        "where a workout is merged into is a register",
        start=[*OURS, *OTHER],
        phone=[merge("pull", "push", 100)],
        watch=[merge("pull", "legs", 110)],
        shown_of="pull",
        there={"row": ["s5"]},
        shows={"merged_into": WORKOUTS["legs"]},
        alternatives=[
            ("workout.merged_into", [("watch", WORKOUTS["legs"]), ("phone", WORKOUTS["push"])], "later")
        ],
    ),
    *both(
        "A workout unmerged on one device and merged elsewhere on the other",
        "two workouts",
        "unmerge writes null, a value like any other",
        start=[*OURS, *OTHER, merge("pull", "push", 60)],
        phone=[unmerge("pull", 110)],
        watch=[merge("pull", "legs", 100)],
        shown_of="pull",
        there={"row": ["s5"]},
        alternatives=[("workout.merged_into", [("phone", None), ("watch", WORKOUTS["legs"])], "later")],
    ),
    *both(
        "Two workouts merged into each other: each keeps what was written to it",
        "two workouts",
        "in a cycle the smallest id is the root; nothing is lost",
        start=[*OURS, *OTHER],
        phone=[merge("pull", "push", 100)],
        watch=[merge("push", "pull", 110)],
        there={"bench": ["s1"]},
        shows={"merged_into": WORKOUTS["pull"]},
        combined={"there": {"bench": ["s1"], "row": ["s5"]}, "shows": {"totals.sets": 2}},
    ),
    *told(
        "A planned workout is created with its plan",
        "workout edited",
        "entries and slots come with the create",
        start=PLANNED,
        status="active",
        there=EMPTY,
        shows={"bench.plan.0.slot": 1, "bench.plan.1.slot": 2, "started_at": 10},
    ),
]

CASES = [*EDITED, *REMOVED, *TWO]
