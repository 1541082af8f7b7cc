"""The compact rule (a base and at most one entry per device beyond it) is the full vector clock, for every
pair of records, whatever happened on the way.

A small world of devices is played through: they write, push, lose the answers, pull a part of the log, stay
away for long, tell each other directly what they know, and are copied. Each op carries the full vector clock
of its author beside what the protocol says, as the oracle. The server's part is `fitai.sync.log` itself.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitai.engine.ops import Dot, Op, Stamp, saw
from fitai.sync import log
from fitai.sync.clock import VectorClock
from fitai.sync.log import Context, Position
from fitai.sync.wire import Refusal, WireLimits, decode_op

WORKOUT = "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001"

Step = tuple[str, int, int]
"""What happens, to which device, and how much of it (or to whom else)."""

ACTS = ["write", "write", "push", "push and lose the answer", "pull", "pull", "tell", "copy"]


@dataclass(frozen=True)
class Written:
    """An op as it waits: its base, the full clock if its author said that instead, and the oracle's clock."""

    n: int
    base: int
    clock: VectorClock | None
    full: VectorClock


@dataclass(frozen=True)
class Placed:
    """A record: its place, its context by the compact rule, and the oracle's clock."""

    seq: int
    dot: Dot
    context: Context
    full: VectorClock


@dataclass
class Device:
    """What one device has: the run of the log up to `cursor`, own ops acknowledged beyond it, what waits, and
    all that it has seen by any way. `said`: what its own ops told so far, besides their bases."""

    number: int
    cursor: int = 0
    next_n: int = 1
    acked: set[int] = field(default_factory=set)
    outbox: list[Written] = field(default_factory=list)
    seen: VectorClock = field(default_factory=VectorClock)
    said: VectorClock = field(default_factory=VectorClock)


def contiguous(device: Device) -> int:
    """The rule for a base: the end of the run."""
    return device.cursor


def farthest(device: Device) -> int:
    """A wrong one: the last place that is known, over holes."""
    return max(device.acked | {device.cursor})


def remembered(op: Op, position: Position, named: Context | None) -> Context:
    """The rule for a context: that of the device's previous op is in it."""
    return log.context(op, position, named)


def forgotten(op: Op, position: Position, named: Context | None) -> Context:
    """A wrong one: each op stands for itself."""
    return log.context(op, Position(position.next_n), named)


