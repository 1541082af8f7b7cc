"""Who is here, on any node: words may be lost, doubled, late, or come from a node that is no more."""

from __future__ import annotations

import random

from fitai.gateways.groups.presence import SILENT_MS, WORD_MS, Presence

GRACE = 15_000


def presence(run: int = 1, now: int = 0) -> Presence:
    return Presence(run, GRACE, now)


def test_a_member_comes_with_the_first_seat_and_goes_after_the_grace_of_the_last() -> None:
    here = presence()
    here.joined(1, 100)
    here.joined(1, 200)
    here.left(1, 300)
    here.pass_time(100_000)
    assert here.present() == {1: 100}
    here.left(1, 100_000)
    assert here.due_at() == 100_000 + GRACE
    here.pass_time(100_000 + GRACE - 1)
    assert here.is_here(1)
    assert here.gone_since(1) is None
    here.pass_time(100_000 + GRACE)
    assert not here.is_here(1)
    assert here.gone_since(1) == 100_000, "since the seat was empty, not since the grace was over"
    assert not here.busy


def test_who_changes_networks_was_never_away() -> None:
    here = presence()
    here.joined(1, 0)
    here.word(0)
    here.changed.clear()
    here.left(1, 1_000)
    here.joined(1, 1_000 + GRACE - 1)
    here.pass_time(100_000)
    assert here.present() == {1: 0}
    assert not here.changed
    assert not here.news


def test_one_who_was_never_seen_is_missed_since_the_room_was_opened() -> None:
    assert presence(now=500).gone_since(7) == 500


def test_another_node_is_told_who_came_and_who_went() -> None:
    here, there = presence(1), presence(2)
    here.joined(1, 10)
    here.joined(2, 20)
    assert there.heard("a", here.whole(20), 20)
    assert there.present() == {1: 10, 2: 20}
    here.left(1, 30)
    here.pass_time(30 + GRACE)
    there.changed.clear()
    assert there.heard("a", here.word(30 + GRACE), 30 + GRACE)
    assert there.present() == {2: 20}
    assert there.gone_since(1) == 30
    assert there.changed == {1}


def test_who_is_on_two_nodes_is_here_until_both_have_lost_them_and_since_the_first() -> None:
    here, there = presence(1), presence(2)
    here.joined(1, 10)
    there.joined(1, 5)
    there.heard("a", here.whole(10), 10)
    assert there.present() == {1: 5}
    there.left(1, 20)
    there.heard("a", here.word(WORD_MS), WORD_MS)
    there.pass_time(20 + GRACE)
    assert there.present() == {1: 10}
    assert there.gone_since(1) is None
    there.lost("a", 50_000)
    assert there.gone_since(1) == 50_000


def test_a_word_that_is_missing_is_noticed_and_one_that_comes_twice_is_not_heard_again() -> None:
    here, there = presence(1), presence(2)
    here.joined(1, 0)
    first = here.whole(0)
    assert there.heard("a", first, 0)
    here.joined(2, 1)
    lost = here.word(1)
    here.joined(3, 2)
    after = here.word(2)
    assert not there.heard("a", after, 2), "it is to ask"
    assert there.present() == {1: 0}
    whole = here.whole(3)
    assert there.heard("a", whole, 3)
    for late in (lost, first, after, whole):
        assert there.heard("a", late, 4)
    assert there.present() == {1: 0, 2: 1, 3: 2}


def test_of_a_node_that_is_unknown_or_began_anew_only_a_whole_word_counts() -> None:
    there = presence(9)
    first = presence(3)
    first.joined(1, 0)
    assert not there.heard("a", first.word(0), 0)
    assert there.heard("a", first.whole(0), 0)
    second = presence(4)
    second.joined(2, 5)
    assert not there.heard("a", second.word(5), 5)
    assert there.heard("a", second.whole(5), 5)
    assert there.present() == {2: 5}
    assert there.heard("a", first.whole(6), 6), "of the run before: known, and over"
    assert there.present() == {2: 5}


def test_a_node_that_says_nothing_any_more_is_believed_no_longer() -> None:
    here, there = presence(1), presence(2)
    here.joined(1, 0)
    there.heard("a", here.whole(0), 0)
    for now in range(WORD_MS, 10 * WORD_MS, WORD_MS):
        assert here.word_at() == now
        there.heard("a", here.word(now), now)
        there.pass_time(now)
    assert there.present() == {1: 0}
    there.pass_time(now + SILENT_MS)
    assert there.present() == {1: 0}
    there.pass_time(now + SILENT_MS + 1)
    assert there.present() == {}
    assert there.gone_since(1) == now + SILENT_MS + 1


def test_a_node_that_was_itself_away_believes_the_others_for_as_long_again() -> None:
    here, there = presence(1), presence(2)
    here.joined(1, 0)
    there.heard("a", here.whole(0), 0)
    there.was_away(100_000)
    there.pass_time(100_000 + SILENT_MS)
    assert there.present() == {1: 0}


def test_a_farewell_leaves_nobody_behind() -> None:
    here, there = presence(1), presence(2)
    here.joined(1, 0)
    there.heard("a", here.whole(0), 0)
    there.heard("a", here.farewell(5), 5)
    assert there.present() == {}
    assert there.gone_since(1) == 5


def test_whatever_becomes_of_the_words_all_nodes_agree_once_who_missed_one_has_asked() -> None:
    for seed in range(200):
        dice = random.Random(seed)
        nodes = {name: presence(index + 1) for index, name in enumerate("abc")}
        seats: dict[str, list[int]] = {name: [] for name in nodes}
        waiting: list[tuple[str, str, dict]] = []
        now = 0
        for _ in range(60):
            now += dice.randrange(3_000)
            name = dice.choice("abc")
            if seats[name] and dice.random() < 0.4:
                nodes[name].left(seats[name].pop(dice.randrange(len(seats[name]))), now)
            else:
                seats[name].append(dice.randrange(1, 8))
                nodes[name].joined(seats[name][-1], now)
            for each, node in nodes.items():
                node.pass_time(now)
                if node.news or now >= node.word_at():
                    word = node.word(now)
                    waiting += [(each, other, word) for other in nodes if other != each]
            dice.shuffle(waiting)
            for _ in range(dice.randrange(len(waiting) + 1)):
                teller, listener, word = waiting.pop()
                if dice.random() < 0.8 and not nodes[listener].heard(teller, word, now):
                    whole = nodes[teller].whole(now)
                    waiting += [(teller, other, whole) for other in nodes if other != teller]
        for teller, node in nodes.items():
            word = node.whole(now)
            for listener, other in nodes.items():
                assert listener == teller or other.heard(teller, word, now)
        expected: dict[int, int] = {}
        for node in nodes.values():
            for no, since in node._here.items():
                expected[no] = min(since, expected.get(no, since))
        assert expected, seed
        assert all(node.present() == expected for node in nodes.values()), seed
