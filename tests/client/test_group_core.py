"""The group client's core against a log that keeps the real rules, over connections that break."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from fitai.engine.groups.document import document
from fitai.engine.groups.group import Group
from fitai.engine.groups.telling import tell
from fitai.engine.ops import VOID, Record
from fitai.gateways.client.core import Patience
from fitai.gateways.client.group_core import Ask, GroupCore
from fitai.sync.groups import GroupPlacer
from fitai.sync.log import Context
from fitai.sync.wire import WireLimits, decode_op

Json = dict[str, Any]

GROUP = "018f0000-0000-7000-8000-0000000000aa"
SEEDS = 400


def op_of(raw: Json) -> Any:
    return decode_op({**raw, "workout": GROUP}, WireLimits())[0]


class Log:
    """A group's log, and what a room answers; device = member. `now` goes on with each question."""

    def __init__(self, members: int) -> None:
        self.g = Group(GROUP)
        self.epoch = "e1"
        self.now = 1_000_000
        self.placer = GroupPlacer(self.g, 0, {})
        for member in range(1, members + 1):
            self.place(
                0, "device.enrol", {"device": member, "member": member, "name": f"m{member}", "invite": 1}
            )
        self.place(1, "group.create", {"title": "Class", "format": {"type": "open"}})

    @property
    def records(self) -> list[Record]:
        return self.placer.records

    def place(self, device: int, kind: str, value: Json) -> None:
        n = self.placer.position(device).next_n
        self.put(device, {"n": n, "base": self.placer.head, "kind": kind, "value": value, "at": self.now})

    def put(self, device: int, raw: Json) -> Record:
        self.now += 500
        op = op_of(raw)
        held = {op.n} if raw["value"].get("text") == "hold me" else ()
        return self.placer.place_all(device, [op], [Context(raw["base"], None)], self.now, held)[0]

    def told(self, after: int, upto: int, member: int, *, but: int | None = None) -> list[Json]:
        """What a member is told of a stretch; `but`: without what this device wrote."""
        told = [
            tell(self.g, record, self.g.members[member])
            for record in self.records[after:upto]
            if record.device != but
        ]
        return [one for one in told if one is not None]

    def join(self, member: int, payload: Json, lag: int = 0) -> Json:
        """`lag`: by how many records this node is behind."""
        if not self.g.members[member].here:
            self.place(member, "member.join", {})
            lag = 0
        cursor = payload.get("cursor") or {}
        return {
            "ok": True,
            "group": GROUP,
            "member": member,
            "device": member,
            "next_n": self.placer.position(member).next_n,
            "epoch": self.epoch,
            "head": max(cursor.get("seq", 0), self.placer.head - lag),
            "resumed": cursor.get("epoch") == self.epoch,
            "state": document(self.g),
            "view": {"1": {"here": True}},
        }

    def push(self, member: int, payload: Json) -> Json:
        results = []
        for raw in payload["ops"]:
            position = self.placer.position(member)
            if raw["n"] > position.next_n:
                return {"ok": False, "code": "gap", "next_n": position.next_n}
            if raw["n"] == position.next_n:
                results.append(said(self.put(member, raw)))
                continue
            first = next(one for one in self.records if (one.device, one.op.n) == (member, raw["n"]))
            assert first.op.value == raw["value"], "equivocation"
            there = said(first)
            verdict = {"verdict": "duplicate", "first": there}
            results.append({"n": there.pop("n"), "seq": there.pop("seq"), **verdict})
        return {"ok": True, "results": results, "head": self.placer.head}

    def pull(self, member: int, payload: Json) -> Json:
        after = payload["after"]
        upto = min(after + 7, self.placer.head)
        return {
            "ok": True,
            "epoch": self.epoch,
            "head": self.placer.head,
            "records": self.told(after, upto, member),
            "to": upto,
            "more": upto < self.placer.head,
        }


def said(record: Record) -> Json:
    told = {"n": record.op.n, "seq": record.seq, "rev": record.seq, "te": record.te}
    return {**told, "verdict": record.verdict.value, "code": record.code}


