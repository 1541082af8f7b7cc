"""How each code that the frame brings by itself is met, on any route that documents it.

way(world, route, row) -> Told      what is answered; the test holds it to the code
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Awaitable, Callable

from fitai.http.frame import WIRE_BYTES, Route
from tests.http.contract.row import Row
from tests.http.contract.world import BODY_BYTES, NOWHERE, Ask, Told, World

General = Callable[[World, Route, Row], Awaitable[Told]]

UNKNOWN = {"id": str(uuid.UUID(int=2**127)), "share": "none", "code": "0000000000"}
NUMBER = "777"  # of a device, an exercise or a set that is not there


async def asked(world: World, row: Row) -> Ask:
    """A request that would be granted, of somebody new."""
    return await row.ask(world, await world.person())


async def unauthorized(world: World, route: Route, row: Row) -> Told:
    ask = await asked(world, row)
    return await world.send(route, ask.but(token="nonsense" if route.caller_optional else None))


async def token_expired(world: World, route: Route, row: Row) -> Told:
    ask = await asked(world, row)
    world.clock.advance(seconds=3_600)
    return await world.send(route, ask)


async def device_revoked(world: World, route: Route, row: Row) -> Told:
    person = await world.person()
    ask = await row.ask(world, person)
    assert (await person.call("DELETE", f"/auth/devices/{person.device}")).status == 204
    return await world.send(route, ask)


async def forbidden(world: World, route: Route, row: Row) -> Told:
    person = await world.person()
    ask = await row.ask(world, person)
    token = await world.personal_token(person, "other:read", "other:write")
    return await world.send(route, ask.but(token=token))


async def not_found(world: World, route: Route, row: Row) -> Told:
    ask = await asked(world, row)
    path = route.path
    numbers = {"exerciseIndex", "setIndex"} | ({"id"} if "/devices/" in path else set())
    for name in ("id", "share", "code", "exerciseIndex", "setIndex"):
        path = path.replace(f"{{{name}}}", NUMBER if name in numbers else UNKNOWN.get(name, NUMBER))
    assert "{" not in path, f"say in UNKNOWN what is not there in {path}"
    return await world.send(route, ask.but(path=path))


async def bad_request(world: World, route: Route, row: Row) -> Told:
    ask = await asked(world, row)
    return await world.send(route, ask.but(raw=b"{").with_headers(Content_Type="application/json"))


async def request_timeout(world: World, route: Route, row: Row) -> Told:
    return await world.trickle(route, await asked(world, row))


async def too_large(world: World, route: Route, row: Row) -> Told:
    ask = await asked(world, row)
    most = WIRE_BYTES if "payload" in route.takes else BODY_BYTES
    return await world.send(route, ask.but(raw=io.BytesIO(b" " * (most + 1))))


async def unsupported_media_type(world: World, route: Route, row: Row) -> Told:
    ask = await asked(world, row)
    return await world.send(route, ask.but(raw=b"{}").with_headers(Content_Type="text/plain"))


async def validation_failed(world: World, route: Route, row: Row) -> Told:
    ask = await asked(world, row)
    if route.query_model is not None:
        return await world.send(route, ask.but(path=f"{ask.path}?nonsense=1"))
    if "body" in route.takes:
        return await world.send(route, ask.but(json=[]))
    return await world.send(route, ask.with_headers(If_Match="nonsense"))


async def precondition_required(world: World, route: Route, row: Row) -> Told:
    return await world.send(route, (await asked(world, row)).with_headers(If_Match=None))


async def precondition_failed(world: World, route: Route, row: Row) -> Told:
    return await world.send(route, (await asked(world, row)).with_headers(If_Match='"999"'))


async def idempotency_key_reused(world: World, route: Route, row: Row) -> Told:
    person = await world.person()
    ask = await row.ask(world, person)
    await person.call("POST", "/workouts", {"title": "Another request"}, Idempotency_Key="k")
    return await world.send(route, ask.with_headers(Idempotency_Key="k"))


async def later(world: World, route: Route, row: Row) -> Told:
    ask = await asked(world, row)
    assert route.limit is not None
    await world.exhaust(route.limit)
    return await world.send(route, ask.with_headers(X_Forwarded_For=NOWHERE))


async def unavailable(world: World, route: Route, row: Row) -> Told:
    return await world.send(route, await asked(world, row), world.hurried)


GENERAL: dict[str, General] = {
    way.__name__: way
    for way in (
        unauthorized,
        token_expired,
        device_revoked,
        forbidden,
        not_found,
        bad_request,
        request_timeout,
        too_large,
        unsupported_media_type,
        validation_failed,
        precondition_required,
        precondition_failed,
        idempotency_key_reused,
        later,
        unavailable,
    )
}
