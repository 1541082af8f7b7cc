"""Devices whose clocks are minutes off, drift, and hear the server late on one way and not on the other."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitai.gateways.client.group_clock import BURST, DRIFT, EVERY_MS, KEPT, Offset, ServerClock, Trip

TOGETHER_MS = 50
CASES = 2_000
DEVICES = 6
CLASS_MS = 240_000
START_MS = 10_000
BEGAN = 1_780_000_000_000.0


class Way(NamedTuple):
    """How long a message takes, ms: never less than `least`, mostly a little more, now and then a lot."""

    least: float
    more: float
    rare: float

    def takes(self, chance: random.Random) -> float:
        spike = chance.uniform(100, 400) if chance.random() < self.rare else 0.0
        return self.least + chance.expovariate(1 / self.more) + spike


@dataclass
class Device:
    """A device on simulated time (the server's, ms); its own clock is off and runs at its own rate."""

    chance: random.Random
    off: float
    drift: float
    there: Way
    back: Way
    clock: ServerClock = field(default_factory=ServerClock)
    naive: float | None = None

    @classmethod
    def drawn(cls, chance: random.Random) -> Device:
        there, back = (Way(chance.uniform(1, 35), chance.uniform(0.5, 5), 0.05) for _ in range(2))
        return cls(
            chance,
            off=chance.uniform(-600_000, 600_000),
            drift=chance.uniform(-DRIFT, DRIFT),
            there=there,
            back=back,
        )

    def reads(self, at: float) -> float:
        return BEGAN + self.off + (at - BEGAN) * (1 + self.drift)

    def asks(self, at: float) -> float:
        """One round trip; returns when it is over."""
        read = at + self.there.takes(self.chance)
        over = read + self.back.takes(self.chance)
        trip = Trip(self.reads(at), math.floor(read), self.reads(over))
        self.clock.measured(trip)
        if self.naive is None:
            self.naive = trip.server - trip.back
        return over

    def connects(self, at: float) -> None:
        for _ in range(BURST):
            at = self.asks(at)

    def early(self, at: float) -> tuple[float, float]:
        """By how much it switches too early what is to be switched at `at`, and by how much it may."""
        now = self.reads(at)
        offset = self.clock.offset(now)
        assert offset is not None
        return now + offset.ms - at, offset.within


def test_all_devices_switch_within_50_ms_of_each_other_whatever_their_clocks_and_ways():
    worst = naive_worst = 0.0
    switches = 0
    for seed in range(CASES):
        chance = random.Random(seed)
        devices = [Device.drawn(chance) for _ in range(DEVICES)]
        for device in devices:
            device.connects(BEGAN + chance.uniform(0, START_MS / 2))
        asked = [chance.uniform(0, EVERY_MS) for _ in devices]
        at = BEGAN + START_MS
        while at <= BEGAN + CLASS_MS:
            errors = []
            for i, device in enumerate(devices):
                if at - BEGAN > START_MS + asked[i]:
                    device.asks(at - 1_000)
                    asked[i] += EVERY_MS
                early, within = device.early(at)
                assert abs(early) <= within, (seed, i, early, within)
                errors.append(early)
            switches += len(errors)
            worst = max(worst, max(errors) - min(errors))
            at += chance.choice([10_000, 20_000, 30_000])
        apart = [device.reads(BEGAN + START_MS) + (device.naive or 0) for device in devices]
        naive_worst = max(naive_worst, max(apart) - min(apart))
    assert switches > CASES * DEVICES * 5
    assert 10 < worst <= TOGETHER_MS, worst
    assert naive_worst > TOGETHER_MS, "the links are harmless: one trip, taken as it came, would do"


@given(
    trips=st.lists(
        st.tuples(st.floats(0, 200), st.floats(0, 200), st.floats(0, 1_000)), min_size=1, max_size=KEPT
    ),
    off=st.floats(-1e6, 1e6),
    drift=st.floats(-DRIFT, DRIFT),
)
def test_the_error_is_never_more_than_what_is_said_and_that_never_more_than_half_the_shortest_trip(
    trips, off, drift
):
    clock, at, shortest = ServerClock(), 1e6, math.inf

    def reads(moment: float) -> float:
        return off + moment * (1 + drift)

    for there, back, pause in trips:
        sent, read, over = at, at + there, at + there + back
        clock.measured(Trip(reads(sent), math.floor(read), reads(over)))
        shortest = min(shortest, (there + back) / 2 + 0.5 + DRIFT * (at + 250_000 - over))
        at = over + pause
    offset = clock.offset(reads(at))
    assert offset is not None
    aged = 2 * DRIFT * (at - 1e6 + 400) + 0.1
    assert abs(reads(at) + offset.ms - at) <= offset.within + 1e-3
    assert offset.within <= shortest + aged


def test_the_estimate_is_the_middle_of_what_all_trips_allow():
    clock = ServerClock()
    assert clock.offset(0) is None
    clock.measured(Trip(1_000, 5_030, 1_040))  # between 3,990 and 4,031
    assert clock.offset(1_040) == Offset(4_010.5, 20.5)
    clock.measured(Trip(1_040, 5_045, 1_060))  # 3,985 to 4,006: only the upper bound is news
    low, high = 3_990 - DRIFT * 20, 4_006
    assert clock.offset(1_060) == pytest.approx(Offset((low + high) / 2, (high - low) / 2))


def test_a_clock_that_was_set_is_believed_anew():
    clock = ServerClock()
    clock.measured(Trip(1_000, 5_000, 1_010))
    clock.measured(Trip(91_000, 5_020, 91_010))
    offset = clock.offset(91_010)
    assert offset is not None
    assert offset.ms == pytest.approx(5_020 - 91_010 + 5.5)


def test_what_was_measured_counts_for_less_as_it_ages():
    clock = ServerClock()
    clock.measured(Trip(0, 10, 20))
    fresh, old = clock.offset(20), clock.offset(60_020)
    assert fresh is not None
    assert old is not None
    assert old.within == pytest.approx(fresh.within + DRIFT * 60_000)
    clock.forget()
    assert clock.offset(60_020) is None
