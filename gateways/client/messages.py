"""What happens to a client (events, facts) and what it wants done (commands, wishes).

`core.py` turns the one into the other; `client.py` performs the commands and brings the answers back as
events. An answer is the payload as it came, with `ok`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


# -- events --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody wants to be in touch with the server."""


@dataclass(frozen=True, slots=True)
class Left:
    """Somebody wants to be left alone, or the app ends."""


@dataclass(frozen=True, slots=True)
class Signed:
    """The device signed in; `device` is the number under which the server knows it."""

    user: str
    device: int


@dataclass(frozen=True, slots=True)
class Connected:
    """The server is there (`ready`, or what REST says of the log).

    live     records come by themselves as `ops`; otherwise they must be pulled
    next_n   the counter that the server expects next of this device, where it says so
    resumed  every record after our cursor follows in `ops`
    """

    epoch: str
    head: int
    live: bool = True
    resumed: bool = False
    next_n: int | None = None
    server_time: int | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """The server did not let us in, or asks for a new token; `retry`: the same attempt may succeed later."""

    code: str
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Expiring:
    """The access token of the open connection will end soon."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone, or could not be made."""


@dataclass(frozen=True, slots=True)
class SaidBye:
    """The server closes, and says why."""

    code: str
    reconnect: bool
    after_ms: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """`ops`: records in seq order; `first`..`to` covers own acknowledged ones that are left out."""

    epoch: str
    first: int
    to: int
    records: Sequence[Json]


@dataclass(frozen=True, slots=True)
class Pushed:
    """The answer to a push."""

    answer: Json


@dataclass(frozen=True, slots=True)
class Pulled:
    """The answer to a pull."""

    answer: Json


@dataclass(frozen=True, slots=True)
class Paged:
    """The answer to a request for a page of the snapshot."""

    answer: Json


@dataclass(frozen=True, slots=True)
class Forked:
    """The server enrolled this copy as a device of its own, which parts from the old one at `fork_at`; or it
    did not, and `code` says why (`unavailable` when it could not be reached)."""

    device: int | None
    fork_at: int
    code: str = "unavailable"


@dataclass(frozen=True, slots=True)
class Renewed:
    """There is a new access token (`ok`), none for now, or (`over`) none without signing in again."""

    ok: bool
    over: bool = False


@dataclass(frozen=True, slots=True)
class Woke:
    """The time that a Wake asked for has passed."""


Event = (
    Asked
    | Left
    | Signed
    | Connected
    | Refused
    | Expiring
    | Lost
    | SaidBye
    | Told
    | Pushed
    | Pulled
    | Paged
    | Forked
    | Renewed
    | Woke
)


# -- commands ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Row:
    """A record as it is kept: the wire's form, and from it what is asked for.

    base, beyond  what its author had seen: the context that the server told, or else its own base
    """

    seq: int
    device: int
    n: int
    workout: str
    base: int
    beyond: dict[int, int] | None
    te: int
    rev: int
    body: Json


@dataclass(slots=True)
class Void:
    """An own op that was understood and refused (`seq` in the log), or could not even be read (no seq)."""

    device: int
    n: int
    seq: int | None
    code: str
    detail: Json | None
    op: Json


@dataclass(slots=True)
class Save:
    """One transaction. Everything in it is there afterwards, or nothing.

    cut         forget the records after this seq; done before anything else
    rows        records that are new
    done        counters of ops that leave the outbox
    added       ops that join it
    rewritten   the whole outbox anew, instead of `done` and `added`
    states      workout states of a snapshot; `drop_states`: they are of no more use
    """

    meta: Json = field(default_factory=dict)
    cut: int | None = None
    rows: list[Row] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    added: list[Json] = field(default_factory=list)
    rewritten: list[Json] | None = None
    void: list[Void] = field(default_factory=list)
    states: list[Json] = field(default_factory=list)
    drop_states: bool = False

    def __bool__(self) -> bool:
        return self != Save()


@dataclass(frozen=True, slots=True)
class Connect:
    """Get in touch; `cursor` is {epoch, seq}, None at first."""

    cursor: Json | None


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Hang up."""


@dataclass(frozen=True, slots=True)
class Push:
    """Send ops."""

    ops: Sequence[Json]
    epoch: str


@dataclass(frozen=True, slots=True)
class Pull:
    """Ask for the records after a seq."""

    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class TakePage:
    """Ask for a page of the snapshot: pinned `at` a seq (None: the head), from where the last one ended."""

    at: int | None
    after: Any


@dataclass(frozen=True, slots=True)
class Fork:
    """Ask to be a device of its own from counter `fork_at` on."""

    fork_at: int


@dataclass(frozen=True, slots=True)
class Renew:
    """Get a new access token; `in_place`: then tell it on the open connection."""

    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Wake:
    """Send Woke after so many ms. A later Wake takes the place of an earlier one."""

    after_ms: int


Command = Save | Connect | Disconnect | Push | Pull | TakePage | Fork | Renew | Wake
