"""Notes, which are merged by lines, and choosing among what stands."""

from __future__ import annotations

from tests.vectors.tale import PLANNED, TRAINING, both, choose, edit, flag, kg, log, note, op, told

TEXT = "warm up\n5 x 5\ncool down"
NOTED = (*TRAINING, note(TEXT, 30))
"""The phone's note is its op 6."""
PARENT = ("phone", 6)


def merged(of: str, *devices: str):
    """The flag of versions that became one text."""
    return flag("notes_merged", of, dots=list(devices))


MERGED = [
    *both(
        "Two lines of one note changed on two devices",
        "note",
        "what only one changed is taken from it: both changes are in one text, and that is told",
        start=NOTED,
        phone=[note("warm up slowly\n5 x 5\ncool down", 90, PARENT)],
        watch=[note("warm up\n5 x 5\ncool down well", 100, PARENT)],
        shows={"note": "warm up slowly\n5 x 5\ncool down well"},
        flags=[merged("workout", "phone", "watch")],
    ),
    *both(
        "A line added on one device and one removed on the other",
        "note",
        "three-way line merge on the common parent",
        start=NOTED,
        phone=[note("5 x 5\ncool down", 90, PARENT)],
        watch=[note("warm up\n5 x 5\ncool down\nknee is fine", 100, PARENT)],
        shows={"note": "5 x 5\ncool down\nknee is fine"},
        flags=[merged("workout", "phone", "watch")],
    ),
    *both(
        "One line of a note changed in two ways: both versions are kept",
        "note",
        "overlap keeps both; shown is the later",
        start=NOTED,
        phone=[note("warm up\n5 x 6\ncool down", 100, PARENT)],
        watch=[note("warm up\n5 x 4\ncool down", 90, PARENT)],
        shows={"note": "warm up\n5 x 6\ncool down"},
        alternatives=[
            (
                "workout.note",
                [("phone", "warm up\n5 x 6\ncool down"), ("watch", "warm up\n5 x 4\ncool down")],
                "later",
            )
        ],
    ),
    *both(
        "Two first notes without a parent: both versions are kept",
        "note",
        "without a common text nothing is guessed",
        phone=[note("felt strong", 90)],
        watch=[note("felt weak", 100)],
        shows={"note": "felt weak"},
        alternatives=[("workout.note", [("watch", "felt weak"), ("phone", "felt strong")], "later")],
    ),
    *both(
        "A note with a parent beside one without, whose author had seen that parent",
        "note",
        "a text that all of them had seen is their common base",
        start=NOTED,
        phone=[note("warm up slowly\n5 x 5\ncool down", 90, PARENT)],
        watch=[note("warm up\n5 x 5\ncool down well", 100)],
        shows={"note": "warm up slowly\n5 x 5\ncool down well"},
        flags=[merged("workout", "phone", "watch")],
    ),
    *both(
        "Three devices change three lines",
        "note",
        "any number of versions of one parent merge where they are apart",
        start=[*TRAINING, note("squat\n-\nbench\n-\nrow", 30)],
        phone=[note("squat 5\n-\nbench\n-\nrow", 90, PARENT)],
        watch=[note("squat\n-\nbench\n-\nrow 8", 100, PARENT)],
        tablet=[note("squat\n-\nbench 3\n-\nrow", 80, PARENT)],
        shows={"note": "squat 5\n-\nbench 3\n-\nrow 8"},
        flags=[merged("workout", "phone", "watch", "tablet")],
    ),
    *both(
        "Two neighbouring lines changed on two devices: both versions are kept",
        "note",
        "changes without an unchanged line between them are one place",
        start=NOTED,
        phone=[note("warm up slowly\n5 x 5\ncool down", 90, PARENT)],
        watch=[note("warm up\n5 x 6\ncool down", 100, PARENT)],
        shows={"note": "warm up\n5 x 6\ncool down"},
        alternatives=[
            (
                "workout.note",
                [("watch", "warm up\n5 x 6\ncool down"), ("phone", "warm up slowly\n5 x 5\ncool down")],
                "later",
            )
        ],
    ),
    *both(
        "Three versions of which two overlap: all three are kept",
        "note",
        "where two changed one line nothing is guessed",
        start=NOTED,
        phone=[note("warm up\n5 x 6\ncool down", 90, PARENT)],
        watch=[note("warm up\n5 x 4\ncool down", 100, PARENT)],
        tablet=[note("warm up\n5 x 5\ncool down well", 80, PARENT)],
        shows={"note": "warm up\n5 x 4\ncool down"},
        alternatives=[
            (
                "workout.note",
                [
                    ("watch", "warm up\n5 x 4\ncool down"),
                    ("phone", "warm up\n5 x 6\ncool down"),
                    ("tablet", "warm up\n5 x 5\ncool down well"),
                ],
                "later",
            )
        ],
    ),
    *both(
        "The same change of a note on both devices is one change",
        "note",
        "equal texts are one value",
        start=NOTED,
        phone=[note("warm up\n5 x 6\ncool down", 90, PARENT)],
        watch=[note("warm up\n5 x 6\ncool down", 100, PARENT)],
        shows={"note": "warm up\n5 x 6\ncool down"},
    ),
    *both(
        "A version that took back a change beside one that chose the text before: one parent is enough",
        "note",
        "of equal versions any may name the parent that all had seen",
        start=NOTED,
        phone=[choose("workout", 100, "note", PARENT)],
        watch=[note(TEXT, 110)],
        tablet=[note("warm up slowly\n5 x 5\ncool down", 90)],
        shows={"note": "warm up slowly\n5 x 5\ncool down"},
        flags=[merged("workout", "watch", "tablet")],
    ),
    *both(
        "A note written by somebody who had seen two merged versions replaces both",
        "note",
        "who writes with the merged text in view has seen all versions",
        start=NOTED,
        phone=[note("warm up slowly\n5 x 5\ncool down", 90, PARENT)],
        watch=[note("warm up\n5 x 5\ncool down well", 100, PARENT)],
        then=[("phone", note("done", 110, ("watch", 1)))],
        shows={"note": "done"},
    ),
    *both(
        "The note given with the completion beside a note of the other device",
        "note",
        "workout.complete writes a version like any other",
        phone=[op("workout.complete", 100, note="felt strong")],
        watch=[note("felt weak", 90)],
        status="completed",
        shows={"note": "felt strong"},
        alternatives=[("workout.note", [("phone", "felt strong"), ("watch", "felt weak")], "later")],
    ),
    *both(
        "The note of a set: a line before and a line after",
        "note",
        "a set has a note of its own",
        start=[*TRAINING, note("speed", 30, on="s1")],
        phone=[note("grip wide\nspeed", 90, PARENT, on="s1")],
        watch=[note("speed\nagain", 100, PARENT, on="s1")],
        shows={"s1.note": "grip wide\nspeed\nagain", "note": None},
        flags=[merged("s1", "phone", "watch")],
    ),
    *both(
        "The note of an exercise and the note of the workout written apart",
        "note",
        "each thing has a note of its own",
        phone=[note("knees out", 90, on="squat")],
        watch=[note("felt weak", 100)],
        shows={"note": "felt weak", "squat.note": "knees out"},
    ),
]

