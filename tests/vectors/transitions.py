"""Transitions: starting, pausing, ending, going on, on several devices at once."""

from __future__ import annotations

from typing import Any

from tests.vectors.tale import PLANNED, TRAINING, Step, both, contexts, edit, flag, log, op, remove, told

PAUSED = (*TRAINING, op("workout.pause", 30))
BOTH_SETS = {"bench": ["s1", "s2"], "squat": []}
EMPTY = {"bench": [], "squat": []}


def start(at: float):
    return op("workout.start", at)


def pause(at: float, **value: str):
    return op("workout.pause", at, **value)


def resume(at: float):
    return op("workout.resume", at)


def complete(at: float, **value: Any):
    return op("workout.complete", at, **value)


def abandon(at: float, **value: str):
    return op("workout.abandon", at, **value)


def crossed(status: str, *edges: tuple[str, str]):
    """The flag of edges that had not seen each other, in the order of their times."""
    return flag("concurrent_transitions", status=status, edges=[list(edge) for edge in edges])


EDGES = [
    *both(
        "A workout started on both devices began with the earlier start",
        "transitions",
        "both edges are legal in their own context",
        start=PLANNED[:1],
        phone=[start(100)],
        watch=[start(90)],
        there=EMPTY,
        shows={"started_at": 90},
    ),
    *both(
        "A pause on one device beside a set on the other: it goes on",
        "transitions",
        "active > paused",
        phone=[pause(100)],
        watch=[log("s2", 90, reps=4)],
        there=BOTH_SETS,
        flags=[crossed("active", ("log", "watch"), ("pause", "phone"))],
    ),
    *both(
        "A pause on one device beside a pause and its end on the other: it goes on",
        "transitions",
        "active > paused, whatever the times say",
        phone=[pause(50), resume(90)],
        watch=[pause(100)],
        flags=[crossed("active", ("resume", "phone"), ("pause", "watch"))],
    ),
    *both(
        "Paused on both devices: paused, and nothing to tell",
        "transitions",
        "edges that say the same are no conflict",
        phone=[pause(90, reason="door")],
        watch=[pause(100, reason="call")],
        status="paused",
        shows={"reason": "call"},
    ),
    *both(
        "Resumed on both devices: active, and nothing to tell",
        "transitions",
        "edges that say the same are no conflict",
        start=PAUSED,
        phone=[resume(90)],
        watch=[resume(100)],
    ),
    *both(
        "Completed on one device and abandoned on the other: completed",
        "transitions",
        "completed > abandoned",
        phone=[abandon(100)],
        watch=[complete(90)],
        status="completed",
        shows={"ended_at": 90},
        flags=[crossed("completed", ("complete", "watch"), ("abandon", "phone"))],
    ),
    *both(
        "Completed on one device and paused on the other: completed",
        "transitions",
        "completed > paused",
        phone=[complete(90)],
        watch=[pause(100)],
        status="completed",
        shows={"ended_at": 90},
        flags=[crossed("completed", ("complete", "phone"), ("pause", "watch"))],
    ),
    *both(
        "Abandoned on one device and paused on the other: abandoned",
        "transitions",
        "abandoned > paused",
        phone=[pause(100)],
        watch=[abandon(90)],
        status="abandoned",
        shows={"ended_at": 90},
        flags=[crossed("abandoned", ("abandon", "watch"), ("pause", "phone"))],
    ),
    *both(
        "Abandoned on one device and resumed on the other: abandoned",
        "transitions",
        "abandoned > active, where no set was logged beside it",
        start=PAUSED,
        phone=[resume(100)],
        watch=[abandon(90)],
        status="abandoned",
        flags=[crossed("abandoned", ("abandon", "watch"), ("resume", "phone"))],
    ),
    *both(
        "Completed on both devices: the later end, the later rating, the other one kept",
        "transitions",
        "two completions agree; the end is the later of the two; rating is a register",
        phone=[complete(100, rating=4)],
        watch=[complete(90, rating=3)],
        status="completed",
        shows={"ended_at": 100, "rating": 4},
        alternatives=[("workout.rating", [("phone", 4), ("watch", 3)], "later")],
    ),
    *both(
        "Three devices pause, complete and abandon: completed",
        "transitions",
        "completed > abandoned > active > paused",
        phone=[pause(90)],
        watch=[complete(100)],
        tablet=[abandon(110)],
        status="completed",
        shows={"ended_at": 100},
        flags=[crossed("completed", ("pause", "phone"), ("complete", "watch"), ("abandon", "tablet"))],
    ),
    *both(
        "An edge that had seen both of two that crossed settles it",
        "transitions",
        "the frontier is what no other had seen",
        phone=[pause(90)],
        watch=[log("s2", 100, reps=4)],
        then=[("phone", pause(110))],
        status="paused",
        there=BOTH_SETS,
    ),
    *both(
        "A pause that had not seen the completion is legal in its own context",
        "transitions",
        "edges are judged by what their author had seen, not by what arrived",
        phone=[complete(90)],
        watch=[pause(100), resume(110)],
        status="completed",
        flags=[crossed("completed", ("complete", "phone"), ("resume", "watch"))],
    ),
    *told(
        "A phone that had seen the completion can not pause",
        "transitions",
        "an edge illegal in its own context is void",
        ("watch", complete(90)),
        ("phone", pause(100)),
        status="completed",
        refused=[("phone", "workout.pause", "illegal_edge")],
    ),
    *told(
        "A watch that had seen the completion can not complete once more",
        "transitions",
        "an edge illegal in its own context is void",
        ("phone", complete(90)),
        ("watch", complete(100)),
        status="completed",
        shows={"ended_at": 90},
        refused=[("watch", "workout.complete", "illegal_edge")],
    ),
    *both(
        "A resume of what runs is void on whichever device, and the other's pause stands",
        "transitions",
        "an edge illegal in its own context is void, whatever else arrives",
        phone=[resume(90)],
        watch=[pause(100)],
        status="paused",
        refused=[("phone", "workout.resume", "illegal_edge")],
    ),
]

