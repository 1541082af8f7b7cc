"""The group demo's proof: it holds for sound logs, and each thing that may go wrong turns its line."""

from __future__ import annotations

import uuid
from dataclasses import replace
from types import SimpleNamespace

import pytest
from msgspec import structs

from fitai.app.demo_group_person import Switch
from fitai.app.demo_group_proof import Evidence, final, proof, rows, seen, worked_out
from fitai.app.demo_group_story import Played
from fitai.engine.groups.document import document
from fitai.engine.ops import VOID
from fitai.engine.workout import Limits
from fitai.sync.fold import Folded
from fitai.sync.log import Context
from fitai.sync.place import Placer
from fitai.sync.wire import WireLimits, decode_op
from tests.group_book import GROUP, GroupBook

PLAYED = Played(GROUP, "Class", "CODE")
REPS = {1: [8, 9], 2: [6, 6], 3: []}  # who looks on has none
SHOWN = {1: (1, 17, None, 17), 2: (2, 12, None, 12)}
DUE = range(15_000, 22_000, 1_000)


def workout_log(user: str, workout: str, reps):
    """A person's stream: a workout, and sets in it that were done while the group was live."""
    placer = Placer(0, 0, {}, {workout: Folded(workout, user)}, Limits())
    entry = str(uuid.uuid4())
    ops = [
        ("workout.create", None, {"title": "Class"}),
        ("workout.start", None, {}),
        ("exercise.add", entry, {"exercise": "squat", "position": "a"}),
        *(
            (
                "set.log",
                str(uuid.uuid4()),
                {"exercise_entry": entry, "type": "working", "reps": count, "done": True},
            )
            for count in reps
        ),
    ]
    for kind, entity, value in ops:
        raw = {"n": placer.head + 1, "base": placer.head, "kind": kind, "workout": workout, "value": value}
        raw |= {"at": 16_000 + placer.head} | ({} if entity is None else {"entity": entity})
        op = decode_op(raw, WireLimits())[0]
        placer.place(1, op, Context(placer.head, None), op.at, 0)
    return placer.records


def person(no: int, book: GroupBook, records):
    view = {
        one: {"here": True, "rank": line[0], "amount": line[1], "reps": line[3]}
        for one, line in SHOWN.items()
    }
    said = [
        {"n": one.op.n, "seq": one.seq, "verdict": one.verdict.value}
        for one in book.records
        if one.device == no and one.op.kind == "chat.say"
    ]
    core = SimpleNamespace(held=SimpleNamespace(group=GROUP, device=no), ticks=5)
    group = SimpleNamespace(
        id=GROUP, member=no, core=core, view=view, document=document(book.g), stopped=None, joined=True
    )
    return SimpleNamespace(
        name=f"m{no}",
        client=SimpleNamespace(user=f"user-{no}"),
        trainings=[SimpleNamespace(group=group, said=said)],
        written=len(records),
        acknowledged={one.op.n for one in records},
        switches=[Switch(GROUP, due, due + no, no * 1.5) for due in DUE],
        clock=SimpleNamespace(off=no * 60_000),
    )


@pytest.fixture
def played():
    """A stage on which all went well, and the evidence."""
    workouts = {no: str(uuid.uuid4()) for no in REPS}
    book = GroupBook().create(format={"type": "tabata"})
    book("member.workout", by=1, workout=workouts[1])
    book.join(2, workout=workouts[2])
    book.join(3, "spectator")
    book("chat.say", 9, by=1, text="hello")
    book.live(15)
    logs = {no: workout_log(f"user-{no}", workouts[no], reps) if reps else [] for no, reps in REPS.items()}
    people = [person(no, book, logs[no]) for no in REPS]
    stage = SimpleNamespace(
        people=people,
        trains=people[:2],
        played=[PLAYED],
        nodes=SimpleNamespace(all=["node 1", "node 2"]),
        messages=1,
        corrected=[(90, 17), (20, 12)],
        offline=6,
        kills=1,
        cheered=3,
    )
    results = {
        "rows": [
            {"member": no, "rank": line[0], "amount": line[1], "time_ms": None, "reps": line[3]}
            for no, line in SHOWN.items()
        ]
    }
    told = {**document(book.g), "at": 99_000, "you": {"member": 1}, "status": "finished"}
    evidence = Evidence(
        groups={GROUP: book.records},
        users={f"user-{no}": log for no, log in logs.items()},
        rest={GROUP: dict.fromkeys(stage.nodes.all, (told, results))},
        views={GROUP: {one.name: seen(one.trainings[0]) for one in people}},
        lost=(4, 4),
        codes=[0, 0],
    )
    return stage, evidence


