"""Personal tokens and sign-ins, over REST and sockets, on a real server."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from fitai.gateways.live.events import SCOPES
from fitai.gateways.live.limits import LiveLimits
from fitai.http.auth.authority import PERSONAL_MS, Authority
from fitai.persistence.devices import Devices
from fitai.persistence.personal_tokens import USED_MS, PersonalTokens
from fitai.persistence.tokens import Tokens
from tests.gateways.conftest import Wire
from tests.http.conftest import Api, MakeApi, Person

PATIENCE_S = 10.0


@pytest.fixture
async def api(make_api: MakeApi) -> Api:
    """A server with sockets."""
    return await make_api(live=True)


@pytest.fixture
async def connect():
    """Connects a socket with a token; all are closed at the end."""
    wires: list[Wire] = []

    async def open(person: Person, token: str, device: int) -> Wire:
        api = person.api
        server: Any = SimpleNamespace(port=api.client.port, clock=api.clock, tokens=api.tokens)
        wires.append(Wire(server, person.id, device))
        await wires[-1].connect(token=token)
        return wires[-1]

    yield open
    for wire in wires:
        await wire.close()


async def refused(person: Person, token: str) -> dict[str, Any]:
    """What a connection with this token is refused with."""
    api = person.api
    server: Any = SimpleNamespace(port=api.client.port, clock=api.clock, tokens=api.tokens)
    wire = Wire(server, person.id, 1)
    connecting = asyncio.ensure_future(wire.connect(token=token))
    try:
        async with asyncio.timeout(5):
            while not (found := [p[1] for p in getattr(wire, "packets", []) if p[0] == "refused"]):
                await asyncio.sleep(0.01)
        data: dict[str, Any] = found[0]["data"]
        return data
    finally:
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await wire.close()


async def given(person: Person, *scopes: str, expires_at: int | None = None) -> Any:
    """A personal token with its row."""
    async with person.api.db.write() as session:
        return await PersonalTokens(session).create(
            person.id, name="bot", scopes=scopes, now=person.api.clock(), expires_at=expires_at
        )


async def revoke(person: Person, made: Any) -> None:
    """As another process would, of which this one hears nothing."""
    async with person.api.db.write() as session:
        assert await PersonalTokens(session).revoke(person.id, made.row.id, person.api.clock())


async def listed(api: Api, token: str) -> Any:
    return await api.call("GET", "/auth/devices", token=token)


async def test_a_personal_token_is_read_as_its_user_device_and_scopes(api, ada):
    made = await given(ada, "sync:read", "workouts:read")
    identity = await Authority(api.tokens, api.db, api.clock).authenticate(made.token)
    assert (identity.user, identity.device) == (ada.id, made.row.device)
    assert identity.scopes == frozenset({"sync:read", "workouts:read"})
    assert identity.expires_at == api.clock() + PERSONAL_MS
    assert identity.may("workouts:read")
    assert not identity.may("workouts:write")
    assert not identity.may(None), "what is for people only"


async def test_a_personal_token_ends_when_it_was_said_to(api, ada):
    made = await given(ada, "sync:read", expires_at=api.clock() + 60_000)
    authority = Authority(api.tokens, api.db, api.clock)
    assert (await authority.authenticate(made.token)).expires_at == api.clock() + 60_000
    api.clock.advance(seconds=60)
    assert (await listed(api, made.token)).code == "token_expired"


async def test_a_revoked_or_unknown_personal_token_is_refused(api, ada):
    made, other = await given(ada, "sync:read"), await given(ada, "sync:read")
    await revoke(ada, made)
    assert (await listed(api, made.token)).code == "unauthorized"
    assert (await ada.call("DELETE", f"/auth/devices/{other.row.device}")).status == 204
    assert (await listed(api, other.token)).code == "unauthorized", "it goes with its device"


async def test_the_last_use_is_noted_now_and_then(api, ada, connect):
    made = await given(ada, "sync:read")

    async def used() -> int | None:
        async with api.db.read() as session:
            row = await PersonalTokens(session).find(made.token)
        assert row is not None
        return row.last_used_at

    wire = await connect(ada, made.token, made.row.device)
    first = await used()
    assert first == api.clock()
    api.clock.advance(seconds=USED_MS / 1000 - 1)
    assert (await wire.call("auth", {"token": made.token}))["ok"]
    assert await used() == first
    api.clock.advance(seconds=1)
    assert (await wire.call("auth", {"token": made.token}))["ok"]
    assert await used() == api.clock()


# -- sockets ---------------------------------------------------------------------------------------

ASKED: dict[str, Any] = {
    "push": {"ops": []},
    "pull": {"after": 0},
    "workout:get": {"workout": "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001"},
    "telemetry": {"workout": "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001", "hr": 141},
    "clock": {"t0": 1},
    "auth": {"token": "x"},
    "group:join": {"group": "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001"},
    "group:push": {"group": "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001", "ops": []},
    "group:pull": {"group": "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001", "after": 0},
    "group:leave": {"group": "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001"},
    "group:cheer": {"group": "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001", "kind": "clap"},
    "group:report": {"group": "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001", "dot": [1, 1], "reason": "rude"},
}


@pytest.mark.parametrize("event", SCOPES)
async def test_an_event_needs_its_scope(api, ada, connect, event):
    reader = await given(ada, "sync:read", "workouts:write", "profile:write")
    writer = await given(ada, "sync:read", "sync:write", "groups:read", "groups:write")
    may_not = await connect(ada, reader.token, reader.row.device)
    may = await connect(ada, writer.token, writer.row.device)
    answer = await may_not.call(event, ASKED[event])
    allowed = SCOPES[event] == "sync:read"
    assert (answer.get("code") == "forbidden") is not allowed
    if not allowed:
        assert answer == {
            "ok": False,
            "code": "forbidden",
            "message": f"this token lacks the scope {SCOPES[event]}",
            "scope": SCOPES[event],
        }
    assert (await may.call(event, ASKED[event])).get("code") != "forbidden"
    assert not may_not.events("bye"), "the connection survives it"


async def test_a_token_that_may_not_read_can_not_connect(api, ada):
    made = await given(ada, "sync:write", "workouts:read")
    answer = await refused(ada, made.token)
    assert (answer["code"], answer["retry"]) == ("forbidden", False)


async def test_an_integration_writes_with_the_numbers_of_its_own_device(api, ada, connect):
    made = await given(ada, "sync:read", "sync:write")
    wire = await connect(ada, made.token, made.row.device)
    phone = await connect(ada, ada.token, ada.device)
    workout = "0198c1f2-7b1a-7c3e-9a51-2f6d1c9be001"
    assert (await wire.push(wire.op("workout.create", workout)))["results"][0]["seq"] == 1
    await phone.told(1)
    assert [record["device"] for record in phone.records()] == [made.row.device]


# -- who is out is out -----------------------------------------------------------------------------


async def by_device(person: Person) -> None:
    async with person.api.db.write() as session:
        assert await Devices(session).revoke(person.id, person.device, person.api.clock())


async def by_signing_out(person: Person) -> None:
    async with person.api.db.write() as session:
        assert await Tokens(session).end(person.refresh_token, now=person.api.clock())


async def by_signing_out_the_device(person: Person) -> None:
    async with person.api.db.write() as session:
        assert await Tokens(session).end_device(person.id, person.device, now=person.api.clock())


async def by_a_reuse(person: Person) -> None:
    async with person.api.db.write() as session:
        for _ in range(2):
            await Tokens(session).renew(person.refresh_token, now=person.api.clock(), ttl=1000)


def test_nodes_look_twice_as_often_as_they_must_to_close_sockets_within_two_seconds():
    assert LiveLimits().revoked_s <= 1.0


@pytest.mark.parametrize("ends", [by_device, by_signing_out, by_signing_out_the_device, by_a_reuse])
async def test_a_socket_is_closed_soon_after_its_sign_in_ends_though_nobody_says_so(api, ada, connect, ends):
    """The bus is not told: what another process did while it was silent."""
    other = await api.login(ada)
    here = await connect(ada, ada.token, ada.device)
    there = await connect(ada, other.token, other.device)
    await ends(ada)
    await asyncio.wait_for(here.gone(), PATIENCE_S)
    assert here.events("bye") == [{"code": "revoked", "reconnect": False, "after_ms": 0}]
    assert not there.events("bye"), "another device goes on"
    assert (await refused(ada, ada.token))["code"] in ("device_revoked", "unauthorized")


async def test_a_socket_of_a_personal_token_is_closed_too(api, ada, connect):
    made = await given(ada, "sync:read")
    bot, phone = await connect(ada, made.token, made.row.device), await connect(ada, ada.token, ada.device)
    await revoke(ada, made)
    await asyncio.wait_for(bot.gone(), PATIENCE_S)
    assert bot.events("bye")[0]["code"] == "revoked"
    assert not phone.events("bye")
    assert (await refused(ada, made.token))["code"] == "unauthorized"


async def test_of_two_sign_ins_on_one_device_the_other_one_stays(make_api, connect):
    """Told at once, over the bus: no look at the database is needed."""
    api = await make_api(live=True, limits=LiveLimits(revoked_s=3600.0))
    ada = await api.register(install_id="a")
    again = await api.login(ada, install_id="a")
    assert again.device == ada.device
    one, two = await connect(ada, ada.token, ada.device), await connect(ada, again.token, ada.device)
    await ada.call("POST", "/auth/logout", {"refresh_token": ada.refresh_token})
    await asyncio.wait_for(one.gone(), PATIENCE_S)
    assert one.events("bye")[0]["code"] == "revoked"
    assert not two.events("bye")
    assert (await two.call("clock", {"t0": 1}))["t0"] == 1


async def test_a_connection_that_has_shown_another_sign_in_lives_with_that_one(api, connect):
    ada = await api.register(install_id="a")
    again = await api.login(ada, install_id="a")
    wire = await connect(ada, ada.token, ada.device)
    assert (await wire.call("auth", {"token": again.token}))["ok"]
    await by_signing_out(ada)
    await api.hosts.revocations.look()
    assert (await wire.call("clock", {"t0": 1}))["t0"] == 1
    await by_signing_out(again)
    await asyncio.wait_for(wire.gone(), PATIENCE_S)


async def test_signing_in_again_at_once_saves_no_connection_of_before(api, connect):
    """Revoked and back within the second: its row says nothing any more, but its old sign-in does."""
    ada = await api.register(install_id="a")
    wire = await connect(ada, ada.token, ada.device)
    await by_device(ada)
    again = await api.login(ada, install_id="a")
    await asyncio.wait_for(wire.gone(), PATIENCE_S)
    assert again.device == ada.device
    await connect(again, again.token, again.device)
