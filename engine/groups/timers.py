"""What is due in a group: when it changes by itself, and what the server's own device then appends.

Nothing here waits. Two things are not in the log and are handed in: the present moment, and who is connected
since when. Every server op names what it was decided on (`was`), so that two nodes that see the same thing at
once append it once: the other's is void.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from fitai.engine.groups.clock import GRACE_MS
from fitai.engine.groups.group import Group
from fitai.engine.groups.machine import CANCELLED, COUNTDOWN, ENDED, FINISHED, LIVE, LOBBY
from fitai.engine.groups.roles import COACH, PARTICIPANT
from fitai.engine.timers import ServerOp

HOST_GRACE_MS: Final = 30_000
LOBBY_IDLE_MS: Final = 86_400_000  # a day
LIVE_IDLE_MS: Final = 21_600_000  # 6 h


class Due(NamedTuple):
    """When something happens in a group next, Unix ms; None where nothing does.

    moves_at    the clock moves the machine: no op, but whoever shows or stores it must look again
    results_at  the grace after the end is over: results are written (late syncs correct them ever after)
    idle_at     the server ends what nobody came back to
    """

    moves_at: int | None = None
    results_at: int | None = None
    idle_at: int | None = None

    @property
    def due_at(self) -> int | None:
        """The earliest of all, or None: what any node scans for."""
        return min((at for at in self if at is not None), default=None)


def due(g: Group, at: int) -> Due:
    """What is due in `g`, as it is at the moment `at`."""
    status = g.status_at(at)
    if not g.created or status == CANCELLED:
        return Due()
    if status == FINISHED:
        ended_at = ended(g, at)
        return Due(results_at=None if ended_at is None else ended_at + GRACE_MS)
    if status == COUNTDOWN:
        return Due(moves_at=g.live_at)
    if status == LOBBY:
        return Due(idle_at=g.te + LOBBY_IDLE_MS)
    ends_at = g.clock.ends_at if status == LIVE else None
    return Due(moves_at=ends_at, idle_at=g.te + LIVE_IDLE_MS if ends_at is None else None)


def ended(g: Group, at: int) -> int | None:
    """When the group was over, as it is at the moment `at`; None while it is not."""
    if g.ended_at is not None or g.status_at(at) not in ENDED:
        return g.ended_at
    return g.clock.ends_at


def due_op(g: Group, now: int) -> ServerOp | None:
    """The end of a group that nobody came back to, if it is due at `now`."""
    idle_at = due(g, now).idle_at
    if idle_at is None or now < idle_at:
        return None
    kind = "group.cancel" if g.status_at(now) == LOBBY else "group.finish"
    return ServerOp(kind, {"reason": "idle"}, now)


def succession(
    g: Group, present: Mapping[int, int], gone_since: int | None, now: int, grace_ms: int = HOST_GRACE_MS
) -> ServerOp | None:
    """The server's op by which somebody else hosts, if it is due at `now` and anybody can.

    `present` has since when each member is connected, on any node; `gone_since`, since when the host is not.
    A host who left, or whose account is gone, is succeeded at once. Coaches come before participants, and of
    each the one who has been connected longest.
    """
    if not g.created or g.status_at(now) in ENDED or g.host in present:
        return None
    if g.host is not None and (gone_since is None or now < gone_since + grace_ms):
        return None
    ranks = {COACH: 0, PARTICIPANT: 1}
    able = [m for m in g.here() if m.no in present and m.role in ranks]
    if not able:
        return None
    heir = min(able, key=lambda m: (ranks[m.role], present[m.no], m.no))
    reason = "left" if g.host is None else "lost"
    return ServerOp("group.host", {"member": heir.no, "was": g.host, "reason": reason}, now)
