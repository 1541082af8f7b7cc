"""500 seeds of people who come, go, lose their connection, log offline, correct themselves and put each other
out, while somebody starts, pauses and ends: members and board against an oracle that knows the ops alone."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from typing import Any

import pytest

from fitai.engine.groups.board import Row, board
from fitai.engine.groups.document import digest, document
from fitai.engine.groups.fold import fold
from fitai.engine.groups.measure import Body, on_board, progress
from fitai.engine.groups.sharing import shown
from fitai.engine.groups.ticks import View, apply, changes, combine
from fitai.engine.groups.timers import succession
from tests.engine.groups.oracle import UG, Oracle
from tests.group_book import GROUP, GroupBook
from tests.playbook import Playbook, named

SEEDS, AT_ONCE = 500, 50
PEOPLE = 6
LIMIT = 600


class Athlete:
    """A person with a workout: what their phone and watch did (`sets`), and what of it has arrived (`w`)."""

    def __init__(self, rng: random.Random, body: int | None) -> None:
        self.rng, self.body = rng, body
        self.w = Playbook().create()
        self.w.exercise("squat")
        self.sets: list[dict[str, Any]] = []
        self.outbox: dict[int, list[tuple[str, int, str, dict[str, Any], dict[str, Any]]]] = {1: [], 2: []}
        self.arrived: list[dict[str, Any]] = []

    def act(self, second: int) -> None:
        """Log a set, or correct one that the same device logged."""
        device = self.rng.choice((1, 2))
        own = [one for one in self.sets if one["device"] == device]
        if not own or self.rng.random() < 0.7:
            one = self.made(second, device)
            self.sets.append(one)
            value = {
                "exercise_entry": named("squat"),
                "type": one["type"],
                "reps": one["reps"],
                "done": one["done"],
            }
            value |= {
                "load": dict(zip(("value", "unit"), one["load"], strict=True)),
                "distance_m": one["distance_m"],
            }
            self.send(device, "set.log", second, one, value)
        elif (one := self.rng.choice(own)) and self.rng.random() < 0.5:
            self.send(device, "set.edit", second, one, {"field": "reps", "value": self.rng.randint(0, 9)})
        else:
            self.send(device, self.rng.choice(("set.remove", "set.remove", "set.restore")), second, one, {})

    def made(self, second: int, device: int) -> dict[str, Any]:
        rng = self.rng
        return {
            "id": str(uuid.UUID(int=rng.getrandbits(128))),
            "device": device,
            "at": second,
            "reps": rng.choice((0, 4, 8)),
            "load": (rng.choice((0, 20, 45)), rng.choice(("kg", "lb"))),
            "distance_m": rng.randint(0, 5),
            "type": rng.choice(("working", "working", "warmup", "drop")),
            "done": rng.random() < 0.9,
            "removed": False,
        }

    def send(self, device: int, kind: str, second: int, one: dict[str, Any], value: dict[str, Any]) -> None:
        self.outbox[device].append((kind, second, one["id"], one, value))

    def arrive(self, device: int, count: int) -> None:
        """The next ops of a device reach the server, however late: folded, and told to the oracle's sets."""
        for kind, second, entity, one, value in self.outbox[device][:count]:
            assert self.w(kind, second, entity=entity, device=device, **value).verdict == "applied"
            match kind:
                case "set.log":
                    self.arrived.append(one)
                case "set.edit":
                    one["reps"] = value["value"]
                    one["removed"] = False  # an edit of what is gone brings it back: it is a touch
                case _:
                    one["removed"] = kind == "set.remove"
        del self.outbox[device][:count]