class World:
    """Devices and a server; `base_of` and `context_of` are the two rules, so that a test can break them."""

    def __init__(
        self,
        base_of: Callable[[Device], int] = contiguous,
        context_of: Callable[[Op, Position, Context | None], Context] = remembered,
    ) -> None:
        self.base_of = base_of
        self.context_of = context_of
        self.log: list[Placed] = []
        self.positions: dict[int, Position] = {}
        self.devices = [Device(number) for number in (1, 2, 3)]
        self.happened: Counter[str] = Counter()

    def play(self, steps: Iterable[Step]) -> World:
        """Let it all happen, then let everybody send what is left."""
        for what, who, much in steps:
            device = self.devices[who % len(self.devices)]
            getattr(self, "_" + what.replace(" ", "_"))(device, much)
        while any(device.outbox for device in self.devices):
            for device in self.devices:
                self._push(device, 99)
        return self

    # -- what happens --------------------------------------------------------------------------------

    def _write(self, device: Device, _: int) -> None:
        base = self.base_of(device)
        by_base = VectorClock((r.dot.device, r.dot.n) for r in self.log[:base]) | device.said
        told = {d: n for d, n in device.seen.items() if d != device.number and n > by_base[d]}
        clock = device.seen if told else None
        if clock is not None:
            device.said |= clock
            self.happened["full clock"] += 1
        device.outbox.append(Written(device.next_n, base, clock, device.seen))
        device.seen = device.seen.tick(device.number)
        device.next_n += 1

    def _push(self, device: Device, much: int) -> None:
        for written, seq in self._accepted(device, much + 1):
            device.outbox.remove(written)
            device.acked.add(seq)
            if seq == device.cursor + 1:
                device.cursor = seq
            else:
                self.happened["acknowledged over a hole"] += 1

    def _push_and_lose_the_answer(self, device: Device, much: int) -> None:
        if self._accepted(device, much + 1):
            self.happened["lost answer"] += 1

    def _pull(self, device: Device, much: int) -> None:
        page = self.log[device.cursor : device.cursor + 1 + much]
        self.happened["partial pull"] += 0 < len(page) < len(self.log) - device.cursor
        self.happened["long away"] += len(self.log) - device.cursor > 12
        for placed in page:
            device.cursor = placed.seq
            device.seen |= {placed.dot.device: placed.dot.n}
            device.outbox = [w for w in device.outbox if Dot(device.number, w.n) != placed.dot]

    def _tell(self, device: Device, much: int) -> None:
        """Everything that the device knows, its own waiting ops too, goes straight to another one."""
        other = self.devices[much % len(self.devices)]
        self.happened["told directly"] += not other.seen >= device.seen
        other.seen |= device.seen

    def _copy(self, device: Device, _: int) -> None:
        """A backup is restored on another phone, which is found out at once and becomes a device of its own:
        it numbers what it holds from 1, and its context has the parent's ops before that."""
        if len(self.devices) == 6:
            return
        fork_at = device.outbox[0].n if device.outbox else device.next_n
        number = len(self.devices) + 1
        if not self._has(Dot(device.number, fork_at - 1)) or self._has(Dot(device.number, fork_at)):
            return  # a copy learns the whole log first, and then holds only what is not in it
        parent = {device.number: fork_at - 1}

        def renamed(clock: VectorClock) -> VectorClock:
            own = clock[device.number] - fork_at + 1
            return VectorClock({**clock, **parent, number: own})

        outbox = [
            Written(w.n - fork_at + 1, w.base, None if w.clock is None else renamed(w.clock), renamed(w.full))
            for w in device.outbox
        ]
        copy = replace(device, number=number, next_n=len(outbox) + 1, outbox=outbox)
        copy.acked = set(device.acked)
        copy.seen, copy.said = renamed(device.seen), device.said | parent
        self.positions[number] = self._start(device.number, fork_at - 1)
        self.devices.append(copy)
        self.happened["copy with waiting ops" if outbox else "copy"] += 1

    # -- the server ----------------------------------------------------------------------------------

    def _has(self, dot: Dot) -> bool:
        return dot.n == 0 or any(placed.dot == dot for placed in self.log)

    def _start(self, parent: int, n: int) -> Position:
        if n == 0:
            return self.positions.get(parent, Position())._replace(next_n=1)
        last = next(placed for placed in self.log if placed.dot == Dot(parent, n))
        return Position(1, last.context.base, {**(last.context.beyond or {}), parent: n})

    def _accepted(self, device: Device, most: int) -> list[tuple[Written, int]]:
        """What the server answers to a push of the first waiting ops: their places, those of retries too. It
        ends before an op whose clock names what is not there yet."""
        answer = []
        for written in device.outbox[:most]:
            own = [placed for placed in self.log if placed.dot == Dot(device.number, written.n)]
            try:
                placed = own[0] if own else self._place(device.number, written)
            except Refusal as refusal:
                if refusal.code != "later":
                    raise
                self.happened["later"] += 1
                break
            self.happened["duplicate"] += bool(own)
            answer.append((written, placed.seq))
        return answer

    def _place(self, device: int, written: Written) -> Placed:
        op = _op(written)
        position = self.positions.get(device, Position())
        assert log.admit([op], position, len(self.log)).retries == 0
        named = None
        if written.clock is not None:
            here = VectorClock((placed.dot.device, placed.dot.n) for placed in self.log)
            seen = written.clock | (position.beyond or {})
            log.require(seen, device, here)
            tail = [(placed.seq, placed.dot) for placed in self.log[position.base :]]
            named = log.compress(seen, device, position.base, tail)
        places = {placed.dot: placed.seq for placed in self.log}
        context = log.shorten(self.context_of(op, position, named), places)
        placed = Placed(len(self.log) + 1, Dot(device, written.n), context, written.full)
        self.log.append(placed)
        self.positions[device] = Position(written.n + 1, context.base, context.beyond)
        return placed