CHOSEN = [
    *both(
        "One of two values chosen by the device that had typed the other: settled",
        "choose",
        "the chooser's own new write: it replaces all that the chooser had seen",
        phone=[edit("s1", 100, reps=8)],
        watch=[edit("s1", 90, reps=6)],
        then=[("phone", choose("s1", 110, "reps", ("watch", 1)))],
        shows={"s1.reps": 6},
    ),
    *both(
        "The shown one of two values chosen: settled all the same",
        "choose",
        "the chooser's own new write: it replaces all that the chooser had seen",
        phone=[edit("s1", 100, reps=8)],
        watch=[edit("s1", 90, reps=6)],
        then=[("watch", choose("s1", 110, "reps", ("phone", 6)))],
        shows={"s1.reps": 8},
    ),
    *both(
        "Two values chosen apart, each the other's: they stand beside each other again",
        "choose",
        "two choices that had not seen each other are two writes",
        start=[*TRAINING, edit("s1", 30, reps=8), edit("s1", 40, reps=6)],
        phone=[choose("s1", 90, "reps", ("phone", 6))],
        watch=[choose("s1", 100, "reps", ("phone", 7))],
        shows={"s1.reps": 6},
        alternatives=[("s1.reps", [("watch", 6), ("phone", 8)], "later")],
    ),
    *both(
        "One value chosen on both devices: settled",
        "choose",
        "equal values are one value",
        start=[*TRAINING, edit("s1", 30, reps=8)],
        phone=[choose("s1", 90, "reps", ("phone", 5))],
        watch=[choose("s1", 100, "reps", ("phone", 5))],
        shows={"s1.reps": 5},
    ),
    *both(
        "A choice beside a new edit: both stand",
        "choose",
        "a choice replaces only what the chooser had seen",
        start=[*TRAINING, edit("s1", 30, reps=8)],
        phone=[choose("s1", 90, "reps", ("phone", 5))],
        watch=[edit("s1", 100, reps=7)],
        shows={"s1.reps": 7},
        alternatives=[("s1.reps", [("watch", 7), ("phone", 5)], "later")],
    ),
    *both(
        "A load chosen: value and unit come together",
        "choose",
        "load and its unit are one register",
        phone=[edit("s1", 100, load={"value": 135, "unit": "lb"})],
        watch=[edit("s1", 90, load=kg(62.5))],
        then=[("tablet", choose("s1", 110, "load", ("watch", 1)))],
        shows={"s1.load": kg(62.5)},
    ),
    *both(
        "A version of a note chosen: settled",
        "choose",
        "field note chooses among versions",
        phone=[note("felt strong", 90)],
        watch=[note("felt weak", 100)],
        then=[("tablet", choose("workout", 110, "note", ("phone", 6)))],
        shows={"note": "felt strong"},
    ),
    *both(
        "A title chosen: settled",
        "choose",
        "fields of the workout are chosen without an entity",
        phone=[edit("workout", 90, title="Push day")],
        watch=[edit("workout", 100, title="Chest")],
        then=[("watch", choose("workout", 110, "title", ("phone", 6)))],
        shows={"title": "Push day"},
    ),
    *both(
        "A choice beside a remove keeps the set",
        "choose",
        "a choice is a touch",
        start=[*TRAINING, edit("s1", 30, reps=8)],
        phone=[choose("s1", 90, "reps", ("phone", 5))],
        watch=[op("set.remove", 100, "s1")],
        shows={"s1.reps": 5},
        flags=[flag("removed_and_edited", "s1", removed=["watch"], kept=["phone"])],
    ),
    *told(
        "A value that had been replaced is chosen again",
        "choose",
        "the last replaced values are remembered: undo",
        ("watch", edit("s1", 90, reps=9)),
        ("phone", choose("s1", 100, "reps", ("phone", 5))),
        shows={"s1.reps": 5},
    ),
    *both(
        "A choice of a value that its author had not seen is void",
        "choose",
        "nobody chooses what they do not know",
        phone=[choose("s1", 90, "reps", ("watch", 1))],
        watch=[edit("s1", 80, reps=6)],
        shows={"s1.reps": 6},
        refused=[("phone", "conflict.choose", "bad_value")],
    ),
    *both(
        "A choice of an op that never wrote this field is void",
        "choose",
        "it names no value",
        start=PLANNED,
        phone=[log(None, 30, slot=1, reps=5), choose("slot 1", 90, "rpe", ("phone", 3))],
        watch=[log(None, 40, slot=2, reps=5)],
        there={"bench": ["slot 1", "slot 2"], "squat": []},
        refused=[("phone", "conflict.choose", "bad_value")],
    ),
]

CASES = [*MERGED, *CHOSEN]
