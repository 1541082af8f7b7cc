"""Whose the fault is when something fails: what decides how loudly it is told, and to whom.

client   the request was wrong, or not allowed: the answer says so, and nobody else need know
gone     whoever asked has hung up, or the work was called off: nothing is wrong
away     the database, Redis or another service does not answer: an operator's matter, told now and then
bug      everything else: ours
"""

from __future__ import annotations

import asyncio
from typing import Literal

from redis import exceptions as redis

from fitai.http.problems import translate

Blame = Literal["client", "gone", "away", "bug"]

_GONE = (ConnectionResetError, BrokenPipeError, ConnectionAbortedError, asyncio.CancelledError)
_AWAY = (OSError, TimeoutError, redis.ConnectionError, redis.TimeoutError)


def blame(error: BaseException) -> Blame:
    """Whose fault an exception is."""
    if isinstance(error, _GONE):
        return "gone"
    problem = translate(error) if isinstance(error, Exception) else None
    if problem is not None:
        return of_status(problem.kind.status) or "bug"
    return "away" if isinstance(error, _AWAY) else "bug"


def of_status(status: int) -> Blame | None:
    """Whose fault an answer with this status tells of; None when it tells of none."""
    if status < 400:
        return None
    if status == 499:
        return "gone"
    if status < 500:
        return "client"
    return "away" if status in (503, 504) else "bug"