def _op(written: Written) -> Op:
    raw: dict[str, Any] = {"n": written.n, "kind": "workout.start", "workout": WORKOUT, "value": {}, "at": 0}
    if written.clock is None:
        raw["base"] = written.base
    else:
        raw["clock"] = {str(device): n for device, n in written.clock.items()}
    return decode_op(raw, WireLimits())[0]


def before(a: Placed, b: Placed) -> bool:
    """The protocol's sentence: under the base, under an entry, or an earlier op of the same device."""
    return saw(_stamp(b), _stamp(a))


def _stamp(placed: Placed) -> Stamp:
    return Stamp(placed.seq, *placed.dot, 0, placed.context.base, {**(placed.context.beyond or {})})


def disagreements(world: World) -> list[tuple[Dot, Dot]]:
    """The pairs of records of which the compact rule says something else than the full clocks."""
    pairs = [(a, b) for a in world.log for b in world.log if a is not b]
    return [(a.dot, b.dot) for a, b in pairs if before(a, b) != b.full.seen(a.dot)]


def random_steps(seed: int, count: int = 120) -> list[Step]:
    """A schedule with spells in which only one device is in touch with the server."""
    rng = random.Random(seed)
    steps: list[Step] = []
    online = 0
    for _ in range(count):
        online = rng.randrange(6) if rng.random() < 0.1 else online
        what = rng.choice(ACTS)
        who = rng.randrange(6) if what in ("write", "tell") or rng.random() < 0.2 else online
        if what != "copy" or rng.random() < 0.3:
            steps.append((what, who, rng.randrange(6)))
    return steps


STEPS = st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 5), st.integers(0, 5)), max_size=60)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_the_compact_rule_equals_full_vector_clocks_for_every_pair(steps: list[Step]) -> None:
    assert disagreements(World().play(steps)) == []


def test_it_does_on_long_schedules_in_which_everything_that_can_happen_did() -> None:
    happened: Counter[str] = Counter()
    pairs = 0
    for seed in range(60):
        world = World().play(random_steps(seed))
        assert disagreements(world) == [], seed
        happened += world.happened
        pairs += len(world.log) * (len(world.log) - 1)
    assert pairs > 50_000
    expected = {
        "acknowledged over a hole",
        "copy",
        "copy with waiting ops",
        "duplicate",
        "full clock",
        "later",
        "long away",
        "lost answer",
        "partial pull",
        "told directly",
    }
    assert {name for name in expected if happened[name] >= 10} == expected, happened


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_a_context_has_at_most_one_entry_per_other_device_and_none_that_its_base_covers(
    steps: list[Step],
) -> None:
    world = World().play(steps)
    places = {placed.dot: placed.seq for placed in world.log}
    for placed in world.log:
        for device, n in (placed.context.beyond or {}).items():
            assert placed.context.base < places[Dot(device, n)] < placed.seq
            assert device != placed.dot.device


BROKEN: dict[str, tuple[dict[str, Any], Sequence[Step]]] = {
    "a base over a hole": (
        {"base_of": farthest},
        # Device 1's op takes seq 1; device 2, which never saw it, is acknowledged at seq 2 and writes on.
        [("write", 0, 0), ("push", 0, 0), ("write", 1, 0), ("push", 1, 0), ("write", 1, 0)],
    ),
    "a context without that of the previous op": (
        {"context_of": forgotten},
        # Device 1 tells device 2 directly, behind an op of device 3; device 2 says so once, then writes on.
        [
            ("write", 2, 0), ("push", 2, 0), ("write", 0, 0), ("tell", 0, 1), ("push", 0, 0),
            ("write", 1, 0), ("write", 1, 0),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_found_out(name: str) -> None:
    broken, steps = BROKEN[name]
    assert disagreements(World().play(steps)) == []
    assert disagreements(World(**broken).play(steps)) != []


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_found_out_on_random_schedules_too(name: str) -> None:
    broken, _ = BROKEN[name]
    assert any(disagreements(World(**broken).play(random_steps(seed))) for seed in range(10))
