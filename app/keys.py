"""`fitai keys`: the keys that sign access tokens, listed and rotated by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from fitai.http.auth.keeper import KeyKeeper
from fitai.http.auth.keys import Key, Ring


def described(ring: Ring, now: int) -> list[str]:
    """The ring as lines, in the order in which the keys sign; `now` in Unix ms."""
    return [
        f"{key.kid:43}  {key.algorithm:5}  {state(key, ring, now):21}  "
        f"signs {_moment(key.row.signs_from)} to {_moment(key.row.signs_until)}, "
        f"honoured to {_moment(key.row.honoured_until)}"
        for key in ring.keys
    ]


def state(key: Key, ring: Ring, now: int) -> str:
    """What a key is good for at a moment, in a word or a few."""
    if key.public is None:
        return "of another secret key"
    if not key.honoured(now):
        return "retired"
    if ring.signs(now) and ring.signer(now) is key:
        return "signs"
    return "published" if key.row.signs_from > now else "honoured"


async def rotate(keeper: KeyKeeper, now_ms: Callable[[], int], *, at_once: bool) -> str:
    """Make the next key; returns a sentence on what that means. Raises Unavailable."""
    key = await keeper.rotate(at_once=at_once)
    if at_once:
        return f"{key.kid} signs from now on; every device refreshes its access token within seconds."
    minutes = max(0, key.row.signs_from - now_ms()) / 60_000
    return f"{key.kid} is published, and signs in {minutes:.0f} minutes."


def _moment(at: int | None) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ") if at else "(open)"
