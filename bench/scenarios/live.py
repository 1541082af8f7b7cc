"""Pairs: the everyday load."""

from __future__ import annotations

from typing import ClassVar

from fitai.bench.crew import Member
from fitai.bench.pace import Done
from fitai.bench.scenarios.base import Scenario


class Live(Scenario):
    """Users with two devices log sets on the first; the second is told of each.

    `set` is the time to the acknowledgement, after the commit; `delivery` the time until another device of
    the user has the set. Without a rate or a window people do a set every 60 to 150 s.
    """

    name: ClassVar[str] = "live"
    question: ClassVar[str] = (
        "Users with 2 devices log sets: how long to the ack, how long to the other device?"
    )

    def work(self, member: Member, intended: float, done: Done) -> None:
        self.log_set(member, "set", intended, done)
