"""The payloads of the live protocol as types: what the gateway decodes, and what /asyncapi.json shows.

Clients are written against these names and shapes. Fields are added, never changed or removed.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from fitai.sync.wire import Counter, Millis, Position

Uuid = Annotated[str, Meta(description="UUID", examples=["0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001"])]


class Cursor(Struct, kw_only=True):
    """All that a device has: every record of `epoch` up to and including `seq`."""

    epoch: str
    seq: Position


class ConnectAuth(Struct, kw_only=True):
    """The `auth` of the CONNECT packet."""

    token: str
    cursor: Cursor | None = None


class ConnectRefused(Struct, kw_only=True):
    """`data` of connect_error."""

    code: str
    message: str
    retry: bool


class Ready(Struct, kw_only=True):
    """The first event. `resumed: true`: every record after the cursor follows in `ops`; `false`: `ops` begin
    at head + 1, and the client pulls or takes a snapshot."""

    protocol: int
    user: Uuid
    device: int
    next_n: Counter
    epoch: str
    head: Position
    resumed: bool
    server_time: Millis
    limits: dict[str, int]


class OpModel(Struct, kw_only=True):
    """An op: what a device says happened. Exactly one of `base` and `clock`."""

    n: Counter
    kind: str
    workout: Uuid
    value: dict[str, Any]
    at: Millis
    base: Position | None = None
    clock: dict[str, int] | None = None
    entity: Uuid | None = None
    v: int = 1


class Context(Struct, kw_only=True):
    """What an op had seen: the stream up to `base`, and besides `{device: n}`, that device's ops 1..n."""

    base: Position
    beyond: dict[str, Counter] | None = None


class RecordModel(OpModel, kw_only=True):
    """A record: an op at its place in the stream (`seq`) and in its workout (`rev`), with its effective time
    `te`. `context` is there only where it is not simply the op's own `base`."""

    seq: Counter
    rev: Counter
    device: int
    te: Millis
    verdict: str
    context: Context | None = None
    code: str | None = None
    detail: dict[str, Any] | None = None


class Push(Struct, kw_only=True):
    """Ops of this device with consecutive `n`; `sent_at` lets the server measure the clock's offset."""

    ops: list[OpModel]
    epoch: str | None = None
    sent_at: Millis | None = None


class FirstAnswer(Struct, kw_only=True):
    """What became of an op when it came first."""

    rev: Counter
    te: Millis
    verdict: str
    context: Context | None = None
    code: str | None = None
    detail: dict[str, Any] | None = None


class Result(Struct, kw_only=True):
    """What became of one op: applied, merged, deferred, void, or duplicate with the `first` answer. With the
    op and the device it is the op's record."""

    n: Counter
    seq: Counter
    rev: Counter
    te: Millis
    verdict: str
    context: Context | None = None
    code: str | None = None
    detail: dict[str, Any] | None = None
    first: FirstAnswer | None = None


class PushAck(Struct, kw_only=True):
    """After the commit."""

    ok: bool
    results: list[Result]
    head: Position


class Refused(Struct, kw_only=True):
    """A request that was refused whole; nothing of it was stored. More fields by code."""

    ok: bool
    code: str
    message: str


class Ops(Struct, kw_only=True):
    """Records in `seq` order; `from`..`to` covers own acknowledged ones, which are left out."""

    epoch: str
    from_: Counter = msgspec.field(name="from")
    to: Counter
    records: list[RecordModel]


class Pull(Struct, kw_only=True):
    """Ask for records after a position; `limit` is clamped."""

    after: Position
    limit: Counter | None = None


class PullAck(Struct, kw_only=True):
    """A page of the log."""

    ok: bool
    epoch: str
    head: Position
    records: list[RecordModel]
    more: bool


class WorkoutGet(Struct, kw_only=True):
    """Ask for one workout's folded state."""

    workout: Uuid


class WorkoutGetAck(Struct, kw_only=True):
    """The state of the stream at `seq`."""

    ok: bool
    seq: Position
    state: dict[str, Any]


class Insight(Struct, kw_only=True):
    """Derived, at least once; a later one with the same `id` replaces, `withdrawn: true` takes back."""

    id: Uuid
    workout: Uuid
    kind: str
    withdrawn: bool | None = None


class Telemetry(Struct, kw_only=True):
    """Newest wins, never stored. Any further numbers are passed on; `device` is added by the server."""

    workout: Uuid
    hr: Annotated[float, Meta(ge=0, le=400)] | None = None
    cadence: Annotated[float, Meta(ge=0, le=1000)] | None = None


class Present(Struct, kw_only=True):
    """A device that is here."""

    device: int
    name: str
    since: Millis


class PresenceList(Struct, kw_only=True):
    """The user's devices that are here, on any node."""

    devices: list[Present]


class Clock(Struct, kw_only=True):
    """The client's clock, echoed with ours."""

    t0: int | float


class ClockAck(Struct, kw_only=True):
    """`t1` is the server's clock, Unix ms."""

    t0: int | float
    t1: Millis


class Auth(Struct, kw_only=True):
    """A new access token of the same user and device."""

    token: str


class AuthAck(Struct, kw_only=True):
    """Renewed until `expires_at`."""

    ok: bool
    expires_at: Millis


class AuthExpiring(Struct, kw_only=True):
    """The access token ends at `at`; send `auth` before."""

    at: Millis


class Bye(Struct, kw_only=True):
    """Sent before every close by the server."""

    code: str
    reconnect: bool
    after_ms: int
