"""What people do, as plain tables: change a number here and the load is another.

The figures are those of a commercial gym: a set every 60 to 150 s a person (work and rest), 20 to 25 sets of
five exercises in a session, most people between five and eight in the evening, many of them at the full hour,
when classes and friends meet.
"""

from __future__ import annotations

import random
from typing import NamedTuple

SET_GAP_S = (60.0, 150.0)
SETS_PER_SESSION = 24
EXERCISES = ("bench-press", "squat", "deadlift", "row", "overhead-press", "dip", "curl", "pull-up")
EXERCISES_PER_SESSION = 5
LOADS_KG = (20, 40, 60, 62.5, 70, 82.5, 100, 120)
EFFORTS = (7, 7.5, 8, 8.5, 9)
REPS = (3, 12)

PLATFORMS = ("ios", "watchos", "android", "web")

OFFLINE_OPS = (30, 60)
"""Ops that a device wrote while it was away: a session or two."""


class Hour(NamedTuple):
    """An hour of the day: its load beside the others, and the part of it that comes at the full hour."""

    name: str
    load: float
    burst: float


EVENING = (
    Hour("16:00", 0.35, 0.20),
    Hour("17:00", 0.75, 0.30),
    Hour("18:00", 1.00, 0.35),
    Hour("19:00", 0.90, 0.30),
    Hour("20:00", 0.60, 0.20),
    Hour("21:00", 0.25, 0.10),
)

# What a person's devices do in the course of an evening, for each hundred things.
EVENING_MIX = (("set", 70.0), ("heart", 15.0), ("look", 8.0), ("list", 4.0), ("away", 3.0))

# Requests of a person who looks at their log and corrects it, for each hundred.
REST_MIX = (("list", 30.0), ("workout", 30.0), ("pull", 10.0), ("devices", 5.0), ("set", 25.0))


RACE_GAP_S = (10.0, 30.0)
"""From one set to the next of somebody who races: short sets, short rests."""

CHEER_GAP_S = (20.0, 60.0)
CHEERS = ("clap", "fire", "go")
CHEERS_FOR_ONE = 0.5  # of all cheers; the others are for everybody


def set_gap(rng: random.Random) -> float:
    """Seconds from one set of a person to the next."""
    return rng.uniform(*SET_GAP_S)


def race_gap(rng: random.Random) -> float:
    """Seconds from one set of a person who races to the next."""
    return rng.uniform(*RACE_GAP_S)


def cheer_gap(rng: random.Random) -> float:
    """Seconds from one cheer of a person to the next."""
    return rng.uniform(*CHEER_GAP_S)
