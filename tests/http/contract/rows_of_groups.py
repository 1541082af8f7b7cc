"""The rows of groups, blocks and moderation; what a row is, `rows` says."""

from __future__ import annotations

import uuid
from typing import Any

from fitai.gateways.identity import Identity
from fitai.persistence.users import ADMIN, Users
from tests.http.conftest import Person
from tests.http.contract.row import Row, fixed
from tests.http.contract.world import Ask, Way, World

TABATA: dict[str, Any] = {"type": "tabata"}
LED: dict[str, Any] = {"type": "led", "steps": [{"title": "one"}, {"title": "two"}]}
TWICE = [{"exercise": "squat", "reps": 5}, {"exercise": "squat", "reps": 5}]


async def made(host: Person, **body: Any) -> dict[str, Any]:
    """A group of this host's."""
    answer = await host.call("POST", "/groups", {"title": "Class", "format": TABATA, **body})
    assert answer.status == 201, answer.body
    group: dict[str, Any] = answer.body
    return group


async def does(world: World, person: Person, group: str, kind: str, **value: Any) -> Any:
    """An op that has no route."""
    room = await world.api.rooms.open(group)
    return await room.act(Identity(person.id, person.device, 2**53), kind, value)


async def moved(world: World, host: Person, group: str, state: str) -> None:
    """Bring a group from the lobby into another state."""
    path = f"/groups/{group}"
    if state == "cancelled":
        await host.post(f"{path}/cancel")
        return
    if state in ("countdown", "live", "paused"):
        await host.post(f"{path}/start", {"in_ms": 1_000})
    if state in ("live", "paused"):
        world.clock.advance(seconds=1)
    if state == "paused":
        await host.post(f"{path}/pause")


def on_group(tail: str, json: Any = None, *, state: str = "lobby", full: bool = False, **body: Any) -> Way:
    """A request on a group that the person hosts, in this state; `full`: it takes no more ops."""

    async def way(world: World, person: Person) -> Ask:
        group = await made(person, **body)
        await moved(world, person, group["id"], state)
        if full:
            await fill(world, person, group["id"])
        return Ask(f"/groups/{group['id']}{tail}", json, token=person.token)

    return way


async def fill(world: World, host: Person, group: str) -> None:
    """Change a group until it takes no more ops."""
    share = "presence"
    while (await host.call("PATCH", f"/groups/{group}/you", {"share": share})).status == 200:
        share = "everything" if share == "presence" else "presence"


def act(tail: str, json: Any, *, of: str, not_of: str = "cancelled", **body: Any) -> Row:
    """A route that moves a group, from state `of` and not from `not_of`."""
    return Row(
        on_group(tail, json, state=of, **body),
        {
            "illegal_edge": on_group(tail, json, state=not_of, **body),
            "limit": on_group(tail, json, state=of, full=True, **body),
        },
    )


# -- joining -------------------------------------------------------------------------------------------


def joining(by_code: bool) -> Row:
    """The two ways to join: the code alone, or the group and its code."""

    def way(prepare: Any = None, **body: Any) -> Way:
        async def asked(world: World, person: Person) -> Ask:
            host = await world.person()
            group = await made(host, **body)
            if prepare is not None:
                await prepare(world, host, person, group)
            path = "/groups/join" if by_code else f"/groups/{group['id']}/join"
            return Ask(path, {"code": group["code"]}, token=person.token)

        return asked

    async def is_over(world: World, host: Person, person: Person, group: dict[str, Any]) -> None:
        await moved(world, host, group["id"], "cancelled")

    async def was_kicked(world: World, host: Person, person: Person, group: dict[str, Any]) -> None:
        await person.post("/groups/join", {"code": group["code"]})
        await does(world, host, group["id"], "member.kick", member=2)

    async def was_banned(world: World, host: Person, person: Person, group: dict[str, Any]) -> None:
        await person.post("/groups/join", {"code": group["code"]})
        await does(world, host, group["id"], "member.ban", member=2)

    async def takes_no_ops(world: World, host: Person, person: Person, group: dict[str, Any]) -> None:
        await fill(world, host, group["id"])

    unknown = {"not_found": fixed("/groups/join", {"code": "0000000000"})} if by_code else {}
    return Row(
        way(),
        {
            **unknown,
            "illegal_edge": way(is_over),
            "full": way(capacity=1),
            "closed": way(open=False),
            "invite_over": way(was_kicked),
            "banned": way(was_banned),
            "limit": way(takes_no_ops),
        },
        others="all",
    )


def with_code(path: str, *, over: bool = False) -> Way:
    """A request on the code of somebody's group, or on one that opens no more."""

    async def way(world: World, person: Person) -> Ask:
        host = await world.person()
        group = await made(host)
        if over:
            await host.post(f"/groups/{group['id']}/invite")
        return Ask(f"{path}/{group['code']}", token=person.token)

    return way


