"""The ticks: whatever the readers do, who applies all that they were told has what a new one is shown."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fitai.engine.groups import ticks
from fitai.gateways.groups.ticker import KEPT, Ticker
from fitai.gateways.live.frames import CODECS, Frame

GROUP = "018f0000-0000-7000-8000-0000000000aa"


class Client:
    """A reader that applies what it is told, and is ready when the test says so."""

    def __init__(self) -> None:
        self.ready = True
        self.view: dict[int, Any] = {}
        self.cheers: dict[int, dict[str, int]] = {}
        self.frames: list[Frame] = []
        self.cut = False

    def begin(self, ticker: Ticker, hidden: frozenset[int] = frozenset()) -> Client:
        self.view = {int(no): fields for no, fields in ticker.begin(self, hidden).items()}
        return self

    def send(self, frame: Frame) -> None:
        assert frame.event == "group:tick"
        assert frame.payload["group"] == GROUP
        assert frame.payload["members"] or frame.payload["cheers"], "nothing was told"
        self.frames.append(frame)
        change = {int(no): fields for no, fields in frame.payload["members"].items()}
        self.view = ticks.apply(self.view, change)
        cheers = {int(no): counts for no, counts in frame.payload.get("cheers", {}).items()}
        self.cheers = ticks.cheered(self.cheers, cheers)

    def slow(self) -> None:
        self.cut = True


def without(view: Any, hidden: frozenset[int]) -> dict[int, Any]:
    return {no: fields for no, fields in view.items() if no not in hidden}


def test_all_readers_get_one_payload_encoded_once_a_codec() -> None:
    ticker = Ticker(GROUP)
    clients = [Client().begin(ticker) for _ in range(500)]
    ticker.tick({1: {"here": True}, 2: {"reps": 5}}, {2: {"fire": 3}}, 1_000)
    [frame] = {id(frame): frame for client in clients for frame in client.frames}.values()
    assert frame.payload == {
        "group": GROUP,
        "at": 1_000,
        "members": {"1": {"here": True}, "2": {"reps": 5}},
        "cheers": {"2": {"fire": 3}},
    }
    assert all(frame.packet(codec) is frame.packet(codec) for codec in CODECS.values())


def test_only_what_changed_is_told_and_nothing_when_nothing_did() -> None:
    ticker = Ticker(GROUP)
    client = Client().begin(ticker)
    ticker.tick({1: {"here": True, "reps": 5, "hr": 140}}, {}, 0)
    ticker.tick({1: {"here": True, "reps": 6}}, {}, 250)
    assert client.frames[-1].payload["members"] == {"1": {"reps": 6, "hr": None}}
    ticker.tick({1: {"here": True, "reps": 6}}, {}, 500)
    assert len(client.frames) == 2
    ticker.tick({1: {}}, {}, 750)
    assert client.view == ticker.view == {}


def test_a_slow_reader_is_told_the_ticks_it_missed_as_one_with_all_cheers() -> None:
    ticker = Ticker(GROUP)
    slow, other = Client().begin(ticker), Client().begin(ticker)
    slow.ready = other.ready = False
    for reps in range(1, 6):
        ticker.tick({1: {"reps": reps}}, {1: {"clap": 2}}, reps)
    assert not slow.frames
    assert ticker.behind
    slow.ready = other.ready = True
    ticker.tick({}, {}, 10)
    assert [frame.payload for frame in slow.frames] == [
        {"group": GROUP, "at": 10, "members": {"1": {"reps": 5}}, "cheers": {"1": {"clap": 10}}}
    ]
    assert slow.frames[0] is other.frames[0], "who fell behind at one place shares what is told"
    assert not ticker.behind


def test_who_takes_nothing_for_very_long_is_cut_off_and_the_others_go_on() -> None:
    ticker = Ticker(GROUP)
    stuck, other = Client().begin(ticker), Client().begin(ticker)
    stuck.ready = False
    for reps in range(1, KEPT + 2):
        assert not stuck.cut
        ticker.tick({1: {"reps": reps}}, {}, reps)
    assert stuck.cut
    assert len(other.frames) == KEPT + 1
    assert not ticker.behind


def test_of_two_who_block_each_other_each_is_left_out_of_what_the_other_is_told() -> None:
    ticker = Ticker(GROUP)
    ticker.tick({1: {"reps": 1}, 2: {"reps": 2}}, {}, 0)
    one, two, three = (
        Client().begin(ticker, frozenset({2})),
        Client().begin(ticker, frozenset({1})),
        Client().begin(ticker),
    )
    assert (one.view, two.view) == ({1: {"reps": 1}}, {2: {"reps": 2}})
    ticker.tick({1: {"reps": 3}, 2: {"reps": 4}}, {1: {"clap": 1}, 2: {"fire": 1}}, 1)
    assert one.view == {1: {"reps": 3}}
    assert one.cheers == {1: {"clap": 1}}
    assert two.view == {2: {"reps": 4}}
    assert three.view == ticker.view
    ticker.tick({2: {"reps": 5}}, {}, 2)
    assert len(one.frames) == 1, "it is not even told that something happened"


def test_a_block_that_is_made_meanwhile_takes_the_other_away_and_one_that_ends_brings_them_back() -> None:
    ticker = Ticker(GROUP)
    ticker.tick({1: {"reps": 1}, 2: {"reps": 2, "hr": 120}}, {}, 0)
    reader = Client().begin(ticker)
    reader.ready = False
    ticker.tick({2: {"reps": 3}}, {}, 1)
    ticker.hide(reader, frozenset({2}), 2)
    assert reader.view == {1: {"reps": 1}}
    ticker.tick({2: {"reps": 4}}, {}, 3)
    ticker.hide(reader, frozenset(), 4)
    assert reader.view == ticker.view


MEMBERS = st.dictionaries(
    st.integers(1, 5),
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 3), max_size=4),
    max_size=4,
)
CHEERS = st.dictionaries(
    st.integers(0, 5), st.dictionaries(st.sampled_from(["clap", "fire"]), st.integers(1, 3), min_size=1)
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), MEMBERS, CHEERS),
        st.tuples(st.just("join"), st.frozensets(st.integers(1, 5), max_size=2)),
        st.tuples(st.just("ready"), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("hide"), st.integers(0, 9), st.frozensets(st.integers(1, 5), max_size=2)),
        st.tuples(st.just("leave"), st.integers(0, 9)),
    ),
    min_size=5,
    max_size=60,
)


class Play:
    """A ticker and its clients, to whom steps happen; after each, all that was told is checked."""

    def __init__(self) -> None:
        self.ticker = Ticker(GROUP)
        self.hidden: dict[Client, frozenset[int]] = {}

    def tick(self, members: Any, cheers: Any, at: int) -> None:
        self.ticker.tick(members, cheers, at)
        for client, hidden in self.hidden.items():
            if client.ready:
                assert client.view == without(self.ticker.view, hidden)

    def join(self, hidden: frozenset[int], at: int) -> None:
        client = Client().begin(self.ticker, hidden)
        assert client.view == without(self.ticker.view, hidden)
        self.hidden[client] = hidden

    def _client(self, of: int) -> Client | None:
        clients = list(self.hidden)
        return clients[of % len(clients)] if clients else None

    def ready(self, of: int, ready: bool, at: int) -> None:
        if (client := self._client(of)) is not None:
            client.ready = ready

    def hide(self, of: int, hidden: frozenset[int], at: int) -> None:
        if (client := self._client(of)) is not None:
            self.ticker.hide(client, hidden, at)
            self.hidden[client] = hidden

    def leave(self, of: int, at: int) -> None:
        if (client := self._client(of)) is not None:
            self.ticker.end(client)
            del self.hidden[client]


@given(STEPS)
def test_who_applies_all_ticks_has_what_a_new_one_is_shown(steps: list[Any]) -> None:
    play = Play()
    for at, (what, *rest) in enumerate(steps):
        getattr(play, what)(*rest, at)
        for client, hidden in play.hidden.items():
            assert not client.view.keys() & hidden, "was told of somebody who is hidden"
    for client in play.hidden:
        client.ready = True
    play.tick({}, {}, len(steps))
    assert not play.ticker.behind


def test_every_cheer_is_told_once_to_whom_it_may_be_told_however_slowly_they_read() -> None:
    dice = random.Random(7)
    ticker = Ticker(GROUP)
    clients = [Client().begin(ticker) for _ in range(20)]
    sent: dict[int, dict[str, int]] = {}
    for at in range(2_000):
        for client in clients:
            client.ready = dice.random() < 0.2
        cheers = {dice.randrange(4): {dice.choice(["clap", "fire"]): dice.randrange(1, 4)}}
        sent = ticks.cheered(sent, cheers)
        ticker.tick({1: {"reps": at}}, cheers, at)
    for client in clients:
        client.ready = True
    ticker.tick({}, {}, 2_000)
    assert all(client.cheers == sent for client in clients if not client.cut)
    assert sum(not client.cut for client in clients) == 20
