"""Fractional positions: a place after the last one, in ASCII text that sorts bytewise.

Clients choose positions as they like; the server only ever adds at the end, so it needs no more than this.
"""

from __future__ import annotations

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # in the order of ASCII
_FIRST = "V"  # the middle, so that there is room on both sides


def after(last: str | None) -> str:
    """A position that sorts after `last` (None: there is none yet).

    The first character that has a successor is raised and the rest dropped, so that positions grow by one
    character per 30 appended, not per one.
    """
    if last is None:
        return _FIRST
    for place, character in enumerate(last):
        higher = next((digit for digit in _DIGITS if digit > character), None)
        if higher is not None:
            return last[:place] + higher
    return last + _FIRST
