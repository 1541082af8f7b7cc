"""What the sync routes accept and answer: the shapes of the live events, for the documents.

What is pushed is decoded by the op log's own rules (`fitai.sync.wire`), the same for a socket and for REST:
the models of a push describe it and validate nothing.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fitai.http.frame import Query
from fitai.http.workouts.schemas import Workout

_UUID = "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001"


class Open(BaseModel):
    """Newer clients and servers may add fields; they are kept and passed on."""

    model_config = ConfigDict(strict=True, extra="allow")


class OpModel(Open):
    """An op: what a device says happened. Exactly one of `base` and `clock`."""

    n: int = Field(ge=1, description="This device's counter: 1, 2, … without gaps.")
    kind: str = Field(examples=["set.log"])
    workout: str = Field(examples=[_UUID])
    value: dict[str, Any] = Field(default_factory=dict)
    at: int = Field(description="The device's wall clock, Unix ms.")
    base: int | None = Field(None, ge=0, description="The end of the contiguous run that was applied.")
    clock: dict[str, int] | None = Field(None, description="Instead of `base`: {device: n}.")
    entity: str | None = None
    v: int = 1


class Context(Open):
    """What an op had seen: the stream up to `base`, and besides `{device: n}`, that device's ops 1..n."""

    base: int
    beyond: dict[str, int] | None = None


class RecordModel(OpModel):
    """A record: an op at its place in the stream (`seq`) and in its workout (`rev`)."""

    seq: int
    rev: int
    device: int
    te: int = Field(description="Effective time, Unix ms.")
    verdict: str = Field(examples=["applied", "merged", "deferred", "void"])
    context: Context | None = Field(None, description="Where it is not simply the op's own `base`.")
    code: str | None = None
    detail: dict[str, Any] | None = None


class PushBody(Open):
    """Ops of the calling device with consecutive `n`; `sent_at` lets the server measure its clock."""

    ops: list[OpModel] = Field(min_length=1)
    epoch: str | None = None
    sent_at: int | None = None


class FirstAnswer(Open):
    """What became of an op when it came first."""

    rev: int
    te: int
    verdict: str
    context: Context | None = None
    code: str | None = None
    detail: dict[str, Any] | None = None


class Result(Open):
    """What became of one op: applied, merged, deferred, void, or duplicate with the `first` answer. With the
    op and the device it is the op's record."""

    n: int
    seq: int
    rev: int
    te: int
    verdict: str
    context: Context | None = None
    code: str | None = None
    detail: dict[str, Any] | None = None
    first: FirstAnswer | None = None


class PushAnswer(Open):
    """After the commit. Fewer results than ops: send the rest later."""

    ok: bool
    results: list[Result]
    head: int


class PullQuery(Query):
    """Where to go on. `limit` is clamped; with `epoch` a log that began anew is refused."""

    after: int = Field(0, ge=0, lt=2**53)
    limit: int | None = Field(None, ge=1, lt=2**53)
    epoch: str | None = Field(None, max_length=64)


class PullAnswer(Open):
    """A page of the log. `next_n` is the calling device's next counter, as in `ready`."""

    ok: bool
    epoch: str
    head: int
    records: list[RecordModel]
    more: bool
    next_n: int


class SnapshotQuery(Query):
    """`at` pins the position (the head, when absent), `after` is `next` of the page before."""

    at: int | None = Field(None, ge=0, lt=2**53)
    after: str | None = Field(None, max_length=256)
    limit: int = Field(20, ge=1, le=100)
    epoch: str | None = Field(None, max_length=64)


class SnapshotPage(Open):
    """Workouts as they were at `at`, removed ones included. `next` is null on the last page."""

    ok: bool
    epoch: str
    at: int
    head: int
    workouts: list[Workout]
    next: str | None


class VoidQuery(Query):
    """`after` is `next` of the page before."""

    after: str | None = Field(None, max_length=20, pattern="^[0-9]{1,16}$")
    limit: int = Field(100, ge=1, le=500)


class VoidPage(Open):
    """Refused records with `code` and `detail`, newest first. `next` is null on the last page."""

    ok: bool
    epoch: str
    head: int
    records: list[RecordModel]
    next: str | None