@dataclass
class Phone:
    """A core and its connection, which hands on what the room says one thing after another."""

    log: Log
    member: int
    core: GroupCore
    chance: random.Random
    way: list[Any] = field(default_factory=list)
    position: int = 0
    live: bool = False

    def connect(self) -> None:
        self.way.clear()
        self.live = False
        self.core.came()

    def cut(self) -> None:
        self.way.clear()
        self.live = False
        self.core.went()

    def ask(self) -> None:
        if self.core.wait_ms is not None:
            self.core.woke()
        ask = self.core.next()
        if ask is None:
            return
        if ask.event == "group:join":
            lag = self.chance.choice([0, 0, 3])
            answer = self.log.join(self.member, ask.payload, lag)
            self.position = ask.payload["cursor"]["seq"] if answer["resumed"] else answer["head"]
            self.live = True
            self.way.append(partial(self._answer, ask, answer))
        elif ask.event == "group:push":
            answer = self.log.push(self.member, ask.payload)
            for result in answer.get("results", ()):  # what lies below an acknowledged seq goes first
                self.flush(result["seq"] - 1)
                self.position = max(self.position, result["seq"])
            self.way.append(partial(self._answer, ask, answer))
        elif ask.event == "group:pull":
            self.way.append(partial(self._answer, ask, self.log.pull(self.member, ask.payload)))
        else:
            self.way.append(partial(self._answer, ask, {"ok": True}))

    def _answer(self, ask: Ask, answer: Json) -> None:
        if self.core.asked is ask:
            self.core.answered(answer)

    def flush(self, upto: int) -> None:
        """Frames up to a seq."""
        if self.live and upto > self.position:
            frame = {"group": GROUP, "epoch": self.log.epoch, "from": self.position + 1, "to": upto}
            frame["records"] = self.log.told(self.position, upto, self.member)
            self.position = upto
            self.way.append(partial(self.core.told, frame))

    def hear(self) -> None:
        if self.way:
            self.way.pop(0)()


def phone(log: Log, member: int, chance: random.Random) -> Phone:
    core = GroupCore(
        {"group": GROUP}, now_ms=lambda: log.now, random=chance.random, patience=Patience(base_ms=1, cap_ms=1)
    )
    return Phone(log, member, core, chance)


def writes(chance: random.Random, member: int) -> tuple[str, Json]:
    own: tuple[str, Json] = ("member.leave", {})
    if member == 1:
        own = ("group.edit", {"field": "title", "value": "Other"})
    return chance.choice(
        [
            own,
            ("chat.say", {"text": f"word {chance.random()}"}),
            ("chat.say", {"text": "hold me"}),
            ("group.start", {"in_ms": 1000}),
            ("group.pause", {}),
            ("group.resume", {"in_ms": 1000}),
            ("member.share", {"share": chance.choice(["everything", "progress"])}),
            ("chat.hide", {"dot": [chance.randint(1, 3), chance.randint(1, 6)]}),
        ]
    )


def play(seed: int) -> tuple[Log, list[Phone], list[Any]]:
    chance = random.Random(seed)
    log = Log(3)
    phones = [phone(log, member, chance) for member in (1, 2, 3)]
    written = []
    for _ in range(150):
        one = chance.choice(phones)
        match chance.choices(["write", "ask", "hear", "flush", "cut", "connect"], [2, 6, 8, 5, 1, 2])[0]:
            case "write":
                written.append(one.core.write(*writes(chance, one.member)))
            case "ask":
                one.ask()
            case "hear":
                one.hear()
            case "flush":
                one.flush(log.placer.head)
            case "cut":
                one.cut()
            case "connect" if not one.live:
                one.connect()
    settle(log, phones)
    return log, phones, written


def settle(log: Log, phones: list[Phone]) -> None:
    for one in phones:
        if not one.live:
            one.connect()
    for _ in range(400):
        for one in phones:
            one.ask()
            one.flush(log.placer.head)
            while one.way:
                one.hear()
    for one in phones:
        assert one.core.settled


def seen(g: Group) -> Json:
    """What everybody must agree on. Others' void records let time pass that only the server saw passing."""
    told = document(g)
    return {key: told[key] for key in told.keys() - {"seq", "status", "ended_at"}}