CONTINUED = [
    *both(
        "Completed on the phone while the watch logs on, before the end: the set is late",
        "complete or continue",
        "completed; what was logged beside the end stays in it and is told",
        phone=[complete(200)],
        watch=[log("s2", 150, reps=4)],
        status="completed",
        there=BOTH_SETS,
        shows={"ended_at": 200},
        flags=[flag("late_sets", sets=["s2"], devices=["watch"])],
    ),
    *both(
        "Completed on the watch while the phone logs on, after the end: the end is the later of the two",
        "complete or continue",
        "end = the later of completion and late sets",
        phone=[log("s2", 250, reps=4), log("s3", 300, reps=3)],
        watch=[complete(200)],
        status="completed",
        there={"bench": ["s1", "s2", "s3"], "squat": []},
        shows={"ended_at": 300},
        flags=[flag("late_sets", sets=["s2", "s3"], devices=["phone"])],
    ),
    *both(
        "Completed on one device while a set is edited on the other: nothing is late",
        "complete or continue",
        "an edit says nothing about the workout's end",
        phone=[complete(200)],
        watch=[edit("s1", 250, reps=6)],
        status="completed",
        shows={"ended_at": 200, "s1.reps": 6},
    ),
    *both(
        "Completed on both, one of which had seen its own last set: that set is not late",
        "complete or continue",
        "late is what no standing completion had seen",
        phone=[complete(200)],
        watch=[log("s2", 210, reps=4), complete(220)],
        status="completed",
        there=BOTH_SETS,
        shows={"ended_at": 220},
    ),
    *both(
        "Late sets of two devices",
        "complete or continue",
        "every set beside the end is late",
        phone=[complete(200)],
        watch=[log("s2", 150, reps=4)],
        tablet=[log("s3", 160, reps=3)],
        status="completed",
        there={"bench": ["s1", "s2", "s3"], "squat": []},
        flags=[flag("late_sets", sets=["s2", "s3"], devices=["watch", "tablet"])],
    ),
    *told(
        "A set on the watch that had seen the phone's completion reopens the workout",
        "complete or continue",
        "a set that had seen the end is logged on purpose",
        ("phone", complete(200)),
        ("watch", log("s2", 250, reps=4)),
        there=BOTH_SETS,
        shows={"ended_at": None},
    ),
    *told(
        "A set on the phone that had seen the watch's completion reopens the workout",
        "complete or continue",
        "a set that had seen the end is logged on purpose",
        ("watch", complete(200)),
        ("phone", log("s2", 250, reps=4)),
        there=BOTH_SETS,
        shows={"ended_at": None},
    ),
    *told(
        "Who reopens a workout takes back the end that was typed, if they had seen it",
        "complete or continue",
        "a set that had seen an end clears a typed ended_at that it had seen",
        ("phone", complete(200)),
        ("watch", edit("workout", 210, ended_at=1_760_000_180_000)),
        ("phone", log("s2", 250, reps=4)),
        there=BOTH_SETS,
        shows={"ended_at": None},
    ),
    *both(
        "Who reopens a workout leaves an end that was typed elsewhere meanwhile",
        "complete or continue",
        "only a typed ended_at that it had seen is taken back",
        phone=[complete(200), log("s2", 250, reps=4)],
        watch=[edit("workout", 210, ended_at=1_760_000_180_000)],
        there=BOTH_SETS,
        shows={"ended_at": 180},
    ),
    *both(
        "A late set and then one that had seen the end: reopened, nothing is late any more",
        "complete or continue",
        "late is told while a completion stands",
        phone=[complete(200)],
        watch=[log("s2", 150, reps=4)],
        then=[("watch", log("s3", 300, reps=3))],
        there={"bench": ["s1", "s2", "s3"], "squat": []},
        shows={"ended_at": None},
    ),
]

