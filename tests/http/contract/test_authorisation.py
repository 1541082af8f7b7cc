"""Who may not, and what they are told: each route and each event of the socket, by each kind of stranger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import socketio

from fitai.gateways.live.asyncapi import FROM_CLIENT
from fitai.gateways.live.events import SCOPES
from fitai.http.app import ROUTES
from fitai.http.auth import tokens
from fitai.http.frame import Route
from fitai.http.problems import CATALOGUE
from tests.http.conftest import MakeApi, Person
from tests.http.contract.rows import ROWS
from tests.http.contract.world import Told, World, open_world

Token = Callable[[World, Person], Awaitable[str | None]]


async def nothing(world: World, person: Person) -> None:
    """Anonymous."""


async def of_another(world: World, person: Person) -> str:
    return (await world.person()).token


async def of_a_revoked_device(world: World, person: Person) -> str:
    # A copy: it needs no code of a second factor.
    lost = (await person.call("POST", "/auth/devices", {"fork_at": 1})).body
    assert (await person.call("DELETE", f"/auth/devices/{lost['device']['id']}")).status == 204
    return str(lost["access_token"])


async def expired(world: World, person: Person) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.api.tokens, "life_ms", -60_000)
        return world.api.tokens.issue(person.id, person.device)


async def for_another_audience(world: World, person: Person) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "AUDIENCE", "elsewhere")
        return world.api.tokens.issue(person.id, person.device)


async def of_another_scope(world: World, person: Person) -> str:
    return await world.personal_token(person, "other:read", "other:write")


REFUSED: dict[Token, str] = {
    nothing: "unauthorized",
    of_a_revoked_device: "device_revoked",
    expired: "token_expired",
    for_another_audience: "unauthorized",
    of_another_scope: "forbidden",
}
"""What each is told on a route that takes a caller."""


def expected(route: Route) -> dict[str, str | None]:
    """The codes of a route by who asks, None where it is granted."""
    if "caller" not in route.takes:
        return {token.__name__: None for token in (*REFUSED, of_another)}
    others = ROWS[route.name].others or ("not_found" if route.path_model else "own")
    codes: dict[str, str | None] = {token.__name__: code for token, code in REFUSED.items()}
    return {**codes, "of_another": others if others in CATALOGUE else None}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_a_route_refuses_each_stranger_as_documented_and_nothing_has_happened(
    route: Route, make_api: MakeApi
):
    world = await open_world(make_api)
    told: dict[str, Told] = {}
    for token in (*REFUSED, of_another):
        ada = await world.person()
        ask = await ROWS[route.name].ask(world, ada)
        answer = told[token.__name__] = await world.send(route, ask.but(token=await token(world, ada)))
        if answer.status >= 400:
            again = await world.send(route, ask)
            assert again.status == route.status, f"{token.__name__} has changed something: {again.body}"
        elif token is of_another and "caller" in route.takes:
            assert ada.id not in str(answer.body)
            assert ada.email not in str(answer.body)

    assert {who: answer.code for who, answer in told.items()} == expected(route)
    assert {answer.code for answer in told.values()} - {None} <= {*route.errors}
    for who, answer in told.items():
        assert answer.status == route.status if answer.code is None else answer.status in (401, 403, 404), who
        if answer.status == 401:
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("route", [r for r in ROUTES if "caller" in r.takes], ids=lambda route: route.name)
async def test_a_personal_token_is_granted_its_scope_and_nothing_else(route: Route, make_api: MakeApi):
    world = await open_world(make_api)
    ada = await world.person()
    ask = await ROWS[route.name].ask(world, ada)
    every = sorted({r.scope for r in ROUTES if r.scope} | {*SCOPES.values()})

    all_others = [scope for scope in every if scope != route.scope]
    refused = await world.send(route, ask.but(token=await world.personal_token(ada, *all_others)))
    assert (refused.status, refused.code, refused.body.get("scope")) == (403, "forbidden", route.scope)
    if route.scope is not None:
        granted = await world.send(route, ask.but(token=await world.personal_token(ada, route.scope)))
        assert granted.status == route.status, granted.body


# -- sockets -------------------------------------------------------------------------------------------

Payload = Callable[[World, Person], Awaitable[Any]]


async def a_push(world: World, ada: Person) -> Any:
    return {"ops": [world.op()]}


async def a_pull(world: World, ada: Person) -> Any:
    return {"after": 0}


async def a_look(world: World, ada: Person) -> Any:
    return {"workout": (await world.workout(ada))["id"]}


async def a_tick(world: World, ada: Person) -> Any:
    return {"workout": (await world.workout(ada))["id"], "hr": 120}


async def the_time(world: World, ada: Person) -> Any:
    return {"t0": 1}


async def a_token(world: World, ada: Person) -> Any:
    return {"token": ada.token}


async def her_group(world: World, ada: Person) -> str:
    made = await ada.call("POST", "/groups", {"title": "Legs", "format": {"type": "open"}})
    assert made.status == 201, made.body
    return str(made.body["id"])


async def a_group(world: World, ada: Person) -> Any:
    return {"group": await her_group(world, ada)}


async def a_groups_push(world: World, ada: Person) -> Any:
    op = {"n": 2, "base": 2, "kind": "chat.say", "value": {"text": "hi"}, "at": 1_767_225_600_000}
    return {"group": await her_group(world, ada), "ops": [op]}


async def a_groups_pull(world: World, ada: Person) -> Any:
    return {"group": await her_group(world, ada), "after": 0}


async def a_cheer(world: World, ada: Person) -> Any:
    return {"group": await her_group(world, ada), "kind": "clap"}


async def a_report(world: World, ada: Person) -> Any:
    return {"group": await her_group(world, ada), "dot": [1, 1], "reason": "rude"}


EVENTS: dict[str, tuple[Payload, str | None]] = {
    "push": (a_push, None),
    "pull": (a_pull, None),
    "workout:get": (a_look, "not_found"),
    "telemetry": (a_tick, None),
    "clock": (the_time, None),
    "auth": (a_token, "unauthorized"),
    "group:join": (a_group, "not_found"),
    "group:push": (a_groups_push, "not_joined"),
    "group:pull": (a_groups_pull, "not_joined"),
    "group:leave": (a_group, "not_joined"),
    "group:cheer": (a_cheer, "not_joined"),
    "group:report": (a_report, "not_joined"),
}
"""For each event what ada sends, and what somebody else is told who sends the same (None: it is about their
own things then). A new event needs a row."""


@asynccontextmanager
async def connected(world: World, token: str | None) -> AsyncIterator[tuple[socketio.AsyncClient, Any]]:
    """A stock client, and why it was refused (None: it was not)."""
    client = socketio.AsyncClient(reconnection=False)
    refused: list[Any] = []
    client.on("connect_error", refused.append, namespace="/live")
    try:
        await client.connect(
            f"http://127.0.0.1:{world.api.client.port}",
            auth={"token": token},
            namespaces=["/live"],
            transports=["websocket"],
            wait_timeout=15,
        )
    except socketio.exceptions.ConnectionError:
        async with asyncio.timeout(10):  # the handler has a task of its own
            while not refused:
                await asyncio.sleep(0.01)
    yield client, refused[0]["data"]["code"] if refused else None
    await client.disconnect()


def test_every_event_has_a_row():
    assert EVENTS.keys() == FROM_CLIENT.keys() == SCOPES.keys()


@pytest.mark.parametrize("event", EVENTS)
async def test_an_event_reaches_nobody_for_a_stranger(event: str, make_api: MakeApi):
    world = await open_world(make_api)
    ada = await world.person()
    told = {}
    for token in REFUSED:
        async with connected(world, await token(world, ada)) as (client, refused):
            assert "/live" not in client.namespaces
            told[token] = refused

    assert told == REFUSED


@pytest.mark.parametrize("event", EVENTS)
async def test_somebody_elses_event_is_about_their_own_things(event: str, make_api: MakeApi):
    world = await open_world(make_api)
    ada, bob = await world.person(), await world.person()
    payload, code = EVENTS[event]
    body = await payload(world, ada)
    before = (await ada.call("GET", "/sync/pull")).body
    async with (
        connected(world, ada.token) as (hers, _),
        connected(world, bob.token) as (his, _),
    ):
        heard: list[Any] = []
        for told in ("ops", "telemetry", "insight"):
            hers.on(told, heard.append, namespace="/live")
        answer = await his.call(event, body, namespace="/live")
        assert answer.get("code") == code, answer
        assert ada.id not in str(answer)
        assert not [r for r in answer.get("records", ()) if r["workout"] in str(before)]
        await hers.call("clock", {"t0": 1}, namespace="/live")  # whatever was for her came before this
        assert heard == []
    assert (await ada.call("GET", "/sync/pull")).body == before


@pytest.mark.parametrize("event", EVENTS)
async def test_a_token_without_the_scope_of_an_event_is_told_so(event: str, make_api: MakeApi):
    world = await open_world(make_api)
    ada = await world.person()
    every = {*SCOPES.values()}
    body = await EVENTS[event][0](world, ada)
    lacking = await world.personal_token(ada, *(every - {SCOPES[event]}))
    having = await world.personal_token(ada, *every)
    async with connected(world, lacking) as (client, refused):
        code = refused or (await client.call(event, body, namespace="/live"))["code"]
        assert code == "forbidden"
    async with connected(world, having) as (client, refused):
        assert refused is None
        answer = await client.call(event, body, namespace="/live")
        assert answer.get("code") != "forbidden", answer
