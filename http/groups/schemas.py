"""What the routes of groups accept and answer. Times are Unix ms, members and devices the small integers of
the group's stream. Bodies become the values of ops (`fitai.engine.groups.kinds` is the authority)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from fitai.http.frame import Query, Schema
from fitai.http.groups.formats import Format
from fitai.http.paging import Paged, PageQuery
from fitai.http.sync.schemas import RecordModel
from fitai.http.workouts.schemas import WHOLE, LowerUuid, Nothing, Open, Passing, Reasoned, Title

__all__ = ["Nothing", "Reasoned"]

Status = Literal["lobby", "countdown", "live", "paused", "finished", "cancelled"]
Role = Literal["host", "coach", "participant", "spectator", "stranger"]
Share = Literal["everything", "progress", "presence"]
Chat = Literal["all", "training", "off"]
# Typed by people: case, hyphens, and letters that look like digits are put right.
Code = Annotated[str, Field(min_length=1, max_length=64, examples=["7KQ2M-X9DRA"])]
Ahead = Annotated[int, Field(ge=1_000, le=600_000, description="How far ahead all begin, ms."), WHOLE]
Dot = Annotated[
    list[Annotated[int, Field(ge=0, le=2**53), WHOLE]],
    Field(min_length=2, max_length=2, description="[device, n]: names an op of the group's stream."),
]


# -- paths and queries -------------------------------------------------------------------------------


class GroupPath(BaseModel):
    """A group's id."""

    id: LowerUuid


class CodePath(BaseModel):
    """The code of an invitation."""

    code: Code


class BlockPath(BaseModel):
    """A block's id."""

    id: LowerUuid


class ReportPath(BaseModel):
    """A report's id."""

    id: LowerUuid


class GroupQuery(PageQuery):
    """Which of your groups, newest first."""

    status: Status | None = Field(None, description="Only groups in this state.")


class RecordsQuery(Query):
    """Where to go on. `limit` is clamped."""

    after: int = Field(0, ge=0, lt=2**53)
    limit: int | None = Field(None, ge=1, lt=2**53)


class ResultsQuery(Query):
    """In which form."""

    format: Literal["json", "csv"] | None = Field(None, description="Without it, `Accept` says so.")


class ReportsQuery(PageQuery):
    """Which reports, newest first."""

    open: bool = Field(True, description="Only those that nobody has decided.")


# -- bodies ------------------------------------------------------------------------------------------


class GroupCreate(Passing):
    """A new group, which you host. `open`: whoever has the code may join."""

    title: Title
    format: Format
    capacity: Annotated[int, Field(ge=1, le=100_000), WHOLE] | None = None
    chat: Chat = "all"
    open: bool = True


class GroupJoin(Schema):
    """How to join. `share` is what others see of you, `workout` which of your own workouts this will be: it
    need not exist yet."""

    as_: Literal["participant", "spectator"] | None = Field(None, alias="as")
    share: Share | None = None
    workout: LowerUuid | None = None

    def value(self) -> dict[str, Any]:
        """What was given, as the value of `member.join`."""
        given = self.model_dump(by_alias=True, exclude_none=True)
        given.pop("code", None)
        return given


class GroupJoinAgain(GroupJoin):
    """Without a `code`: who left by themselves comes back."""

    code: Code | None = None


class GroupJoinByCode(GroupJoin):
    """With the code of an invitation."""

    code: Code


class You(Schema):
    """What of yours to change: what others see of you, and which of your workouts this is (null: none)."""

    share: Share | None = None
    workout: LowerUuid | None = None


class Begin(Passing):
    """When all begin: in 10 s, or 3 s after a pause, unless said otherwise."""

    in_ms: Ahead | None = None


class Next(Passing):
    """The index of the step that begins, in 1 s unless said otherwise."""

    to: Annotated[int, Field(ge=0, le=199), WHOLE]
    in_ms: Annotated[int, Field(ge=0, le=10_000), WHOLE] | None = None


class BlockCreate(Schema):
    """Whom you do not want to meet: a member of a group that you are in."""

    group: LowerUuid
    member: Annotated[int, Field(ge=1, le=2**31), WHOLE]


class ReportCreate(Schema):
    """Which message, and what is wrong with it."""

    dot: Dot
    reason: Annotated[str, Field(min_length=1, max_length=200)]