ABANDONED = [
    *both(
        "Abandoned on one device while a set is logged on the other: completed with a flag",
        "abandoned with sets",
        "no logged set is discarded with its workout",
        phone=[abandon(200, reason="ill")],
        watch=[log("s2", 150, reps=4)],
        status="completed",
        there=BOTH_SETS,
        shows={"ended_at": 200},
        flags=[flag("abandoned_with_sets", dots=["phone"], sets=["s2"])],
    ),
    *both(
        "Abandoned on both devices while a set is logged on a third",
        "abandoned with sets",
        "every abandoning is named",
        phone=[abandon(200)],
        watch=[abandon(210)],
        tablet=[log("s2", 220, reps=4)],
        status="completed",
        there=BOTH_SETS,
        shows={"ended_at": 220},
        flags=[flag("abandoned_with_sets", dots=["phone", "watch"], sets=["s2"])],
    ),
    *both(
        "Abandoned on both devices: abandoned, with the later end",
        "abandoned with sets",
        "edges that say the same are no conflict; sets that the abandoning had seen change nothing",
        phone=[abandon(200)],
        watch=[abandon(190)],
        status="abandoned",
        shows={"ended_at": 200},
    ),
    *both(
        "A set logged beside the abandoning and removed by somebody who knew both",
        "abandoned with sets",
        "the state follows from what was logged, not from what is shown",
        phone=[abandon(200)],
        watch=[log("s2", 150, reps=4)],
        then=[("phone", remove("s2", 300))],
        status="completed",
        gone=["s2"],
        flags=[flag("abandoned_with_sets", dots=["phone"], sets=["s2"])],
    ),
    *told(
        "A set that had seen the abandoning reopens the workout",
        "abandoned with sets",
        "a set that had seen the end is logged on purpose",
        ("phone", abandon(200)),
        ("watch", log("s2", 250, reps=4)),
        there=BOTH_SETS,
        shows={"ended_at": None},
    ),
]

