"""The routes of groups, of blocks, and of moderation. Changes are ops of the caller's API device in the
group's stream; who is no member is told `not_found`."""

from __future__ import annotations

from typing import Any, NamedTuple

from aiohttp import web

from fitai.engine.ops import Dot
from fitai.gateways.identity import Identity
from fitai.gateways.live.jobs import Key
from fitai.http import media, tables
from fitai.http.auth.pages import page, refusal, wants_page
from fitai.http.frame import Reply, Routes, Schema
from fitai.http.groups.blocks import BlockService
from fitai.http.groups.moderation import ModerationService
from fitai.http.groups.schemas import (
    Begin,
    BlockCreate,
    BlockOut,
    BlockPath,
    Blocks,
    CodePath,
    Decision,
    Group,
    GroupCreate,
    GroupJoinAgain,
    GroupJoinByCode,
    GroupPage,
    GroupPath,
    GroupQuery,
    Invitation,
    Invite,
    Next,
    Nothing,
    Reasoned,
    RecordsPage,
    RecordsQuery,
    Report,
    ReportCreate,
    Reported,
    ReportPage,
    ReportPath,
    ReportsQuery,
    Results,
    ResultsQuery,
    You,
)
from fitai.http.groups.service import Changed, GroupService
from fitai.http.problems import Problem, translate
from fitai.sync.wire import Refusal

GROUPS: web.AppKey[GroupService] = web.AppKey("fitai_groups", GroupService)
BLOCKS: web.AppKey[BlockService] = web.AppKey("fitai_blocks", BlockService)
MODERATION: web.AppKey[ModerationService] = web.AppKey("fitai_moderation", ModerationService)

routes = Routes("groups")
blocks = Routes("blocks")
moderation = Routes("moderation")

_CROWD = ("illegal_edge", "full", "banned", "closed", "invite_over", "limit")


def _answer(changed: Changed, status: int | None = None) -> Reply:
    headers = {"Idempotency-Replayed": "true"} if changed.replayed else {}
    if status == 201:
        headers["Location"] = f"/groups/{changed.group['id']}"
    return Reply(changed.group, status, headers=headers)


# -- by code: before `/groups/{id}`, so that `join` is never read as an id -----------------------------


@routes.post("/groups/join", response=Group, errors=("not_found", *_CROWD), scope="groups:write")
async def join_by_code(
    request: web.Request, caller: Identity, body: GroupJoinByCode, key: Key | None
) -> Reply:
    """Join the group that a code opens.

    Guessing codes is slowed, by account and by address.
    """
    groups = request.app[GROUPS]
    return _answer(await groups.join_by_code(caller, body.code, body, request.remote or "", key))


@routes.get("/groups/invites/{code}", response=Invitation, errors=("invite_over",), scope="groups:read")
async def open_invitation(request: web.Request, caller: Identity, path: CodePath) -> Reply:
    """Show what the code of an invitation opens."""
    return Reply(await request.app[GROUPS].opens(caller, path.code, request.remote or ""))


@routes.get("/join/{code}", response=Invite, also=("text/html",), errors=("invite_over",))
async def show_invitation(request: web.Request, path: CodePath) -> Invite | web.Response:
    """Show where the link of an invitation leads.

    Needs no account. A browser gets a page that says how to join.
    """
    try:
        invite = await request.app[GROUPS].invite(path.code, request.remote or "")
    except (Problem, Refusal) as error:
        problem = translate(error)
        if problem is None or not wants_page(request):
            raise
        sorry = refusal(problem)
        sorry.headers.update(problem.headers)
        return sorry
    return page("join", title="Train together", invite=invite) if wants_page(request) else invite


# -- groups ------------------------------------------------------------------------------------------


@routes.get("/groups", response=GroupPage, scope="groups:read")
async def list_groups(request: web.Request, caller: Identity, query: GroupQuery) -> GroupPage:
    """List the groups that you are in or have left, newest first."""
    return await request.app[GROUPS].page(caller.user, query)


@routes.post("/groups", status=201, response=Group, errors=("bad_value", "limit"), scope="groups:write")
async def create_group(request: web.Request, caller: Identity, body: GroupCreate, key: Key | None) -> Reply:
    """Make a group, which you host."""
    return _answer(await request.app[GROUPS].create(caller, body, key), 201)


@routes.get("/groups/{id}", response=Group, scope="groups:read")
async def get_group(request: web.Request, caller: Identity, path: GroupPath) -> Reply:
    """Read a group's state."""
    return Reply(await request.app[GROUPS].state(caller.user, path.id))


@routes.post("/groups/{id}/join", response=Group, errors=_CROWD, scope="groups:write")
async def join_group(
    request: web.Request, caller: Identity, path: GroupPath, body: GroupJoinAgain, key: Key | None
) -> Reply:
    """Join a group with its code, or come back without one.

    Who is in it stays what they are.
    """
    groups = request.app[GROUPS]
    return _answer(await groups.join(caller, path.id, body.code, body, request.remote or "", key))