def test_every_op_is_in_the_log_once_and_all_fold_the_same():
    duplicates = voids = hidden = 0
    for seed in range(SEEDS):
        log, phones, written = play(seed)
        dots = [(one.device, one.op.n) for one in log.records]
        assert len(set(dots)) == len(dots), seed
        texts = [one.op.value for one in log.records if one.device and one.op.kind == "chat.say"]
        sent = [one.op["value"] for one in written if one.op["kind"] == "chat.say"]
        assert sorted(texts, key=str) == sorted(sent, key=str), seed
        for one in written:
            assert one.result is not None
            record = log.records[one.result["seq"] - 1]
            assert (record.op.n, record.verdict) == (one.op["n"], one.result["verdict"])
            assert record.code == one.result.get("code")
        for one in phones:
            assert one.core.held.cursor == log.placer.head
            assert seen(one.core.group) == seen(log.g), (seed, one.member)
            told = {record["seq"] for record in log.told(0, log.placer.head, one.member)}
            assert set(one.core.held.records) == told
            duplicates += one.core.duplicates
            hidden += any("withheld" in record for record in one.core.held.records.values())
        voids += sum(record.verdict is VOID for record in log.records)
    assert duplicates > 0
    assert min(voids, hidden) > 100


@pytest.fixture
def pair() -> tuple[Log, Phone]:
    log = Log(2)
    one = phone(log, 2, random.Random(1))
    one.connect()
    return log, one


def test_the_state_of_the_answer_is_shown_until_the_log_is_here(pair):
    log, one = pair
    assert one.core.document is None
    one.ask()
    one.hear()
    assert one.core.group.seq == 0
    assert one.core.document == document(log.g)
    assert one.core.held.view == {1: {"here": True}}
    settle(log, [one])
    assert one.core.document == document(one.core.group) == document(log.g)


def test_a_tick_changes_the_view_and_tells_cheers(pair):
    _, one = pair
    tick = {"members": {"1": {"here": None, "reps": 3}, "2": {"rank": 1}}, "cheers": {"1": {"fire": 2}}}
    one.core.ticked(tick)
    assert one.core.held.view == {}, "before it is in the room"
    one.ask()
    one.hear()
    one.core.take_news()
    one.core.ticked(tick)
    view = {1: {"reps": 3}, 2: {"rank": 1}}
    assert one.core.take_news() == [("view", {"members": view, "cheers": {1: {"fire": 2}}})]


@pytest.mark.parametrize("code", ["not_found", "full", "banned", "forbidden"])
def test_a_room_that_lets_nobody_in_is_not_asked_again(pair, code):
    _, one = pair
    assert one.core.next() == ("group:join", {"group": GROUP})
    one.core.answered({"ok": False, "code": code})
    assert (one.core.stopped, one.core.next()) == (code, None)
    assert one.core.take_news() == [("stopped", {"code": code})]


def test_later_is_waited_for(pair):
    log, one = pair
    settle(log, [one])
    written = one.core.write("chat.say", {"text": "hello"})
    first = one.core.next()
    one.core.answered({"ok": False, "code": "later", "retry_after_ms": 700})
    assert one.core.wait_ms is not None
    assert 700 <= one.core.wait_ms <= 701
    assert one.core.next() is None
    one.core.woke()
    assert one.core.next() == first
    assert written.result is None


def test_another_epoch_is_learnt_from_its_start_and_what_waits_numbered_anew(pair):
    log, one = pair
    settle(log, [one])
    one.cut()
    waiting = [one.core.write("chat.say", {"text": text}) for text in ("a", "b")]
    other = one.log = Log(2)
    other.epoch = "e2"
    other.place(2, "member.join", {})
    for text in ("from", "before"):
        other.place(2, "chat.say", {"text": text})
    settle(other, [one])
    assert [written.op["n"] for written in waiting] == [4, 5]
    assert [record.op.value.get("text") for record in other.records[-2:]] == ["a", "b"]
    assert seen(one.core.group) == seen(other.g)


def test_leaving_waits_for_what_was_said(pair):
    log, one = pair
    settle(log, [one])
    one.core.write("chat.say", {"text": "bye"})
    one.core.leave(stay=False)
    asked = []
    while one.core.stopped is None:
        one.ask()
        assert one.core.asked is not None
        asked.append(one.core.asked)
        one.hear()
    assert [ask.event for ask in asked] == ["group:push", "group:leave"]
    assert asked[-1].payload == {"group": GROUP}
    assert one.core.stopped == "left"