class Decision(Schema):
    """`hidden` takes the message away; `dismissed` lets it stand, and out, if moderation holds it."""

    outcome: Literal["hidden", "dismissed"]
    reason: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="Told to who hears that the message was taken away."
    )


# -- answers -----------------------------------------------------------------------------------------


class Clock(Open):
    """The last run of the group's clock: at the moment t, `elapsed + t - from` ms of the format have passed,
    not less than `elapsed` and not more than at `until`. It may lie ahead."""

    from_: int = Field(alias="from")
    elapsed: int
    until: int | None


class Phase(Open):
    """What is done from one reading of the group's clock to another, ms."""

    kind: Literal["work", "rest"]
    round: int
    station: int | None
    from_ms: int
    until_ms: int | None


class MemberState(Open):
    """A member, or one who was. `gone` says why they are no member: left, kicked, banned, erased."""

    no: int
    name: str
    role: Role
    gone: str | None
    joined_at: int | None
    gone_at: int | None
    share: Share


class Me(Open):
    """Who you are in the group."""

    member: int
    role: Role
    share: Share
    workout: str | None


class Group(Open):
    """A group, folded from its ops, and where it stands at the moment `at`: a countdown ends, and so does a
    format, by the clock. `code` and `link` invite others; host and coaches see them. `unit` says in what the
    amounts of the board are: reps, ug, mm, or thousandths as body_weights and dots."""

    id: str
    at: int
    seq: int
    status: Status
    title: str
    format: Format
    capacity: int | None
    chat: Chat
    open: bool
    invite: int
    host: int | None
    live_at: int | None
    ended_at: int | None
    reason: str | None
    clock: Clock | None
    phases: list[Phase]
    unit: str | None
    members: list[MemberState]
    messages: int
    hidden: list[Dot]
    you: Me
    code: str | None = None
    link: str | None = None


class GroupSummary(Schema):
    """A group as lists show it; `status` is as of now."""

    id: str
    title: str
    format: str
    status: Status
    members: int
    capacity: int | None
    created_at: int
    live_at: int | None
    ended_at: int | None
    you: Me


class GroupPage(Paged):
    """A page of groups; without `next_cursor` it is the last."""

    groups: list[GroupSummary]


class Invitation(Schema):
    """What a code opens."""

    group: str
    title: str
    format: Format
    status: Status
    members: int
    capacity: int | None
    host: str | None


class Invite(Schema):
    """An invitation, for who may have no account yet: `app` opens it in the app, `code` is to be typed."""

    title: str
    host: str | None
    code: str
    app: str


class GroupRecord(RecordModel):
    """A record of the group's stream. What a message says may be `withheld`."""

    workout: str | None = None  # type: ignore[assignment]  # none: the answer names the group
    withheld: str | None = None


class RecordsPage(Open):
    """A page of the log as it is told to you, up to the position `to`: what is not for you is left out."""

    ok: bool
    group: str
    epoch: str
    head: int
    to: int
    records: list[GroupRecord]
    more: bool


class ResultRow(Schema):
    """A line of the final table. `rank`: equals share one, without anything done there is none. Who shows
    their progress only keeps loads to themselves: `volume_ug` is null, and so are `amount` and `time_ms`
    where they are made of loads. `name` is empty for an account that is gone."""

    rank: int | None
    member: int
    name: str
    left: bool
    amount: int | None
    time_ms: int | None
    sets: int
    reps: int
    distance_mm: int
    duration_ms: int
    volume_ug: int | None


class Results(Schema):
    """The final table, best first. Late syncs correct it: `at` is when it was written last, null before the
    group is over. `unit` says in what the amounts are."""

    group: str
    title: str
    status: Status
    unit: str | None
    at: int | None
    rows: list[ResultRow]


class BlockOut(Schema):
    """Somebody whom you do not want to meet, by the name that they had when you said so."""

    id: str
    name: str
    created_at: int


class Blocks(Schema):
    """Whom you have blocked, newest first."""

    blocks: list[BlockOut]


class Reported(Schema):
    """It was reported; `id` names the report."""

    id: str


class Report(Schema):
    """A message to look at, as it was said. `held`: moderation keeps it back, nobody has reported it."""

    id: str
    group: str
    dot: Dot
    text: str
    reason: str
    held: bool
    created_at: int
    resolved_at: int | None
    outcome: Literal["hidden", "dismissed"] | None


class ReportPage(Paged):
    """A page of reports; without `next_cursor` it is the last."""

    reports: list[Report]