# -- messages and people -------------------------------------------------------------------------------


async def a_rude_message(world: World, person: Person) -> tuple[str, list[int]]:
    """A group of the person's, and the dot of what somebody said in it."""
    group, eve = await made(person), await world.person()
    await eve.post("/groups/join", {"code": group["code"]})
    done = await does(world, eve, group["id"], "chat.say", text="rude")
    return group["id"], [[record.device, record.op.n] for record in done.records][-1]


async def a_report(world: World, person: Person) -> Ask:
    group, dot = await a_rude_message(world, person)
    return Ask(f"/groups/{group}/reports", {"dot": dot, "reason": "insult"}, token=person.token)


async def somebody_to_block(world: World, person: Person) -> Ask:
    group, _ = await a_rude_message(world, person)
    return Ask("/blocks", {"group": group, "member": 2}, token=person.token)


async def somebody_who_is_blocked(world: World, person: Person) -> Ask:
    ask = await somebody_to_block(world, person)
    made = await person.call("POST", ask.path, ask.json)
    return Ask(f"/blocks/{made.body['id']}", token=person.token)


async def as_admin(world: World, person: Person) -> None:
    async with world.api.db.write() as session:
        await Users(session).set_role(person.id, ADMIN)


async def what_admins_see(world: World, person: Person) -> Ask:
    await as_admin(world, person)
    return Ask("/moderation/reports", token=person.token)


def to_decide(outcome: str, before: str | None = None) -> Way:
    """An open report, or one that was decided before."""

    async def way(world: World, person: Person) -> Ask:
        await as_admin(world, person)
        member = await world.person()
        report = await a_report(world, member)
        filed = await member.call("POST", report.path, report.json)
        path = f"/moderation/reports/{filed.body['id']}"
        if before is not None:
            await person.post(path, {"outcome": before})
        return Ask(path, {"outcome": outcome}, token=person.token)

    return way


GROUPS = {
    "list_groups": Row(fixed("/groups")),
    "create_group": Row(
        fixed("/groups", {"title": "Class", "format": TABATA}),
        {
            "bad_value": fixed(
                "/groups",
                {"title": "Class", "format": {"type": "amrap", "tasks": TWICE, "limit_ms": 60_000}},
            ),
            "limit": fixed("/groups", {"title": "Class", "format": TABATA, "capacity": 100_000}),
        },
    ),
    "get_group": Row(on_group("")),
    "join_by_code": joining(by_code=True),
    "join_group": joining(by_code=False),
    "open_invitation": Row(
        with_code("/groups/invites"),
        {"invite_over": with_code("/groups/invites", over=True)},
        others="all",
    ),
    "show_invitation": Row(with_code("/join"), {"invite_over": with_code("/join", over=True)}),
    "edit_membership": Row(
        on_group("/you", {"workout": str(uuid.UUID(int=7))}),
        {"limit": on_group("/you", {"workout": str(uuid.UUID(int=7))}, full=True)},
    ),
    "leave_group": Row(on_group("/leave", {}), {"limit": on_group("/leave", {}, full=True)}),
    "start_group": act("/start", {"in_ms": 5_000}, of="lobby"),
    "hold_group": act("/hold", {}, of="countdown"),
    "pause_group": act("/pause", {"reason": "water"}, of="live"),
    "resume_group": act("/resume", {}, of="paused"),
    "next_group": Row(
        on_group("/next", {"to": 1}, state="live", format=LED),
        {
            "illegal_edge": on_group("/next", {"to": 1}, format=LED),
            "bad_value": on_group("/next", {"to": 2}, state="live", format=LED),
            "limit": on_group("/next", {"to": 1}, state="live", full=True, format=LED),
        },
    ),
    "finish_group": act("/finish", {}, of="live", not_of="lobby"),
    "cancel_group": act("/cancel", {}, of="lobby"),
    "invite_group": act("/invite", {}, of="lobby"),
    "list_records": Row(on_group("/records"), {"bad_request": on_group("/records?after=99")}),
    "get_results": Row(on_group("/results")),
    "report_message": Row(a_report),
    "list_blocks": Row(fixed("/blocks")),
    "block": Row(
        somebody_to_block,
        {"not_found": fixed("/blocks", {"group": str(uuid.UUID(int=7)), "member": 1})},
        others="not_found",
    ),
    "unblock": Row(somebody_who_is_blocked),
    "list_reports": Row(what_admins_see, others="forbidden"),
    "decide_report": Row(
        to_decide("hidden"), {"illegal_edge": to_decide("dismissed", before="hidden")}, others="forbidden"
    ),
}