class World:
    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        of, by = rng.choice(
            (
                ("reps", "absolute"),
                ("volume", "absolute"),
                ("distance", "absolute"),
                ("volume", "body_weight"),
            )
        )
        self.format: dict[str, Any] = {
            "type": "race",
            "measure": {"of": of, "by": by},
            "limit_ms": LIMIT * 1000,
        }
        if by == "absolute" and rng.random() < 0.5:
            self.format["goal"] = {"reps": 20, "volume": 500 * UG["kg"], "distance": 15_000}[of]
        capacity = rng.choice((3, 5, 100))
        self.oracle = Oracle(self.format, capacity)
        self.book = GroupBook()
        weights = (60 * UG["kg"], 150 * UG["lb"], None)
        self.athletes = {no: Athlete(rng, rng.choice(weights)) for no in range(1, PEOPLE + 1)}
        self.present: dict[int, int] = {1: 0}
        self.host_gone: int | None = None
        self.seen: View = self.view()
        self.told: View = self.seen
        self.waiting: Any = None
        self.happened: Counter[str] = Counter()
        self.say("device.enrol", by=0, device=1, member=1, name="m1")
        self.say("group.create", by=1, title="Race", format=self.format, capacity=capacity)

    # -- acts --------------------------------------------------------------------------------------

    def say(self, kind: str, by: int, stale: bool = False, **value: Any) -> None:
        head = len(self.book.records)
        base = self.rng.randint(0, head) if stale else head
        judged = self.book(kind, by=by, base=base, **value)
        ok = self.oracle.hear(head + 1, kind, by, base, self.book.now, value)
        assert (judged.verdict == "applied") is ok, (kind, by, value, judged)
        self.happened[f"{kind} {judged.verdict}"] += 1

    def step(self) -> None:
        rng = self.rng
        self.book.now += 1000 * rng.choice((0, 1, 1, 2, 5, 15))
        who = rng.randint(1, PEOPLE)
        roll = rng.random()
        if roll < 0.4:
            self.athletes[who].act(self.book.now // 1000)
        elif roll < 0.55:
            self.athletes[who].arrive(rng.choice((1, 2)), rng.randint(1, 6))
        elif roll < 0.68:
            self.come_or_go(who)
        elif roll < 0.76:
            self.connect_or_vanish(who)
        elif roll < 0.86:
            self.drive(who)
        else:
            self.rule(who)
        self.succeed()
        self.tick()

    def come_or_go(self, who: int) -> None:
        if self.rng.random() < 0.75:
            if who not in self.book.g.devices.values() or self.rng.random() < 0.5:
                invite = self.rng.choice(
                    (self.book.g.invite, self.book.g.invite, self.book.g.invite, 1, None)
                )
                came: dict[str, Any] = {"invite": invite} if invite else {}
                self.say("device.enrol", by=0, device=who, member=who, name=f"m{who}", **came)
            role: dict[str, Any] = {"as": "spectator"} if self.rng.random() < 0.2 else {}
            self.say(
                "member.join", by=who, share=self.rng.choice(("everything", "progress", "presence")), **role
            )
        else:
            self.say("member.leave", by=who)

    def connect_or_vanish(self, who: int) -> None:
        if who in self.present:
            del self.present[who]
            if who == self.book.g.host:
                self.host_gone = self.book.now
        else:
            self.present[who] = self.book.now

    def succeed(self) -> None:
        """What a node does when it looks; sometimes two look at once."""
        if self.book.g.host in self.present:
            self.host_gone = None
        elif self.book.g.host is not None and self.host_gone is None:
            self.host_gone = self.book.now
        op = succession(self.book.g, self.present, self.host_gone, self.book.now)
        if op is None:
            return
        able = {no for no in self.present if self.oracle.role.get(no) in ("coach", "participant")}
        coaches = {no for no in able if self.oracle.role[no] == "coach"} or able
        assert op.value["member"] == min(coaches, key=lambda no: (self.present[no], no))
        assert self.oracle.host() is None or self.book.now - (self.host_gone or 0) >= 30_000
        for _ in range(self.rng.choice((1, 2))):
            self.say(op.kind, by=0, **op.value)
        self.host_gone = None

    def drive(self, who: int) -> None:
        sensible = {"lobby": "start", "countdown": "hold", "live": "pause", "paused": "resume"}
        kind = self.rng.choice(("start", "hold", "pause", "resume"))
        if self.rng.random() < 0.6:
            kind = sensible.get(self.book.status, kind)
        if self.rng.random() < 0.04:
            kind = "finish"
        crew = [no for no, role in self.oracle.role.items() if role in ("host", "coach")]
        by = self.rng.choice(crew) if crew and self.rng.random() < 0.8 else who
        value = {"in_ms": 1000 * self.rng.randint(1, 6)} if kind in ("start", "resume") else {}
        self.say(f"group.{kind}", by=by, stale=self.rng.random() < 0.2, **value)

    def rule(self, who: int) -> None:
        crew = [no for no, role in self.oracle.role.items() if role in ("host", "coach")]
        by = self.rng.choice(crew) if crew and self.rng.random() < 0.7 else who
        target = self.rng.randint(1, PEOPLE)
        match self.rng.randint(0, 7):
            case 0:
                self.say(
                    "member.role",
                    by=by,
                    member=target,
                    role=self.rng.choice(("coach", "coach", "participant", "spectator")),
                )
            case 1:
                self.say("member.kick", by=by, member=target)
            case 2:
                self.say("member.ban", by=by, member=target)
            case 3:
                self.say("member.unban", by=by, member=target)
            case 4:
                self.say("member.hand_over", by=by, member=target)
            case 5:
                self.say(
                    "member.share", by=who, share=self.rng.choice(("everything", "progress", "presence"))
                )
            case 6:
                self.say("group.invite", by=by)
            case _ if self.rng.random() < 0.2 and target in self.book.g.members:
                self.say("member.erase", by=0, member=target)

    # -- what is told ------------------------------------------------------------------------------

    def view(self) -> View:
        g = self.book.g
        made = {
            no: progress(g, member, self.athletes[no].w.w, Body(self.athletes[no].body))
            for no, member in g.members.items()
        }
        rows = self.rows()
        whole = {
            no: shown(member, here=no in self.present, progress=made[no], row=rows.get(no))
            for no, member in g.members.items()
        }
        return {no: fields for no, fields in whole.items() if fields}

    def rows(self) -> dict[int, Row]:
        g = self.book.g
        return board(
            {
                no: measured
                for no, member in g.members.items()
                if on_board(g, member)
                and (
                    measured := progress(
                        g, member, self.athletes[no].w.w, Body(self.athletes[no].body)
                    ).measure
                )
            }
        )

    def tick(self) -> None:
        """A quick client is told each change, a slow one several in one."""
        now = self.view()
        change = changes(self.told, now)
        self.told = now
        self.waiting = change if self.waiting is None else combine(self.waiting, change)
        if self.rng.random() < 0.3:
            self.flush()

    def flush(self) -> None:
        self.seen = apply(self.seen, self.waiting or {})
        self.waiting = None
        assert self.seen == self.told

    # -- checks ------------------------------------------------------------------------------------

    def check(self) -> None:
        g, oracle = self.book.g, self.oracle
        oracle.pass_to(self.book.now // 1000)
        assert g.status_at(self.book.now) == oracle.state
        assert {member.no: member.role for member in g.here()} == oracle.role
        assert g.host == oracle.host()
        assert g.count == len(oracle.role)
        assert {no: member.gone for no, member in g.members.items() if member.gone} == {
            no: how for no, (how, _, _) in oracle.gone.items()
        }
        ranks = {no: row.rank for no, row in self.rows().items()}
        workouts = {no: athlete.arrived for no, athlete in self.athletes.items()}
        bodies = {no: athlete.body for no, athlete in self.athletes.items()}
        assert ranks == oracle.ranks(workouts, bodies)
        placed = [rank for rank in ranks.values() if rank]
        self.happened["a tie"] += len(placed) > len(set(placed))
        self.happened["a goal reached"] += any(
            row.measure.time_ms is not None for row in self.rows().values()
        )
        self.flush()

    def replay(self) -> None:
        records = list(self.book.records)
        self.rng.shuffle(records)
        again = document(fold(GROUP, records))
        assert digest(again) == digest(document(self.book.g))


def _play(seed: int) -> World:
    world = World(seed)
    for number in range(world.rng.randint(150, 300)):
        world.step()
        if number % 20 == 0:
            world.check()
    world.check()
    # Everybody is back online, long after the end: what was logged offline corrects the board.
    before = world.rows()
    world.book.now += 3_600_000
    for athlete in world.athletes.values():
        for device in (1, 2):
            athlete.arrive(device, 999)
    world.tick()
    world.check()
    world.replay()
    world.happened["corrected late"] += before != world.rows()
    world.happened[f"ended {world.oracle.state}"] += 1
    return world


@pytest.mark.parametrize("first", range(1, SEEDS + 1, AT_ONCE))
def test_members_and_board_are_what_the_ops_say(first):
    happened: Counter[str] = Counter()
    for seed in range(first, first + AT_ONCE):
        try:
            happened += _play(seed).happened
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
    # The runs were not empty.
    for what in (
        "member.join applied",
        "member.join void",
        "member.leave applied",
        "member.kick applied",
        "member.ban applied",
        "member.hand_over applied",
        "group.host applied",
        "group.host void",
        "group.pause applied",
        "group.resume applied",
        "group.start void",
        "corrected late",
        "a tie",
        "a goal reached",
        "ended finished",
    ):
        assert happened[what], (what, happened)
