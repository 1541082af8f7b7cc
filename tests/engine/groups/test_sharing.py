from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fitai.engine.groups.board import Row, board
from fitai.engine.groups.group import Member
from fitai.engine.groups.measure import Body, Measure, on_board, progress
from fitai.engine.groups.sharing import shown
from tests.group_book import GroupBook
from tests.playbook import Playbook

KG = 1_000_000_000
FORMATS: list[dict[str, Any]] = [
    {"type": "open"},
    {"type": "tabata"},
    *[
        {"type": "race", "measure": {"of": of, "by": by}, "limit_ms": 600_000}
        for of, by in (
            ("reps", "absolute"),
            ("volume", "absolute"),
            ("volume", "body_weight"),
            ("volume", "dots"),
        )
    ],
    {"type": "race", "measure": {"of": "volume"}, "limit_ms": 600_000, "goal": 300 * KG},
    {"type": "amrap", "tasks": [{"exercise": "squat", "reps": 5}], "limit_ms": 600_000},
    {"type": "led", "steps": [{}], "measure": {"of": "volume"}},
]

loads = st.tuples(st.integers(0, 300), st.sampled_from(["kg", "lb"]))
sets = st.lists(st.tuples(st.integers(100, 700), st.integers(1, 20), st.booleans()), min_size=1, max_size=5)


def _view(
    format_: dict[str, Any], share: str, done, weights, body: Body, rank: int | None = 2
) -> dict[str, Any]:
    book = GroupBook().create(format=format_)
    book("member.share", share=share)
    book.live(100)
    w = Playbook().create()
    w.exercise("squat")
    for slot, ((at, reps, effort), load) in enumerate(zip(done, weights, strict=False)):
        w.log("squat", slot, at, reps=reps, load=load, **({"rpe": 8} if effort else {}))
    member = book.g.members[1]
    made = progress(book.g, member, w.w, body)
    row = Row(rank, made.measure) if made.measure is not None and on_board(book.g, member) else None
    return shown(member, here=True, progress=made, row=row, telemetry={"hr": 150})


@given(
    st.sampled_from(FORMATS),
    sets,
    st.lists(loads, min_size=5, max_size=5),
    st.lists(loads, min_size=5, max_size=5),
    st.sampled_from([Body(), Body(60 * KG, "female"), Body(100 * KG, "male")]),
    st.sampled_from([Body(), Body(70 * KG, "female"), Body(90 * KG, "male")]),
)
def test_who_shows_progress_shows_the_same_whatever_the_loads_and_the_body(
    format_, done, some, others, one, two
):
    """Nothing in the view depends on a load, not even by its presence; the rank alone may."""
    assert _view(format_, "progress", done, some, one) == _view(format_, "progress", done, others, two)


@given(st.sampled_from(FORMATS), sets, sets, st.lists(loads, min_size=5, max_size=5))
def test_who_shows_presence_shows_nothing_else(format_, done, other, weights):
    view = _view(format_, "presence", done, weights, Body(80 * KG, "male"))
    assert view == _view(format_, "presence", other, [], Body()) == {"here": True}


@given(st.sampled_from(FORMATS), sets, st.lists(loads, min_size=5, max_size=5))
def test_what_progress_shows_everything_shows_too(format_, done, weights):
    body = Body(80 * KG, "male")
    some, all_ = (_view(format_, share, done, weights, body) for share in ("progress", "everything"))
    assert some.items() <= all_.items()
    assert all_["hr"] == 150
    assert all_.keys() - some.keys() <= {"amount", "hr", "last", "time_ms", "volume_ug"}


def test_everything_shows_the_loads():
    view = _view(FORMATS[3], "everything", [(110, 5, True)], [(100, "kg")], Body())
    assert view == {
        "here": True,
        "status": "active",
        "phase": "working",
        "exercise": "squat",
        "sets": 1,
        "reps": 5,
        "rank": 2,
        "amount": 500 * KG,
        "volume_ug": 500 * KG,
        "last": {"exercise": "squat", "reps": 5, "load": {"value": 100, "unit": "kg"}, "rpe": 8},
        "hr": 150,
    }


def test_reps_are_no_loads():
    view = _view(FORMATS[2], "progress", [(110, 5, True)], [(100, "kg")], Body())
    assert (view["amount"], view["rank"]) == (5, 2)
    assert not view.keys() & {"volume_ug", "last", "hr"}


def test_a_goal_in_volume_does_not_tell_when_it_was_reached():
    view = _view(FORMATS[6], "progress", [(110, 5, False)], [(300, "kg")], Body())
    assert not view.keys() & {"amount", "time_ms"}


def test_a_time_of_nothing_is_a_time():
    row = board({1: Measure(5, 0)})[1]
    view = shown(Member(1), here=False, progress=progress(GroupBook().create().g, Member(1), None), row=row)
    assert view == {"rank": 1, "amount": 5, "time_ms": 0}


def test_who_left_is_told_as_such():
    assert shown(Member(1, gone="left"), here=False) == {"left": True}
