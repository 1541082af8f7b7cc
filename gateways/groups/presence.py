"""Who of a group is connected, on any node: in no log, and without I/O.

A member comes with their first seat and goes, after a grace, when their last one is empty: a phone that
changes from one network to the next was never away.

Each node tells the others who came and went here, in numbered **words**:

    {run, n, here: [[member, since]], gone: [[member, at]], whole?}

`run` is another, larger number each time that a room is opened on a node; `n` counts its words. Who misses
one, or hears of a run for the first time, asks, and is told the `whole`. A word comes at least every so
often, so that a lost last one is missed too, and a node that says nothing any more is believed no longer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

WORD_MS: Final = 5_000
"""How often a node has a word with the others at least,"""

SILENT_MS: Final = 3 * WORD_MS
"""and after how long without one it is taken for gone."""

Word = dict[str, Any]


class _Node(NamedTuple):
    """What another node said: its run, its last word, when we heard it, and since when each is there."""

    run: int
    n: int
    heard_at: int
    here: dict[int, int]


class Presence:
    """The members of one group as one node knows them. `now`: Unix ms, handed in."""

    def __init__(self, run: int, grace_ms: int, now: int) -> None:
        self.changed: set[int] = set()
        """Members who came or went since somebody emptied it."""
        self._run = run
        self._grace_ms = grace_ms
        self._began = now
        self._n = 0
        self._told_at = now
        self._seats: Counter[int] = Counter()
        self._here: dict[int, int] = {}
        self._leaving: dict[int, int] = {}  # the earliest first, since all have the same grace
        self._gone: dict[int, int] = {}
        self._elsewhere: dict[str, _Node] = {}
        self._news: dict[int, int | None] = {}  # who came (since) or went (None), and is not told yet

    # -- seats -------------------------------------------------------------------------------------

    def joined(self, member: int, now: int) -> None:
        """A seat was taken."""
        self._seats[member] += 1
        self._leaving.pop(member, None)
        if member not in self._here:
            self._here[member] = now
            self._news[member] = now
            self.changed.add(member)

    def left(self, member: int, now: int) -> None:
        """A seat is empty."""
        self._seats[member] -= 1
        if self._seats[member] <= 0:
            del self._seats[member]
            if member in self._here:
                self._leaving[member] = now

    def pass_time(self, now: int) -> None:
        """Let those go whose grace is over, and the nodes that have fallen silent."""
        for member, at in list(self._leaving.items()):
            if 0 <= now - at < self._grace_ms:
                break
            del self._leaving[member], self._here[member]
            self._news[member] = None
            self._went(member, at)
        for name, node in list(self._elsewhere.items()):
            if now - node.heard_at > SILENT_MS:
                self.lost(name, now)

    def due_at(self) -> int | None:
        """When `pass_time` has something to do, as far as seats go."""
        return next((at + self._grace_ms for at in self._leaving.values()), None)

    # -- questions ---------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Somebody is here, or was a moment ago."""
        return bool(self._here)

    def is_here(self, member: int) -> bool:
        """Whether a member is connected, to any node."""
        return member in self._here or any(member in node.here for node in self._elsewhere.values())

    def present(self) -> dict[int, int]:
        """Since when each member is connected, on any node."""
        found = dict(self._here)
        for node in self._elsewhere.values():
            for member, since in node.here.items():
                found[member] = min(since, found.get(member, since))
        return found

    def gone_since(self, member: int) -> int | None:
        """Since when a member is not connected, None while they are. One who was never seen here is missed
        since this room was opened."""
        return None if self.is_here(member) else self._gone.get(member, self._began)

    # -- other nodes -------------------------------------------------------------------------------

    def word_at(self) -> int:
        """When the next word is due, if there is nothing to tell before."""
        return self._told_at + WORD_MS

    @property
    def news(self) -> bool:
        """Somebody came or went whom the other nodes do not know of yet."""
        return bool(self._news)

    def word(self, now: int) -> Word:
        """The next word to the other nodes, with what is new in it."""
        here = [[member, since] for member, since in self._news.items() if since is not None]
        gone = [[member, self._gone.get(member, now)] for member, at in self._news.items() if at is None]
        self._news.clear()
        self._n += 1
        self._told_at = now
        return {"run": self._run, "n": self._n, "here": here, "gone": gone}

    def whole(self, now: int) -> Word:
        """The next word, with all who are here in it."""
        return {**self.word(now), "here": [[*item] for item in self._here.items()], "whole": True}

    def farewell(self, now: int) -> Word:
        """The last word of this run: nobody is here any more."""
        self._here.clear()
        self._leaving.clear()
        return self.whole(now)

    def heard(self, node: str, word: Mapping[str, Any], now: int) -> bool:
        """Another node has said something. False when something is missing before it: it is to be asked."""
        run, n = word["run"], word["n"]
        known = self._elsewhere.get(node)
        if known is not None and (run, n) <= (known.run, known.n):
            return True
        if not word.get("whole") and (known is None or (run, n) != (known.run, known.n + 1)):
            return False
        before = known.here if known is not None else {}
        if word.get("whole"):
            here = dict(word["here"])
        else:
            went = dict(word["gone"])
            here = {no: since for no, since in before.items() if no not in went} | dict(word["here"])
        self._elsewhere[node] = _Node(run, n, now, here)
        at = dict(word["gone"])
        for member in before.keys() - here.keys():
            self._went(member, at.get(member, now))
        self.changed |= here.keys() - before.keys()
        return True

    def was_away(self, now: int) -> None:
        """This node was paused or cut off: nobody's silence means anything."""
        self._elsewhere = {name: node._replace(heard_at=now) for name, node in self._elsewhere.items()}

    def lost(self, node: str, now: int) -> None:
        """Another node is no more."""
        gone = self._elsewhere.pop(node, None)
        for member in () if gone is None else gone.here:
            self._went(member, now)

    def _went(self, member: int, at: int) -> None:
        self._gone[member] = at
        self.changed.add(member)
