"""The payloads of a group's events as types: what the gateway decodes, and what /asyncapi.json shows.

They are shaped as their twins of a user's stream (`fitai.gateways.live.schemas`), each with `group`. An op of
a group has no `workout`: the event names the group."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from fitai.engine.groups.kinds import Share
from fitai.gateways.groups.cheers import Kind as Cheer
from fitai.gateways.live.schemas import Context, Cursor, Result, Uuid
from fitai.sync.wire import Counter, Millis, Position

Code = Annotated[
    str, Meta(max_length=64, description="Ten letters, typed in any way.", examples=["7K3M9-QX2TB"])
]
Number = Annotated[int, Meta(ge=1, le=2**31)]
Dot = tuple[Number, Counter]


class GroupJoin(Struct, kw_only=True):
    """Join a group, or come back to it: by its id who is or was a member, by a code anybody. With a `cursor`
    all that came after it follows. `as`, `share` and `workout` are said of who joins only."""

    group: Uuid | None = None
    code: Code | None = None
    as_: Literal["participant", "spectator"] | None = msgspec.field(name="as", default=None)
    share: Share | None = None
    workout: Uuid | None = None
    cursor: Cursor | None = None

    def value(self) -> dict[str, Any]:
        """The value of the op by which somebody joins."""
        said = {"as": self.as_, "share": self.share, "workout": self.workout}
        return {key: value for key, value in said.items() if value is not None}


class GroupJoinAck(Struct, kw_only=True):
    """As `ready`, of the group: you are `member` there, this device is `device`, and its next op is `next_n`
    (to join took one, if you were no member). `state` is the group at `head`, `view` all that is derived of
    its members now, by number; `group:ops` and `group:tick` go on from them."""

    ok: bool
    group: Uuid
    member: Number
    device: Number
    next_n: Counter
    epoch: str
    head: Position
    resumed: bool
    server_time: Millis
    state: dict[str, Any]
    view: dict[str, GroupMemberView]


class GroupOpModel(Struct, kw_only=True):
    """An op of a group; see `OpModel`."""

    n: Counter
    kind: str
    value: dict[str, Any]
    at: Millis
    base: Position | None = None
    clock: dict[str, int] | None = None
    v: int = 1


class GroupRecordModel(GroupOpModel, kw_only=True):
    """An op at its place in the group's stream. `withheld` says why its value is empty: erased, held, hidden,
    blocked."""

    seq: Counter
    rev: Counter
    device: int
    te: Millis
    verdict: str
    context: Context | None = None
    code: str | None = None
    detail: dict[str, Any] | None = None
    withheld: str | None = None


class GroupPush(Struct, kw_only=True):
    """Ops of this device in a group, with consecutive `n`."""

    group: Uuid
    ops: list[GroupOpModel]
    epoch: str | None = None
    sent_at: Millis | None = None


class GroupPushAck(Struct, kw_only=True):
    """After the commit. `deferred`: a message that moderation looks at first."""

    ok: bool
    results: list[Result]
    head: Position


class GroupOps(Struct, kw_only=True):
    """Records in `seq` order; `from`..`to` covers own acknowledged ones and those that are not told to
    you."""

    group: Uuid
    epoch: str
    from_: Counter = msgspec.field(name="from")
    to: Counter
    records: list[GroupRecordModel]


class GroupPull(Struct, kw_only=True):
    """Ask for the group's records after a position; `limit` is clamped."""

    group: Uuid
    after: Position
    limit: Counter | None = None


class GroupPullAck(Struct, kw_only=True):
    """A page of the group's log, up to `to`: what is missing in it is not told to you."""

    ok: bool
    epoch: str
    head: Position
    to: Position
    records: list[GroupRecordModel]
    more: bool


class GroupLeave(Struct, kw_only=True):
    """Leave the group, with all your devices; `stay`: only close the room on this connection."""

    group: Uuid
    stay: bool = False


class GroupLeaveAck(Struct, kw_only=True):
    """`next_n`: the device's next op, should you join again."""

    ok: bool
    next_n: Counter


class GroupCheer(Struct, kw_only=True):
    """Cheer a member, or without `to` everybody. Nothing of it is stored: it is counted, and told with the
    next tick."""

    group: Uuid
    kind: Cheer
    to: Number | None = None


class GroupMemberView(Struct, kw_only=True):
    """What everybody is told of a member; what is null or missing is not said. `exercise`, sums and `last`
    are of what counts in the group; `amount` is in the state's `unit`, `time_ms` when they reached the goal,
    in elapsed ms. `volume_ug`, `last` and what telemetry brings are told of who shows everything."""

    here: bool | None = None
    left: bool | None = None
    status: str | None = None
    phase: str | None = None
    rest_ends_at: Millis | None = None
    exercise: str | None = None
    sets: int | None = None
    reps: int | None = None
    distance_mm: int | None = None
    duration_ms: int | None = None
    rank: int | None = None
    amount: int | None = None
    time_ms: int | None = None
    volume_ug: int | None = None
    last: dict[str, Any] | None = None
    hr: int | None = None
    cadence: int | None = None


class GroupTick(Struct, kw_only=True):
    """What changed of a group's members since the last tick, by number; null takes a field away. `cheers` are
    those since then, by whom they are for (0: everybody) and kind."""

    group: Uuid
    at: Millis
    members: dict[str, GroupMemberView]
    cheers: dict[str, dict[str, int]] | None = None


class GroupReport(Struct, kw_only=True):
    """Report a message of the group to those who run this server. Nobody in the group learns of it."""

    group: Uuid
    dot: Dot
    reason: Annotated[str, Meta(min_length=1, max_length=500)]


class GroupReportAck(Struct, kw_only=True):
    """It was noted."""

    ok: bool
