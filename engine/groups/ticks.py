"""Ticks: what changed between two views of a group, and nothing else.

A **view** is {member: {field: value}}, whole: no value is null, no member without a field is in it. A
**change** is the same shape, in which null takes a field away. So

    apply(before, changes(before, after)) == after
    apply(apply(view, a), b) == apply(view, combine(a, b))

and a connection that reads slowly is told one combined change in place of two. Views and changes are values:
nothing here alters its arguments. Cheers are counts since the last tick, and add up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Fields = Mapping[str, Any]
View = Mapping[int, Fields]
Cheers = Mapping[int, Mapping[str, int]]

_NOTHING: Final[Fields] = {}


def changes(before: View, after: View) -> dict[int, Fields]:
    """What one who has `before` must hear to have `after`: the least, empty when they are equal."""
    changed: dict[int, Fields] = {}
    for no in before.keys() | after.keys():
        known, now = before.get(no, _NOTHING), after.get(no, _NOTHING)
        if known is now:
            continue
        news = {field: value for field, value in now.items() if known.get(field) != value}
        news |= {field: None for field in known if field not in now}
        if news:
            changed[no] = news
    return changed


def apply(view: View, change: View) -> dict[int, Fields]:
    """The view after a change, as every client works it out."""
    after = dict(view)
    for no, news in change.items():
        merged = {**after.get(no, _NOTHING), **news}
        after[no] = {field: value for field, value in merged.items() if value is not None}
        if not after[no]:
            del after[no]
    return after


def combine(first: View, second: View) -> dict[int, Fields]:
    """One change in place of two."""
    combined = dict(first)
    for no, news in second.items():
        combined[no] = {**combined.get(no, _NOTHING), **news}
    return combined


def cheered(first: Cheers, second: Cheers) -> dict[int, dict[str, int]]:
    """The cheers of both."""
    summed = {no: dict(kinds) for no, kinds in first.items()}
    for no, kinds in second.items():
        counts = summed.setdefault(no, {})
        for kind, count in kinds.items():
            counts[kind] = counts.get(kind, 0) + count
    return summed
