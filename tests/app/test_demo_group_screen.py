from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from fitai.app.demo_group_screen import Screen, bar, board_line, board_table, cue_words, remaining
from fitai.engine.groups.formats import Phase
from fitai.gateways.client.group_cues import Cue, cue
from tests.group_book import GroupBook

VIEW = {
    1: {"here": True, "rank": 2, "amount": 12, "reps": 12, "exercise": "squat", "hr": 131},
    2: {"here": True, "rank": 1, "amount": 24, "reps": 24},
    3: {"here": True},
    4: {"left": True, "rank": 3, "amount": 6},
    5: {"rank": None},
}


@pytest.fixture
def ada():
    """A person who sees a class of five."""
    book = GroupBook().create(format={"type": "tabata"})
    for no in (2, 4, 5):
        book.join(no)
    book.join(3, "spectator")
    book.live(15)
    group = SimpleNamespace(
        member=1, view=VIEW, state=book.g, cue=lambda: cue(book.g, 20_000), server_ms=lambda: 20_000.0
    )
    return SimpleNamespace(name="m1", group=group, training=group, node=SimpleNamespace(name="node 1"))


def printed(table) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_board_is_in_the_order_of_ranks_with_what_each_does(ada):
    lines = [line.split() for line in printed(board_table(ada, [ada])).splitlines()[1:]]
    assert [line[:2] for line in lines] == [
        ["1", "m2"],
        ["2", "m1"],
        ["3", "m4"],
        ["m3", "·" * 24],
        ["m5", "·" * 24],
    ]
    assert lines[0][2:] == ["█" * 24, "24", "here"]
    assert lines[1][2:] == ["█" * 12 + "·" * 12, "12", "131", "squat", "node", "1"]
    assert lines[2][-1] == "left"
    assert lines[3][-2:] == ["looks", "on"]
    assert lines[4][-1] == "away"
    assert board_line(ada) == "1 m2 24 · 2 m1 12 · 3 m4 6"


@pytest.mark.parametrize(("amount", "most", "full"), [(0, 0, 0), (0, 9, 0), (9, 9, 8), (5, 10, 4)])
def test_a_bar_is_full_for_who_has_most(amount, most, full):
    assert bar(amount, most, width=8) == "█" * full + "·" * (8 - full)


def test_what_is_on_is_said_with_the_time_that_is_left(ada):
    work = Phase("work", 2, None, 0, 1)
    assert cue_words(Cue("live", work, True)) == "round 2, work"
    assert cue_words(Cue("live", work, True), "race") == "go"
    assert cue_words(Cue("finished")) == "finished"
    assert remaining(ada, ada.group.cue()) == "Class: round 1, work, 15.0 s left"
    assert remaining(ada, None) == ""


def test_without_a_terminal_the_board_is_a_line_at_each_cue_and_nothing_is_drawn(ada):
    out = io.StringIO()
    screen = Screen(Console(file=out, width=80), lambda: 0)
    screen.watched = ada
    with screen.live():
        screen.cue(ada.group.cue(), "tabata")
    assert "round 1, work" in out.getvalue()
    assert "1 m2 24 · 2 m1 12 · 3 m4 6" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_in_a_terminal_it_is_drawn(ada):
    out = io.StringIO()
    screen = Screen(Console(file=out, width=100, force_terminal=True), lambda: 0)
    screen.watched, screen.people = ada, [ada]
    with screen.live():
        screen.cue(ada.group.cue(), "tabata")
    assert "█" * 24 in out.getvalue()
    assert "1 m2 24" not in out.getvalue()
