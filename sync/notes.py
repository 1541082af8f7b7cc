"""Notes: text that two devices may have gone on with apart.

A note is a register of *versions*. A version that had seen another replaces it; those that had not seen each
other are merged line by line, when there is a text that all of them started from: a `parent` that each of
them names or had seen. What only one of them changed is taken from it; where two changed the same lines in
different ways nothing is guessed, and all versions are kept, the one of the greatest (te, device, n) shown.

    parent      on the phone       on the watch        shown
    warm up     warm up            warm up slowly      warm up slowly
    5 x 5       5 x 5              5 x 5               5 x 5
                knee is fine                           knee is fine

Whoever writes with the merged text in view has seen all versions, so the next version replaces them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from fitai.engine.ops import Dot, Stamp, saw
from fitai.sync.registers import KEPT

MOST_LINES: Final = 400
"""Lines of a version beyond which it is not merged: comparing costs their product."""


class Version(NamedTuple):
    """One text; `parent` names the version that its author began with."""

    stamp: Stamp
    text: str | None
    parent: Dot | None


class Shown(NamedTuple):
    """What a note comes to: its text, the versions that were merged in it, and those that stand beside it."""

    text: str | None
    merged: Sequence[Version] = ()
    others: Sequence[Version] = ()


class Note:
    """The versions of one note."""

    __slots__ = ("_past", "_standing")

    def __init__(self) -> None:
        self._standing: list[Version] = []
        self._past: list[Version] = []

    def write(self, version: Version) -> None:
        """Take a version."""
        seen = [one for one in self._standing if saw(version.stamp, one.stamp)]
        self._standing = [one for one in self._standing if not saw(version.stamp, one.stamp)]
        self._standing.append(version)
        self._past += seen
        del self._past[:-KEPT]

    def find(self, dot: Dot) -> Version | None:
        """The version of the op `dot`, standing or lately replaced."""
        return next((one for one in (*self._standing, *self._past) if one.stamp.dot == dot), None)

    def shown(self) -> Shown:
        """What to show."""
        if len(self._standing) == 1:
            return Shown(self._standing[0].text)
        ranked = sorted(self._distinct(), key=lambda one: one.stamp.rank, reverse=True)
        if len(ranked) == 1:
            return Shown(ranked[0].text)
        merged = self._merged(ranked)
        if merged is not None:
            return Shown(merged, merged=ranked)
        return Shown(ranked[0].text, others=ranked[1:])

    def standing(self) -> Sequence[Version]:
        """Every version that no other had seen, in log order."""
        return self._standing

    def _distinct(self) -> Iterator[Version]:
        """The standing versions, of equal texts the one of the greatest rank."""
        texts: set[str | None] = set()
        for one in sorted(self._standing, key=lambda one: one.stamp.rank, reverse=True):
            if one.text not in texts:
                texts.add(one.text)
                yield one

    def _merged(self, versions: Sequence[Version]) -> str | None:
        """All versions in one text, or None where that would be guessing."""
        origin = self._origin()
        texts = [one.text for one in versions if one.text is not None]
        if origin is None or origin.text is None or len(texts) < len(versions):
            return None
        begun = origin.text.split("\n")
        result = begun
        for text in sorted(texts):
            merged = merge_lines(begun, result, text.split("\n"))
            if merged is None:
                return None
            result = merged
        return "\n".join(result)

    def _origin(self) -> Version | None:
        """The newest parent that is named and that all standing versions had seen: no other such one had seen
        it. Of several the greatest dot's: neither clocks nor the order of arrival have a say in a text."""
        named = {one.parent for one in self._standing if one.parent is not None}
        known = [found for dot in named if (found := self.find(dot)) is not None]
        common = [one for one in known if all(saw(each.stamp, one.stamp) for each in self._standing)]
        newest = [one for one in common if not any(saw(other.stamp, one.stamp) for other in common)]
        return max(newest, key=lambda one: one.stamp.dot, default=None)


def merge_lines(begun: list[str], ours: list[str], theirs: list[str]) -> list[str] | None:
    """Three-way merge by lines; None where both changed the same place in different ways.

    Lines that both kept (two longest common subsequences with `begun`) cut all three into pieces; a piece
    that one side left as it was is taken from the other. Source: S. Khanna, K. Kunal, B. C. Pierce, "A
    Formal Investigation of Diff3", FSTTCS 2007.
    """
    if max(len(begun), len(ours), len(theirs)) > MOST_LINES:
        return None
    in_ours, in_theirs = common_lines(begun, ours), common_lines(begun, theirs)
    merged: list[str] = []
    b = o = t = 0
    kept = [(i, in_ours[i], in_theirs[i]) for i in range(len(begun)) if i in in_ours and i in in_theirs]
    for i, i_ours, i_theirs in [*kept, (len(begun), len(ours), len(theirs))]:
        piece = _merge_piece(begun[b:i], ours[o:i_ours], theirs[t:i_theirs])
        if piece is None:
            return None
        merged += piece
        if i < len(begun):
            merged.append(begun[i])
        b, o, t = i + 1, i_ours + 1, i_theirs + 1
    return merged


def _merge_piece(begun: list[str], ours: list[str], theirs: list[str]) -> list[str] | None:
    if ours in (begun, theirs):
        return theirs
    return ours if theirs == begun else None


def common_lines(a: Sequence[str], b: Sequence[str]) -> dict[int, int]:
    """A longest common subsequence of lines, as {index in a: index in b}."""
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    rows = [[0] * (len(b) - start + 1) for _ in range(len(a) - start + 1)]
    for i in range(len(a) - 1, start - 1, -1):
        row, below = rows[i - start], rows[i - start + 1]
        for j in range(len(b) - 1, start - 1, -1):
            k = j - start
            row[k] = below[k + 1] + 1 if a[i] == b[j] else max(below[k], row[k + 1])
    pairs = {i: i for i in range(start)}
    i = j = start
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            pairs[i] = j
            i, j = i + 1, j + 1
        elif rows[i - start + 1][j - start] >= rows[i - start][j - start + 1]:
            i += 1
        else:
            j += 1
    return pairs
