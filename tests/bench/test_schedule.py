"""Schedules: intended times come from the table and the seed alone."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

from fitai.bench import profiles, schedule


def rng():
    return random.Random("a seed")


def test_an_open_loop_has_its_rate_in_order_and_ends_in_time():
    dues = list(schedule.open_loop(50.0, 100.0, 7, rng()))
    assert abs(len(dues) - 5_000) < 300
    assert all(before.at <= after.at for before, after in pairwise(dues))
    assert dues[-1].at < 100.0
    assert {due.user for due in dues} == set(range(7))


def test_the_same_seed_is_the_same_load():
    first = list(schedule.open_loop(50.0, 10.0, 7, rng()))
    assert first == list(schedule.open_loop(50.0, 10.0, 7, rng()))
    assert first != list(schedule.open_loop(50.0, 10.0, 7, random.Random("another")))


def test_people_do_a_set_every_60_to_150_seconds():
    dues = list(schedule.by_gaps(profiles.set_gap, 3_600.0, 20, rng()))
    by_user: dict[int, list[float]] = {}
    for due in dues:
        by_user.setdefault(due.user, []).append(due.at)
    assert len(by_user) == 20
    gaps = [after - before for ats in by_user.values() for before, after in pairwise(ats)]
    assert 60 <= min(gaps) < 65
    assert 145 < max(gaps) <= 150
    assert all(ats[0] <= 150 for ats in by_user.values())


def test_an_evening_has_its_peak_and_a_burst_at_each_full_hour():
    hours, length = profiles.EVENING, 100.0
    dues = list(schedule.evening(hours, 40.0, length * len(hours), 5, rng()))
    assert all(before.at <= after.at for before, after in pairwise(dues))
    counts = Counter(int(due.at / length) for due in dues)
    for place, hour in enumerate(hours):
        expected = 40.0 * length * hour.load
        assert abs(counts[place] - expected) < 6 * expected**0.5
        early = sum(1 for due in dues if place * length <= due.at < (place + 0.05) * length)
        share = hour.burst + (1 - hour.burst) / 20
        assert abs(early / counts[place] - share) < 0.05


def test_an_hour_in_which_nobody_is_expected_is_empty():
    hours = (profiles.Hour("day", 1.0, 0.0), profiles.Hour("night", 0.0, 0.5))
    dues = list(schedule.evening(hours, 10.0, 20.0, 3, rng()))
    assert dues
    assert max(due.at for due in dues) < 10.0


def test_things_are_drawn_by_their_weights():
    chance = rng()
    drawn = Counter(schedule.weighted((("often", 3.0), ("seldom", 1.0)), chance) for _ in range(4_000))
    assert abs(drawn["often"] - 3_000) < 200
