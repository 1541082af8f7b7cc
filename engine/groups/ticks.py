"""Ticks: what changed between two views of a group, and nothing else.

A **view** is {member: {field: value}}, whole; values are never null. A **change** is the same shape: null
takes a field away, and in place of a member, the member. So

    apply(before, changes(before, after)) == after
    apply(apply(view, a), b) == apply(view, combine(a, b))

and a connection that reads slowly is told one combined change in place of two. Views and changes are values:
nothing here alters its arguments. Cheers are counts since the last tick, and add up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Fields = Mapping[str, Any]
View = Mapping[int, Fields]
Change = Mapping[int, Fields | None]
Cheers = Mapping[int, Mapping[str, int]]


def changes(before: View, after: View) -> dict[int, Fields | None]:
    """What one who has `before` must hear to have `after`: the least, empty when they are equal."""
    changed: dict[int, Fields | None] = {no: None for no in before if no not in after}
    for no, fields in after.items():
        known = before.get(no)
        if known is fields:
            continue
        if known is None:
            changed[no] = fields
            continue
        news = {field: value for field, value in fields.items() if known.get(field) != value}
        news |= {field: None for field in known if field not in fields}
        if news:
            changed[no] = news
    return changed


def apply(view: View, change: Change) -> dict[int, Fields]:
    """The view after a change, as every client works it out."""
    after = dict(view)
    for no, news in change.items():
        if news is None:
            after.pop(no, None)
        else:
            merged = {**after.get(no, {}), **news}
            after[no] = {field: value for field, value in merged.items() if value is not None}
    return after


def combine(first: Change, second: Change) -> dict[int, Fields | None]:
    """One change in place of two."""
    combined: dict[int, Fields | None] = dict(first)
    for no, news in second.items():
        earlier = combined.get(no)
        combined[no] = news if news is None or earlier is None else {**earlier, **news}
    return combined


def cheered(first: Cheers, second: Cheers) -> dict[int, dict[str, int]]:
    """The cheers of both."""
    summed = {no: dict(kinds) for no, kinds in first.items()}
    for no, kinds in second.items():
        counts = summed.setdefault(no, {})
        for kind, count in kinds.items():
            counts[kind] = counts.get(kind, 0) + count
    return summed
