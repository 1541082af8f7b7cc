from __future__ import annotations

import pytest

from fitai.gateways.groups.cheers import BURST, PER_S, Cheers
from fitai.sync.wire import Refusal


def test_cheers_add_up_until_the_tick_and_are_told_to_the_other_nodes_once() -> None:
    cheers = Cheers()
    for to, kind in ((2, "clap"), (2, "clap"), (2, "fire"), (None, "go")):
        cheers.count(1, to, kind, 0)
    assert cheers.news
    assert sorted(cheers.told()) == [(0, "go", 1), (2, "clap", 2), (2, "fire", 1)]
    assert not cheers.news
    assert cheers.taken() == {2: {"clap": 2, "fire": 1}, 0: {"go": 1}}
    assert not cheers
    assert cheers.taken() == {}


def test_those_of_another_node_are_told_here_and_not_passed_on() -> None:
    cheers = Cheers()
    cheers.heard([(2, "clap", 30), (2, "of a newer release", 1)])
    assert not cheers.news
    assert cheers.taken() == {2: {"clap": 30}}


def test_who_taps_faster_than_anybody_can_is_told_to_wait_and_nobody_else_is() -> None:
    cheers = Cheers()
    for _ in range(BURST):
        cheers.count(1, None, "clap", 0)
    with pytest.raises(Refusal) as refused:
        cheers.count(1, None, "clap", 0)
    assert refused.value.code == "later"
    wait_ms = refused.value.extra["retry_after_ms"]
    assert 0 < wait_ms <= 1000 / PER_S + 1
    cheers.count(2, None, "clap", 0)
    cheers.count(1, None, "clap", wait_ms)
    assert cheers.taken() == {0: {"clap": BURST + 2}}