SEEN = len(TRAINING)
YIELDS = [
    *contexts(
        "The server's idle pause has no effect once a set of the phone arrives that knew nothing of it",
        "server yields",
        "what the server did because nobody was there yields to somebody who was",
        Step("server", pause(920, reason="idle"), SEEN),
        Step("phone", log("s2", 90, reps=4), SEEN),
        order="phone last",
        there=BOTH_SETS,
        shows={"reason": None},
    ),
    *contexts(
        "The server's idle pause after the phone's set has arrived stands",
        "server yields",
        "the server's op is written at the head of the log: it has seen all that arrived",
        Step("phone", log("s2", 90, reps=4), SEEN),
        Step("server", pause(990, reason="idle"), SEEN + 1),
        order="phone first",
        status="paused",
        there=BOTH_SETS,
        shows={"reason": "idle"},
    ),
    *contexts(
        "The server's late completion has no effect beside any op of a person, an edit too",
        "server yields",
        "any op of a person in the workout, not only an edge",
        Step("server", complete(21_600, reason="idle"), SEEN),
        Step("phone", edit("s1", 90, reps=6), SEEN),
        order="phone last",
        shows={"s1.reps": 6, "ended_at": None},
    ),
    *contexts(
        "The server's abandoning beside a pause of a person: paused",
        "server yields",
        "the server's own op has no effect beside any op of a person",
        Step("server", abandon(21_600, reason="idle"), SEEN - 1),
        Step("phone", pause(90), SEEN - 1),
        start=TRAINING[:4],
        order="phone last",
        status="paused",
        there=EMPTY,
    ),
    *told(
        "The server's pause that had seen everything stands until somebody goes on",
        "server yields",
        "it yields only to what it had not seen",
        ("server", pause(920, reason="idle")),
        status="paused",
        shows={"reason": "idle"},
    ),
    *told(
        "A set that had seen the server's completion reopens the workout",
        "server yields",
        "it yields only to what it had not seen; after that the rules are everybody's",
        ("server", complete(21_600, reason="idle")),
        ("watch", log("s2", 22_000, reps=4)),
        there=BOTH_SETS,
    ),
    *contexts(
        "The server's pause that the watch resumed yields with it to an op of the phone that knew neither",
        "server yields",
        "without the pause the watch's resume says the same: active",
        Step("server", pause(920, reason="idle"), SEEN),
        Step("watch", resume(950), SEEN + 1),
        Step("phone", log("s2", 90, reps=4), SEEN),
        order="phone last",
        there=BOTH_SETS,
    ),
]

RESTS = [
    *both(
        "A rest begun by a set on the watch while the phone edits",
        "transitions",
        "an edit is nothing on the timeline",
        phone=[edit("s1", 95, reps=6)],
        watch=[log("s2", 90, reps=4, rest_s=120)],
        there=BOTH_SETS,
        shows={"phase": "resting", "rest.seconds": 120},
    ),
    *both(
        "A rest skipped on one device while the next set is logged on the other",
        "transitions",
        "rests are events of the timeline, in its order",
        start=[*TRAINING[:4], log("s1", 20, reps=5, rest_s=120)],
        phone=[op("rest.skip", 60)],
        watch=[log("s2", 70, reps=4)],
        there=BOTH_SETS,
        shows={"phase": "working", "rest": None},
    ),
    *both(
        "A rest extended on one device and the workout paused on the other",
        "transitions",
        "a pause freezes what is left of the rest",
        start=[*TRAINING[:4], log("s1", 20, reps=5, rest_s=120)],
        phone=[op("rest.extend", 50, seconds=30)],
        watch=[pause(60)],
        status="paused",
        shows={"phase": "resting", "rest.remaining_ms": 110_000},
    ),
]

CASES = [*EDGES, *CONTINUED, *ABANDONED, *YIELDS, *RESTS]
