"""What of each member is shown: only what changed is worked out again, and it is what the whole would be."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest

from fitai.engine.entities import Workout
from fitai.engine.groups import sharing
from fitai.engine.groups.board import Row, board
from fitai.engine.groups.group import Group, Member
from fitai.engine.groups.measure import UNKNOWN, Body, Measure, Progress, on_board, progress
from fitai.engine.units import UG_PER_KG
from fitai.gateways.groups import scene as module
from fitai.gateways.groups.scene import TELEMETRY_MS, Scene, concerned
from tests.group_book import GroupBook
from tests.playbook import Playbook

RACE = {"type": "race", "measure": {"of": "reps"}, "limit_ms": 600_000}
LOADS = {"type": "race", "measure": {"of": "volume"}, "limit_ms": 600_000}


class Class:
    """A group of some members with their workouts, all of them connected, live from second 100 on."""

    def __init__(self, members: int = 3, format_: dict[str, Any] = RACE) -> None:
        self.book = GroupBook().create(format=format_)
        for no in range(2, members + 1):
            self.book.join(no)
        self.book.live(100)
        self.here = set(self.book.g.members)
        self.workouts: dict[int, Playbook] = {}
        self.bodies: dict[int, Body] = {}
        self.seen = len(self.book.records)
        self.scene = Scene(self.workout, self.body, self.here.__contains__)
        self.scene.moved(self.book.g.members)
        self.view: dict[int, Any] = {}
        self.refresh()

    def workout(self, no: int) -> Any:
        return self.workouts[no].w if no in self.workouts else None

    def body(self, no: int) -> Body:
        return self.bodies.get(no, UNKNOWN)

    def log(self, no: int, slot: int, at: float = 150, **value: Any) -> None:
        if no not in self.workouts:
            self.workouts[no] = Playbook().create()
            self.workouts[no].exercise("squat")
        self.workouts[no].log("squat", slot, at, **value)
        self.scene.moved((no,))

    def refresh(self) -> dict[int, Any]:
        news = self.book.records[self.seen :]
        self.seen = len(self.book.records)
        self.scene.moved(concerned(self.book.g, news))
        changed = self.scene.refresh(self.book.g)
        self.view = {no: fields for no, fields in {**self.view, **changed}.items() if fields}
        return changed

    def whole(self) -> dict[int, Any]:
        """What everybody is shown, worked out at once."""
        g = self.book.g
        done = {no: progress(g, member, self.workout(no), self.body(no)) for no, member in g.members.items()}
        measures = {no: done[no].measure for no, member in g.members.items() if on_board(g, member)}
        rows = board({no: measure for no, measure in measures.items() if measure is not None})
        views = {
            no: sharing.shown(member, here=member.here and no in self.here)
            if member.gone in ("kicked", "banned", "erased")
            else sharing.shown(
                member, here=member.here and no in self.here, progress=done[no], row=rows.get(no)
            )
            for no, member in g.members.items()
        }
        return {no: view for no, view in views.items() if view}


def test_a_set_of_one_is_worked_out_for_one_and_ranks_only_where_they_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = Class(members=50)
    for no in range(1, 51):
        group.log(no, 1, reps=100 - no)
    group.refresh()
    asked: list[int] = []
    ranked: list[int] = []

    def counting(g: Group, member: Member, w: Workout | None, body: Body) -> Progress:
        asked.append(member.no)
        return progress(g, member, w, body)

    def ranking(measures: Mapping[int, Measure]) -> dict[int, Row]:
        ranked.append(len(measures))
        return board(measures)

    monkeypatch.setattr(module, "progress", counting)
    monkeypatch.setattr(module, "board", ranking)
    group.log(7, 2, type="warmup", reps=3)
    assert group.refresh().keys() == {7}
    assert (asked, ranked) == ([7], [])
    group.log(7, 3, reps=2)  # from 93 to 95: past member 6, level with member 5
    assert group.refresh().keys() == {6, 7}
    assert (asked, ranked) == ([7, 7], [50])
    assert group.view == group.whole()


def test_each_choice_shows_what_it_says_and_is_changed_by_the_record() -> None:
    group = Class(members=3, format_=LOADS)
    for no in (1, 2, 3):
        group.log(no, 1, load=50, reps=no, rpe=8)
    group.book("member.share", by=1, share="everything")
    group.book("member.share", by=3, share="presence")
    group.refresh()
    assert group.view[1]["amount"] == group.view[1]["volume_ug"] == 50_000_000_000
    assert group.view[1]["last"]["load"] == {"value": 50, "unit": "kg"}
    assert group.view[2] == {
        "here": True,
        "status": "active",
        "phase": "working",
        "exercise": "squat",
        "sets": 1,
        "reps": 2,
        "rank": 1,
    }
    assert group.view[3] == {"here": True}
    assert group.view == group.whole()


def test_a_body_that_is_another_one_moves_ranks_on_a_board_by_body_weight() -> None:
    group = Class(members=3, format_={**LOADS, "measure": {"of": "volume", "by": "body_weight"}})
    group.bodies = {1: Body(100 * UG_PER_KG), 2: Body(80 * UG_PER_KG)}
    for no in (1, 2, 3):
        group.log(no, 1, load=80, reps=5)
        group.book("member.share", by=no, share="everything")
    group.refresh()
    assert [group.view[no].get("rank") for no in (1, 2, 3)] == [2, 1, None]
    assert [group.view[no].get("amount") for no in (1, 2, 3)] == [4_000, 5_000, None]
    group.bodies[3] = Body(50 * UG_PER_KG)
    group.scene.moved((3,))
    assert group.refresh().keys() == {1, 2, 3}
    assert [group.view[no]["rank"] for no in (1, 2, 3)] == [3, 2, 1]
    assert group.view == group.whole()


def test_what_moves_the_clock_is_worked_out_for_everybody() -> None:
    group = Class(members=3)
    group.log(1, 1, at=150, reps=5)
    group.log(1, 2, at=250, reps=7)
    group.refresh()
    assert group.view[1]["amount"] == 12
    group.book("group.pause", 200)  # received before the second set, told after it
    group.refresh()
    assert group.view[1]["amount"] == 5
    assert group.view == group.whole()


def test_who_leaves_stays_with_what_they_did_and_who_has_to_go_is_gone() -> None:
    group = Class(members=4)
    for no in (2, 3, 4):
        group.log(no, 1, reps=no)
    group.book("member.leave", 200, by=2)
    group.book("member.kick", 201, member=3)
    group.book("member.erase", 202, by=0, member=4)
    group.refresh()
    assert group.view[2]["left"]
    assert group.view[2]["rank"] == 1
    assert group.view[3] == group.view[4] == {"left": True}
    assert group.view == group.whole()


def test_heart_rates_are_shown_of_who_shows_everything_and_not_for_ever() -> None:
    group = Class(members=2)
    member = group.book.g.members[2]
    assert not group.scene.measured(member, {"hr": 140}, 0)
    group.book("member.share", by=2, share="everything")
    group.refresh()
    assert group.scene.measured(member, {"hr": 140.4, "cadence": 80, "rank": 1, "power": 250}, 0)
    assert group.refresh()[2] == {"here": True, "amount": 0, "hr": 140, "cadence": 80}
    assert not group.scene.measured(member, {"hr": 140, "cadence": 80}, 500), "nothing new"
    assert not group.scene.measured(member, {"hr": float("nan"), "cadence": True}, 600)
    assert not group.scene.stale
    assert group.scene.due_at() == 500 + TELEMETRY_MS
    group.scene.pass_time(500 + TELEMETRY_MS - 1)
    assert not group.scene.stale
    group.scene.pass_time(500 + TELEMETRY_MS)
    assert group.refresh()[2] == {"here": True, "amount": 0}


def test_words_and_steps_concern_nobody() -> None:
    book = GroupBook().create(format={"type": "led", "steps": [{}, {}]})
    book.join(2)
    book.live(100)
    seen = len(book.records)
    book("chat.say", text="go")
    book("group.next", to=1)
    book("group.invite")
    book("member.kick", by=2, member=1)  # void
    assert not concerned(book.g, book.records[seen:])


def test_in_any_order_of_events_the_views_are_those_of_the_whole() -> None:
    for seed in range(60):
        dice = random.Random(seed)
        group = Class(members=6, format_=dice.choice([RACE, LOADS, {"type": "open"}]))
        for slot in range(1, 60):
            no = dice.randrange(1, 7)
            match dice.randrange(8):
                case 0:
                    group.book(
                        "member.share", by=no, share=dice.choice(["everything", "progress", "presence"])
                    )
                case 1:
                    (group.here.discard if dice.random() < 0.5 else group.here.add)(no)
                    group.scene.touched((no,))
                case 2 if slot > 40:
                    group.book(
                        dice.choice(["member.leave", "group.pause", "group.resume"]), 300 + slot, by=no
                    )
                case 3 if slot > 40:
                    group.book("member.kick", 300 + slot, member=no)
                case _:
                    group.log(no, slot, at=150 + slot, reps=dice.randrange(1, 20), load=dice.randrange(100))
            if dice.random() < 0.3:
                group.refresh()
                assert group.view == group.whole(), seed
        group.refresh()
        assert group.view == group.whole(), seed