def off(stage, evidence):
    return [count.name for count in proof(stage, evidence) if not count.holds]


def test_what_went_well_is_proved(played):
    stage, evidence = played
    assert off(stage, evidence) == []
    assert worked_out(stage, PLAYED, evidence) == SHOWN
    assert [list(column.cells) for column in final(stage, PLAYED, evidence).columns][:3] == [
        ["1", "2"],
        ["m1", "m2"],
        ["17", "12"],
    ]


def test_a_set_that_is_missing_in_a_log_turns_every_table(played):
    stage, evidence = played
    users = {**evidence.users, "user-1": evidence.users["user-1"][:-1]}
    names = off(stage, replace(evidence, users=users))
    assert "ops of workouts: written, acked, stored" in names
    assert {"Class: devices that show it", "Class: nodes that give it"} <= set(names)


def test_a_record_twice_or_void_is_told(played):
    stage, evidence = played
    log = list(evidence.users["user-2"])
    twice = {**evidence.users, "user-2": [*log, log[-1]]}
    assert "each once, in order, none void" in off(stage, replace(evidence, users=twice))
    log[-1] = structs.replace(log[-1], verdict=VOID)
    void = {**evidence.users, "user-2": log}
    assert "each once, in order, none void" in off(stage, replace(evidence, users=void))
    groups = {GROUP: [*evidence.groups[GROUP], evidence.groups[GROUP][-1]]}
    assert "each once, in order" in off(stage, replace(evidence, groups=groups))


def test_one_device_that_shows_something_else_is_told(played):
    stage, evidence = played
    views = {GROUP: {**evidence.views[GROUP], "m2": {**SHOWN, 2: (2, 11, None, 11)}}}
    assert off(stage, replace(evidence, views=views)) == ["Class: devices that show it"]
    assert off(stage, replace(evidence, views={GROUP: {}})) == ["Class: devices that show it"]


def test_one_node_that_says_something_else_is_told(played):
    stage, evidence = played
    told, results = evidence.rest[GROUP]["node 1"]
    worse = {"rows": [*results["rows"], {"member": 3, "rank": 3, "amount": 1, "reps": 1}]}
    assert len(rows(worse)) == 3
    rest = {GROUP: {**evidence.rest[GROUP], "node 1": (told, worse)}}
    assert off(stage, replace(evidence, rest=rest)) == ["Class: nodes that give it"]
    rest = {GROUP: {**evidence.rest[GROUP], "node 1": ({**told, "messages": 7}, results)}}
    assert off(stage, replace(evidence, rest=rest)) == ["Class: one state on devices, nodes"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"messages": 2}, "messages sent, stored"),
        ({"corrected": [(90, 17)]}, "sets corrected by edit, removal"),
        ({"corrected": [(90, 17), (12, 12)]}, "sets corrected by edit, removal"),
        ({"offline": 0}, "reps that came late from offline"),
        ({"cheered": 0}, "ticks heard, cheers sent"),
    ],
)
def test_what_did_not_happen_is_told(played, change, name):
    stage, evidence = played
    vars(stage).update(change)
    assert off(stage, evidence) == [name]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"lost": (0, 0)}, "killed, connections lost, resumed"),
        ({"lost": (4, 3)}, "killed, connections lost, resumed"),
        ({"codes": [0, -9]}, "servers stopped cleanly"),
    ],
)
def test_what_the_servers_did_wrong_is_told(played, change, name):
    stage, evidence = played
    assert off(stage, replace(evidence, **change)) == [name]


def test_clocks_that_are_apart_and_switches_that_nobody_made_are_told(played):
    stage, evidence = played
    stage.people[1].switches[3].clock = 60.0
    assert off(stage, evidence) == ["clocks 180 s wrong, corrected"]
    del stage.people[1].switches[3:], stage.people[2].switches[3:]
    assert off(stage, evidence) == ["switches that devices made alone"]


def test_an_op_of_a_group_that_was_acknowledged_elsewhere_is_told(played):
    stage, evidence = played
    stage.people[0].trainings[0].said[0]["seq"] += 1
    assert off(stage, evidence) == ["ops of groups: acked, stored once"]
