"""Who is here, on any node: words may be lost, doubled, late, or come from a node that is no more."""

from __future__ import annotations

import random

from fitai.gateways.groups.presence import SILENT_MS, WORD_MS, Presence, Word

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
    here.left(1, 4)
    there.heard("a", here.farewell(5), 5)
    assert there.present() == {}
    assert there.gone_since(1) == 5
    here.left(1, 6)  # the seat of a room that was closed before it
    here.pass_time(6 + GRACE)
    assert not here.busy


class Nodes:
    """Some nodes whose words to each other are lost and come in any order."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.nodes = {name: presence(index + 1) for index, name in enumerate("abc")}
        self.seats: dict[str, dict[int, int]] = {name: {} for name in self.nodes}
        self.waiting: list[tuple[str, str, Word]] = []
        self.now = 0

    def come_or_go(self) -> None:
        """Somebody takes a seat, or leaves one; time goes on."""
        self.now += self.dice.randrange(3_000)
        name = self.dice.choice("abc")
        node, seats = self.nodes[name], self.seats[name]
        if seats and self.dice.random() < 0.4:
            node.left(seats.popitem()[1], self.now)
        else:
            seats[self.now] = self.dice.randrange(1, 8)
            node.joined(seats[self.now], self.now)

    def tell(self, teller: str, word: Word) -> None:
        self.waiting += [(teller, other, word) for other in self.nodes if other != teller]

    def turn(self) -> None:
        """Each node says what it has to say; some of all words arrive, and some never will."""
        for name, node in self.nodes.items():
            node.pass_time(self.now)
            if node.news or self.now >= node.word_at():
                self.tell(name, node.word(self.now))
        self.dice.shuffle(self.waiting)
        for _ in range(self.dice.randrange(len(self.waiting) + 1)):
            teller, listener, word = self.waiting.pop()
            if self.dice.random() < 0.8 and not self.nodes[listener].heard(teller, word, self.now):
                self.tell(teller, self.nodes[teller].whole(self.now))

    def settle(self) -> None:
        """All of it is told once more, and arrives."""
        self.waiting.clear()
        for name, node in self.nodes.items():
            self.tell(name, node.whole(self.now))
        for teller, listener, word in self.waiting:
            assert self.nodes[listener].heard(teller, word, self.now)

    def expected(self) -> dict[int, int]:
        """Since when each is here on whichever node."""
        found: dict[int, int] = {}
        for node in self.nodes.values():
            for no, since in node.whole(self.now)["here"]:
                found[no] = min(since, found.get(no, since))
        return found


def test_whatever_becomes_of_the_words_all_nodes_agree_once_all_is_told_again() -> None:
    met = 0
    for seed in range(200):
        nodes = Nodes(seed)
        for _ in range(60):
            nodes.come_or_go()
            nodes.turn()
        nodes.settle()
        expected = nodes.expected()
        met += len(expected)
        assert all(node.present() == expected for node in nodes.nodes.values()), seed
    assert met > 500
