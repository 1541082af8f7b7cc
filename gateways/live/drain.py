"""How a node that ends says goodbye to its connections: not to all at once, and to none in mid-sentence.

All clients will come back to other nodes, where each costs a token to check and a tail to read. So they are
told in random order, spread over a time that grows with their number, and each is asked to wait a little
besides. A connection whose turn has come takes no more events, gets the answers to those it had sent, and
then its `bye`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

from fitai.gateways.live.connection import Connection

PACE_S = 0.002  # a connection: what the others need to take it over, generously
BATCH_S = 0.02  # those whose turns come within this are told at once
SHARE = 0.4  # of the time there is: for the turns, and again for answers that take long


async def say_goodbye(
    connections: Iterable[Connection], within_s: float, return_ms: int, rng: random.Random | None = None
) -> None:
    """Say `bye draining` to all, with `after_ms` up to `return_ms`; takes at most 2 x SHARE of `within_s`."""
    rng = rng or random.Random()
    here = list(connections)
    rng.shuffle(here)
    paced_s = len(here) * PACE_S
    return_ms = min(return_ms, int(paced_s * 1000))
    clock = asyncio.get_running_loop().time
    begun = clock()
    pause = min(paced_s, within_s * SHARE) / max(1, len(here))
    waiting = [(begun + index * pause, connection) for index, connection in enumerate(here)]
    waiting.reverse()
    leaving: list[tuple[float, Connection]] = []
    while waiting or leaving:
        now = clock()
        while waiting and waiting[-1][0] <= now:
            _, connection = waiting.pop()
            connection.leave()
            leaving.append((now + within_s * SHARE, connection))
        unanswered = []
        for until, connection in leaving:
            if connection.answered or until <= now:
                connection.bye("draining", after_ms=rng.randint(0, return_ms))
            else:
                unanswered.append((until, connection))
        leaving = unanswered
        if waiting or leaving:
            await asyncio.sleep(BATCH_S)