@routes.patch("/groups/{id}/you", response=Group, errors=("limit",), scope="groups:write")
async def edit_membership(request: web.Request, caller: Identity, path: GroupPath, body: You) -> Reply:
    """Change what others see of you in a group, or which of your workouts is the one of it.

    What is not named stays as it is.
    """
    return Reply(await request.app[GROUPS].edit(caller, path.id, body))


class Act(NamedTuple):
    """A route that appends one op: the last part of its path, the op's kind, its body, what it is called."""

    name: str
    kind: str
    body: type[Schema]
    summary: str
    errors: tuple[str, ...] = ("illegal_edge",)


ACTS = (
    Act("leave", "member.leave", Nothing, "Leave a group.", ()),
    Act("start", "group.start", Begin, "Begin the countdown of a group."),
    Act("hold", "group.hold", Reasoned, "Take a group out of its countdown, back to the lobby."),
    Act("pause", "group.pause", Reasoned, "Pause a group."),
    Act("resume", "group.resume", Begin, "Let a paused group go on."),
    Act("next", "group.next", Next, "Call a step of a led group.", ("illegal_edge", "bad_value")),
    Act("finish", "group.finish", Reasoned, "Finish a group."),
    Act("cancel", "group.cancel", Reasoned, "Cancel a group."),
    Act("invite", "group.invite", Nothing, "Make a new code. The one so far opens no more."),
)


def _declare(act: Act) -> None:
    async def handler(
        request: web.Request, caller: Identity, path: GroupPath, body: Any, key: Key | None
    ) -> Reply:
        groups = request.app[GROUPS]
        return _answer(await groups.act(caller, path.id, act.kind, body.model_dump(exclude_unset=True), key))

    handler.__name__ = f"{act.name}_group"
    handler.__doc__ = act.summary
    handler.__annotations__["body"] = act.body
    route = routes.post(
        f"/groups/{{id}}/{act.name}",
        response=Group,
        errors=(*act.errors, "limit"),
        scope="groups:write",
    )
    route(handler)


for each in ACTS:
    _declare(each)


@routes.get(
    "/groups/{id}/records", response=RecordsPage, wire=True, errors=("bad_request",), scope="groups:read"
)
async def list_records(request: web.Request, caller: Identity, path: GroupPath, query: RecordsQuery) -> Reply:
    """Pull a group's records after a position.

    The twin of the event `group:pull`.
    """
    return Reply(await request.app[GROUPS].records(caller, path.id, query))


@routes.get("/groups/{id}/results", response=Results, also=(tables.CSV,), scope="groups:read")
async def get_results(
    request: web.Request, caller: Identity, path: GroupPath, query: ResultsQuery
) -> Results | web.Response:
    """Read the final table of a group.

    As CSV with `?format=csv` or `Accept: text/csv`, safe to open in a spreadsheet.
    """
    groups = request.app[GROUPS]
    if query.format == "json" or (query.format is None and not media.accepts(request, tables.CSV)):
        return await groups.results(caller.user, path.id)
    return web.Response(
        body=await groups.results_table(caller.user, path.id),
        content_type=tables.CSV,
        charset="utf-8",
        headers=tables.headers(f"results-{path.id}.csv"),
    )


@routes.post("/groups/{id}/reports", status=201, response=Reported, scope="groups:write")
async def report_message(
    request: web.Request, caller: Identity, path: GroupPath, body: ReportCreate
) -> Reported:
    """Report a message of a group to the admins.

    Nobody in the group learns of it.
    """
    return Reported(id=await request.app[GROUPS].report(caller.user, path.id, Dot(*body.dot), body.reason))


# -- blocks ------------------------------------------------------------------------------------------


@blocks.get("/blocks", response=Blocks, scope="groups:read")
async def list_blocks(request: web.Request, caller: Identity) -> Blocks:
    """List whom you do not want to meet, newest first."""
    return await request.app[BLOCKS].mine(caller.user)


@blocks.post("/blocks", status=201, response=BlockOut, errors=("not_found",), scope="groups:write")
async def block(request: web.Request, caller: Identity, body: BlockCreate) -> BlockOut:
    """Block a member of a group.

    Neither of you can join a group that the other is in, and where both are, neither sees the other.
    """
    return await request.app[BLOCKS].add(caller.user, body)


@blocks.delete("/blocks/{id}", status=204, scope="groups:write")
async def unblock(request: web.Request, caller: Identity, path: BlockPath) -> None:
    """Take a block away."""
    await request.app[BLOCKS].remove(caller.user, path.id)


# -- moderation --------------------------------------------------------------------------------------


@moderation.get("/moderation/reports", response=ReportPage)
async def list_reports(request: web.Request, caller: Identity, query: ReportsQuery) -> ReportPage:
    """List the messages to look at, newest first.

    For admins: those that somebody has reported, and those that moderation holds.
    """
    return await request.app[MODERATION].page(caller, query)


@moderation.post("/moderation/reports/{id}", response=Report, errors=("illegal_edge",))
async def decide_report(request: web.Request, caller: Identity, path: ReportPath, body: Decision) -> Report:
    """Decide what becomes of a message.

    For admins. Every report of the message is decided by it.
    """
    return await request.app[MODERATION].decide(caller, path.id, body)
